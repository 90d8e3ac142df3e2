import pytest

from labkit.launch.numbers import write_numbers
from labkit.launch.slurm.array import Array, split


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1], "0-1"), ([0, 3, 5, 6, 7, 9], "0,3,5-7,9"), (range(10_000), "0-9999")],
)
def test_numbers_are_written_in_short(numbers: list[int], text: str) -> None:
    assert write_numbers(numbers) == text


def test_a_session_that_fits_is_one_array_job() -> None:
    assert split(range(8), 1001) == [Array(offset=0, tasks=tuple(range(8)))]


def test_a_task_number_stays_below_the_limit() -> None:
    arrays = split(range(10_000), 1001)
    assert [(array.offset, str(array)) for array in arrays] == [
        *((1001 * number, "0-1000") for number in range(9)),
        (9009, "0-990"),
    ]


def test_only_what_is_left_of_a_session_is_submitted() -> None:
    arrays = split([9, 3, 4, 0], 5)
    assert [(array.offset, str(array)) for array in arrays] == [(0, "0,3-4"), (5, "4")]
