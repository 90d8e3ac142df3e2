from typing import get_args

import numpy as np
import pytest
import torch

from labkit.command import UsageError
from << cookiecutter.package_name >>.data import find_parts
from << cookiecutter.package_name >>.distribution import CLASSES, SAMPLES, Distribution, draw_points

from .project import Project

PLACES = {
    "diagonal": ([-0.5, -0.4], [0.6, 0.3]),
    "circle": ([0.1, 0.2], [-0.9, 0.8]),
    "donut": ([0.1, 0.2], [-0.5, 0.5]),
    "stripes": ([-0.8, 0.9], [-0.3, 0.9]),
    "spiral": ([0.3, 0.1], [-0.3, -0.1]),
    "xor": ([-0.5, -0.5], [-0.5, 0.5]),
    "blobs": ([0.6, 0.0], [-0.6, 0.0]),
}
"""Of two classes, a place in the midst of each."""


@pytest.mark.parametrize("distribution", get_args(Distribution))
@pytest.mark.parametrize("classes", [2, 5])
def test_a_distribution_has_any_number_of_classes(distribution: Distribution, classes: int) -> None:
    points = draw_points(distribution, samples=400, classes=classes)
    assert points.places.shape == (400, 2)
    assert np.unique(points.classes).tolist() == list(range(classes))


@pytest.mark.parametrize("distribution", get_args(Distribution))
def test_points_near_each_other_are_of_one_class(distribution: Distribution) -> None:
    places, classes = draw_points(distribution, classes=2)
    near = [np.hypot(*(places - place).T) < 0.05 for place in PLACES[distribution]]
    (first,), (second,) = (np.unique(classes[is_near]) for is_near in near)
    assert first != second


def test_exclusive_or_is_what_it_is_called() -> None:
    (x, y), classes = (points.T for points in draw_points("xor", classes=2))
    assert ((x > 0) ^ (y > 0) == (classes == 1)).all()


def test_the_parts_hold_every_point_once_and_the_same_share_of_classes(project: Project) -> None:
    parts = find_parts(project.environment, "blobs")
    assert [len(part) for part in parts[:3]] == [900, 300, 300]
    assert len(torch.cat([part.tensors[0] for part in parts[:3]]).unique(dim=0)) == SAMPLES
    for part in parts[:3]:
        assert part.tensors[1].bincount().tolist() == [len(part) // CLASSES] * CLASSES


def test_a_distribution_that_there_is_not_is_refused_with_those_that_there_are(project: Project) -> None:
    with pytest.raises(UsageError, match=r"^There are no data 'spirals': name .* stripes, spiral, xor, blobs\.$"):
        find_parts(project.environment, "spirals")
