import torch

from << cookiecutter.package_name >>.data import FONTS, find_parts, fold_by_font, make_words
from << cookiecutter.package_name >>.prepare import prepare, write

from .project import Project


def test_what_is_prepared_is_what_is_made_anew(project: Project) -> None:
    assert prepare.main([]) == 0
    folder = project.path / "data" / "words"
    assert sorted(path.name for path in folder.iterdir()) == [".labkit", "images.zip", "labels.csv", "split.json"]
    prepared, made = find_parts(project.environment, str(folder), 3), find_parts(project.environment, fold=3)
    assert project.run.data.tags["labkit.footprint"] == prepared.footprint.root
    for part, other in zip(prepared[:3], made[:3], strict=True):
        assert torch.equal(part.tensors[0], other.tensors[0])
        assert torch.equal(part.tensors[1], other.tensors[1])


def test_folds_by_font_part_no_font(project: Project) -> None:
    from labkit.data.split import read_split

    words = make_words()
    folder = write(project.path / "words", (words, fold_by_font(words)))
    for fold in read_split(folder / "split.json").folds:
        parts = [{words.fonts[index] for index in indices} for indices in fold.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(FONTS)
