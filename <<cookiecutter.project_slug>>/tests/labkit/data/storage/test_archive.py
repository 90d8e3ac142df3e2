"""An archive in a bucket is read like one on the disk."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from labkit.data.archive import open_archive
from labkit.data.record import record_path
from labkit.data.storage import Storage
from labkit.data.storage.error import ChangedError
from tests.labkit.data.service import Bucket

FILES = {f"folder/{number:03d}": bytes([number]) * (100 * number) for number in range(50)}


def pack(kind: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        with zipfile.ZipFile(
            buffer, "w", zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        ) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["tar", "stored", "deflated"])
def test_an_archive_is_read_by_ranges(storage: Storage, bucket: Bucket, tmp_path: Path, kind: str) -> None:
    uri = bucket.put("data", pack(kind, FILES))
    archive = open_archive(storage.open_ranges(uri), cache=tmp_path)
    assert dict(archive) == FILES
    with archive.open("folder/049") as file:
        assert file.seek(-3, io.SEEK_END) == 4897
        assert file.read() == bytes([49] * 3)
    with pickle.loads(pickle.dumps(archive)) as copy:  # noqa: S301
        assert dict(copy) == FILES


def test_an_archive_that_is_replaced_is_an_error_and_then_another(
    storage: Storage, bucket: Bucket, tmp_path: Path
) -> None:
    uri = bucket.put("data", pack("tar", {"a": b"old"}))
    archive = open_archive(storage.open_ranges(uri), cache=tmp_path)
    pickled = pickle.dumps(archive)
    bucket.put("data", pack("tar", {"a": b"new"}))
    with pytest.raises(ChangedError):
        archive.read("a")
    with pickle.loads(pickled) as copy, pytest.raises(ChangedError):  # noqa: S301
        copy.read("a")
    assert open_archive(storage.open_ranges(uri), cache=tmp_path).read("a") == b"new"


def test_an_archive_on_the_disk_is_opened_alike(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "data.tar").write_bytes(pack("tar", FILES))
    archive = open_archive(storage.open_ranges(tmp_path / "data.tar"))
    assert dict(archive) == FILES
    with pickle.loads(pickle.dumps(archive)) as copy:  # noqa: S301
        assert dict(copy) == FILES
    assert record_path(tmp_path / "data.tar", "index").exists()
