"""An archive gives exactly the bytes that were packed, or an error."""

import functools
import io
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from labkit.command import UsageError
from labkit.data.archive import Archive, open_archive
from labkit.data.archive.member import ArchiveError, Member
from labkit.data.archive.reader import Reader
from labkit.data.record import record_path

FILES = {"a.txt": b"alpha", "folder/b.bin": bytes(range(256)) * 20, "folder/empty": b"", "größe/ß.txt": "ß".encode()}


class ObjectReader:
    """Reads an object by ranges, as from S3, and remembers the requests."""

    def __init__(self, content: bytes, version: str = "s3://bucket/key 1") -> None:
        self.content = content
        self.version = version
        self.requests: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.content)

    def read_range(self, offset: int, length: int) -> bytes:
        self.requests.append((offset, length))
        return self.content[offset : offset + length]

    def close(self) -> None:
        self.content = b""


def pack_tar(path: Path, files: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def pack_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pack_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


PACKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "folder": pack_folder,
    "zip-stored": pack_zip,
    "zip-deflated": functools.partial(pack_zip, method=zipfile.ZIP_DEFLATED),
    "tar-ustar": functools.partial(pack_tar, tar_format=tarfile.USTAR_FORMAT),
    "tar-gnu": functools.partial(pack_tar, tar_format=tarfile.GNU_FORMAT),
    "tar-pax": functools.partial(pack_tar, tar_format=tarfile.PAX_FORMAT),
}


@pytest.fixture(params=list(PACKERS))
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return PACKERS[request.param](tmp_path / "data", FILES)


class TestOneMapping:
    def test_gives_the_same_files_whatever_they_are_packed_in(self, packed: Path) -> None:
        with open_archive(packed) as archive:
            assert dict(archive) == FILES
            assert list(archive) == list(FILES)
            assert len(archive) == 4
            assert list(archive.names[1:3]) == ["folder/b.bin", "folder/empty"]
            assert [archive.read_at(position) for position in range(4)] == list(FILES.values())
            assert archive.read_at(-1) == "ß".encode()
            with pytest.raises(IndexError):
                archive.read_at(4)
            assert archive.names[-1] == "größe/ß.txt"

    def test_knows_what_it_does_not_hold(self, packed: Path) -> None:
        with open_archive(packed) as archive:
            assert "a.txt" in archive
            assert "folder" not in archive
            assert "folder/" not in archive
            assert "" not in archive
            assert "../data/a.txt" not in archive
            assert 3 not in archive
            for name in ("absent", "folder", "", "\0", "../data/a.txt"):
                with pytest.raises(KeyError):
                    archive.read(name)
                with pytest.raises(KeyError):
                    archive.open(name)

    def test_opens_a_file_that_can_seek(self, packed: Path) -> None:
        content = FILES["folder/b.bin"]
        with open_archive(packed) as archive, archive.open("folder/b.bin") as file:
            assert file.read(10) == content[:10]
            assert file.seek(-6, io.SEEK_END) == len(content) - 6
            assert file.read() == content[-6:]
            assert file.seek(300) == 300
            assert file.seek(5, io.SEEK_CUR) == 305
            assert file.read(7) == content[305:312]
            assert file.read() == content[312:]
            assert file.read() == b""

    def test_refuses_to_read_after_it_is_closed(self, packed: Path) -> None:
        archive = open_archive(packed)
        archive.close()
        archive.close()
        with pytest.raises(ValueError, match="is closed"):
            archive.read("a.txt")
        with pytest.raises(ValueError, match="is closed"):
            archive.open("a.txt").read()

    def test_never_reads_from_a_file_that_took_the_number_of_its_own(self, tmp_path: Path) -> None:
        archive = open_archive(pack_tar(tmp_path / "data.tar", FILES))
        archive.close()
        others = [(tmp_path / "data.tar").open("rb") for _ in range(4)]
        with pytest.raises(ValueError, match="is closed"):
            archive.read("a.txt")
        for other in others:
            other.close()

    def test_holds_an_empty_archive(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        for path in (
            pack_tar(tmp_path / "a.tar", {}),
            pack_zip(tmp_path / "a.zip", {}),
            tmp_path / "folder",
        ):
            assert dict(open_archive(path)) == {}

    def test_reads_paths_written_from_the_current_folder_without_the_dot(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", FILES)
        subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "data.tar", "."], check=True)
        assert dict(open_archive(tmp_path / "data.tar")) == FILES

    def test_takes_the_later_of_two_files_of_one_name(self, tmp_path: Path) -> None:
        tar = pack_tar(tmp_path / "data.tar", {"a": b"old", "b": b"b"})
        with tarfile.open(tar, "a") as archive:
            member = tarfile.TarInfo("a")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"newer"))
        zipped = tmp_path / "data.zip"
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr("a", b"old")
            archive.writestr("b", b"b")
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("a", b"newer")
        for path in (tar, zipped):
            assert list(open_archive(path).items()) == [("b", b"b"), ("a", b"newer")]

    def test_says_when_there_is_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"absent\.tar cannot be opened: No such file or directory"):
            open_archive(tmp_path / "absent.tar")


