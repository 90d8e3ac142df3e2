import torch

from << cookiecutter.package_name >>.data import find_parts, read_digits
from << cookiecutter.package_name >>.prepare import prepare

from .project import Project


def test_scenes_of_prepared_digits_are_those_of_the_digits_that_come_with_scikit_learn(project: Project) -> None:
    assert prepare.main([]) == 0
    folder = project.path / "data" / "digits"
    prepared = find_parts(project.environment, str(folder), fold=3)
    assert project.run.data.tags["labkit.footprint"] == prepared.footprint.root
    for part, other in zip(prepared[:3], find_parts(project.environment, fold=3)[:3], strict=True):
        assert torch.equal(part.tensors[0], other.tensors[0])
        assert torch.equal(part.tensors[1], other.tensors[1])


def test_folds_by_writer_part_no_writer(project: Project) -> None:
    from labkit.data.split import read_split

    assert prepare.main(["--fold-by", "writer", "--folder", "digits"]) == 0
    writers = read_digits().writers
    for fold in read_split(project.path / "digits" / "split.json").folds:
        parts = [{writers[index] for index in indices} for indices in fold.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 13
