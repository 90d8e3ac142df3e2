"""Footprints of many small and of a few large files, and the quick check."""

import hashlib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from labkit.data.footprint import compare_with_footprint, measure_footprint, record_footprint

from benchmarks.data.measurement import Report, Target, Variant, rate, timed

PROCESSES = 2


def measure_footprints(report: Report, folder: Path, scale: float) -> None:
    """Measure 20,000 files of 10 KB, and 2 GB in four files.

    :param report: Prints what comes of it.
    :param folder: Where to make them.
    :param scale: A part of the full size.
    """
    _measure_small(report, folder / "small", max(1000, int(20_000 * scale)))
    _measure_large(report, folder / "large", max(1, int(512 * scale)))


def _measure_small(report: Report, data: Path, count: int) -> None:
    generator = random.Random(0)  # noqa: S311
    for number in range(count):
        path = data / f"{number % 100:03d}" / f"{number:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(10_240))
    os.sync()
    record_footprint(data)
    report.compare(
        f"Footprint of {count:,} files of 10 KB",
        {
            "cat twice": _shell(data, "cat", 500),
            "sha256sum twice": _shell(data, "sha256sum", 500),
            "DeepDIVA's way": timed(lambda: json.dumps(describe_folder(data))),
            "Labkit, record": timed(lambda: record_footprint(data)),
            "Labkit, deep verification": timed(lambda: list(compare_with_footprint(data, is_deep=True))),
        },
        rate(count, "files/s"),
        reference="cat twice",
        targets={
            "Labkit, record": Target(0.9, "cat twice"),
            "Labkit, deep verification": Target(0.9, "cat twice"),
        },
        rounds=3 * report.rounds,
    )
    report.compare(
        f"Quick check of {count:,} files",
        {
            "a walk with stat": timed(lambda: sum(1 for _ in walk_with_stat(data))),
            "Labkit, quick verification": timed(lambda: list(compare_with_footprint(data))),
        },
        rate(count, "files/s"),
        reference="a walk with stat",
        targets={"Labkit, quick verification": Target(300_000)},
        rounds=4 * report.rounds,
    )


def _measure_large(report: Report, data: Path, mebibytes: int) -> None:
    data.mkdir()
    for number in range(4):
        with (data / f"{number}").open("wb") as file:
            for _ in range(mebibytes):
                file.write(os.urandom(1 << 20))
    os.sync()

    def hash_in_threads() -> list[bytes]:
        with ThreadPoolExecutor(PROCESSES) as pool:
            return list(pool.map(_hash_file, data.iterdir()))

    gigabytes = mebibytes * 4 * 2**20 / 1e9
    report.compare(
        f"Footprint of {gigabytes:.1f} GB in 4 files",
        {
            "hashlib twice": timed(hash_in_threads),
            "sha256sum twice": _shell(data, "sha256sum", 1),
            "Labkit": timed(lambda: measure_footprint(data)),
        },
        rate(gigabytes, "GB/s"),
        reference="hashlib twice",
        targets={"Labkit": Target(0.95, "hashlib twice")},
    )


def _shell(data: Path, program: str, files: int) -> Variant:
    """Return what gives a folder's files to a program, as one would type it."""
    find = f"find {data} -name .labkit -prune -o -type f -print0"
    command = f"{find} | xargs -0 -P{PROCESSES} -n {files} {program} > /dev/null"
    return timed(lambda: subprocess.run(command, shell=True, check=True))  # noqa: S602


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def describe_folder(folder: Path) -> dict[str, Any]:
    """Describe a folder as DeepDIVA does: a tree of names, times and SHA-1 hashes, found one file after the other."""
    contents: list[dict[str, Any]] = []
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 (as it is done there)
        path = folder / name
        if path.is_dir():
            contents.append(describe_folder(path))
            continue
        sha1 = hashlib.sha1(usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(2**16):
                sha1.update(block)
        contents.append({"name": name, "changed": path.stat().st_mtime, "hash": sha1.hexdigest()})
    return {"name": folder.name, "contents": contents}


def walk_with_stat(folder: Path) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from walk_with_stat(Path(entry.path))
            else:
                yield entry.stat()
