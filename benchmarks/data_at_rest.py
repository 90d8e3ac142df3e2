"""Archives, footprints and statistics beside what others use for them; run by `make benchmark NAME=data_at_rest`.

Ours and the peers take turns, so that what else the machine does weighs on all; the best time of each counts. All
files are in the page cache: what is compared is the work, not the disk. Peers that are not installed (litdata,
webdataset) are left out.
"""

import argparse
import hashlib
import importlib.util
import io
import math
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labkit.data.archive import Archive, open_archive
from labkit.data.footprint import compare_with_footprint, measure_footprint, record_footprint
from labkit.data.archive.reader import FileReader
from labkit.data.record import record_path
from labkit.data.statistics import measure_statistics
from labkit.data.archive.tar_file import list_tar
from labkit.data.archive.zip_file import list_zip
from numba import njit, prange

Seconds = float
SEED = 0
PROCESSES = 2


def take_turns(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, Seconds]:
    """Time each variant once a round, and return the best time of each."""
    times: dict[str, list[Seconds]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(seconds) for name, seconds in times.items()}


def show(title: str, times: dict[str, Seconds], of: str, *, amount: float = 1.0, unit: str = "s") -> None:
    """Print times, or rates, and the ratio of each to one of them: how much longer, or how much faster."""
    print(f"\n{title}")
    for name, seconds in times.items():
        is_rate = unit.endswith("/s")
        value = amount / seconds if is_rate else seconds * amount
        ratio = times[of] / seconds if is_rate else seconds / times[of]
        print(f"  {name:<44}{value:14,.2f} {unit:<9}{ratio:8.2f} of {of}")


# ------------------------------------------------------------------------------------------------------------ archives


def pack(folder: Path, count: int) -> tuple[Path, Path]:
    """Make a TAR and a ZIP file with the same members of 1 to 4 KB, and litdata's form of them if it is installed."""
    generator = random.Random(SEED)  # noqa: S311
    tar_path, zip_path = folder / "data.tar", folder / "data.zip"
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar, zipfile.ZipFile(zip_path, "w") as zipped:
        for number in range(count):
            content = generator.randbytes(generator.randint(1024, 4096))
            member = tarfile.TarInfo(f"train/{number % 100:03d}/{number:08d}.bin")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            zipped.writestr(member.name, content)
    if has("litdata"):
        from litdata.streaming.writer import BinaryWriter  # pyright: ignore[reportMissingImports]

        with open_archive(tar_path) as archive:
            writer = BinaryWriter(str(folder / "litdata"), chunk_bytes="64MB")
            for number, content in enumerate(archive.values()):
                writer.add_item(number, content)
            writer.done()
            writer.merge()
    return tar_path, zip_path


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


OPENING = {
    "tarfile": "import tarfile\nstart = now()\ntar = tarfile.open({tar!r})\ntar.getmembers()",
    "zipfile": "import zipfile\nstart = now()\nzipfile.ZipFile({zip!r})",
    "Labkit, TAR": "from labkit.data.archive import open_archive\nstart = now()\narchive = open_archive({tar!r})",
    "Labkit, ZIP": "from labkit.data.archive import open_archive\nstart = now()\narchive = open_archive({zip!r})",
    "litdata": "from litdata import StreamingDataset\nstart = now()\nStreamingDataset({litdata!r})[0]",
}


def measure_opening(tar: Path, zipped: Path, rounds: int) -> None:
    """Time, in fresh processes, what it takes until a first member could be read; imports are not counted."""
    paths = {"tar": str(tar), "zip": str(zipped), "litdata": str(tar.parent / "litdata")}
    memory = "def anonymous(): return int(open('/proc/self/smaps_rollup').read().split('Private_Dirty:')[1].split()[0])"
    times: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, code in OPENING.items():
            if name == "litdata" and not has("litdata"):
                continue
            before, start, after = code.format(**paths).partition("start = now()")
            lines = ["from time import perf_counter as now", memory, before, "size = anonymous()", start + after]
            lines.append("print(now() - start, anonymous() - size)")
            output = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True).stdout
            seconds, kilobytes = map(float, output.split()[-2:])
            times.setdefault(name, []).append(seconds)
            sizes.setdefault(name, []).append(kilobytes / 1000)
    best = {name: min(values) for name, values in times.items()}
    show("Ready to read, in a fresh process, once indexed", best, "tarfile", amount=1000, unit="ms")
    print("\nMemory of its own that a process takes for the open archive")
    for name, values in sizes.items():
        print(f"  {name:<44}{min(values):14,.2f} MB")
    for path in (tar, zipped):
        size = record_path(path, "index").stat().st_size / 1e6
        print(f"  {'Labkit, index shared by all, ' + path.suffix:<44}{size:14,.2f} MB")