class TestFolder:
    def test_follows_links_and_leaves_out_what_the_bench_keeps(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", {"a": b"1", ".labkit/footprint": b"-", "sub/.labkit/index": b"-"})
        pack_folder(tmp_path / "elsewhere", {"b": b"2"})
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        (folder / "file-link").symlink_to("a")
        assert dict(open_archive(folder)) == {"a": b"1", "file-link": b"1", "link/b": b"2"}

    def test_refuses_a_link_that_leads_back(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", {"sub/a": b"1"})
        (folder / "sub" / "up").symlink_to(folder)
        with pytest.raises(UsageError, match="sub/up leads back"):
            open_archive(folder)

    def test_refuses_what_is_no_file(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", {"a": b"1"})
        os.mkfifo(folder / "pipe")
        with pytest.raises(UsageError, match="pipe is neither a file nor a folder"):
            open_archive(folder)

    def test_reads_names_that_are_no_text(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n")).write_bytes(b"1")
        assert dict(open_archive(folder)) == {"\udcff\n": b"1"}


class TestTar:
    def test_reads_names_of_any_length(self, tmp_path: Path) -> None:
        names = {f"{'d' * 90}/{'e' * 60}/{'f' * length}.txt": str(length).encode() for length in (1, 50, 99, 200, 5000)}
        for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            assert dict(open_archive(pack_tar(tmp_path / f"{tar_format}.tar", names, tar_format))) == names
        short = dict(list(names.items())[:1])
        assert dict(open_archive(pack_tar(tmp_path / "ustar.tar", short, tarfile.USTAR_FORMAT))) == short

    @pytest.mark.parametrize("tar_format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
    def test_reads_what_the_tar_program_writes(self, tmp_path: Path, tar_format: str) -> None:
        folder = pack_folder(tmp_path / "data", FILES)
        command = ["tar", "-C", folder, "-cf", tmp_path / "data.tar", f"--format={tar_format}", "--sort=name", *FILES]
        subprocess.run(command, check=True)
        assert dict(open_archive(tmp_path / "data.tar")) == FILES

    def test_reads_an_incremental_dump_whose_headers_hold_times_in_place_of_a_prefix(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", {"a": b"1"})
        subprocess.run(
            ["tar", "-C", folder, "-cf", tmp_path / "data.tar", "--format=gnu", "--atime-preserve", "a"], check=True
        )
        content = bytearray((tmp_path / "data.tar").read_bytes())
        content[345:357] = b"15024046413\0"
        content[148:156] = b" " * 8
        content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
        assert dict(open_archive(ObjectReader(bytes(content)))) == {"a": b"1"}

    def test_follows_links_inside_the_archive(self, tmp_path: Path) -> None:
        folder = pack_folder(tmp_path / "data", {"sub/a": b"1"})
        (folder / "sub" / "hard").hardlink_to(folder / "sub" / "a")
        (folder / "soft").symlink_to("sub/a")
        (folder / "sub" / "chain").symlink_to("../soft")
        subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "data.tar", "."], check=True)
        expected = {"sub/a": b"1", "sub/hard": b"1", "soft": b"1", "sub/chain": b"1"}
        assert dict(open_archive(tmp_path / "data.tar")) == expected

    @pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "absent", "link"])
    def test_refuses_links_that_lead_out(self, tmp_path: Path, target: str) -> None:
        with tarfile.open(tmp_path / "data.tar", "w") as tar:
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
        with pytest.raises(ArchiveError, match="holds the link 'link'"):
            open_archive(tmp_path / "data.tar")

    @pytest.mark.parametrize("tar_format", ["gnu", "posix"])
    def test_refuses_sparse_files(self, tmp_path: Path, tar_format: str) -> None:
        with (tmp_path / "hole").open("wb") as file:
            file.seek(2**20)
            file.write(b"end")
        command = ["tar", "-C", tmp_path, "-cf", tmp_path / "data.tar", "--sparse", f"--format={tar_format}", "hole"]
        subprocess.run(command, check=True)
        with pytest.raises(ArchiveError, match=r"sparse file '.*hole'"):
            open_archive(tmp_path / "data.tar")

    def test_refuses_devices_and_pipes(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "data.tar", "w") as tar:
            member = tarfile.TarInfo("pipe")
            member.type = tarfile.FIFOTYPE
            tar.addfile(member)
        with pytest.raises(ArchiveError, match="pipe"):
            open_archive(tmp_path / "data.tar")

    @pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
    def test_says_that_a_compressed_tar_cannot_be_read_at_random(self, tmp_path: Path, compression: str) -> None:
        with tarfile.open(tmp_path / "data.tar", f"w:{compression}"):  # pyright: ignore[reportCallIssue, reportArgumentType]
            pass
        with pytest.raises(ArchiveError, match="compressed as a whole by"):
            open_archive(tmp_path / "data.tar")

    def test_refuses_a_damaged_header(self, tmp_path: Path) -> None:
        content = bytearray(pack_tar(tmp_path / "data.tar", FILES).read_bytes())
        content[130] ^= 1
        with pytest.raises(ArchiveError, match="neither a ZIP nor a TAR file"):
            open_archive(ObjectReader(bytes(content)))
        content[130] ^= 1
        content[1024 + 3] ^= 1
        with pytest.raises(ArchiveError, match="damaged at byte 1024"):
            open_archive(ObjectReader(bytes(content)))

    def test_reads_a_size_beyond_eight_gigabytes(self, tmp_path: Path) -> None:
        # Two files with a hole of 9 GiB between them; the archive itself is sparse and takes no room.
        size = 9 * 2**30
        for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            path = tmp_path / f"{tar_format}.tar"
            with path.open("wb") as file:
                huge, last = tarfile.TarInfo("huge"), tarfile.TarInfo("last")
                huge.size, last.size = size, 4
                file.write(huge.tobuf(tar_format))
                file.seek(size, io.SEEK_CUR)
                file.write(last.tobuf(tar_format) + b"last".ljust(512, b"\0") + bytes(1024))
            with open_archive(path) as archive:
                assert archive.read("last") == b"last"
                with archive.open("huge") as huge_file:
                    assert huge_file.seek(0, io.SEEK_END) == size


class TestZip:
    def test_reads_zip64(self, tmp_path: Path) -> None:
        path = tmp_path / "data.zip"
        with zipfile.ZipFile(path, "w") as archive, archive.open("a", "w", force_zip64=True) as file:
            file.write(b"1")
        assert dict(open_archive(path)) == {"a": b"1"}

    def test_reads_more_files_than_sixteen_bits_count(self, tmp_path: Path) -> None:
        files = {f"{number:05d}": b"" for number in range(2**16 + 5)}
        with open_archive(pack_zip(tmp_path / "data.zip", files)) as archive:
            assert len(archive) == 2**16 + 5
            assert archive.names[2**16 + 4] == "65540"

    def test_reads_offsets_beyond_four_gigabytes(self, tmp_path: Path) -> None:
        path = tmp_path / "data.zip"
        with path.open("wb") as file:
            # What stands before a ZIP file is not part of it, so that a hole makes a large one that takes no room.
            file.seek(5 * 2**30)
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("a", b"1")
        with path.open("r+b") as file:
            file.write(b"PK\3\4")
        assert dict(open_archive(path)) == {"a": b"1"}
        with zipfile.ZipFile(path) as archive:
            assert archive.infolist()[0].header_offset > 2**32

    def test_reads_a_zip_behind_a_program_and_before_a_comment(self, tmp_path: Path) -> None:
        content = pack_zip(tmp_path / "data.zip", FILES).read_bytes()
        with zipfile.ZipFile(tmp_path / "data.zip", "a") as archive:
            archive.comment = b"PK\5\6 is how an end begins" + b"PK\5\6" + bytes(17)
        commented = (tmp_path / "data.zip").read_bytes()
        assert len(commented) > len(content)
        assert dict(open_archive(ObjectReader(commented))) == FILES
        assert dict(open_archive(ObjectReader(b"PK\3\4" + b"prefix" * 100 + commented))) == FILES

    def test_reads_names_in_the_old_code_page(self, tmp_path: Path) -> None:
        content = pack_zip(tmp_path / "data.zip", {"xx": b"1"}).read_bytes().replace(b"xx", "é".encode("cp437") + b"x")
        assert dict(open_archive(ObjectReader(content))) == {"éx": b"1"}

    def test_reads_what_was_written_to_a_pipe(self) -> None:
        class Pipe(io.RawIOBase):
            written = b""

            def writable(self) -> bool:
                return True

            def write(self, data: bytes) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
                self.written += bytes(data)
                return len(data)

        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", b"1" * 1000)
        assert dict(open_archive(ObjectReader(pipe.written))) == {"a": b"1" * 1000}

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_refuses_bytes_that_differ_from_the_checksum(self, tmp_path: Path, method: int) -> None:
        path = pack_zip(tmp_path / "data.zip", {"a": b"0123456789" * 100, "b": b"2"}, method)
        with zipfile.ZipFile(path) as archive:
            start = archive.getinfo("a").header_offset + 37
        with path.open("r+b") as file:
            file.seek(start)
            byte = file.read(1)[0]
            file.seek(start)
            file.write(bytes([byte ^ 1]))
        with open_archive(path) as archive:
            assert archive.read("b") == b"2"
            with pytest.raises(ArchiveError, match=r"The file 'a' in .*data\.zip is damaged"):
                archive.read("a")

    def test_refuses_a_false_size_without_filling_the_memory(self, tmp_path: Path) -> None:
        content = pack_zip(tmp_path / "data.zip", {"a": bytes(10**8)}, zipfile.ZIP_DEFLATED).read_bytes()
        path = tmp_path / "data.zip"
        path.write_bytes(content.replace(struct.pack("<I", 10**8), struct.pack("<I", 1000)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with open_archive(path) as archive, pytest.raises(ArchiveError, match="damaged"):
            archive.read("a")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000

    def test_refuses_encryption_other_compressions_and_links(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError, match="'a', compressed by method 14"):
            open_archive(pack_zip(tmp_path / "lzma.zip", {"a": b"1"}, zipfile.ZIP_LZMA))
        content = bytearray(pack_zip(tmp_path / "data.zip", {"a": b"1"}).read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        with pytest.raises(ArchiveError, match="encrypted file 'a'"):
            open_archive(ObjectReader(bytes(content)))
        with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
            link = zipfile.ZipInfo("link")
            link.create_system, link.external_attr = 3, 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        with pytest.raises(ArchiveError, match="holds the link 'link'"):
            open_archive(tmp_path / "link.zip")

    def test_refuses_a_file_that_is_neither(self, tmp_path: Path) -> None:
        for content in (b"", b"text", bytes(100), b"\x89PNG" * 1000):
            (tmp_path / "data").write_bytes(content)
            with pytest.raises(ArchiveError, match="neither a ZIP nor a TAR file"):
                open_archive(tmp_path / "data")


NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120).filter(
        lambda part: part not in {".", ".."}
    ),
    min_size=1,
    max_size=4,
).map("/".join)
CONTENTS = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=12)


def pack_in_memory(kind: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if kind.startswith("zip"):
        method = zipfile.ZIP_STORED if kind == "zip-stored" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        tar_format = {"tar-ustar": tarfile.USTAR_FORMAT, "tar-gnu": tarfile.GNU_FORMAT}.get(kind, tarfile.PAX_FORMAT)
        with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read_by_standard_library(kind: str, packed: bytes) -> dict[str, bytes]:
    if kind.startswith("zip"):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        contents = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: file.read() for name, file in contents.items() if file is not None}


KINDS = st.sampled_from(["zip-stored", "zip-deflated", "tar-ustar", "tar-gnu", "tar-pax"])


class TestAgainstTheStandardLibrary:
    @given(kind=KINDS, files=CONTENTS)
    def test_reads_the_same(self, kind: str, files: dict[str, bytes]) -> None:
        try:
            packed = pack_in_memory(kind, files)
        except ValueError:
            reject()  # ustar cannot hold every name
        archive = open_archive(ObjectReader(packed))
        assert dict(archive) == read_by_standard_library(kind, packed) == files

    @given(kind=KINDS, files=CONTENTS, data=st.data())
    def test_a_truncated_archive_is_refused_or_complete(
        self, kind: str, files: dict[str, bytes], data: st.DataObject
    ) -> None:
        try:
            packed = pack_in_memory(kind, files)
        except ValueError:
            reject()
        length = data.draw(st.integers(0, len(packed) - 1))
        try:
            found = dict(open_archive(ObjectReader(packed[:length])))
        except ArchiveError:
            return
        assert kind.startswith("tar")
        assert found == files

    @given(kind=KINDS.filter(lambda kind: kind.startswith("zip")), files=CONTENTS, data=st.data())
    def test_a_changed_byte_in_a_zip_is_refused_or_without_effect(
        self, kind: str, files: dict[str, bytes], data: st.DataObject
    ) -> None:
        packed = bytearray(pack_in_memory(kind, files))
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            found = dict(open_archive(ObjectReader(bytes(packed))))
        except ArchiveError:
            return
        assert set(found.values()) <= set(files.values())

    @given(packed=st.binary(max_size=3000), start=st.sampled_from([b"", b"PK\3\4", b"PK\5\6"]))
    def test_any_other_file_is_refused(self, packed: bytes, start: bytes) -> None:
        with pytest.raises(ArchiveError):
            open_archive(ObjectReader(b"x" + start + packed if not start else start + packed))


class TestObject:
    def test_a_zip_is_opened_by_its_end_and_each_file_read_by_one_request(self, tmp_path: Path) -> None:
        files = {f"{number:04d}": os.urandom(3000) for number in range(1000)}
        reader = ObjectReader(pack_zip(tmp_path / "data.zip", files).read_bytes())
        archive = open_archive(reader)
        assert len(reader.requests) == 3
        assert sum(length for _, length in reader.requests) < 200_000
        reader.requests.clear()
        assert archive.read("0500") == files["0500"]
        assert len(reader.requests) == 1

    def test_a_tar_of_small_files_is_indexed_by_large_requests_and_one_of_large_files_by_small_ones(
        self, tmp_path: Path
    ) -> None:
        small = ObjectReader(pack_tar(tmp_path / "s.tar", {f"{n:04d}": bytes(1000) for n in range(2000)}).read_bytes())
        open_archive(small)
        assert len(small.requests) < 30
        large = ObjectReader(pack_tar(tmp_path / "l.tar", {str(n): bytes(10**6) for n in range(10)}).read_bytes())
        open_archive(large)
        assert sum(length for _, length in large.requests) < 50_000

    def test_the_index_of_an_object_lies_in_the_cache_and_belongs_to_its_version(self, tmp_path: Path) -> None:
        packed = pack_tar(tmp_path / "data.tar", FILES).read_bytes()
        open_archive(ObjectReader(packed), cache=tmp_path / "cache")
        again = ObjectReader(packed)
        assert dict(open_archive(again, cache=tmp_path / "cache")) == FILES
        assert len(again.requests) == len(FILES)
        other = ObjectReader(pack_tar(tmp_path / "b.tar", {"b": b"2"}).read_bytes(), version="s3://bucket/key 2")
        assert dict(open_archive(other, cache=tmp_path / "cache")) == {"b": b"2"}

    def test_a_local_header_longer_than_expected_takes_a_second_request(self) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            info = zipfile.ZipInfo("a")
            info.extra = struct.pack("<HH", 0xCAFE, 5000) + bytes(5000)
            archive.writestr(info, b"content")
        assert dict(open_archive(ObjectReader(buffer.getvalue()))) == {"a": b"content"}


def read_all(archive: Archive, seed: int) -> int:
    """Read in a random order and return a checksum of what was read."""
    names = sorted(archive) * 20
    random.Random(seed).shuffle(names)
    return sum(zlib.crc32(archive.read(name)) for name in names)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
class TestManyReaders:
    """One opened archive, used by whatever PyTorch, Slurm or a user starts."""

    @pytest.mark.parametrize("kind", ["folder", "zip-stored", "zip-deflated", "tar-pax"])
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_processes_read_what_was_opened_before_they_were_started(
        self, tmp_path: Path, kind: str, method: str
    ) -> None:
        files = {f"{number}": random.Random(number).randbytes(5000) for number in range(200)}
        archive = open_archive(PACKERS[kind](tmp_path / "data", files))
        expected = 20 * sum(zlib.crc32(content) for content in files.values())
        with multiprocessing.get_context(method).Pool(2) as pool:
            results = pool.starmap_async(read_all, [(archive, seed) for seed in range(4)])
            assert read_all(archive, 5) == expected
            assert results.get() == [expected] * 4

    def test_forks_read_through_the_inherited_file(self, tmp_path: Path) -> None:
        files = {f"{number}": random.Random(number).randbytes(5000) for number in range(200)}
        archive = open_archive(pack_zip(tmp_path / "data.zip", files))
        expected = 20 * sum(zlib.crc32(content) for content in files.values())
        children: list[int] = []
        for seed in range(4):
            child = os.fork()
            if child == 0:
                os._exit(0 if read_all(archive, seed) == expected else 1)
            children.append(child)
        assert read_all(archive, 5) == expected
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4

    def test_threads_read_at_once(self, tmp_path: Path) -> None:
        files = {f"{number}": random.Random(number).randbytes(5000) for number in range(200)}
        archive = open_archive(pack_zip(tmp_path / "data.zip", files, zipfile.ZIP_DEFLATED))
        expected = 20 * sum(zlib.crc32(content) for content in files.values())
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(functools.partial(read_all, archive), range(4))) == [expected] * 4

    def test_a_pickle_is_small_and_refuses_what_has_changed_since(self, packed: Path) -> None:
        pickled = pickle.dumps(open_archive(packed))
        assert len(pickled) < 1000
        assert dict(pickle.loads(pickled)) == FILES  # noqa: S301
        if packed.is_dir():
            (packed / "new").write_bytes(b"")
        else:
            shutil.copy(packed, packed.with_name("copy"))
            packed.with_name("copy").replace(packed)
        with pytest.raises(ArchiveError, match="has changed since it was opened"):
            pickle.loads(pickled)  # noqa: S301

    def test_processes_that_open_at_once_all_succeed(self, tmp_path: Path) -> None:
        path = pack_zip(tmp_path / "data.zip", FILES)
        code = f"from labkit.data.archive import open_archive; print(len(open_archive({str(path)!r})))"
        processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(6)]
        assert [process.communicate()[0] for process in processes] == [b"4\n"] * 6
        assert sorted(entry.name for entry in (tmp_path / ".labkit").iterdir()) == ["data.zip.index"]


