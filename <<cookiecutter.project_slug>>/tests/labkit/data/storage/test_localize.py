import hashlib
import multiprocessing
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.data.footprint import read_footprint, record_footprint
from labkit.data.storage import (
    AccessDeniedError,
    ChangedError,
    CorruptError,
    NotFoundError,
    Storage,
    UnreachableError,
)
from labkit.data.storage.bucket import PART_SIZE
from labkit.environment import Environment
from tests.labkit.data.service import Bucket, Line

MEBIBYTE = 1 << 20


def list_visible(cache: Path) -> list[str]:
    """Return what a reader of the cache may find: everything but locks, claims and addresses."""
    return sorted(
        path.relative_to(cache).as_posix()
        for path in cache.rglob("*")
        if path.is_file() and path.relative_to(cache).parts[0] not in {".locks", ".claims"} and path.name != "address"
    )


def is_one_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and ". " not in str(error) and str(error).endswith(".")


def start_localizing(environment: Environment, uri: str) -> subprocess.Popen[bytes]:
    """Localize in another process."""
    script = (
        "import sys, pickle\n"
        "from labkit.data.storage import Storage\n"
        "print(Storage(pickle.loads(bytes.fromhex(sys.argv[1]))).localize(sys.argv[2]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, pickle.dumps(environment).hex(), uri], stdout=subprocess.PIPE
    )


def await_received(line: Line, count: int) -> None:
    while line.received < count:
        time.sleep(0.01)


def test_a_file_arrives_as_it_is_in_the_bucket(storage: Storage, bucket: Bucket) -> None:
    content = os.urandom(100_000)
    path = storage.localize(bucket.put("folder/data.bin", content))
    assert path.name == "data.bin"
    assert path.read_bytes() == content


def test_an_empty_file_arrives(storage: Storage, bucket: Bucket) -> None:
    assert storage.localize(bucket.put("empty", b"")).read_bytes() == b""


