"""Known data sets: small files of the true formats, from a real web server."""

import csv
import gzip
import hashlib
import io
import pickle
import signal
import struct
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from labkit.command import UsageError
from labkit.data.archive import open_archive
from labkit.data.catalogue import CATALOGUE, Checksum, DataFile, Dataset, fetch, read_images
from labkit.data.catalogue.format import read_cifar, read_idx, read_stl10_images, read_svhn
from labkit.data.catalogue.known import GARMENTS
from labkit.data.fetch import data_fetch, find_dataset
from labkit.data.storage import CorruptError, Storage, StorageError
from labkit.environment import Environment
from tests.labkit.data.service import WebServer

Row = tuple[str, str, str]
RANDOM = np.random.default_rng(0)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server on an empty folder."""
    (tmp_path / "web").mkdir()
    with WebServer(tmp_path / "web").serve() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    """A cache without any server."""
    with Storage(replace(Environment.read({}, tmp_path), data_path=tmp_path / "shared")) as storage:
        yield storage


def make_images(count: int, *shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def make_idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def make_tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"folder/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def serve(web: WebServer, name: str, files: Mapping[str, bytes]) -> Dataset:
    """Put a data set's files on the server; return its description with their checksums."""
    for file, content in files.items():
        (web.folder / file).write_bytes(content)
    checksums = {file: Checksum("md5", hashlib.md5(content).hexdigest()) for file, content in files.items()}  # noqa: S324
    known = CATALOGUE[name]
    assert {file.name for file in known.files} == set(files)
    return replace(
        known, mirrors=(web.url,), files=tuple(DataFile(file.name, checksums[file.name]) for file in known.files)
    )


def read(folder: Path) -> tuple[list[NDArray[np.uint8]], list[Row]]:
    """Return the images and the rows of a prepared data set, in the order of the rows."""
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with open_archive(folder / "images.zip") as archive:
        assert sorted(archive) == sorted(row["file"] for row in rows)
        images = [np.load(io.BytesIO(archive.read(row["file"]))) for row in rows]
    for row in rows:
        assert row["file"].startswith(f"{row['part']}/{row['class']}/")
    return images, [(row["part"], row["label"], row["class"]) for row in rows]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_idx_files_are_fetched_and_converted(web: WebServer, store: Storage, name: str) -> None:
    images, labels = make_images(5, 28, 28), np.array([3, 0, 9, 9, 1], np.uint8)
    dataset = serve(
        web,
        name,
        {
            "train-images-idx3-ubyte.gz": make_idx(images[:3]),
            "train-labels-idx1-ubyte.gz": make_idx(labels[:3]),
            "t10k-images-idx3-ubyte.gz": make_idx(images[3:]),
            "t10k-labels-idx1-ubyte.gz": make_idx(labels[3:]),
        },
    )
    found, rows = read(fetch(dataset, store))
    assert np.array_equal(found, images)
    assert [row[:2] for row in rows] == [("train", "3"), ("train", "0"), ("train", "9"), ("test", "9"), ("test", "1")]
    if name == "fashion-mnist":
        assert [row[2] for row in rows] == [GARMENTS[label] for label in labels]


@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
def test_cifar_is_fetched_and_converted(web: WebServer, store: Storage, name: str) -> None:
    images, labels = make_images(6, 32, 32, 3), np.array([1, 0, 1, 0, 0, 1], np.uint8)
    coarse = [] if name == "cifar-10" else [np.full((6, 1), 7, np.uint8)]
    rows = np.concatenate([*coarse, labels[:, None], images.transpose(0, 3, 1, 2).reshape(6, -1)], 1)
    if name == "cifar-10":
        batches = {f"data_batch_{number}.bin": rows[number - 1 : number].tobytes() for number in range(1, 6)}
        content = {"batches.meta.txt": b"cat\ndog\n", **batches, "test_batch.bin": rows[5:].tobytes()}
    else:
        content = {
            "test.bin": rows[5:].tobytes(),
            "train.bin": rows[:5].tobytes(),
            "coarse_label_names.txt": b"pets\n",
            "fine_label_names.txt": b"cat\ndog\n",
        }
    dataset = serve(web, name, {f"{name}-binary.tar.gz": make_tar(content)})
    found, table = read(fetch(dataset, store))
    assert np.array_equal(found, images)
    assert table == [
        ("train" if number < 5 else "test", str(label), ["cat", "dog"][label]) for number, label in enumerate(labels)
    ]


def test_house_numbers_are_fetched_and_converted(web: WebServer, store: Storage, tmp_path: Path) -> None:
    images, labels = make_images(4, 32, 32, 3), np.array([10, 1, 9, 10], np.uint8)
    files: dict[str, bytes] = {}
    for part, chosen in (("train", slice(3)), ("test", slice(3, None))):
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": images[chosen].transpose(1, 2, 3, 0), "y": labels[chosen, None]}, do_compression=True)
        files[path.name] = path.read_bytes()
    found, table = read(fetch(serve(web, "svhn", files), store))
    assert np.array_equal(found, images)
    assert table == [("train", "0", "0"), ("train", "1", "1"), ("train", "9", "9"), ("test", "0", "0")]


