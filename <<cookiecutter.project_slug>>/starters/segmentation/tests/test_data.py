import pytest
import torch

from << cookiecutter.package_name >>.data import Parts, find_parts, shift
from << cookiecutter.package_name >>.digits import LARGEST_VALUE, read_digits
from << cookiecutter.package_name >>.scene import INK, NAMES, SHAPE, make_scenes

from .project import Project


@pytest.fixture
def parts(project: Project) -> Parts:
    return find_parts(project.environment)


def test_each_pixel_has_a_class(parts: Parts) -> None:
    assert [len(part) for part in parts[:3]] == [800, 200, 200]
    for part in parts[:3]:
        scenes, masks = part.tensors
        assert scenes.shape[1:] == SHAPE
        assert (scenes.min(), scenes.max()) == (0, 1)
        shares = masks.flatten().bincount() / masks.numel()
        assert len(shares) == len(NAMES)
        assert 0.8 < shares[0] < 0.95
        assert shares[1:].min() > 0.002


def test_a_digit_can_be_seen_where_its_class_is() -> None:
    images, classes, _ = read_digits()
    scenes, masks = make_scenes(images[:1], classes[:1] + 6, count=20, seed=0)
    assert set(masks.flatten().tolist()) == {0, 7}  # the first digit is a 0
    assert scenes[:, 0][masks == 7].mean() > INK / LARGEST_VALUE > scenes[:, 0][masks == 0].mean()


def test_the_scenes_are_the_same_every_time(project: Project, parts: Parts) -> None:
    for part, again in zip(parts[:3], find_parts(project.environment)[:3], strict=True):
        assert torch.equal(part.tensors[0], again.tensors[0])
        assert torch.equal(part.tensors[1], again.tensors[1])


def test_a_shift_moves_a_scene_and_its_mask_alike() -> None:
    scene, mask = torch.zeros(SHAPE), torch.zeros(SHAPE[1:], dtype=torch.int64)
    scene[0, 4, 4], mask[4, 4] = 1, 3
    generator = torch.Generator().manual_seed(0)
    places: set[tuple[int, ...]] = set()
    for _ in range(50):
        moved, moved_mask = shift((scene, mask), generator)
        assert torch.equal(moved[0] > 0, moved_mask == 3)
        places.add(tuple(moved_mask.nonzero()[0].tolist()))
    assert len(places) > 40
