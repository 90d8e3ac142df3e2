"""Clips: a handwritten digit in motion. Every frame alone could be one of any motion; only their order tells which."""

from typing import TYPE_CHECKING, Final, NamedTuple

from .digits import read_digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]

MOTIONS: Final = ("left", "right", "up", "down", "clockwise", "counterclockwise")
"""Their numbers are the classes."""
STEPS: Final = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Rows and columns from one frame to the next; what leaves at one edge comes in at the other."""
TURNS: Final = {"clockwise": -1, "counterclockwise": 1}
"""Quarter turns from one frame to the next."""
FRAMES: Final = 6
SIZE: Final = 12
"""Pixels along each side of a frame."""


class Clips(NamedTuple):
    """Clips, and what moves how in each."""

    frames: "Images"
    """``(clips, FRAMES, SIZE, SIZE)``, values 0 to 16."""
    classes: "NDArray[np.int64]"
    """The number of each motion, ``(clips,)``"""


def make_clips() -> Clips:
    """Set each of the digits that come with scikit-learn in motion, always the same way.

    :return: The clips, one a digit.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    digits = read_digits().images
    classes = np.arange(len(digits)) % len(MOTIONS)
    starts = generator.integers(0, (SIZE, SIZE, 4), (len(digits), 3)).tolist()
    clips = [
        move(digit, MOTIONS[number], (row, column), turns)
        for digit, number, (row, column, turns) in zip(digits, classes, starts, strict=True)
    ]
    return Clips(np.stack(clips), classes)


def move(digit: "Images", motion: str, place: tuple[int, int], turns: int) -> "Images":
    """Make a clip of a digit.

    :param digit: An image ``(height, width)``, not larger than a frame.
    :param motion: How it moves, one of :data:`MOTIONS`.
    :param place: The row and column at which it begins.
    :param turns: The quarter turns with which it begins.
    :return: Frames ``(FRAMES, SIZE, SIZE)``.
    """
    import numpy as np

    (down, right), turn = STEPS.get(motion, (0, 0)), TURNS.get(motion, 0)
    frames = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for number, frame in enumerate(frames):
        turned = np.rot90(digit, turns + number * turn)
        frame[: turned.shape[0], : turned.shape[1]] = turned
        frame[:] = np.roll(frame, (place[0] + number * down, place[1] + number * right), axis=(0, 1))
    return frames
