import pytest

from labkit.command import UsageError
from labkit.data.storage.disk import ByteCount


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20GB", 20 * 10**9), ("1.5 TB", 15 * 10**11), ("512MiB", 512 * 2**20), ("7", 7), ("7B", 7)],
)
def test_amounts_are_read_in_the_usual_units(text: str, expected: int) -> None:
    assert ByteCount.parse(text).bytes == expected


@pytest.mark.parametrize("text", ["", "GB", "20 gigs", "-1GB", "1e9", "20GBit", "∞"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as '20GB'"):
        ByteCount.parse(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (20 * 10**9, "20 GB"), (1_234_567, "1.23 MB")])
def test_amounts_are_shown_in_the_unit_that_fits(count: int, text: str) -> None:
    assert str(ByteCount(count)) == text
