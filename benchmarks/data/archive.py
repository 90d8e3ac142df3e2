"""Archives of many small members: ready to read, read at random, read by two workers, and what they take of memory."""

import io
import os
import random
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from labkit.data.archive import open_archive
from labkit.data.archive.reader import FileReader
from labkit.data.archive.tar_file import list_tar
from labkit.data.archive.zip_file import list_zip
from labkit.data.record import record_path

from benchmarks.data.measurement import MICROSECONDS, MILLISECONDS, Report, Seconds, Target, Variant, median, rate
from benchmarks.data.peer import peer_variant
from benchmarks.data.processes import Read, read_in_processes

SEED = 0
READS_A_TURN = 500
READS_OF_THE_SLOW = 100
MOST_MEGABYTES = 10


def measure_archives(report: Report, peers: Path | None, folder: Path, scale: float) -> None:
    """Measure TAR and ZIP files of 100,000 members of 1 to 4 KB.

    :param report: Prints what comes of it.
    :param peers: The peers' Python.
    :param folder: Where to make them.
    :param scale: A part of the full size.
    """
    members = max(5000, int(100_000 * scale))
    tar, zipped = _pack(folder, members)
    if peers:
        peer_variant(peers, "litdata_pack", path=str(tar), folder=str(folder / "litdata"))()
    for path in (tar, zipped):
        start = time.perf_counter()
        open_archive(path)
        print(f"Indexing {members:,} members, {path.suffix}, once: {1000 * (time.perf_counter() - start):.0f} ms")
    _measure_opening(report, peers, tar, zipped)
    _measure_reads(report, peers, tar, zipped)
    _measure_workers(report, peers, tar, zipped)


def _pack(folder: Path, count: int) -> tuple[Path, Path]:
    generator = random.Random(SEED)  # noqa: S311
    tar_path, zip_path = folder / "data.tar", folder / "data.zip"
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar, zipfile.ZipFile(zip_path, "w") as zipped:
        for number in range(count):
            content = generator.randbytes(generator.randint(1024, 4096))
            member = tarfile.TarInfo(f"train/{number % 100:03d}/{number:08d}.bin")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            zipped.writestr(member.name, content)
    return tar_path, zip_path


OPENINGS = {
    "tarfile": ("import tarfile", "archive = tarfile.open({tar!r}); archive.getmembers()"),
    "zipfile": ("import zipfile", "archive = zipfile.ZipFile({zip!r})"),
    "Labkit, TAR": ("from labkit.data.archive import open_archive", "archive = open_archive({tar!r})"),
    "Labkit, ZIP": ("from labkit.data.archive import open_archive", "archive = open_archive({zip!r})"),
}
OPENING_PROGRAM = """
from time import perf_counter as now
def own_memory(): return int(open('/proc/self/smaps_rollup').read().split('Private_Dirty:')[1].split()[0])
begin = now()
{imports}
before, start = own_memory(), now()
{opening}
print(now() - start, own_memory() - before, now() - begin)
"""


class _Opening:
    """A variant: to open an archive in a fresh process; it also learns what memory of its own that took."""

    def __init__(self, imports: str, opening: str, paths: Mapping[str, str]) -> None:
        self._program = OPENING_PROGRAM.format(imports=imports, opening=opening.format(**paths))
        self.megabytes: list[float] = []
        self.with_imports: list[Seconds] = []

    def __call__(self) -> Seconds:
        done = subprocess.run([sys.executable, "-c", self._program], check=True, stdout=subprocess.PIPE)
        seconds, kibibytes, with_imports = map(float, done.stdout.split())
        self.megabytes.append(kibibytes * 1024 / 1e6)
        self.with_imports.append(with_imports)
        return seconds


def _measure_opening(report: Report, peers: Path | None, tar: Path, zipped: Path) -> None:
    paths = {"tar": str(tar), "zip": str(zipped)}
    openings = {name: _Opening(imports, opening, paths) for name, (imports, opening) in OPENINGS.items()}
    variants: dict[str, Variant] = {**openings}
    if peers:
        variants["sfu-torch-lib, TAR"] = peer_variant(peers, "sfu_open", path=str(tar))
        variants["litdata"] = peer_variant(peers, "litdata_open", folder=str(tar.parent / "litdata"))
    report.compare(
        "Ready to read, in a fresh process, once indexed; without imports",
        variants,
        MILLISECONDS,
        reference="tarfile",
        targets={"Labkit, TAR": Target(10), "Labkit, ZIP": Target(10)},
        once={"sfu-torch-lib, TAR"},
    )
    imports = {name: min(opening.with_imports) for name, opening in openings.items()}
    report.show("The same with imports", imports, MILLISECONDS, reference="tarfile", targets={})
    print("\nMemory of an open archive (target: at most 10 MB)")
    for name, opening in openings.items():
        shared = ""
        if name.startswith("Labkit"):
            index = record_path(tar if "TAR" in name else zipped, "index").stat().st_size / 1e6
            shared = f"  and {index:.2f} MB of index, once for all processes of a machine"
        print(f"  {name:<40}{min(opening.megabytes):12.2f} MB of its own in each process{shared}")


