"""Room: eviction, and what happens where there is none."""

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from labkit.data.storage import ByteCount, DiskFullError, Storage, evict
from labkit.data.storage.cache import Cache, Item
from labkit.data.storage.disk import free_bytes
from tests.labkit.data.service import Bucket, Line, lack

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    administrator = ["sudo", "--non-interactive"] if os.getuid() and shutil.which("sudo") else []
    words = [*administrator, "mount", "-t", "tmpfs", "-o", "size=64m", "labkit", str(folder)]
    mount = subprocess.run(words, check=False, capture_output=True, text=True)
    if mount.returncode:
        lack(f"no small file system can be mounted here ({mount.stderr.strip()}): run the tests as root")
    yield folder
    subprocess.run([*administrator, "umount", "--lazy", str(folder)], check=True)


def make_item(name: str, size: int) -> Item:
    return Item(
        uri=f"s3://bucket/{name}", server="http://server", version="1", name=name, sizes={name: size}, total=size
    )


def write_item(cache: Cache, name: str, size: int, last_use: float) -> Path:
    """Put a copy into a cache, last used at a time."""
    item = make_item(name, size)

    def fill(content: Path, _notes: Path) -> None:
        (content / name).write_bytes(os.urandom(size))

    path = cache.get(item, fill)
    os.utime(path.parent, (last_use, last_use))
    return path


def list_names(root: Path) -> set[str]:
    return {path.name for path in root.glob("[!.]*/*/*")}


def test_the_copies_used_longest_ago_go_first_and_no_more_than_needed(small_disk: Path) -> None:
    cache = Cache(small_disk)
    for name, last_use in (("b", 200), ("a", 300), ("c", 100), ("d", 400)):
        write_item(cache, name, 10 * MEBIBYTE, last_use)
    cache.close()
    removed = evict(small_disk, ByteCount(40 * MEBIBYTE))
    assert [copy.uri for copy in removed] == ["s3://bucket/c", "s3://bucket/b"]
    assert list_names(small_disk) == {"a", "d"}
    assert free_bytes(small_disk) >= 40 * MEBIBYTE
    assert evict(small_disk, ByteCount(40 * MEBIBYTE)) == []


def test_use_makes_a_copy_young(small_disk: Path) -> None:
    cache = Cache(small_disk)
    for name, last_use in (("a", 100), ("b", 200)):
        write_item(cache, name, 20 * MEBIBYTE, last_use)
    item = make_item("a", 20 * MEBIBYTE)
    cache.get(item, lambda _content, _notes: pytest.fail("it was there"))
    cache.close()
    assert [copy.uri for copy in evict(small_disk, ByteCount(40 * MEBIBYTE))] == ["s3://bucket/b"]


def test_what_a_living_process_uses_stays_and_is_named_as_the_reason(small_disk: Path) -> None:
    cache = Cache(small_disk)
    path = write_item(cache, "a", 30 * MEBIBYTE, 100)
    with pytest.raises(DiskFullError, match=r"Only 3[0-9.]+ MB of 60 MB could be made free"):
        evict(small_disk, ByteCount.parse("60MB"))
    assert path.stat().st_size == 30 * MEBIBYTE
    cache.close()
    assert [copy.uri for copy in evict(small_disk, ByteCount.parse("60MB"))] == ["s3://bucket/a"]


def _use(root: Path, used: Event, end: Event) -> None:
    write_item(Cache(root), "a", 30 * MEBIBYTE, 100)
    used.set()
    end.wait()


def test_the_claims_of_another_process_hold_until_it_dies_even_by_kill(small_disk: Path) -> None:
    context = multiprocessing.get_context("spawn")
    used, end = context.Event(), context.Event()
    process = context.Process(target=_use, args=(small_disk, used, end))
    process.start()
    used.wait()
    with pytest.raises(DiskFullError):
        evict(small_disk, ByteCount.parse("60MB"))
    process.kill()
    process.join()
    assert len(evict(small_disk, ByteCount.parse("60MB"))) == 1
    assert list((small_disk / ".claims").iterdir()) == []


def test_a_copy_under_way_is_not_removed(small_disk: Path) -> None:
    cache = Cache(small_disk)

    def fill(content: Path, _notes: Path) -> None:
        (content / "a").write_bytes(bytes(30 * MEBIBYTE))
        with pytest.raises(DiskFullError):
            evict(small_disk, ByteCount.parse("60MB"))

    item = make_item("a", 30 * MEBIBYTE)
    assert cache.get(item, fill).stat().st_size == 30 * MEBIBYTE


def test_an_abandoned_download_makes_room_too(small_disk: Path) -> None:
    def abandon(content: Path, _notes: Path) -> None:
        (content / "a").write_bytes(bytes(30 * MEBIBYTE))
        raise KeyboardInterrupt

    cache = Cache(small_disk)
    item = make_item("a", 40 * MEBIBYTE)
    with pytest.raises(KeyboardInterrupt):
        cache.get(item, abandon)
    cache.close()
    assert len(evict(small_disk, ByteCount.parse("60MB"))) == 1


def test_an_item_larger_than_the_disk_fails_before_a_byte_is_moved(
    make_storage: Callable[..., Storage], bucket: Bucket, small_disk: Path, line: Line
) -> None:
    uri = bucket.put("data.bin", bytes(80 * MEBIBYTE))
    with pytest.raises(DiskFullError, match="does not fit on the disk") as caught:
        make_storage(data_path=small_disk, s3_endpoint_url=line.url).localize(uri)
    assert str(caught.value).count(". ") == 0
    assert "'s3://" in str(caught.value)
    assert line.received < MEBIBYTE
    assert list_names(small_disk) == set()


def test_a_disk_that_becomes_full_during_a_download_ends_it_and_nothing_stays(
    make_storage: Callable[..., Storage], bucket: Bucket, small_disk: Path, line: Line
) -> None:
    uri = bucket.put("data.bin", bytes(50 * MEBIBYTE))

    def fill_up(content: bytes) -> bytes:
        if line.received > 5 * MEBIBYTE and line.damage is fill_up:
            line.damage = bytes
            with (small_disk / "other").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(MEBIBYTE))
                except OSError:
                    pass
        return content

    line.damage = fill_up
    storage = make_storage(data_path=small_disk, s3_endpoint_url=line.url)
    with pytest.raises(DiskFullError, match="does not fit on the disk"):
        storage.localize(uri)
    assert [path.name for path in small_disk.iterdir() if not path.name.startswith(".")] == ["other"]
    (small_disk / "other").unlink()
    assert storage.localize(uri).read_bytes() == bytes(50 * MEBIBYTE)


def test_a_full_second_level_ends_it_too(
    make_storage: Callable[..., Storage], bucket: Bucket, small_disk: Path, tmp_path: Path
) -> None:
    uri = bucket.put("data.bin", bytes(80 * MEBIBYTE))
    with pytest.raises(DiskFullError):
        make_storage(data_ephemeral_path=small_disk).localize(uri)
    assert list_names(small_disk) == set()
    assert not (tmp_path / "shared").exists()
