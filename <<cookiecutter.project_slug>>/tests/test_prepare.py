import pytest
import torch

from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.digits import fold_by_image, fold_by_writer, read_digits
from << cookiecutter.package_name >>.prepare import prepare, write

from .project import Project


def test_what_is_prepared_is_what_comes_with_scikit_learn(project: Project) -> None:
    from labkit.data.footprint import measure_footprint
    from labkit.data.statistics import read_statistics

    assert prepare.main([]) == 0
    folder = project.path / "data" / "digits"
    assert sorted(path.name for path in folder.iterdir()) == [".labkit", "images.zip", "labels.csv", "split.json"]
    root = measure_footprint(folder).root
    assert project.run.data.tags["labkit.footprint"] == root
    for fold in range(4):
        prepared = find_parts(project.environment, str(folder), fold)
        assert prepared.footprint.root == root
        for part, other in zip(prepared[:3], find_parts(project.environment, fold=fold)[:3], strict=True):
            assert torch.equal(part.tensors[0], other.tensors[0])
            assert torch.equal(part.tensors[1], other.tensors[1])
    statistics = read_statistics(folder / "images.zip", measure_footprint(folder / "images.zip").root)
    assert statistics is not None
    assert (statistics.images, statistics.minimum, statistics.maximum) == (1797, (0.0,), (16.0,))


def test_what_is_prepared_again_is_the_same_or_refused(project: Project) -> None:
    from labkit.command import UsageError

    digits = read_digits()
    folder = project.path / "digits"
    for _ in range(2):
        assert write(folder, (digits, fold_by_image(digits))) == folder
    with pytest.raises(UsageError, match=f"^There is something else at {folder}: delete it, or choose another place"):
        write(folder, (digits, fold_by_writer(digits)))
    assert [path.name for path in project.path.glob("*digits*")] == ["digits"]


def test_folds_by_writer_part_no_writer(project: Project) -> None:
    from labkit.data.split import read_split

    assert prepare.main(["--fold-by", "writer", "--folder", "digits"]) == 0
    split = read_split(project.path / "digits" / "split.json")
    writers = read_digits().writers
    for fold in split.folds:
        assert sum(map(len, fold.values())) == 1797
        train, validation, test = ({writers[index] for index in fold[part]} for part in ("train", "validation", "test"))
        assert not train & validation | train & test | validation & test
        assert len(train | validation | test) == 13
