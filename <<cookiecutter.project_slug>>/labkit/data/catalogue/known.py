"""The data sets that are known by name."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from labkit.data.catalogue.dataset import Convert, DataFile, Dataset
from labkit.data.catalogue.format import open_tar, read_cifar, read_idx, read_stl10_images, read_svhn
from labkit.data.catalogue.table import Example, write_images, write_table
from labkit.data.storage.checksum import Checksum

if TYPE_CHECKING:
    from sklearn.utils import Bunch

DIGITS: Final = tuple("0123456789")
GARMENTS: Final = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
HIRAGANA: Final = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
STL10_SMALL_FILES: Final = frozenset({"class_names.txt", "train_y.bin", "test_y.bin"})
CLASSIFIED: Final = frozenset({"load_breast_cancer", "load_iris", "load_wine"})
STL10_BLOCK: Final = 1000 * 3 * 96 * 96


def examples(part: str, images: Iterable[NDArray[Any]], labels: Iterable[int | None]) -> Iterator[Example]:
    """Join the images of a part with their labels.

    :param part: The part's name.
    :param images: Its images.
    :param labels: Their labels.
    :return: The examples.
    """
    return (Example(part, image, label) for image, label in zip(images, labels, strict=False))


def convert_idx(classes: tuple[str, ...], files: Mapping[str, Path], folder: Path) -> None:
    """Convert MNIST, and what is distributed like it."""

    def read() -> Iterator[Example]:
        for part, prefix in (("train", "train"), ("test", "t10k")):
            images = read_idx(files[f"{prefix}-images-idx3-ubyte.gz"])
            labels = read_idx(files[f"{prefix}-labels-idx1-ubyte.gz"])
            yield from examples(part, images, labels.tolist())

    write_images(read(), classes, folder)


def convert_cifar(names: str, labels: int, files: Mapping[str, Path], folder: Path) -> None:
    """Convert CIFAR's binary version, which holds no pickled objects.

    :param names: The file with the names of the classes.
    :param labels: The number of labels of each image.
    """
    (path,) = files.values()
    contents = {name: file.read() for name, file in open_tar(path)}
    classes = contents[names].decode().split()

    def read() -> Iterator[Example]:
        batches = sorted(name for name in contents if name.endswith(".bin"))
        for part in ("train", "test"):
            for name in batches:
                if name.startswith("test") == (part == "test"):
                    images, numbers = read_cifar(contents[name], labels)
                    yield from examples(part, images, numbers.tolist())

    write_images(read(), classes, folder)


def convert_svhn(files: Mapping[str, Path], folder: Path) -> None:
    """Convert cropped house numbers."""

    def read() -> Iterator[Example]:
        for part in ("train", "test"):
            images, labels = read_svhn(files[f"{part}_32x32.mat"])
            yield from examples(part, images, labels.tolist())

    write_images(read(), DIGITS, folder)


def convert_stl10(files: Mapping[str, Path], folder: Path) -> None:
    """Convert STL-10, with its 100,000 images of unknown classes, a thousand at a time."""
    (path,) = files.values()
    small = {name: file.read() for name, file in open_tar(path) if name in STL10_SMALL_FILES}
    classes = small["class_names.txt"].decode().split()

    def read() -> Iterator[Example]:
        for name, file in open_tar(path):
            if not name.endswith("_X.bin"):
                continue
            part = name.removesuffix("_X.bin")
            known = small.get(f"{part}_y.bin")
            labels = repeat(None) if known is None else iter((np.frombuffer(known, np.uint8).astype(int) - 1).tolist())
            while content := file.read(STL10_BLOCK):
                yield from examples(part, read_stl10_images(content), labels)

    write_images(read(), classes, folder)


def convert_digits(_files: Mapping[str, Path], folder: Path) -> None:
    """Write the handwritten digits that come with scikit-learn; their values reach from 0 to 16."""
    from sklearn.datasets import load_digits

    digits = cast("Bunch", load_digits())
    write_images(examples("all", digits.images.astype(np.uint8), digits.target.tolist()), DIGITS, folder)


def convert_embedded_table(loader: str, _files: Mapping[str, Path], folder: Path) -> None:
    """Write a table that comes with scikit-learn; its last column or columns are what is to be predicted.

    :param loader: The function of :mod:`sklearn.datasets`.
    """
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, loader)()
    targets = bunch.target.reshape(len(bunch.target), -1).tolist()
    if loader in CLASSIFIED:
        targets = [[bunch.target_names[target]] for (target,) in targets]
    names = bunch.target_names if loader not in CLASSIFIED and "target_names" in bunch else ["target"]
    rows = [[*values, *target] for values, target in zip(bunch.data.tolist(), targets, strict=True)]
    write_table([*bunch.feature_names, *names], rows, folder)


def _md5(name: str, expected: str) -> DataFile:
    return DataFile(name, Checksum("md5", expected))


def _idx(
    name: str, mirrors: tuple[str, ...], checksums: tuple[str, str, str, str], classes: tuple[str, ...]
) -> Dataset:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = tuple(_md5(f"{each}-ubyte.gz", md5) for each, md5 in zip(names, checksums, strict=True))
    return Dataset(name=name, files=files, mirrors=mirrors, convert=partial(convert_idx, classes))


def _embedded(name: str, convert: Convert) -> Dataset:
    return Dataset(name=name, files=(), mirrors=(), convert=convert)


# The checksums are those that the authors, or torchvision, publish.
CATALOGUE: Final = {
    dataset.name: dataset
    for dataset in (
        _idx(
            "mnist",
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
            DIGITS,
        ),
        _idx(
            "fashion-mnist",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            GARMENTS,
        ),
        _idx(
            "kmnist",
            ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
            (
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
            HIRAGANA,
        ),
        Dataset(
            name="cifar-10",
            files=(_md5("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            convert=partial(convert_cifar, "batches.meta.txt", 1),
        ),
        Dataset(
            name="cifar-100",
            files=(_md5("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            convert=partial(convert_cifar, "fine_label_names.txt", 2),
        ),
        Dataset(
            name="svhn",
            files=(
                _md5("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
                _md5("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
            ),
            mirrors=("http://ufldl.stanford.edu/housenumbers/",),
            convert=convert_svhn,
        ),
        Dataset(
            name="stl-10",
            files=(_md5("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),),
            mirrors=("http://ai.stanford.edu/~acoates/stl10/",),
            convert=convert_stl10,
        ),
        _embedded("digits", convert_digits),
        *(
            _embedded(loader.removeprefix("load_").replace("_", "-"), partial(convert_embedded_table, loader))
            for loader in ("load_breast_cancer", "load_diabetes", "load_iris", "load_linnerud", "load_wine")
        ),
    )
}
