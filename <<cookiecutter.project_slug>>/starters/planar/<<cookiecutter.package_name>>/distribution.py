"""The distributions: points in the plane, of which a rule tells the class, for any number of classes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.float64]

Distribution = Literal["diagonal", "circle", "donut", "stripes", "spiral", "xor", "blobs"]

CLASSES: Final = 3
"""Change it, and every distribution has so many; of two, they are the problems that everybody knows."""
SAMPLES: Final = 1500
GAP: Final = 0.1
"""The share of a band on either side of it that is left free, so that classes can be told apart."""
SPREAD: Final = 0.15
"""The standard deviation of a blob."""
DECIMALS: Final = 4
"""Of a coordinate, so that a file holds it as it is."""


class Points(NamedTuple):
    """Points, and the class of each."""

    places: "Places"
    """``(points, 2)``, mostly between -1 and 1."""
    classes: "NDArray[np.int64]"
    """``(points,)``"""


def draw_points(distribution: Distribution, samples: int = SAMPLES, classes: int = CLASSES) -> Points:
    """Draw points, always the same ones.

    :param distribution: How classes lie in the plane.
    :param samples: How many points.
    :param classes: How many classes.
    :return: The points.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    if distribution == "blobs":
        numbers = np.arange(samples) % classes
        angles = 2 * np.pi * numbers / classes
        centres = 0.6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        places = centres + SPREAD * generator.standard_normal((samples, 2))
        return Points(places.round(DECIMALS), numbers)
    places = generator.uniform(-1, 1, (2 * samples, 2)).round(DECIMALS)
    bands = BANDS[distribution](places, classes)
    is_inside = (np.abs(bands % 1 - 0.5) < 0.5 - GAP).all(axis=1)  # near the middle
    numbers = np.floor(bands).sum(axis=1).astype(np.int64) % classes
    return Points(places[is_inside][:samples], numbers[is_inside][:samples])


def diagonal(places: "Places", classes: int) -> "Places":
    """Part the square along its diagonal.

    :param places: Points ``(points, 2)``.
    :param classes: How many classes.
    :return: In which band each is, and where in it, ``(points, 1)``; bands belong to the classes in turn.
    """
    return classes * (places.sum(axis=1, keepdims=True) / 4 + 0.5)


def circle(places: "Places", classes: int) -> "Places":
    """Put a class into a circle, and the others around it."""
    return classes * measure_radius(places)


def donut(places: "Places", classes: int) -> "Places":
    """Do so, but let the class in the middle also be the outermost."""
    return (classes + 1) * measure_radius(places)


def stripes(places: "Places", classes: int) -> "Places":
    """Give two stripes to every class."""
    return classes * (places[:, :1] + 1)


def spiral(places: "Places", classes: int) -> "Places":
    """Wind an arm of each class around the centre."""
    import numpy as np

    turns = np.arctan2(places[:, 1:], places[:, :1]) / (2 * np.pi)
    return classes * (turns - measure_radius(places))


def xor(places: "Places", classes: int) -> "Places":
    """Add the numbers of a column and a row, which of two classes is their exclusive or.

    :return: In which column and row each is, and where in it, ``(points, 2)``.
    """
    return classes * (places + 1) / 2


BANDS: Final[dict[str, Callable[["Places", int], "Places"]]] = {
    rule.__name__: rule for rule in (diagonal, circle, donut, stripes, spiral, xor)
}


def measure_radius(places: "Places") -> "Places":
    """Measure how far from the centre points are, ``(points, 1)``; a corner of the square is 1 away."""
    import numpy as np

    return np.hypot(places[:, :1], places[:, 1:]) / np.sqrt(2)
