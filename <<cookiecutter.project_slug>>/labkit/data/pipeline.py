"""Preparing data in three parts that know nothing of each other: extract, transform, load.

Each part is a function, to which what it works with is given beforehand (:func:`functools.partial`). What changes
between two experiments is one of them: folds by patient rather than by sample, another source, another target.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Generic, TypeVar

from labkit.command import UsageError
from labkit.data.footprint import measure_footprint

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


@contextlib.contextmanager
def make_folder(path: Path) -> Generator[Path]:
    """Make a folder that appears under its name only when all of it is on the disk; one that holds the same may exist.

    :param path: The name.
    :return: A context that gives the folder to fill.
    :raises UsageError: If there is something else under that name.
    """
    path = path.absolute()
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if path.exists():
            if measure_footprint(path) != measure_footprint(unfinished):
                raise UsageError(f"There is something else at {path}: delete it, or choose another place.")
            return
        _sync(unfinished)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sync(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for path in (*(Path(parent, name) for name in names), Path(parent)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
