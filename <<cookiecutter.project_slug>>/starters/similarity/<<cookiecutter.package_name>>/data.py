"""The data: words in the fonts that come with Matplotlib, each a little deformed."""

from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.utils.data import TensorDataset

from labkit.data.catalogue import read_images
from labkit.data.footprint import Footprint, identify_data, measure_arrays
from labkit.data.split import Split, make_folds, read_split
from labkit.data.storage import Storage
from labkit.environment import Environment

WORDS: Final = (
    "acorn", "anchor", "arrow", "autumn", "basket", "beacon", "bread", "breeze", "bridge", "bronze", "butter",
    "candle", "canvas", "carbon", "castle", "cellar", "circle", "clover", "cobalt", "copper", "coral", "cotton",
    "dancer", "desert", "dragon", "ember", "engine", "falcon", "feather", "fiddle", "forest", "fossil", "garden",
    "ginger", "glacier", "granite", "hammer", "harbour", "harvest", "helmet", "hollow", "honey", "island", "ivory",
    "jacket", "jungle", "kettle", "ladder", "lantern", "lemon", "linen", "magnet", "maple", "marble", "meadow",
    "mirror", "mosaic", "needle", "ocean", "olive", "orchard", "otter", "paper", "pebble", "pepper", "pillow",
    "planet", "quartz", "rabbit", "ribbon", "river", "saddle", "saffron", "silver", "spider", "summer", "temple",
    "thunder", "timber", "velvet", "violet", "walnut", "willow", "window", "winter",
)  # fmt: skip
FONTS: Final = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "STIXGeneralItalic",
    "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
SHAPE: Final = (1, 16, 64)
FONT_SIZE: Final = 12
LARGEST_VALUE: Final = 255
NOISE: Final = 20
"""The deviation of what is added to each pixel."""
FOLDS: Final = 4
SHARE_FOR_TESTING: Final = 0.2


class Words(NamedTuple):
    """Images of words, and what is known about each."""

    images: NDArray[np.uint8]
    """``(images, 16, 64)``, bright on dark."""
    classes: NDArray[np.int64]
    """The word of each, as its number in ``WORDS``, ``(images,)``."""
    fonts: list[str]


class Parts(NamedTuple):
    """Data sets of images ``(1, 16, 64)``, values 0 to 1, each with its word's number; and which data these are."""

    training: TensorDataset
    validation: TensorDataset
    test: TensorDataset
    footprint: Footprint


def find_parts(environment: Environment, source: str | None = None, fold: int = 0) -> Parts:
    """Load the words in their parts: 60 percent to learn from, 20 to judge by, 20 to test once.

    :param environment: Where buckets and caches are.
    :param source: What `prepare` made, a folder or an address; by default, the words are made anew.
    :param fold: Which quarter of those that are not for testing is to judge by.
    :return: The parts, the same in every run, or runs could not be compared.
    :raises UsageError: If there are no such data, or they are not as recorded.
    :raises StorageError: If they cannot be had.
    """
    if source is None:
        words = make_words()
        footprint = measure_arrays({"images": words.images, "classes": words.classes})
        return make_parts(words.images, words.classes, fold_by_word(words), fold, footprint)
    with Storage(environment) as storage:
        folder = storage.localize(source)
        footprint = identify_data(folder)
        return make_parts(*read_images(folder), read_split(folder / "split.json"), fold, footprint)


def make_words() -> Words:
    """Write every word in every font; the same images every time."""
    random = np.random.default_rng(0)
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    images: list[NDArray[np.uint8]] = []
    for font in FONTS:
        loaded = ImageFont.truetype(str(folder / f"{font}.ttf"), FONT_SIZE)
        images.extend(write_word(word, loaded, random) for word in WORDS)
    classes = np.tile(np.arange(len(WORDS)), len(FONTS))
    return Words(np.stack(images), classes, [font for font in FONTS for _ in WORDS])


def write_word(word: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> NDArray[np.uint8]:
    """Write a word in the middle of an image, shear and stretch it a little, and add noise.

    :param word: The word.
    :param font: The font.
    :param random: Where chance comes from.
    :return: The image ``(16, 64)``.
    """
    _, height, width = SHAPE
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((width / 2, height / 2), word, fill=LARGEST_VALUE, font=font, anchor="mm")
    shear, tilt = random.uniform(-0.3, 0.3), random.uniform(-0.03, 0.03)
    across, along = random.uniform(0.9, 1.2, size=2)
    offset = (width * (1 - along) - height * shear) / 2, (height * (1 - across) - width * tilt) / 2
    matrix = (along, shear, offset[0], tilt, across, offset[1])
    image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return (np.asarray(image) + random.normal(0, NOISE, (height, width))).clip(0, LARGEST_VALUE).astype(np.uint8)


def fold_by_word(words: Words) -> Split:
    """Deal the words into parts: what is searched for afterwards is a word that was never learned."""
    return make_folds(len(words.classes), FOLDS, groups=words.classes.astype(str).tolist(), test=SHARE_FOR_TESTING)


def fold_by_font(words: Words) -> Split:
    """Deal the fonts into parts: what is searched for afterwards are words that were learned, in another hand."""
    return make_folds(len(words.classes), FOLDS, groups=words.fonts, test=SHARE_FOR_TESTING)


def make_parts(
    images: NDArray[np.uint8], classes: NDArray[np.int64], split: Split, fold: int, footprint: Footprint
) -> Parts:
    """Make data sets of the parts of a fold."""
    inputs = torch.from_numpy(images).float().reshape(-1, *SHAPE) / LARGEST_VALUE
    return Parts(*split.cut(fold, inputs, torch.from_numpy(classes)), footprint)
