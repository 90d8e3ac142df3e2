import hashlib
import itertools
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.data.storage.checksum import Checksum, cut, guess_part_sizes, read_etag, verify_file

MEBIBYTE = 1 << 20
md5 = partial(hashlib.md5, usedforsecurity=False)


def make_etag(content: bytes, part_size: int) -> str:
    parts = [content[start : start + part_size] for start in range(0, len(content), part_size)]
    return f'"{md5(b"".join(md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def write(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def test_a_plain_etag_is_the_md5_of_the_content() -> None:
    assert read_etag('"900150983cd24fb0d6963f7d28e17f72"', 3) == Checksum("md5", "900150983cd24fb0d6963f7d28e17f72")


@pytest.mark.parametrize("etag", ["", '"abc"', '"900150983cd24fb0d6963f7d28e17f7z"', "W/" + '"9' * 2])
def test_an_etag_of_another_form_tells_nothing(etag: str) -> None:
    assert read_etag(etag, 3) is None


@pytest.mark.parametrize("part_size", [5 * MEBIBYTE, 8 * MEBIBYTE, 5_000_000, 7_000_000, 3_500_001])
def test_the_parts_of_an_upload_are_found_whatever_their_size(tmp_path: Path, part_size: int) -> None:
    content = os.urandom(7_000_001)
    checksum = read_etag(make_etag(content, part_size), len(content))
    descriptor = write(tmp_path / "file", content)
    assert verify_file(descriptor, len(content), checksum)
    os.close(descriptor)


@pytest.mark.parametrize("position", [0, 5_999_999, 7_000_000])
def test_one_wrong_bit_is_found_wherever_it_is(tmp_path: Path, position: int) -> None:
    content = os.urandom(7_000_001)
    plain = Checksum("md5", md5(content).hexdigest())
    in_parts = read_etag(make_etag(content, 5 * MEBIBYTE), len(content))
    wrong = bytes([content[position] ^ 1])
    descriptor = write(tmp_path / "file", content[:position] + wrong + content[position + 1 :])
    assert not verify_file(descriptor, len(content), plain)
    assert not verify_file(descriptor, len(content), in_parts)
    os.close(descriptor)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_size_is_refused_even_without_a_checksum(tmp_path: Path, difference: int) -> None:
    descriptor = write(tmp_path / "file", b"abc")
    assert verify_file(descriptor, 3, None)
    assert not verify_file(descriptor, 3 + difference, None)
    os.close(descriptor)


@given(size=st.integers(1, 10**11), part_size=st.integers(5, 600))
def test_whole_mebibytes_are_among_the_guesses_unless_there_are_too_many(size: int, part_size: int) -> None:
    part_size *= MEBIBYTE
    count = -(-size // part_size)
    guesses = guess_part_sizes(size, count)
    assert all(-(-size // guess) == count for guess in guesses)
    assert len(guesses) <= 64
    if count > 60:
        assert part_size in guesses


@given(size=st.integers(0, 1000), piece_size=st.integers(1, 300))
def test_pieces_cover_a_file_without_gap_or_overlap(size: int, piece_size: int) -> None:
    pieces = cut(size, piece_size)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == size
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))
    assert all(stop - start <= piece_size for start, stop in pieces)