def measure_random_reads(tar: Path, zipped: Path, rounds: int, reads: int = 500) -> None:
    """Time single reads of members that were not read before in this run, in turns of a few hundred."""
    archive, zip_archive = open_archive(tar), open_archive(zipped)
    tar_reader, zip_reader = FileReader(tar), FileReader(zipped)
    where = [(member.size, member.offset) for member in list_tar(tar_reader)]
    zip_where = [(member.size, member.offset) for member in list_zip(zip_reader, is_near=True)]
    names = list(archive)
    peers: dict[str, Callable[[int], object]] = {
        "os.pread at a known offset": lambda number: os.pread(tar_reader.descriptor, *where[number]),
        "os.pread at a known offset, ZIP": lambda number: os.pread(zip_reader.descriptor, *zip_where[number]),
        "Labkit, TAR, by name": lambda number: archive.read(names[number]),
        "Labkit, TAR, by position": archive.read_at,
        "Labkit, ZIP with checksum, by name": lambda number: zip_archive.read(names[number]),
        "Labkit, ZIP with checksum, by position": zip_archive.read_at,
    }
    with tarfile.open(tar) as standard, zipfile.ZipFile(zipped) as standard_zip:
        members = standard.getmembers()
        peers["tarfile"] = lambda number: standard.extractfile(members[number]).read()  # pyright: ignore[reportOptionalMemberAccess]
        peers["zipfile"] = lambda number: standard_zip.read(names[number])
        if has("litdata"):
            from litdata import StreamingDataset  # pyright: ignore[reportMissingImports]

            peers["litdata"] = StreamingDataset(str(tar.parent / "litdata")).__getitem__
        generator = random.Random(SEED)  # noqa: S311
        numbers = iter(generator.sample(range(len(names)), len(names)))
        times: dict[str, list[Seconds]] = {name: [] for name in peers}
        order = list(peers)
        for _ in range(min(rounds * 5, len(names) // (len(peers) * reads))):
            generator.shuffle(order)
            for name in order:
                chosen = [next(numbers) for _ in range(reads)]
                read = peers[name]
                start = time.perf_counter()
                for number in chosen:
                    read(number)
                times[name].append((time.perf_counter() - start) / reads)
    medians = {name: statistics.median(values) for name, values in times.items()}
    show("Random read, median", medians, "os.pread at a known offset", amount=1e6, unit="µs")


def read_in_process(start: Any, read: Callable[[int], object], numbers: list[int], times: Any) -> None:
    start.wait()
    begin = time.perf_counter()
    for number in numbers:
        read(number)
    times.put((begin, time.perf_counter()))


def count_in_processes(make_read: Callable[[], Callable[[int], object]], members: int, reads: int) -> Seconds:
    """Return how long two forked processes take for a number of random reads, from the first start to the last end."""
    context = multiprocessing.get_context("fork")
    start, times = context.Event(), context.Queue()
    generator = random.Random(SEED)  # noqa: S311
    shares = [[generator.randrange(members) for _ in range(reads // PROCESSES)] for _ in range(PROCESSES)]
    processes = [context.Process(target=read_in_process, args=(start, make_read(), share, times)) for share in shares]
    for process in processes:
        process.start()
    time.sleep(0.2)
    start.set()
    spans = [times.get() for _ in processes]
    for process in processes:
        process.join()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def measure_workers(tar: Path, zipped: Path, rounds: int, reads: int = 20_000) -> None:
    """Time two processes that read at random from what was opened before they were forked, as loaders' workers do."""
    archives: dict[str, Archive] = {"Labkit, TAR": open_archive(tar), "Labkit, ZIP with checksum": open_archive(zipped)}
    names = list(archives["Labkit, TAR"])
    reader = FileReader(tar)
    where = [(member.size, member.offset) for member in list_tar(reader)]

    def with_tarfile() -> Callable[[int], object]:
        tar_file = tarfile.open(tar)  # noqa: SIM115 (each process has its own, as their file has a position)
        members = tar_file.getmembers()
        return lambda number: tar_file.extractfile(members[number]).read()  # pyright: ignore[reportOptionalMemberAccess]

    variants: dict[str, Callable[[], Callable[[int], object]]] = {
        "os.pread": lambda: lambda number: os.pread(reader.descriptor, *where[number]),
        "tarfile": with_tarfile,
    }
    for name, archive in archives.items():
        variants[name] = lambda archive=archive: lambda number: archive.read(names[number])
        variants[f"{name}, by position"] = lambda archive=archive: archive.read_at
    times: dict[str, Seconds] = dict.fromkeys(variants, math.inf)
    for _ in range(rounds):
        for name, make_read in variants.items():
            times[name] = min(times[name], count_in_processes(make_read, len(names), reads))
    if has("webdataset"):
        times["webdataset, in sequence, one process"] = min(read_by_webdataset(tar, reads) for _ in range(2))
    show(f"Two processes, {reads:,} random reads", times, "os.pread", amount=reads, unit="reads/s")


def read_by_webdataset(tar: Path, reads: int) -> Seconds:
    import webdataset  # pyright: ignore[reportMissingImports]

    start = time.perf_counter()
    for _, _ in zip(range(reads), webdataset.WebDataset(str(tar), shardshuffle=False), strict=False):
        pass
    return time.perf_counter() - start


# ---------------------------------------------------------------------------------------------------------- footprints


def measure_small_files(folder: Path, count: int, rounds: int) -> None:
    """Time hashing, reading and looking at files of 10 KB."""
    generator = random.Random(SEED)  # noqa: S311
    data = folder / "small"
    for number in range(count):
        path = data / f"{number % 100:03d}" / f"{number:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(10_240))

    def shell(program: str) -> Callable[[], object]:
        find = f"find {data} -name .labkit -prune -o -type f -print0"
        command = f"{find} | xargs -0 -P{PROCESSES} -n 500 {program} > /dev/null"
        return lambda: subprocess.run(command, shell=True, check=True)  # noqa: S602 (as one would type it)

    variants: dict[str, Callable[[], object]] = {
        "cat in two processes": shell("cat"),
        "sha256sum in two processes": shell("sha256sum"),
        "Labkit, record": lambda: record_footprint(data),
        "Labkit, deep verification": lambda: list(compare_with_footprint(data, is_deep=True)),
    }
    times = take_turns(variants, rounds)
    show(f"Footprint of {count:,} files of 10 KB", times, "cat in two processes", amount=count, unit="files/s")
    quick: dict[str, Callable[[], object]] = {
        "stat walk": lambda: sum(1 for _ in stat_walk(str(data))),
        "Labkit, quick verification": lambda: list(compare_with_footprint(data)),
    }
    show("Quick check", take_turns(quick, 3 * rounds), "stat walk", amount=count, unit="files/s")


def stat_walk(folder: str) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from stat_walk(entry.path)
            else:
                yield entry.stat()


def measure_large_files(folder: Path, size: int, rounds: int) -> None:
    """Time hashing four large files."""
    data = folder / "large"
    data.mkdir()
    for number in range(4):
        with (data / f"{number}").open("wb") as file:
            for _ in range(size // 4 // 2**20):
                file.write(os.urandom(2**20))

    def by_threads() -> list[str]:
        with ThreadPoolExecutor(PROCESSES) as pool:
            return list(pool.map(hash_file, sorted(data.iterdir())))

    command = f"find {data} -type f -print0 | xargs -0 -P{PROCESSES} -n 1 sha256sum > /dev/null"
    variants: dict[str, Callable[[], object]] = {
        "hashlib in two threads": by_threads,
        "sha256sum in two processes": lambda: subprocess.run(command, shell=True, check=True),  # noqa: S602
        "Labkit": lambda: measure_footprint(data),
    }
    times = take_turns(variants, rounds)
    show(
        f"Footprint of {size / 1e9:.1f} GB in 4 files", times, "hashlib in two threads", amount=size / 1e9, unit="GB/s"
    )


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------------------------- statistics


@njit(parallel=True)
def simple_pass(images: Any) -> tuple[Any, Any]:
    """Sum values and squares in double precision, the way one writes it down first."""
    sums = np.zeros((len(images), 3))
    squares = np.zeros((len(images), 3))
    for number in prange(len(images)):
        for row in range(images.shape[1]):
            for column in range(images.shape[2]):
                for channel in range(3):
                    value = np.float64(images[number, row, column, channel])
                    sums[number, channel] += value
                    squares[number, channel] += value * value
    count = images.shape[0] * images.shape[1] * images.shape[2]
    mean = sums.sum(axis=0) / count
    return mean, np.sqrt(squares.sum(axis=0) / count - mean * mean)


def measure_images(count: int, rounds: int) -> None:
    """Time mean and deviation of images of 64 by 64 by 3, and compare their errors."""
    images = np.random.default_rng(SEED).integers(0, 256, (count, 64, 64, 3), np.uint8)
    tensor = torch.from_numpy(images)
    measure_statistics(images[:9])
    simple_pass(images[:9])
    slow: dict[str, Callable[[], object]] = {
        "NumPy, mean and std": lambda: (images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))),
        "torch, std_mean": lambda: torch.std_mean(tensor.float(), dim=(0, 1, 2)),
    }
    quick: dict[str, Callable[[], object]] = {
        "a simple Numba pass": lambda: simple_pass(images),
        "reading the bytes": lambda: images.reshape(-1).view(np.uint64).max(),
        "Labkit": lambda: measure_statistics(images),
    }
    times = take_turns(slow, 1) | take_turns(quick, 3 * rounds)
    show(f"Statistics of {count:,} images of 64 by 64 by 3", times, "Labkit", amount=1000, unit="ms")
    exact = measure_statistics(images).standard_deviation
    far = images[: count // 10].astype(np.float64) + 1e8
    near = measure_statistics(images[: count // 10]).standard_deviation
    errors = {
        "Labkit": max_error(measure_statistics(far).standard_deviation, near),
        "a simple Numba pass": max_error(simple_pass(far)[1], near),
        "NumPy": max_error(far.std(axis=(0, 1, 2)), near),
    }
    print("\nRelative error of the deviation, at an offset of 1e8")
    for name, error in errors.items():
        print(f"  {name:<44}{error:14.1e}")
    print(f"  (deviation without offset: {exact[0]:.12f})")


def max_error(found: Any, exact: tuple[float, ...]) -> float:
    return max(abs(float(one) / other - 1) for one, other in zip(found, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["archive", "footprint", "statistics"], help="measure only this")
    parser.add_argument("--rounds", type=int, default=5, help="how often ours and peers take turns")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full size, for a first look")
    options = parser.parse_args()

    def scaled(number: int) -> int:
        return max(1000, int(number * options.scale))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in {None, "archive"}:
            tar, zipped = pack(folder, scaled(100_000))
            for path in (tar, zipped):
                times = take_turns({f"Labkit, {path.suffix}": lambda path=path: open_archive(path)}, 1)
                print(f"Indexing {path.suffix} once: {1000 * max(times.values()):.0f} ms")
            measure_opening(tar, zipped, options.rounds)
            measure_random_reads(tar, zipped, options.rounds)
            measure_workers(tar, zipped, options.rounds, scaled(20_000))
        if options.only in {None, "footprint"}:
            measure_small_files(folder, scaled(20_000), options.rounds)
            measure_large_files(folder, int(2**31 * options.scale) // 2**22 * 2**22, options.rounds)
        if options.only in {None, "statistics"}:
            measure_images(scaled(20_000), options.rounds)


if __name__ == "__main__":
    main()