def _measure_reads(report: Report, peers: Path | None, tar: Path, zipped: Path) -> None:
    """Time single reads of members, few of which were read before, in turns of a few hundred."""
    archive, zip_archive = open_archive(tar), open_archive(zipped)
    tar_reader, zip_reader = FileReader(tar), FileReader(zipped)
    where = [(member.size, member.offset) for member in list_tar(tar_reader)]
    zip_where = [(member.size, member.offset) for member in list_zip(zip_reader, is_near=True)]
    names = list(archive)
    generator = random.Random(SEED)  # noqa: S311

    def turn(read: Read) -> Variant:
        def run() -> Seconds:
            numbers = generator.sample(range(len(names)), READS_A_TURN)
            start = time.perf_counter()
            for number in numbers:
                read(number)
            return (time.perf_counter() - start) / READS_A_TURN

        return run

    with tarfile.open(tar) as standard, zipfile.ZipFile(zipped) as standard_zip:
        members = standard.getmembers()
        variants = {
            "os.pread": turn(lambda number: os.pread(tar_reader.descriptor, *where[number])),
            "os.pread, ZIP": turn(lambda number: os.pread(zip_reader.descriptor, *zip_where[number])),
            "Labkit, TAR, by name": turn(lambda number: archive.read(names[number])),
            "Labkit, TAR, by position": turn(archive.read_at),
            "Labkit, ZIP with checksum, by name": turn(lambda number: zip_archive.read(names[number])),
            "Labkit, ZIP with checksum, by position": turn(zip_archive.read_at),
            "tarfile": turn(lambda number: _read_member(standard, members[number])),
            "zipfile": turn(lambda number: standard_zip.read(names[number])),
        }
        if peers:
            arguments = {"reads": READS_OF_THE_SLOW}
            variants["sfu-torch-lib, TAR"] = peer_variant(peers, "sfu_read", path=str(tar), **arguments)
            folder = str(tar.parent / "litdata")
            variants["litdata"] = peer_variant(peers, "litdata_read", folder=folder, reads=READS_A_TURN)
        report.compare(
            "Random read of one member, median",
            variants,
            MICROSECONDS,
            reference="os.pread",
            targets={
                "Labkit, TAR, by name": Target(1.5, "os.pread"),
                "Labkit, TAR, by position": Target(1.5, "os.pread"),
                "Labkit, ZIP with checksum, by name": Target(1.5, "os.pread, ZIP"),
                "Labkit, ZIP with checksum, by position": Target(1.5, "os.pread, ZIP"),
            },
            rounds=8 * report.rounds,
            once={"sfu-torch-lib, TAR", "litdata"},
            typical=median,
        )


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _measure_workers(report: Report, peers: Path | None, tar: Path, zipped: Path) -> None:
    """Time processes that read from what was opened before they were forked."""
    archive, zip_archive = open_archive(tar), open_archive(zipped)
    names = list(archive)
    reader = FileReader(tar)
    where = [(member.size, member.offset) for member in list_tar(reader)]
    reads = 20_000 * len(names) // 100_000

    def read_with_tarfile() -> Read:
        # Each process has its own: an open file's position is shared by all that inherit it.
        standard = tarfile.open(tar)  # noqa: SIM115
        members = standard.getmembers()
        return lambda number: _read_member(standard, members[number])

    def workers(make_read: Callable[[], Read]) -> Variant:
        return lambda: read_in_processes(make_read, len(names), reads)

    variants = {
        "os.pread": workers(lambda: lambda number: os.pread(reader.descriptor, *where[number])),
        "Labkit, TAR, by name": workers(lambda: lambda number: archive.read(names[number])),
        "Labkit, TAR, by position": workers(lambda: archive.read_at),
        "Labkit, ZIP with checksum, by name": workers(lambda: lambda number: zip_archive.read(names[number])),
        "Labkit, ZIP with checksum, by position": workers(lambda: zip_archive.read_at),
        "tarfile": workers(read_with_tarfile),
    }
    if peers:
        sizes = {"members": len(names), "reads": reads}
        variants["sfu-torch-lib, TAR"] = peer_variant(peers, "sfu_workers", path=str(tar), **sizes)
        variants["webdataset, in sequence"] = peer_variant(peers, "webdataset_workers", path=str(tar), **sizes)
    report.compare(
        f"Two workers, {reads:,} random reads",
        variants,
        rate(reads, "reads/s"),
        reference="os.pread",
        targets={name: Target(0.8, "os.pread") for name in variants if name.startswith("Labkit")},
        rounds=2 * report.rounds,
        once={"sfu-torch-lib, TAR"},
    )
