"""Preparing data in three parts that know nothing of each other: extract, transform, load.

Each part is a function, to which what it works with is given beforehand (:func:`functools.partial`). What changes
between two experiments is one of them: folds by patient rather than by sample, another source, another target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

Extracted = TypeVar("Extracted")
Transformed = TypeVar("Transformed")
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Pipeline(Generic[Extracted, Transformed, Loaded]):
    """Three functions, joined; :func:`dataclasses.replace` makes another pipeline with one of them replaced."""

    extract: Callable[[], Extracted]
    """Gets what is there: localizes, opens, reads."""
    transform: Callable[[Extracted], Transformed]
    """Makes of it what is needed, without effects; see :func:`chain` for several steps."""
    load: Callable[[Transformed], Loaded]
    """Puts that where it is needed, and tells where."""

    def __call__(self) -> Loaded:
        """Run the three.

        :return: What ``load`` tells.
        """
        return self.load(self.transform(self.extract()))


def chain(*steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join steps into one.

    :param steps: Functions of what the one before returns.
    :return: The function that applies them in this order.
    """
    return lambda value: reduce(lambda before, step: step(before), steps, value)
