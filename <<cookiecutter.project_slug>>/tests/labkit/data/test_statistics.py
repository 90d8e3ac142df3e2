"""Statistics agree with exact arithmetic, whatever the images are."""

import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from labkit.command import UsageError
from labkit.data.footprint import identify_data, record_footprint
from labkit.data.record import record_path
from labkit.data.statistics import Statistics, data_analyze, measure_statistics, read_statistics

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]
FLOATS = [np.float16, np.float32, np.float64]


def exactly(images: Iterable[NDArray[Any]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Compute mean, standard deviation, minimum and maximum of channels-last images by fractions."""
    channels: list[list[Fraction]] = []
    for image in images:
        for pixel in image.reshape(-1, image.shape[-1]).tolist():
            channels = channels or [[] for _ in pixel]
            for values, value in zip(channels, pixel, strict=True):
                values.append(Fraction(value))
    means = [sum(values) / len(values) for values in channels]
    variances = [
        sum((value - mean) ** 2 for value in values) / len(values) for values, mean in zip(channels, means, strict=True)
    ]
    return (
        [float(mean) for mean in means],
        [math.sqrt(variance) for variance in variances],
        [float(min(values)) for values in channels],
        [float(max(values)) for values in channels],
    )


def assert_exact(statistics: Statistics, images: Iterable[NDArray[Any]], tolerance: float = 1e-12) -> None:
    mean, deviation, minimum, maximum = exactly(images)
    scale = [max(abs(least), abs(greatest)) for least, greatest in zip(minimum, maximum, strict=True)]
    for channel in range(len(mean)):
        assert abs(statistics.mean[channel] - mean[channel]) <= tolerance * scale[channel]
        assert abs(statistics.standard_deviation[channel] - deviation[channel]) <= tolerance * deviation[channel]
    assert [*map(float, statistics.minimum)] == minimum
    assert [*map(float, statistics.maximum)] == maximum


def random_images(dtype: Any, count: int = 20, channels: int = 3, seed: int = 0) -> list[NDArray[Any]]:
    """Return images of unequal sizes that use the whole range of an integer type, or a normal distribution."""
    generator = np.random.default_rng(seed)
    shapes = [(*generator.integers(1, 12, 2), channels) for _ in range(count)]
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return [generator.integers(limits.min, limits.max, shape, dtype, endpoint=True) for shape in shapes]
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


class TestExactness:
    @pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 200])
    def test_of_any_type_and_number_of_channels(self, dtype: Any, channels: int) -> None:
        images = random_images(dtype, 6, channels)
        assert_exact(measure_statistics(images), images)

    def test_of_integers_is_perfect(self) -> None:
        for dtype in (np.uint8, np.int8, np.uint16, np.int16):
            images = random_images(dtype, 50)
            mean, deviation, _, _ = exactly(images)
            statistics = measure_statistics(images)
            assert list(statistics.mean) == mean
            assert list(statistics.standard_deviation) == pytest.approx(deviation, rel=3e-16)

    def test_of_truth_values(self) -> None:
        image = np.array([[True, False], [False, False]])
        statistics = measure_statistics([image])
        assert statistics == Statistics(1, 4, (0.25,), (math.sqrt(3) / 4,), (0,), (1,))

    @pytest.mark.parametrize("offset", [1e8, -1e8, 1e12])
    def test_far_from_zero(self, offset: float) -> None:
        images = [image + offset for image in random_images(np.float64, 200)]
        assert_exact(measure_statistics(images), images)

    def test_far_from_zero_in_single_precision(self) -> None:
        images = [(image * 1000 + 1e8).astype(np.float32) for image in random_images(np.float64)]
        assert_exact(measure_statistics(images), images)

    def test_where_the_first_image_is_far_from_the_others(self) -> None:
        images = [image + 1e8 for image in random_images(np.float64, 100)]
        images.insert(0, np.zeros((5, 5, 3)))
        assert_exact(measure_statistics(images), images)

    def test_where_blocks_are_at_many_places(self) -> None:
        generator = np.random.default_rng(0)
        images = [generator.normal(scale, 1e-3, (90, 90, 4)) for scale in (1e8, 1e8 + 1, 1e8 - 50, 1e8 + 1e-3)]
        assert_exact(measure_statistics(images), images)

    @pytest.mark.parametrize("dtype", [np.int64, np.uint64])
    def test_of_integers_beyond_double_precision(self, dtype: Any) -> None:
        images = [image.astype(dtype) + dtype(10**18 + 1) for image in random_images(np.uint8)]
        statistics = measure_statistics(images)
        assert_exact(statistics, images)
        assert statistics.minimum[0] == 10**18 + 1 + min(int(image[..., 0].min()) for image in random_images(np.uint8))

    def test_of_a_constant_is_no_deviation_at_all(self) -> None:
        for value in (0.1, 1e8 + 0.3, 1e150, 1 / 3):
            statistics = measure_statistics([np.full((50, 50, 2), value, np.float64)] * 20)
            assert statistics.mean == (value, value)
            assert statistics.standard_deviation == (0.0, 0.0)

    @given(
        data=st.lists(
            hnp.arrays(
                np.float64,
                st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(2)),
                elements=st.floats(-1e9, 1e9, allow_subnormal=False),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_of_anything(self, data: list[NDArray[Any]]) -> None:
        statistics = measure_statistics(data)
        mean, deviation, minimum, maximum = exactly(data)
        for channel in range(2):
            scale = max(abs(minimum[channel]), abs(maximum[channel]))
            assert abs(statistics.mean[channel] - mean[channel]) <= 1e-12 * scale
            assert abs(statistics.standard_deviation[channel] - deviation[channel]) <= 1e-12 * deviation[channel]

    def test_does_not_depend_on_the_number_of_threads(self) -> None:
        images = np.random.default_rng(0).normal(1e3, 1, (300, 50, 50, 3))
        results = {measure_statistics(images, threads=threads).standard_deviation for threads in (1, 2, 5)}
        assert len(results) == 1

    def test_of_many_values_does_not_overflow(self) -> None:
        images = np.full((2, 2**14, 2**13, 1), 255, np.uint8)
        assert measure_statistics(images) == Statistics(2, 2**28, (255.0,), (0.0,), (255,), (255,))


class TestImages:
    def test_weigh_by_their_pixels(self) -> None:
        # The mean of images' means would be 50, and of their deviations 0.
        images = [np.zeros((1, 1, 1), np.uint8), np.full((3, 1, 1), 100, np.uint8)]
        statistics = measure_statistics(images)
        assert statistics.mean == (75.0,)
        assert statistics.standard_deviation == (math.sqrt(1875),)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_are_the_same_as_an_array_or_one_by_one(self, dtype: Any) -> None:
        images = (np.random.default_rng(0).random((100, 9, 7, 3)) * 200).astype(dtype)
        assert measure_statistics(images).images == 100
        assert_exact(measure_statistics(images), images)
        assert_exact(measure_statistics(image for image in images), images)
        assert_exact(measure_statistics(images[::2, ::-1, 1:5]), images[::2, ::-1, 1:5])

    def test_may_have_their_channels_first(self) -> None:
        images = random_images(np.uint8)
        first = [np.moveaxis(image, -1, 0) for image in images]
        assert measure_statistics(first, channel_axis=-3) == measure_statistics(images)
        stack = np.random.default_rng(0).integers(0, 256, (10, 3, 5, 6), np.uint8)
        assert_exact(measure_statistics(stack, channel_axis=-3), [np.moveaxis(image, 0, -1) for image in stack])

    def test_may_have_no_axis_for_channels(self) -> None:
        stack = np.random.default_rng(0).integers(0, 256, (10, 5, 6), np.uint8)
        assert_exact(measure_statistics(stack), stack[..., None])
        assert measure_statistics(list(stack)) == measure_statistics(stack)
        volumes = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
        assert_exact(measure_statistics(list(volumes), channel_axis=None), volumes[..., None])

    def test_may_be_of_several_types(self) -> None:
        images = [*random_images(np.uint8, 3), *random_images(np.float32, 3), *random_images(np.uint16, 3)]
        assert_exact(measure_statistics(images), images)

    def test_may_be_of_foreign_byte_order(self) -> None:
        images = random_images(np.int16)
        assert measure_statistics([image.astype(">i2") for image in images]) == measure_statistics(images)

    def test_are_measured_in_batches_that_fit_into_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        images = random_images(np.uint8, 100)
        expected = measure_statistics(images)
        monkeypatch.setattr("labkit.data.statistics.statistics.BATCH_BYTES", 500)
        assert measure_statistics(images) == expected

    def test_are_counted_by_class(self) -> None:
        statistics = measure_statistics(random_images(np.uint8, 5), ["b", "a", "b", 10, "b"])
        assert statistics.class_counts == {"10": 1, "a": 1, "b": 3}
        assert list(statistics.class_counts) == ["10", "a", "b"]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
    def test_that_cannot_be_measured_are_named(self, value: float) -> None:
        images = random_images(np.float64, 50)
        images[17][0, 0, 1] = value
        with pytest.raises(UsageError, match=r"A value in image 17 is not finite, or too large"):
            measure_statistics(images)
        stack = np.zeros((50, 4, 4, 3))
        stack[33, 3, 3, 2] = value
        with pytest.raises(UsageError, match=r"A value in image 33 is not finite"):
            measure_statistics(stack)

    def test_must_agree_in_their_channels_and_be_numbers(self) -> None:
        images = [np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), np.zeros((2, 2, 4))]
        with pytest.raises(UsageError, match="The number of channels of image 2 is 4, and 3 of those before it"):
            measure_statistics(images)
        with pytest.raises(UsageError, match="The type of image 1 is complex128"):
            measure_statistics([np.zeros((2, 2)), np.zeros((2, 2), complex)])
        for nothing in ([], [np.zeros((0, 5, 3))], np.zeros((0, 5, 5, 3))):
            with pytest.raises(UsageError, match="nothing to measure"):
                measure_statistics(nothing)


def encode(image: NDArray[Any], name: str) -> bytes:
    buffer = io.BytesIO()
    if name.endswith(".npy"):
        np.save(buffer, image)
    else:
        Image.fromarray(image).save(buffer, name.rpartition(".")[2])
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, image in enumerate(random_images(np.uint8, 7)):
        name = f"{'cat' if number % 2 else 'dog'}/{number}.{'npy' if number == 3 else 'png'}"
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(encode(image, name))
    (tmp_path / "data" / "README.txt").write_text("No image.")
    return tmp_path / "data"


class TestCommand:
    def test_writes_what_it_measured_and_says_it(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert data_analyze.main([str(folder)]) == 0
        statistics = read_statistics(folder, identify_data(folder).root)
        assert statistics is not None
        assert_exact(statistics, random_images(np.uint8, 7))
        assert statistics.class_counts == {"cat": 3, "dog": 4}
        output = capsys.readouterr().out
        assert f"{folder}: 7 images, " in output
        assert "      4 dog" in output

    def test_measures_archives_alike(self, folder: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for path in folder.rglob("*.*"):
                archive.write(path, path.relative_to(folder))
        assert data_analyze.main([str(folder)]) == data_analyze.main([str(tmp_path / "data.zip")]) == 0
        packed = read_statistics(tmp_path / "data.zip", identify_data(tmp_path / "data.zip").root)
        assert packed == read_statistics(folder, identify_data(folder).root)

    def test_measures_an_array_of_images(self, tmp_path: Path) -> None:
        images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
        np.save(tmp_path / "images.npy", images)
        assert data_analyze.main([str(tmp_path / "images.npy")]) == 0
        root = identify_data(tmp_path / "images.npy").root
        assert read_statistics(tmp_path / "images.npy", root) == measure_statistics(images)

    def test_measures_again_only_when_data_or_mode_change(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from labkit.data.statistics import statistics as module

        calls: list[int] = []
        measure = module.measure_statistics

        def count(*args: Any, **keywords: Any) -> Statistics:
            calls.append(1)
            return measure(*args, **keywords)

        monkeypatch.setattr(module, "measure_statistics", count)
        for _ in range(2):
            assert data_analyze.main([str(folder)]) == 0
        assert len(calls) == 1
        (folder / "cat" / "3.npy").unlink()
        for _ in range(2):
            assert data_analyze.main([str(folder), "--mode", "L"]) == (0 if len(calls) > 1 else 2)
            record_footprint(folder)
        assert data_analyze.main([str(folder), "--mode", "L"]) == 0
        assert len(calls) == 2

    def test_of_changed_data_are_stale(self, folder: Path) -> None:
        assert data_analyze.main([str(folder)]) == 0
        before = identify_data(folder).root
        (folder / "cat" / "1.png").unlink()
        after = record_footprint(folder).root
        assert read_statistics(folder, before) is not None
        assert read_statistics(folder, after) is None
        record_path(folder, "statistics").write_bytes(b"{")
        assert read_statistics(folder, before) is None

    def test_writes_plain_json(self, folder: Path) -> None:
        assert data_analyze.main([str(folder)]) == 0
        record = json.loads(record_path(folder, "statistics").read_bytes())
        assert record["footprint"] == identify_data(folder).root
        assert record["statistics"]["images"] == 7

    def test_resolves_palettes_and_converts_to_a_mode(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        image = Image.new("P", (4, 4), 1)
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.save(tmp_path / "data" / "a.png")
        Image.new("L", (4, 4), 50).save(tmp_path / "data" / "b.png")
        assert data_analyze.main([str(tmp_path / "data")]) == 2
        assert data_analyze.main([str(tmp_path / "data"), "--mode", "RGB"]) == 0
        statistics = read_statistics(tmp_path / "data", identify_data(tmp_path / "data").root)
        assert statistics is not None
        assert statistics.mean == (30.0, 35.0, 40.0)
        assert statistics.class_counts == {}

    def test_exits_with_two_on_bad_input(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "broken.png").write_bytes(b"\x89PNG")
        assert data_analyze.main([str(folder)]) == 2
        assert "The image broken.png cannot be decoded" in capsys.readouterr().err
        assert data_analyze.main([str(folder / "absent")]) == 2
        (folder / "empty").mkdir()
        assert data_analyze.main([str(folder / "empty")]) == 2
        assert "There are no images in" in capsys.readouterr().err
        (folder / "bad.npy").write_bytes(b"no array")
        assert data_analyze.main([str(folder / "bad.npy")]) == 2
        assert data_analyze.main([str(folder), "--mode", "no mode"]) == 2


def test_kernels_are_compiled_once_for_all_processes() -> None:
    code = (
        "import numpy as np; from labkit.data.statistics import kernel, measure_statistics; "
        "measure_statistics(np.ones((2, 9, 9, 3), np.uint8)); print(sum(kernel.sum_bytes.stats.cache_misses.values()))"
    )
    outputs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(2)]
    assert outputs[1] == b"0\n"


def test_help_imports_neither_numpy_nor_numba() -> None:
    code = (
        "import sys, contextlib, io; from labkit.data.statistics import data_analyze\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    data_analyze.main(['--help'])\n"
        "print(sorted({'numpy', 'numba', 'torch', 'PIL', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"[]\n"
