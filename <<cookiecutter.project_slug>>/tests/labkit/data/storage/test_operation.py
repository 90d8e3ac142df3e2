"""Listing, opening, uploading and mirroring."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.data.archive import open_archive
from labkit.data.storage import ChangedError, CorruptError, FileEntry, NotFoundError, Storage, StorageError
from labkit.data.storage.bucket import PART_SIZE
from tests.labkit.data.service import Bucket, Line

MEBIBYTE = 1 << 20


def write_tree(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


def test_only_the_exact_address_exists(storage: Storage, bucket: Bucket) -> None:
    bucket.put("a.zip.part", b"1")
    bucket.put("set.v1/a", b"1")
    assert not storage.exists(bucket.uri("a.zip"))
    assert storage.exists(bucket.uri("a.zip.part"))
    assert not storage.exists(bucket.uri("set"))
    assert storage.exists(bucket.uri("set.v1"))
    assert storage.exists(bucket.uri("set.v1/"))
    assert not storage.exists(bucket.uri("set.v1/a/"))
    assert not storage.exists("s3://labkit-nowhere/a")


def test_only_the_exact_path_exists(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").touch()
    assert not storage.exists(tmp_path / "a.zip")
    assert storage.exists((tmp_path / "a.zip.part").as_uri())
    assert storage.exists(tmp_path)


def test_files_are_listed_by_name_with_their_sizes(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    contents = {"b": b"22", "a/c.bin": b"1", "a.d/e": b""}
    for name, content in contents.items():
        bucket.put(f"set/{name}", content)
    expected = [FileEntry("a.d/e", 0), FileEntry("a/c.bin", 1), FileEntry("b", 2)]
    assert storage.list_files(bucket.uri("set")) == expected
    assert storage.list_files(write_tree(tmp_path / "set", contents)) == expected
    assert storage.list_files(bucket.uri("set/b")) == [FileEntry("b", 2)]
    with pytest.raises(NotFoundError, match="no object or directory"):
        storage.list_files(bucket.uri("se"))


def test_more_files_than_one_answer_of_the_server_holds_are_listed(storage: Storage, bucket: Bucket) -> None:
    names = [f"{number:04}" for number in range(1001)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: bucket.put(f"set/{name}", b""), names))
    assert [entry.name for entry in storage.list_files(bucket.uri("set"))] == names


def test_an_open_object_reads_and_seeks_like_a_file(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    content = os.urandom(10 * MEBIBYTE + 7)
    (tmp_path / "local").write_bytes(content)
    with storage.open(bucket.put("data.bin", content)) as remote, storage.open(tmp_path / "local") as local:
        for file in (remote, local):
            assert file.read(10) == content[:10]
            assert file.seek(-5, os.SEEK_END) == len(content) - 5
            assert file.read() == content[-5:]
            assert file.read() == b""
            assert file.seek(100) == 100
            assert file.seek(20, os.SEEK_CUR) == 120
            assert file.read(MEBIBYTE) == content[120 : 120 + MEBIBYTE]
            assert file.tell() == 120 + MEBIBYTE
            file.seek(0)
            assert file.read() == content


def test_many_threads_may_read_an_open_object_at_positions(storage: Storage, bucket: Bucket) -> None:
    content = os.urandom(100_000)
    reader = storage.open_ranges(bucket.put("data.bin", content))
    positions = [step * 104_729 % len(content) for step in range(80)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda position: reader.read_range(position, 100), positions))
    assert found == [content[position : position + 100] for position in positions]
    assert reader.read_range(len(content) + 5, 10) == b""


def test_an_archive_in_the_bucket_is_read_by_ranges(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    contents = {f"{number:03}.bin": os.urandom(100_000) for number in range(200)}
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    storage = make_storage(s3_endpoint_url=line.url)
    uri = bucket.put("data.zip", (tmp_path / "data.zip").read_bytes())
    line.received = 0
    with open_archive(storage.open_ranges(uri)) as archive:
        assert archive.read("123.bin") == contents["123.bin"]
        copied = pickle.loads(pickle.dumps(archive))  # noqa: S301 - made here
        assert copied.read("005.bin") == contents["005.bin"]
        assert sorted(archive) == sorted(contents)
    assert line.received < 1_000_000


def test_an_open_object_that_is_replaced_is_not_read_on(storage: Storage, bucket: Bucket) -> None:
    with storage.open(bucket.put("data.bin", b"old" * 10_000_000)) as file:
        assert file.read(3) == b"old"
        bucket.put("data.bin", b"new" * 10_000_000)
        with pytest.raises(ChangedError):
            file.read(20 * MEBIBYTE)


def test_a_directory_cannot_be_opened(storage: Storage, bucket: Bucket) -> None:
    bucket.put("set/a", b"1")
    with pytest.raises(UsageError, match="is a directory"):
        storage.open(bucket.uri("set"))


@pytest.mark.parametrize("size", [0, 5, PART_SIZE, 3 * PART_SIZE + 5])
def test_an_uploaded_file_is_the_same_in_the_bucket(
    storage: Storage, bucket: Bucket, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    (tmp_path / "data.bin").write_bytes(content)
    storage.upload(tmp_path / "data.bin", bucket.uri("there/data.bin"))
    storage.upload(tmp_path / "data.bin", bucket.uri("below/"))
    assert bucket.list_keys() == ["below/data.bin", "there/data.bin"]
    assert bucket.get("there/data.bin") == content


def test_an_uploaded_folder_is_the_same_in_the_bucket(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    contents = {"a.bin": b"1", "b/c ä.bin": b"2", "b/d": b""}
    storage.upload(write_tree(tmp_path / "set", contents), bucket.uri("sets/v1"))
    assert {key: bucket.get(key) for key in bucket.list_keys()} == {f"sets/v1/{k}": v for k, v in contents.items()}


def test_what_is_not_there_cannot_be_uploaded(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        storage.upload(tmp_path / "nothing", bucket.uri("a"))


def test_damage_on_the_way_up_is_found(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(100_000))
    line.damage_up = lambda passing: passing.replace(b"\0" * 100, b"\0" * 99 + b"\1")
    with pytest.raises(StorageError):
        make_storage(s3_endpoint_url=line.url).upload(tmp_path / "data.bin", bucket.uri("data.bin"))
    assert bucket.list_keys() == []


def test_a_file_that_changes_during_its_upload_is_noticed(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(20 * PART_SIZE))

    sent = 0

    def change(passing: bytes) -> bytes:
        nonlocal sent
        sent += len(passing)
        if sent > 12 * PART_SIZE:
            with path.open("r+b") as file:
                file.write(b"1")
        return passing

    line.damage_up = change
    with pytest.raises(CorruptError, match="changed while it was uploaded, upload it again"):
        make_storage(s3_endpoint_url=line.url).upload(path, bucket.uri("data.bin"))
    assert bucket.list_keys() == []


def test_a_mirror_brings_what_differs_and_removes_only_when_told(
    storage: Storage, bucket: Bucket, tmp_path: Path
) -> None:
    contents = {"same": b"1", "changed": b"new", "large": os.urandom(9 * MEBIBYTE), "folder/new": b"3"}
    for name, content in contents.items():
        bucket.put(f"set/{name}", content)
    folder = write_tree(tmp_path / "set", {"same": b"1", "changed": b"old", "extra": b"4"})
    before = (folder / "same").stat().st_ino
    storage.mirror(bucket.uri("set"), folder)
    assert read_tree(folder) == contents | {"extra": b"4"}
    assert (folder / "same").stat().st_ino == before
    storage.mirror(bucket.uri("set"), folder, remove=True)
    assert read_tree(folder) == contents


def test_a_bucket_mirrors_a_folder(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "set", {"a": b"1", "b/c": b"2"})
    bucket.put("set/a", b"old")
    bucket.put("set/extra", b"3")
    storage.mirror(folder, bucket.uri("set"), remove=True)
    assert {key: bucket.get(key) for key in bucket.list_keys()} == {"set/a": b"1", "set/b/c": b"2"}


def test_a_bucket_mirrors_a_bucket(storage: Storage, bucket: Bucket) -> None:
    bucket.put("one/a", b"1")
    bucket.put("one/b", b"2")
    bucket.put("two/b", b"old")
    storage.mirror(bucket.uri("one"), bucket.uri("two"))
    assert {key: bucket.get(key) for key in bucket.list_keys() if key.startswith("two")} == {
        "two/a": b"1",
        "two/b": b"2",
    }


def test_a_folder_mirrors_a_folder(storage: Storage, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "one", {"a": b"1", "b/c": b"2"})
    storage.mirror(folder, tmp_path / "two")
    storage.mirror(folder / "a", tmp_path / "two" / "d")
    storage.mirror(folder / "a", f"{tmp_path}/three/")
    assert read_tree(tmp_path / "two") == {"a": b"1", "b/c": b"2", "d": b"1"}
    assert read_tree(tmp_path / "three") == {"a": b"1"}


def test_a_mirror_that_fails_leaves_the_old_files_and_nothing_else(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    bucket.put("set/a", bytes(100_000))
    bucket.put("set/b", b"2")
    folder = write_tree(tmp_path / "set", {"a": b"old", "b": b"old"})
    line.damage = lambda passing: passing.replace(b"\0" * 1000, b"\0" * 999 + b"\1")
    with pytest.raises(CorruptError):
        make_storage(s3_endpoint_url=line.url).mirror(bucket.uri("set"), folder)
    assert read_tree(folder) == {"a": b"old", "b": b"old"}


def test_without_a_terminal_nothing_is_shown(
    storage: Storage, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.localize(bucket.put("data.bin", b"abc"))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_amount_and_rate(storage: Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    uri = bucket.put("data.bin", bytes(20_000_000))
    storage.localize(uri)
    assert uri in terminal.getvalue()
    assert "20.0/20.0 MB" in terminal.getvalue()
    assert "MB/s" in terminal.getvalue()
