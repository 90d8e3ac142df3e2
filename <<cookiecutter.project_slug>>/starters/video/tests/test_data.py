import numpy as np
import pytest
import torch

from << cookiecutter.package_name >>.clip import FRAMES, MOTIONS, SIZE, move
from << cookiecutter.package_name >>.data import find_parts

from .project import Project

DOT = np.array([[9, 0], [0, 0]], np.uint8)


def places(motion: str) -> list[list[int]]:
    """Return where a dot is that begins in the middle, frame by frame."""
    return np.argwhere(move(DOT, motion, (6, 6), turns=0))[:, 1:].tolist()


def test_a_digit_moves_by_a_pixel_in_its_direction() -> None:
    assert places("right") == [[6, 6], [6, 7], [6, 8], [6, 9], [6, 10], [6, 11]]
    assert places("left") == [[6, 6], [6, 5], [6, 4], [6, 3], [6, 2], [6, 1]]
    assert places("up")[-1] == [1, 6]
    assert places("down")[-1] == [11, 6]


def test_a_digit_turns_by_a_quarter_in_its_direction() -> None:
    top_left, top_right, bottom_right, bottom_left = [6, 6], [6, 7], [7, 7], [7, 6]
    around = [top_left, top_right, bottom_right, bottom_left]
    assert places("clockwise") == [*around, top_left, top_right]
    assert places("counterclockwise") == [top_left, *around[::-1], bottom_left]


@pytest.mark.parametrize("motion", MOTIONS)
def test_nothing_of_a_digit_is_lost_at_an_edge(motion: str) -> None:
    digit = np.arange(1, 65, dtype=np.uint8).reshape(8, 8)
    frames = move(digit, motion, (SIZE - 1, SIZE - 3), turns=3)
    assert frames.shape == (FRAMES, SIZE, SIZE)
    for frame in frames:
        assert sorted(frame[frame > 0].tolist()) == list(range(1, 65))


def test_the_parts_hold_every_digit_once_and_the_same_share_of_motions(project: Project) -> None:
    parts = find_parts(project.environment)
    assert [len(part) for part in parts[:3]] == [1078, 360, 359]
    clips = torch.cat([part.tensors[0] for part in parts[:3]])
    assert clips.shape == (1797, 1, FRAMES, SIZE, SIZE)
    assert (clips.min(), clips.max()) == (0, 1)
    for part in parts[:3]:
        counts = part.tensors[1].bincount(minlength=len(MOTIONS))
        assert counts.max() - counts.min() <= 1