def without_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on an archive can only be opened by its index."""

    def refuse(*_: object) -> None:
        raise AssertionError("indexed again")

    monkeypatch.setattr("labkit.data.archive.archive.list_members", refuse)


class TestIndex:
    @pytest.mark.parametrize("kind", ["zip-stored", "zip-deflated", "tar-pax"])
    def test_is_made_once(self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path = PACKERS[kind](tmp_path / "data", FILES)
        open_archive(path)
        without_listing(monkeypatch)
        assert dict(open_archive(path)) == FILES

    @pytest.mark.parametrize("change", ["in place", "in place, same time", "replaced, same time"])
    @pytest.mark.parametrize("pack", [pack_tar, pack_zip])
    def test_is_made_again_when_the_archive_changes(
        self, tmp_path: Path, change: str, pack: Callable[[Path, dict[str, bytes]], Path]
    ) -> None:
        path = pack(tmp_path / "data", {"a": b"old", "b": b"12"})
        with open_archive(path) as archive:
            assert dict(archive) == {"a": b"old", "b": b"12"}
        status = path.stat()
        other = pack(tmp_path / "other", {"b": b"34", "a": b"new"})
        assert other.stat().st_size == status.st_size
        if change.startswith("replaced"):
            other.replace(path)
        else:
            path.write_bytes(other.read_bytes())
        if change.endswith("same time"):
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert dict(open_archive(path)) == {"b": b"34", "a": b"new"}

    def test_of_a_changed_archive_is_never_served_however_quick_the_change(self, tmp_path: Path) -> None:
        path = tmp_path / "data.tar"
        for number in range(50):
            pack_tar(path, {f"{number % 2}": f"{number:03d}".encode()})
            with open_archive(path) as archive:
                assert dict(archive) == {f"{number % 2}": f"{number:03d}".encode()}

    @pytest.mark.parametrize("damage", ["truncated", "emptied", "other bytes", "header", "another archive's"])
    def test_is_made_again_when_it_is_not_whole(self, tmp_path: Path, damage: str) -> None:
        path = pack_tar(tmp_path / "data.tar", FILES)
        open_archive(path)
        index = record_path(path, "index")
        content = bytearray(index.read_bytes())
        if damage == "truncated":
            index.write_bytes(content[:-8])
        elif damage == "emptied":
            index.write_bytes(b"")
        elif damage == "other bytes":
            index.write_bytes(os.urandom(len(content)))
        elif damage == "header":
            content[45] ^= 1
            index.write_bytes(content)
        else:
            other = pack_tar(tmp_path / "other.tar", {"b": b"2"})
            open_archive(other)
            record_path(other, "index").replace(index)
        assert dict(open_archive(path)) == FILES

    def test_lies_in_the_cache_where_the_folder_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shared").mkdir()
        path = pack_zip(tmp_path / "shared" / "data.zip", FILES)
        (tmp_path / "shared" / ".labkit").write_bytes(b"no folder can be made here")
        assert dict(open_archive(path)) == FILES
        open_archive(path, cache=tmp_path / "cache")
        without_listing(monkeypatch)
        assert dict(open_archive(path, cache=tmp_path / "cache")) == FILES

    def test_of_a_namesake_in_the_cache_is_never_used(self, tmp_path: Path) -> None:
        for folder, content in (("one", b"1"), ("two", b"2")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / ".labkit").write_bytes(b"")
            path = pack_zip(tmp_path / folder / "data.zip", {"a": content})
            assert open_archive(path, cache=tmp_path / "cache").read("a") == content
        assert len(list((tmp_path / "cache" / ".labkit").iterdir())) == 2

    def test_is_whole_or_absent_after_the_disk_was_full(self, tmp_path: Path) -> None:
        files = {f"{number:06d}": b"" for number in range(5000)}
        path = pack_tar(tmp_path / "data.tar", files)
        code = (
            "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "from labkit.data.archive import open_archive\n"
            f"print(len(open_archive({str(path)!r})))"
        )
        result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        assert result.stdout == b"5000\n"
        assert list((tmp_path / ".labkit").iterdir()) == []

    def test_takes_less_than_ten_megabytes_for_a_hundred_thousand_files(self, tmp_path: Path) -> None:
        files = {f"train/{number % 100:03d}/{number:08d}.png": b"" for number in range(100_000)}
        path = pack_tar(tmp_path / "data.tar", files, tarfile.USTAR_FORMAT)
        with open_archive(path) as archive:
            assert len(archive) == 100_000
        assert record_path(path, "index").stat().st_size < 10_000_000

    def test_finds_names_of_equal_hash(self, tmp_path: Path) -> None:
        # Two pairs of names with the same CRC-32.
        files = {"plumless": b"1", "buckeroo": b"2", "codding": b"3", "gnu": b"4"}
        assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
        with open_archive(pack_tar(tmp_path / "data.tar", files)) as archive:
            assert dict(archive) == files

    def test_is_not_kept_of_an_archive_that_is_still_being_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from labkit.data.archive import archive as module

        path = pack_tar(tmp_path / "data.tar", FILES)
        listing = module.list_members

        def list_and_append(reader: Reader) -> Iterable[Member]:
            members = list(listing(reader))
            with path.open("ab") as file:
                file.write(bytes(512))
            return members

        monkeypatch.setattr(module, "list_members", list_and_append)
        with pytest.raises(ArchiveError, match="is being written to"):
            open_archive(path)
        assert not record_path(path, "index").exists()


def test_a_truncation_after_the_archive_was_opened_is_an_error(tmp_path: Path) -> None:
    path = pack_tar(tmp_path / "data.tar", {"a": b"1" * 5000})
    with open_archive(path) as archive:
        os.truncate(path, 1000)
        with pytest.raises(ArchiveError, match=r"data\.tar ends within 'a'"):
            archive.read("a")
        with pytest.raises(ArchiveError, match="ends within 'a'"), archive.open("a") as file:
            file.read()


def test_opening_imports_neither_numpy_nor_torch(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "data.zip", FILES)
    code = (
        "import sys; from labkit.data.archive import open_archive; "
        f"open_archive({str(path)!r}).read('a.txt'); print(sorted({{'numpy', 'torch', 'numba'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert result.stdout == b"[]\n"


def test_a_socket_is_no_archive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(UsageError, match="socket cannot be opened"):
            open_archive(tmp_path / "socket")