def test_a_large_file_arrives_in_parallel_ranges(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    content = os.urandom(5 * PART_SIZE + 12_345)
    (tmp_path / "large.bin").write_bytes(content)
    storage.upload(tmp_path / "large.bin", bucket.uri("large.bin"))
    assert storage.localize(bucket.uri("large.bin")).read_bytes() == content


def test_a_large_file_stored_in_one_part_arrives(storage: Storage, bucket: Bucket) -> None:
    content = os.urandom(2 * PART_SIZE + 1)
    assert storage.localize(bucket.put("large.bin", content)).read_bytes() == content


def test_a_directory_arrives_with_all_its_files(storage: Storage, bucket: Bucket) -> None:
    contents = {"a.bin": os.urandom(10), "b/c.bin": os.urandom(9 * MEBIBYTE), "b/d/e": b"", "ä ö/%20+&.txt": b"x"}
    for name, content in contents.items():
        bucket.put(f"set/v1.0/{name}", content)
    folder = storage.localize(bucket.uri("set/v1.0"))
    assert folder.name == "v1.0"
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == contents
    assert storage.localize(bucket.uri("set/v1.0/")).name == "v1.0"


def test_a_neighbour_whose_name_begins_alike_is_not_part_of_a_directory(storage: Storage, bucket: Bucket) -> None:
    bucket.put("set/a", b"1")
    bucket.put("set-other/b", b"2")
    assert [path.name for path in storage.localize(bucket.uri("set")).iterdir()] == ["a"]


def test_data_sets_of_one_name_do_not_meet(storage: Storage, bucket: Bucket) -> None:
    one = storage.localize(bucket.put("one/data.bin", b"one"))
    other = storage.localize(bucket.put("other/data.bin", b"two"))
    assert (one.read_bytes(), other.read_bytes()) == (b"one", b"two")


def test_a_replaced_object_is_served_anew_and_the_old_path_stays_as_it_was(storage: Storage, bucket: Bucket) -> None:
    old = storage.localize(bucket.put("data.bin", b"old"))
    new = storage.localize(bucket.put("data.bin", b"new"))
    assert (old.read_bytes(), new.read_bytes()) == (b"old", b"new")


def test_a_directory_in_which_one_file_changed_is_served_anew(storage: Storage, bucket: Bucket) -> None:
    bucket.put("set/a", b"1")
    bucket.put("set/b", b"2")
    old = storage.localize(bucket.uri("set"))
    bucket.put("set/b", b"3")
    new = storage.localize(bucket.uri("set"))
    assert old != new
    assert ((old / "b").read_bytes(), (new / "b").read_bytes()) == (b"2", b"3")


def test_what_is_there_is_not_downloaded_again(
    make_storage: Callable[..., Storage], bucket: Bucket, line: Line
) -> None:
    uri = bucket.put("data.bin", os.urandom(300_000))
    storage = make_storage(s3_endpoint_url=line.url)
    first = storage.localize(uri)
    received = line.received
    assert storage.localize(uri) == first
    assert line.received - received < 10_000


def test_a_file_goes_through_the_shared_cache_to_the_one_of_the_machine(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    content = os.urandom(9 * MEBIBYTE)
    uri = bucket.put("data.bin", content)
    for node in ("node-1", "node-2"):
        storage = make_storage(data_ephemeral_path=tmp_path / node, s3_endpoint_url=line.url)
        path = storage.localize(uri)
        assert path.is_relative_to(tmp_path / node)
        assert path.read_bytes() == content
    assert len(list_visible(tmp_path / "shared")) == 1
    assert line.received < 1.1 * len(content)


def test_a_machine_s_own_cache_serves_alone(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path
) -> None:
    storage = make_storage(data_path=None, data_ephemeral_path=tmp_path / "node")
    assert storage.localize(bucket.put("data.bin", b"abc")).read_bytes() == b"abc"


def test_without_a_cache_the_variable_to_set_is_named(make_storage: Callable[..., Storage], bucket: Bucket) -> None:
    with pytest.raises(UsageError, match="set DATA_PATH") as caught:
        make_storage(data_path=None).localize(bucket.put("data.bin", b"abc"))
    assert is_one_sentence(caught.value)


def test_a_copy_that_went_bad_in_the_shared_cache_is_not_passed_on(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path
) -> None:
    content = os.urandom(100_000)
    uri = bucket.put("data.bin", content)
    shared = make_storage().localize(uri)
    shared.chmod(0o644)
    damaged = bytearray(content)
    damaged[50_000] ^= 1
    shared.write_bytes(damaged)
    path = make_storage(data_ephemeral_path=tmp_path / "node").localize(uri)
    assert path.read_bytes() == content
    assert shared.read_bytes() == content


@pytest.mark.parametrize("harm", ["truncate", "delete", "add"])
def test_a_copy_that_was_tampered_with_is_made_anew(storage: Storage, bucket: Bucket, harm: str) -> None:
    bucket.put("set/a", b"abc")
    bucket.put("set/b", b"def")
    folder = storage.localize(bucket.uri("set"))
    if harm == "truncate":
        (folder / "a").chmod(0o644)
        os.truncate(folder / "a", 1)
    elif harm == "delete":
        (folder / "a").unlink()
    else:
        (folder / "c").write_bytes(b"foreign")
    folder = storage.localize(bucket.uri("set"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"abc", "b": b"def"}


def test_what_the_bench_notes_about_a_copy_does_not_count_as_foreign(storage: Storage, bucket: Bucket) -> None:
    bucket.put("set/a", b"abc")
    bucket.put("set/.labkit/footprint", b"there")
    folder = storage.localize(bucket.uri("set"))
    footprint = record_footprint(folder)
    assert storage.localize(bucket.uri("set")) == folder
    assert read_footprint(folder) == footprint


def test_copies_are_read_only(storage: Storage, bucket: Bucket) -> None:
    path = storage.localize(bucket.put("data.bin", b"abc"))
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


def test_a_local_path_is_returned_as_it_is(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"abc")
    assert storage.localize(tmp_path / "data.bin") == tmp_path / "data.bin"
    assert storage.localize((tmp_path / "data.bin").as_uri()) == tmp_path / "data.bin"
    assert storage.localize(tmp_path) == tmp_path


def test_development_mode_takes_the_tiny_variant_where_it_exists(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path
) -> None:
    storage = make_storage(development_mode=True)
    bucket.put("with.zip", b"all of it")
    bucket.put("with-tiny.zip", b"some")
    bucket.put("without.zip", b"all of it")
    bucket.put("set.v1/a", b"all of it")
    bucket.put("set.v1-tiny/a", b"some")
    assert storage.localize(bucket.uri("with.zip")).read_bytes() == b"some"
    assert storage.localize(bucket.uri("without.zip")).read_bytes() == b"all of it"
    assert (storage.localize(bucket.uri("set.v1")) / "a").read_bytes() == b"some"
    (tmp_path / "a.csv").write_text("all")
    (tmp_path / "a-tiny.csv").write_text("some")
    assert storage.localize(tmp_path / "a.csv") == tmp_path / "a-tiny.csv"
    assert make_storage().localize(bucket.uri("with.zip")).read_bytes() == b"all of it"


def test_a_missing_object_is_named_and_nothing_stays(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data.zip.part", b"abc")
    with pytest.raises(NotFoundError, match=f"no object or directory '{bucket.uri('data.zip')}'") as caught:
        storage.localize(bucket.uri("data.zip"))
    assert is_one_sentence(caught.value)
    assert isinstance(caught.value, UsageError)
    assert not (tmp_path / "shared").exists()


def test_a_missing_bucket_is_named(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match=r"no bucket 's3://labkit-nowhere/data\.zip'"):
        storage.localize("s3://labkit-nowhere/data.zip")


def test_a_missing_local_file_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file or folder '.*/nothing'"):
        storage.localize(tmp_path / "nothing")


def test_wrong_credentials_are_named_and_not_shown(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path
) -> None:
    uri = bucket.put("data.bin", b"abc")
    storage = make_storage(aws_secret_access_key="wrong-secret-key")
    with pytest.raises(AccessDeniedError, match="denies access") as caught:
        storage.localize(uri)
    assert is_one_sentence(caught.value)
    assert "wrong-secret-key" not in str(caught.value)
    assert not (tmp_path / "shared").exists()


def test_a_server_that_is_not_there_is_named(make_storage: Callable[..., Storage]) -> None:
    storage = make_storage(s3_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="check the network and S3_ENDPOINT_URL") as caught:
        storage.localize("s3://bucket/key")
    assert is_one_sentence(caught.value)


def test_an_object_that_changes_during_its_download_is_refused_and_nothing_stays(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    uri = bucket.put("data.bin", os.urandom(120 * MEBIBYTE))
    storage = make_storage(s3_endpoint_url=line.url)

    def replace(content: bytes) -> bytes:
        if line.received > 10 * MEBIBYTE and line.damage is replace:
            line.damage = bytes
            bucket.put("data.bin", b"new")
        return content

    line.damage = replace
    with pytest.raises(ChangedError, match="changed while it was being read") as caught:
        storage.localize(uri)
    assert is_one_sentence(caught.value)
    assert list_visible(tmp_path / "shared") == []
    assert storage.localize(uri).read_bytes() == b"new"


def test_damage_on_the_way_is_found_and_repaired(
    make_storage: Callable[..., Storage], bucket: Bucket, line: Line
) -> None:
    content = bytes(20 * MEBIBYTE)
    uri = bucket.put("data.bin", content)

    def damage(passing: bytes) -> bytes:
        if line.received > 10 * MEBIBYTE and b"\0" * 1000 in passing:
            line.damage = bytes
            return passing[:-1] + b"\1"
        return passing

    line.damage = damage
    assert make_storage(s3_endpoint_url=line.url).localize(uri).read_bytes() == content
    assert line.damage is bytes


@pytest.mark.parametrize("size", [100_000, 10 * MEBIBYTE])
def test_damage_that_stays_is_refused_and_nothing_stays(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line, size: int
) -> None:
    uri = bucket.put("data.bin", bytes(size))
    line.damage = lambda passing: passing.replace(b"\0" * 1000, b"\0" * 999 + b"\1")
    with pytest.raises(CorruptError, match="arrived twice with other content") as caught:
        make_storage(s3_endpoint_url=line.url).localize(uri)
    assert is_one_sentence(caught.value)
    assert list_visible(tmp_path / "shared") == []


def test_a_line_that_breaks_now_and_then_only_delays(
    make_storage: Callable[..., Storage], bucket: Bucket, line: Line
) -> None:
    content = os.urandom(40 * MEBIBYTE)
    uri = bucket.put("data.bin", content)
    line.break_after, line.breaks = 3 * MEBIBYTE, 6
    assert make_storage(s3_endpoint_url=line.url).localize(uri).read_bytes() == content
    assert line.breaks == 0


def test_a_download_that_was_killed_is_not_visible_and_is_continued(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    content = os.urandom(96 * MEBIBYTE)
    uri = bucket.put("data.bin", content)
    line.bytes_per_second = 100e6
    through_line = make_storage(s3_endpoint_url=line.url)
    process = start_localizing(through_line.environment, uri)
    await_received(line, 80 * MEBIBYTE)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (address,) = [path for path in (tmp_path / "shared").iterdir() if not path.name.startswith(".")]
    assert [path.suffix for path in address.iterdir() if path.is_dir()] == [".unfinished"]
    line.bytes_per_second = float("inf")
    time.sleep(0.1)
    line.received = 0
    assert through_line.localize(uri).read_bytes() == content
    # At most the eight ranges under way, and what was still in the line, were lost.
    assert line.received < 90 * MEBIBYTE
    assert len(list_visible(tmp_path / "shared")) == 1


def test_a_directory_whose_download_was_killed_is_not_visible_and_is_continued(
    make_storage: Callable[..., Storage], bucket: Bucket, tmp_path: Path, line: Line
) -> None:
    contents = {f"{number}.bin": os.urandom(4 * MEBIBYTE) for number in range(20)}
    for name, content in contents.items():
        bucket.put(f"set/{name}", content)
    line.bytes_per_second = 40e6
    storage = make_storage(s3_endpoint_url=line.url)
    process = start_localizing(storage.environment, bucket.uri("set"))
    await_received(line, 60 * MEBIBYTE)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not any(name.count("/") == 3 and ".unfinished" not in name for name in list_visible(tmp_path / "shared"))
    line.bytes_per_second = float("inf")
    time.sleep(0.1)
    line.received = 0
    folder = storage.localize(bucket.uri("set"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert line.received < 60 * MEBIBYTE


def test_processes_that_want_the_same_download_it_once(
    make_storage: Callable[..., Storage], bucket: Bucket, line: Line
) -> None:
    content = os.urandom(24 * MEBIBYTE)
    uri = bucket.put("data.bin", content)
    environment = make_storage(s3_endpoint_url=line.url).environment
    processes = [start_localizing(environment, uri) for _ in range(4)]
    paths = {process.communicate()[0].decode().strip() for process in processes}
    (path,) = paths
    assert hashlib.sha256(Path(path).read_bytes()).digest() == hashlib.sha256(content).digest()
    assert line.received < 1.1 * len(content)


def test_a_storage_goes_along_to_forked_and_spawned_processes(storage: Storage, bucket: Bucket) -> None:
    uri = bucket.put("data.bin", b"abc")
    storage.localize(uri)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert {path.read_bytes() for path in pool.map(storage.localize, [uri] * 4)} == {b"abc"}
    assert storage.localize(uri).read_bytes() == b"abc"


def test_a_key_that_would_leave_its_folder_is_refused(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("set/a", b"1")
    try:
        bucket.put("set/../../outside", b"2")
    except bucket.client.exceptions.ClientError:
        pytest.skip("this server refuses such a key itself")
    if "set/../../outside" not in bucket.list_keys():
        pytest.skip("this server renames such a key itself")
    with pytest.raises(UsageError, match="has no place in a folder"):
        storage.localize(bucket.uri("set"))
    assert not (tmp_path / "shared").exists()
