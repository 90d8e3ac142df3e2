"""Scenes: images with several handwritten digits, some of them partly covered, and what each pixel belongs to."""

from typing import TYPE_CHECKING, Final

from . import digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES: Final = ("background", *map(str, range(digits.CLASSES)))
"""Of the classes of a pixel: 0 is the background, 1 to 10 are the digits 0 to 9."""
SHAPE: Final = (1, 32, 32)
INK: Final = 5
"""The value from which a pixel belongs to its digit."""
NOISE: Final = 0.1
"""The deviation of what is added to each pixel."""
DIGITS: Final = 5
"""In a scene."""
SCENES: Final = {"train": 800, "validation": 200, "test": 200}


def make_scenes(
    images: "NDArray[np.uint8]", classes: "NDArray[np.int64]", count: int, seed: int
) -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
    """Put digits into scenes, anywhere, so that later ones may cover earlier ones; and add noise.

    :param images: Digits ``(digits, 8, 8)``, values 0 to 16.
    :param classes: Their classes.
    :param count: How many scenes.
    :param seed: Another one gives other scenes.
    :return: Scenes ``(count, 1, 32, 32)``, values 0 to 1, and the class of each pixel ``(count, 32, 32)``.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    _, height, width = SHAPE
    scenes = np.zeros((count, height, width), np.float32)
    masks = np.zeros((count, height, width), np.int64)
    for scene, mask in zip(scenes, masks, strict=True):
        for index in random.integers(len(images), size=DIGITS):
            top, left = random.integers((height - digits.SIZE + 1, width - digits.SIZE + 1))
            place = slice(top, top + digits.SIZE), slice(left, left + digits.SIZE)
            inked = images[index] >= INK
            scene[place][inked] = images[index][inked] / digits.LARGEST_VALUE
            mask[place][inked] = classes[index] + 1
    scenes += random.normal(0, NOISE, scenes.shape)
    return scenes.clip(0, 1)[:, None], masks
