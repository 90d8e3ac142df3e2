"""Data to this machine, by name or address."""

import difflib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.command import EXIT_DONE, EXIT_FAILED, UsageError, command
from labkit.data.storage import ByteCount, Storage, StorageError, evict
from labkit.environment import Environment

if TYPE_CHECKING:
    from labkit.data.catalogue import Dataset


@command
def data_fetch(name: str | None = None, *, mirror: str | None = None, keep_free: ByteCount | None = None) -> int:
    """Fetch data into the cache, verified, and print where they are.

    What is there already is not fetched again, and what was killed is continued. Examples: ``data-fetch cifar-10``,
    ``data-fetch s3://bucket/cells.zip``, ``data-fetch study.data:BIRDS``, ``data-fetch --keep-free 20GB``.

    :param name: A data set of the catalogue, one of your own as module:NAME, or an address (s3:// or file://).
    :param mirror: Where to look for a data set's files first, for example https://example.org/mnist/.
    :param keep_free: Make room first: remove the copies that were used longest ago, and are not in use, until so much
        is free, for example 20GB.
    :return: 0; 1 if the data cannot be had.
    """
    environment = Environment.read()
    if name is None and keep_free is None:
        raise UsageError("There is nothing to do: name a data set or an address, or give --keep-free.")
    try:
        if keep_free is not None:
            make_room(environment, keep_free)
        if name is not None:
            print(fetch_named(name, environment, mirror))
    except UsageError:
        raise
    except StorageError as error:
        print(f"data-fetch: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


def make_room(environment: Environment, keep_free: ByteCount) -> None:
    """Remove copies from the caches until there is room, and say which.

    :param environment: Where the caches are.
    :param keep_free: The room that shall be free in each.
    :raises UsageError: If there are no caches.
    :raises DiskFullError: If there is not enough room even so.
    """
    caches = [path for path in (environment.data_path, environment.data_ephemeral_path) if path is not None]
    if not caches:
        raise UsageError("There is no cache to make room in: set DATA_PATH.")
    for cache in caches:
        for copy in evict(cache, keep_free):
            print(f"removed {copy.uri} ({ByteCount(copy.size)})")


def fetch_named(name: str, environment: Environment, mirror: str | None = None) -> Path:
    """Return the path of data that are given by name or address.

    :param name: See :func:`data_fetch`.
    :param environment: Where the caches and servers are.
    :param mirror: Where to look for a data set's files first.
    :return: The file or folder.
    :raises UsageError: If there is no such data set.
    :raises StorageError: If it cannot be had.
    """
    with Storage(environment) as storage:
        if "://" in name:
            return storage.localize(name)
        # SciPy and scikit-learn behind the catalogue take a second, which an address does not have to wait for.
        from labkit.data.catalogue import fetch

        return fetch(find_dataset(name), storage, [mirror] if mirror else [])


def find_dataset(name: str) -> "Dataset":
    """Find a data set in the catalogue, or one of the user's own.

    :param name: Its name, or ``module:NAME``.
    :return: The data set.
    :raises UsageError: If there is none.
    """
    from labkit.data.catalogue import CATALOGUE, Dataset

    if name in CATALOGUE:
        return CATALOGUE[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        similar = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean {similar[0]}? " if similar else ""
        raise UsageError(
            f"There is no data set '{name}': {hint}known are {', '.join(sorted(CATALOGUE))}; your own is given as "
            "module:NAME, and a file by its address, s3://bucket/key."
        )
    try:
        dataset = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"The data set '{name}' cannot be imported ({error}): write it as module:NAME.") from error
    if not isinstance(dataset, Dataset):
        raise UsageError(f"'{name}' is no data set: give a labkit.data.catalogue.Dataset.")
    return dataset
