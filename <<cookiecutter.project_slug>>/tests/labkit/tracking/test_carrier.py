import pytest

from labkit.tracking.carrier import choose_wait
from labkit.tracking.lane import LARGEST_BATCH


@pytest.mark.parametrize(
    ("amount", "seconds", "wait"),
    [
        (LARGEST_BATCH, 0.5, 2.0),  # there is more: a fifth of the time is for carrying
        (LARGEST_BATCH, 0.0, 0.0),  # and in a hurry, all of it
        (3, 0.1, 1.0),
        (3, 2.0, 8.0),
        (0, 0.0, 1.0),
    ],
)
def test_carrying_leaves_most_of_the_time_to_the_training(amount: int, seconds: float, wait: float) -> None:
    assert choose_wait(amount, seconds) == pytest.approx(wait)
