import itertools

import pytest
import torch

from << cookiecutter.package_name >>.data import FONTS, SHAPE, WORDS, Parts, find_parts

from .project import Project


@pytest.fixture
def parts(project: Project) -> Parts:
    return find_parts(project.environment)


def test_each_word_is_there_in_each_font_and_in_one_part_only(parts: Parts) -> None:
    found = [part.tensors[1].unique().tolist() for part in parts[:3]]
    assert [len(words) for words in found] == [51, 17, 17]
    assert sorted(itertools.chain(*found)) == list(range(len(WORDS)))
    for part in parts[:3]:
        assert set(part.tensors[1].bincount().tolist()) <= {0, len(FONTS)}


def test_each_image_shows_a_word_that_fits_into_it(parts: Parts) -> None:
    images = torch.cat([part.tensors[0] for part in parts[:3]])
    assert images.shape == (len(WORDS) * len(FONTS), *SHAPE)
    assert (images.min(), images.max()) == (0, 1)
    assert (images.amax(dim=(1, 2, 3)) > 0.7).all()  # in the thinnest of fonts
    assert (images[..., 0].amax(dim=(1, 2)) < 0.5).all()  # nothing but noise at the edge
    assert len(images.unique(dim=0)) == len(images)


def test_the_same_words_are_written_every_time(project: Project, parts: Parts) -> None:
    assert find_parts(project.environment).footprint.root == parts.footprint.root
