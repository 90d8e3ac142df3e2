"""Images are decoded as NumPy and Pillow do."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from labkit.command import UsageError
from labkit.data.archive import open_archive
from labkit.data.image import decode_image, load_images

DTYPES = ("?", "i1", "u1", "<i2", ">u2", "<i4", ">i8", "<u8", "<f2", "<f4", ">f8", "<c16", "<U3")


def save(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@hypothesis.given(
    array=strategies.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    ),
    transposed=strategies.booleans(),
)
def test_an_array_is_what_numpy_loads(array: NDArray[np.generic], *, transposed: bool) -> None:
    content = save(array.T if transposed else array)
    expected = np.load(io.BytesIO(content))
    decoded = decode_image(content, "image.npy")
    assert (decoded.dtype, decoded.shape, decoded.flags.c_contiguous) == (
        expected.dtype,
        expected.shape,
        expected.flags.c_contiguous,
    )
    assert decoded.tobytes() == expected.tobytes()
    assert decoded.flags.writeable


@hypothesis.given(content=strategies.just(save(np.arange(6.0).reshape(2, 3))), data=strategies.data())
def test_a_damaged_array_is_refused_or_what_numpy_makes_of_it(content: bytes, data: strategies.DataObject) -> None:
    place = data.draw(strategies.integers(0, len(content) - 1))
    damaged = content[:place] + data.draw(strategies.binary(max_size=2)) + content[place + 1 :]
    try:
        expected = np.load(io.BytesIO(damaged))
    except Exception:
        with pytest.raises(UsageError, match=r"^The image a\.npy cannot be decoded"):
            decode_image(damaged, "a.npy")
    else:
        np.testing.assert_array_equal(decode_image(damaged, "a.npy"), expected)


def test_an_empty_file_is_no_image() -> None:
    for name in ("a.npy", "a.png"):
        with pytest.raises(UsageError, match=rf"^The image {re.escape(name)} cannot be decoded"):
            decode_image(b"", name)


def test_arrays_are_decoded_without_pythons_parser_which_threads_cannot_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SystemError("AST constructor recursion depth mismatch")

    for number in range(100):
        np.save(tmp_path / f"{number:02}.npy", np.full((4, 4), number, np.uint8))
    monkeypatch.setattr("ast.literal_eval", refuse)
    with open_archive(tmp_path) as archive:
        assert [int(image[0, 0]) for image in load_images(archive, archive)] == list(range(100))


def test_images_are_decoded_by_threads_as_by_one() -> None:
    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(file, "PNG")
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda _: decode_image(file.getvalue(), "a.png"), range(20)))
    assert all(image.tolist() == np.arange(48).reshape(4, 4, 3).tolist() for image in decoded)
    assert decode_image(file.getvalue(), "a.png", "L").shape == (4, 4)
