import pytest
import torch

from << cookiecutter.package_name >>.data import Parts, find_parts, shift
from << cookiecutter.package_name >>.digits import CLASSES, SHAPE

from .project import Project


@pytest.fixture
def parts(project: Project) -> Parts:
    return find_parts(project.environment)


def test_the_parts_hold_every_image_once(parts: Parts) -> None:
    assert [len(part) for part in parts[:3]] == [1078, 360, 359]
    images = torch.cat([part.tensors[0] for part in parts[:3]])
    assert images.shape == (1797, *SHAPE)
    assert len(images.unique(dim=0)) == 1797


def test_each_part_has_the_same_share_of_every_class(parts: Parts) -> None:
    for part in parts[:3]:
        counts = part.tensors[1].bincount(minlength=CLASSES)
        assert counts.min() / len(part) > 0.095
        assert counts.max() / len(part) < 0.105


def test_images_are_between_0_and_1(parts: Parts) -> None:
    images = parts.training.tensors[0]
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)


def test_the_split_is_the_same_every_time(project: Project, parts: Parts) -> None:
    for part, again in zip(parts[:3], find_parts(project.environment)[:3], strict=True):
        assert torch.equal(part.tensors[0], again.tensors[0])
        assert torch.equal(part.tensors[1], again.tensors[1])


def test_a_shift_moves_an_image_by_at_most_one_pixel() -> None:
    dot = torch.zeros(SHAPE)
    dot[0, 4, 4] = 1
    generator = torch.Generator().manual_seed(0)
    moved = [shift((dot, torch.tensor(7)), generator) for _ in range(200)]
    places = {tuple(image.squeeze().nonzero()[0].tolist()) for image, _ in moved}
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}
    assert {int(target) for _, target in moved} == {7}
