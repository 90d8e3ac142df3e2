"""A data set that can be fetched: which files, from where, and what becomes of them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from labkit.data.storage import Storage, StorageError
from labkit.data.storage.cache import Item, hash_text
from labkit.data.storage.checksum import Checksum
from labkit.data.storage.connection import ConnectionPool
from labkit.data.storage.disk import check_room
from labkit.data.storage.http import find_web_file
from labkit.data.storage.progress import show_progress
from labkit.data.storage.transfer import Download, download

logger = logging.getLogger(__name__)

Convert = Callable[[Mapping[str, Path], Path], None]
"""Makes the prepared data set from its files, by name, in a folder that may hold what an earlier attempt left."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set."""

    name: str
    """Its address below a mirror's."""
    checksum: Checksum
    """The hash of the whole file."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where a data set comes from, and how it is prepared."""

    name: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...]
    """Addresses of folders that hold the same files, ``https://…/``; the first that works is taken."""
    convert: Convert
    revision: int = 1
    """To be raised when ``convert`` makes something else of the same files."""

    @property
    def version(self) -> str:
        """What changes when the prepared data set does."""
        return hash_text("\n".join([str(self.revision), *(f"{file.name} {file.checksum}" for file in self.files)]))


def fetch(dataset: Dataset, storage: Storage, mirrors: Sequence[str] = ()) -> Path:
    """Return the folder of a prepared data set, fetched and prepared if it is not there.

    The folder is complete or not there. Downloads survive a kill; each file is verified before it is converted.

    :param dataset: The data set.
    :param storage: Whose cache keeps it.
    :param mirrors: Addresses to try before the data set's own.
    :return: The folder.
    :raises StorageError: If a file cannot be had, or has another checksum, at each mirror.
    """
    item = Item(
        uri=f"catalogue:{dataset.name}",
        server="",
        version=dataset.version,
        name=dataset.name,
        sizes=None,
        total=0,
    )
    environment = storage.environment
    connections = ConnectionPool(proxy_url=environment.proxy_url)

    def fill(content: Path, notes: Path) -> None:
        paths = {
            file.name: _download(file, (*mirrors, *dataset.mirrors), notes / hash_text(file.name), connections)
            for file in dataset.files
        }
        folder = content / dataset.name
        folder.mkdir(exist_ok=True)
        dataset.convert(paths, folder)

    try:
        return storage.prepare(item, fill)
    finally:
        connections.close()


def _download(file: DataFile, mirrors: Sequence[str], path: Path, connections: ConnectionPool) -> Path:
    reasons: list[str] = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + quote(file.name)
        try:
            source = find_web_file(connections, url, file.checksum)
            check_room(path.parent, source.size)
            with show_progress(file.name, source.size) as advance:
                download([Download(source, path, path.with_suffix(".ranges"))], advance)
        except StorageError as error:
            logger.warning("Mirror given up: %s", error)
            reasons.append(str(error))
        else:
            return path
    raise StorageError(
        f"'{file.name}' could not be had from any of {len(mirrors)} mirrors, of which the last one said: "
        f"{reasons[-1] if reasons else 'there are none'}"
    )