def test_stl10_is_fetched_and_converted_with_its_unlabelled_images(web: WebServer, store: Storage) -> None:
    images = make_images(5, 96, 96, 3)
    stored = [image.transpose(2, 1, 0).tobytes() for image in images]
    content = {
        "test_X.bin": stored[2],
        "test_y.bin": bytes([1]),
        "train_X.bin": stored[0] + stored[1],
        "train_y.bin": bytes([2, 1]),
        "unlabeled_X.bin": stored[3] + stored[4],
        "class_names.txt": b"airplane\nbird\n",
        "fold_indices.txt": b"0 1\n",
    }
    folder = fetch(serve(web, "stl-10", {"stl10_binary.tar.gz": make_tar(content)}), store)
    found, table = read(folder)
    assert np.array_equal(found, images[[2, 0, 1, 3, 4]])
    again, labels = read_images(folder)
    assert np.array_equal(again, found)
    assert labels.tolist() == [0, 1, 0, -1, -1]
    assert table == [
        ("test", "0", "airplane"),
        ("train", "1", "bird"),
        ("train", "0", "airplane"),
        ("unlabeled", "", "unlabelled"),
        ("unlabeled", "", "unlabelled"),
    ]


@pytest.mark.parametrize("name", sorted(name for name, dataset in CATALOGUE.items() if not dataset.files))
def test_what_comes_with_scikit_learn_needs_no_network(store: Storage, name: str) -> None:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name.replace('-', '_')}")()
    folder = fetch(CATALOGUE[name], store)
    if name == "digits":
        images, rows = read(folder)
        assert np.array_equal(images, bunch.images)
        assert [int(row[1]) for row in rows] == bunch.target.tolist()
        return
    with (folder / "table.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[: bunch.data.shape[1]] == list(bunch.feature_names)
    assert np.array_equal(np.array([row[: bunch.data.shape[1]] for row in rows], float), bunch.data)
    if name == "iris":
        assert (rows[0][-1], rows[-1][-1]) == ("setosa", "virginica")
    if name == "linnerud":
        assert np.array_equal(np.array([row[3:] for row in rows], float), bunch.target)


def concatenate(files: Mapping[str, Path], folder: Path) -> None:
    (folder / "all.bin").write_bytes(b"".join(path.read_bytes() for path in files.values()))


def make_own(web: WebServer, content: bytes, *mirrors: str) -> Dataset:
    """Describe a data set of one file, which is on the server."""
    (web.folder / "own data.bin").write_bytes(content)
    checksum = Checksum("sha256", hashlib.sha256(content).hexdigest())
    return Dataset(
        name="own", mirrors=(*mirrors, web.url), files=(DataFile("own data.bin", checksum),), convert=concatenate
    )


def test_a_data_set_is_fetched_once(web: WebServer, store: Storage) -> None:
    dataset = make_own(web, b"abc")
    folder = fetch(dataset, store)
    assert (folder / "all.bin").read_bytes() == b"abc"
    asked = len(web.requests)
    assert fetch(dataset, store) == folder
    assert len(web.requests) == asked


def test_a_new_revision_is_prepared_anew(web: WebServer, store: Storage) -> None:
    dataset = make_own(web, b"abc")

    def reverse(files: Mapping[str, Path], folder: Path) -> None:
        (folder / "all.bin").write_bytes(files["own data.bin"].read_bytes()[::-1])

    first = fetch(dataset, store)
    second = fetch(replace(dataset, convert=reverse, revision=2), store)
    assert ((first / "all.bin").read_bytes(), (second / "all.bin").read_bytes()) == (b"abc", b"cba")


def test_a_prepared_data_set_that_was_tampered_with_is_made_anew(web: WebServer, store: Storage) -> None:
    dataset = make_own(web, b"abc")
    (fetch(dataset, store) / "all.bin").unlink()
    assert (fetch(dataset, store) / "all.bin").read_bytes() == b"abc"


@pytest.mark.parametrize("gives_ranges", [True, False])
def test_large_files_arrive_from_servers_with_and_without_ranges(
    web: WebServer, store: Storage, gives_ranges: bool
) -> None:
    content = RANDOM.bytes(20_000_001)
    web.gives_ranges = gives_ranges
    folder = fetch(make_own(web, content), store)
    assert (folder / "all.bin").read_bytes() == content
    assert len([request for request in web.requests if "bytes=" in request]) == (4 if gives_ranges else 0)


@pytest.mark.slow
def test_a_download_that_was_killed_is_continued(web: WebServer, store: Storage) -> None:
    content = RANDOM.bytes(96 << 20)
    dataset = make_own(web, content)
    web.bytes_per_second = 5e6
    script = textwrap.dedent(
        """
        import pickle, sys
        from labkit.data.catalogue import fetch
        fetch(*pickle.load(sys.stdin.buffer))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(pickle.dumps((replace(dataset, convert=print), store)))
    process.stdin.close()
    while web.sent < 80 << 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    web.bytes_per_second = float("inf")
    time.sleep(0.2)
    web.sent = 0
    assert (fetch(dataset, store) / "all.bin").read_bytes() == content
    assert web.sent < 90 << 20


def test_a_mirror_with_other_content_is_given_up_and_the_next_one_taken(
    web: WebServer, store: Storage, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    with WebServer(tmp_path / "bad").serve() as bad:
        (bad.folder / "own data.bin").write_bytes(b"abd")
        dataset = make_own(web, b"abc", bad.url)
        assert (fetch(dataset, store) / "all.bin").read_bytes() == b"abc"
        assert len(bad.requests) == 3


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9/", "missing"])
def test_a_mirror_that_is_down_or_lacks_the_file_is_given_up(web: WebServer, store: Storage, mirror: str) -> None:
    address = web.url + "missing/" if mirror == "missing" else mirror
    assert (fetch(make_own(web, b"abc", address), store) / "all.bin").read_bytes() == b"abc"


def test_where_no_mirror_has_the_right_content_nothing_stays(web: WebServer, store: Storage, tmp_path: Path) -> None:
    dataset = make_own(web, b"abc")
    (web.folder / "own data.bin").write_bytes(b"abd")
    with pytest.raises(StorageError, match=r"could not be had from any of 1 mirrors.*checksum") as caught:
        fetch(dataset, store)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "shared").iterdir() if not path.name.startswith(".")] == []


def test_a_conversion_that_fails_leaves_nothing_visible(web: WebServer, store: Storage, tmp_path: Path) -> None:
    def fail(_files: Mapping[str, Path], folder: Path) -> None:
        (folder / "half").write_bytes(b"1")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the converter's own
        fetch(replace(make_own(web, b"abc"), convert=fail), store)
    assert not list((tmp_path / "shared").rglob("half"))


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\1\0\0\0\5abc", b"\1\0\x08\1\0\0\0\1a", b"PNG"])
def test_a_file_of_another_format_is_no_idx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CorruptError, match="not in the IDX format"):
        read_idx(tmp_path / "file")


def test_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not MATLAB" * 100)
    with pytest.raises(CorruptError, match="no MATLAB file"):
        read_svhn(tmp_path / "file")
    with pytest.raises(CorruptError, match="no multiple of 3073"):
        read_cifar(bytes(3074), 1)
    with pytest.raises(CorruptError, match="no number of images"):
        read_stl10_images(bytes(5))


def test_the_same_images_make_the_same_archive_on_any_day(store: Storage) -> None:
    first = fetch(CATALOGUE["digits"], store) / "images.zip"
    content = first.read_bytes()
    first.unlink()
    time.sleep(2.1)
    assert (fetch(CATALOGUE["digits"], store) / "images.zip").read_bytes() == content


STUDY = """
from pathlib import Path
import numpy as np
from labkit.data.catalogue import Checksum, DataFile, Dataset, Example, write_images

def convert(files, folder):
    images = np.load(files["birds.npy"])
    write_images((Example("train", image, number % 2) for number, image in enumerate(images)), ("owl", "wren"), folder)

BIRDS = Dataset(name="birds", mirrors=("{mirror}",), files=(DataFile("birds.npy", Checksum("sha256", "{hash}")),),
                convert=convert)
"""


def test_a_user_s_own_data_set_is_fetched_by_its_module_and_name(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = make_images(4, 8, 8, 3)
    np.save(web.folder / "birds.npy", images)
    checksum = hashlib.sha256((web.folder / "birds.npy").read_bytes()).hexdigest()
    (tmp_path / "own_study.py").write_text(STUDY.format(mirror="http://127.0.0.1:9/", hash=checksum))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DATA_PATH", str(tmp_path / "shared"))
    assert data_fetch.main(["own_study:BIRDS", "--mirror", web.url]) == 0
    found, rows = read(Path(capsys.readouterr().out.strip()))
    assert np.array_equal(found, images)
    assert [row[2] for row in rows] == ["owl", "wren", "owl", "wren"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mnits", r"no data set 'mnits': did you mean mnist\?"),
        ("nothing.here:BIRDS", "cannot be imported"),
        ("json:loads", "'json:loads' is no data set"),
    ],
)
def test_an_unknown_data_set_is_refused_in_one_sentence(name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        find_dataset(name)


def test_bad_input_exits_2_and_data_that_cannot_be_had_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_study.py").write_text(STUDY.format(mirror="http://127.0.0.1:9/", hash="00"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DATA_PATH", str(tmp_path / "shared"))
    assert data_fetch.main(["mnits"]) == 2
    assert data_fetch.main([]) == 2
    assert data_fetch.main(["--keep-free", "20 gigs"]) == 2
    assert data_fetch.main([f"file://{tmp_path}/nothing"]) == 2
    assert data_fetch.main(["broken_study:BIRDS"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("data-fetch: 'birds.npy' could not be had")
    monkeypatch.delenv("DATA_PATH")
    assert data_fetch.main(["digits"]) == 2


def test_help_has_an_example_and_takes_no_torch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        data_fetch.main(["--help"])
    assert caught.value.code == 0
    assert "data-fetch cifar-10" in capsys.readouterr().out
    script = "import sys, labkit.data.fetch; print(sorted({'torch', 'boto3', 'sklearn', 'scipy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
