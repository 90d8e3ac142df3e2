"""What can be done with data at an address, wherever it is."""

import contextlib
import io
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import filelock

from labkit.command import UsageError
from labkit.data.archive.reader import FileReader, Reader
from labkit.data.storage.address import S3Address, parse_address
from labkit.data.storage.bucket import S3Object, Server
from labkit.data.storage.cache import Cache, Fill, Item, discard, hash_text
from labkit.data.storage.checksum import verify_file
from labkit.data.storage.copying import copy_verified, have_equal_content
from labkit.data.storage.disk import explained_when_full, sync_folder
from labkit.data.storage.error import CorruptError, NotFoundError, UnreachableError
from labkit.data.storage.progress import Advance, show_progress
from labkit.data.storage.reader import ObjectReader, open_object
from labkit.data.storage.transfer import Download, download, run_all
from labkit.data.storage.tree import LocalTree, S3Tree, Tree, exists, find_tiny_tree, find_tree, place_below
from labkit.environment import Environment

STAGING: Final = ".labkit-mirror.unfinished"


@dataclass(frozen=True)
class FileEntry:
    """A file at or below an address."""

    name: str
    """Its path below the address, with slashes; the file's own name where the address is a file's."""
    size: int
    """In bytes."""


class Storage:
    """Data at ``s3://`` and ``file://`` addresses and paths, through the caches that the environment names.

    Any number of threads may use it, and it goes along to forked and spawned processes.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.server = Server(environment)
        folders = (environment.data_path, environment.data_ephemeral_path)
        self._caches = [Cache(folder.absolute()) for folder in folders if folder is not None]

    def __reduce__(self) -> tuple[type["Storage"], tuple[Environment]]:
        return Storage, (self.environment,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and give up the claims on what was localized, so that eviction may remove it."""
        self.server.close()
        for cache in self._caches:
            cache.close()

    def localize(self, uri: str | Path) -> Path:
        """Return a path from which data can be read: a verified copy, or the file itself if it is local already.

        The copy is complete, read-only and of the version that the server has now. It stays until this object is closed
        or its process ends. With ``DEVELOPMENT_MODE``, ``<name>-tiny<extension>`` is taken where it exists.

        :param uri: A file or a directory.
        :return: The file or folder.
        :raises StorageError: If there is no such data, or it cannot be had.
        """
        tree = self._find(uri)
        if isinstance(tree, LocalTree):
            return tree.address.absolute()
        self._check_caches(str(uri))
        return self._localize(tree, self._caches)

    def prepare(self, item: Item, fill: Fill) -> Path:
        """Return a copy of something that is made, not downloaded as it is: kept, claimed and evicted like the others.

        :param item: What is made.
        :param fill: Makes it.
        :return: The file or folder.
        :raises StorageError: If it cannot be made.
        """
        self._check_caches(item.uri)
        return self._caches[0].get(item, fill)

    def exists(self, uri: str | Path) -> bool:
        """Tell whether there is a file or a directory at exactly this address.

        :param uri: The address.
        :raises StorageError: If the server does not tell.
        """
        return exists(parse_address(uri), self.server)

    def list_files(self, uri: str | Path) -> list[FileEntry]:
        """List the files at or below an address, by name.

        :param uri: A file or a directory.
        :return: The files.
        :raises NotFoundError: If there is neither.
        """
        tree = find_tree(parse_address(uri), self.server)
        return [FileEntry(path or tree.address.name, _size(file)) for path, file in sorted(tree.files.items())]

    def open(self, uri: str | Path) -> io.BufferedReader:
        """Open a file where it is, without a copy; of an object, the ranges that are read are downloaded.

        :param uri: A file.
        :return: The open file.
        :raises NotFoundError: If there is no such file.
        """
        file = self._find_file(uri)
        return open_object(file) if isinstance(file, S3Object) else file.open("rb")

    def open_ranges(self, uri: str | Path) -> Reader:
        """Open a file where it is for reading at any positions, as :func:`labkit.data.archive.open_archive` does.

        :param uri: A file.
        :return: What reads its ranges.
        :raises NotFoundError: If there is no such file.
        """
        file = self._find_file(uri)
        return ObjectReader(file) if isinstance(file, S3Object) else FileReader(file)

    def upload(self, path: Path, uri: str | Path) -> None:
        """Store a file or folder at an address; what is there already, and equal, is not sent again.

        :param path: The file or folder.
        :param uri: Where it shall be; with a slash at the end, a file keeps its name below that directory.
        :raises NotFoundError: If there is no such file or folder.
        """
        self.mirror(path, uri)

    def mirror(self, source: str | Path, target: str | Path, *, remove: bool = False) -> None:
        """Make an address hold what another holds, moving only files that differ; each is complete or not there.

        :param source: A file or a directory.
        :param target: Where the same shall be; with a slash at the end, a file keeps its name below that directory.
        :param remove: Whether to remove files that the target has beyond the source.
        :raises StorageError: If a file cannot be read, written or verified.
        """
        origin = find_tree(parse_address(source), self.server)
        place = parse_address(target)
        if list(origin.files) == [""] and (str(target).endswith("/") or (isinstance(place, Path) and place.is_dir())):
            place = place.below(origin.address.name) if isinstance(place, S3Address) else place / origin.address.name
        try:
            present = find_tree(place, self.server)
        except NotFoundError:
            present = None
        has = present.files if present else {}
        differing = [path for path, file in origin.files.items() if path not in has or not _are_equal(file, has[path])]
        total = sum(_size(origin.files[path]) for path in differing)
        with show_progress(str(source), total) as advance:
            if isinstance(place, S3Address):
                self._send(origin, place, differing, advance)
            else:
                _bring(origin, place, differing, advance)
        for path in sorted(set(has) - set(origin.files)) if remove else ():
            file = has[path]
            if isinstance(file, S3Object):
                self.server.delete(file.address)
            else:
                file.unlink()

    def _check_caches(self, uri: str) -> None:
        if not self._caches:
            raise UsageError(
                f"'{uri}' needs a folder for its copy: set DATA_PATH to one with room for it, and DATA_EPHEMERAL_PATH "
                "to one on this machine's own disk if it has one."
            )

    def _find(self, uri: str | Path) -> Tree:
        address = parse_address(uri)
        find = find_tiny_tree if self.environment.development_mode else find_tree
        return find(address, self.server)

    def _find_file(self, uri: str | Path) -> S3Object | Path:
        files = self._find(uri).files
        if list(files) != [""]:
            raise UsageError(f"'{uri}' is a directory: open one of the files below it.")
        return files[""]

    def _localize(self, tree: S3Tree, caches: Sequence[Cache]) -> Path:
        *shared, nearest = caches
        return nearest.get(tree.item, partial(self._copy, tree, shared) if shared else partial(_download_tree, tree))

    def _copy(self, tree: S3Tree, caches: Sequence[Cache], content: Path, _notes: Path) -> None:
        """Copy a tree from the cache before; if the copy there went bad, that is made anew once."""
        try:
            _copy_tree(tree, self._localize(tree, caches), content)
        except CorruptError:
            caches[-1].remove(tree.item)
            _copy_tree(tree, self._localize(tree, caches), content)

    def _send(self, origin: Tree, place: S3Address, paths: Sequence[str], advance: Advance) -> None:
        def send(path: str, _stop: threading.Event) -> None:
            file = origin.files[path]
            target = place.below(path) if path else place
            if isinstance(file, S3Object):
                self.server.copy(file.address, target)
                advance(file.size)
            else:
                self.server.upload(file, target, advance)

        run_all([partial(send, path) for path in paths])


def _download_tree(tree: S3Tree, content: Path, notes: Path) -> None:
    item = tree.item
    downloads = [
        Download(file, content / place_below(item.name, path), notes / hash_text(path))
        for path, file in tree.files.items()
    ]
    with show_progress(item.uri, item.total) as advance:
        download(downloads, advance)


def _copy_tree(tree: S3Tree, copy: Path, content: Path) -> None:
    item = tree.item

    def copy_file(path: str, _stop: threading.Event) -> None:
        file = tree.files[path]
        source, target = copy / path, content / place_below(item.name, path)
        try:
            copy_verified(source, target, file.checksum)
        except CorruptError:
            if not file.has_opaque_checksum():
                raise
            copy_verified(source, target)
        advance(file.size)

    with show_progress(f"{item.uri} from {copy}", item.total) as advance:
        run_all([partial(copy_file, path) for path in tree.files])


def _bring(origin: Tree, place: Path, paths: Sequence[str], advance: Advance) -> None:
    """Bring files to a folder: all of them beside their places first, then each into its own by a rename."""
    if not paths:
        return
    folder = place.parent if "" in paths else place
    total = sum(_size(origin.files[path]) for path in paths)
    with _staging(folder) as staging, explained_when_full(staging, str(origin.address), total):
        staged = {path: staging / hash_text(f"{path} {_version(origin.files[path])}") for path in paths}
        downloads = [
            Download(file, staged[path], staged[path].with_suffix(".ranges"))
            for path in paths
            if isinstance(file := origin.files[path], S3Object)
        ]
        download(downloads, advance)
        for path in paths:
            file, target = origin.files[path], place / path
            if isinstance(file, Path):
                copy_verified(file, staged[path])
                advance(_size(file))
            target.parent.mkdir(parents=True, exist_ok=True)
            staged[path].replace(target)
        for parent in {(place / path).parent for path in paths}:
            sync_folder(parent)


@contextlib.contextmanager
def _staging(folder: Path) -> Generator[Path]:
    """Have a hidden folder for unfinished files to oneself; it stays only where the work can be continued."""
    staging = folder / STAGING
    while True:
        staging.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(staging / "lock")
        try:
            lock.acquire()
        except FileNotFoundError:  # its last user removed the folder meanwhile
            continue
        break
    try:
        yield staging
    except (KeyboardInterrupt, UnreachableError):
        raise
    except BaseException:
        discard(staging)
        raise
    else:
        discard(staging)
    finally:
        lock.release()


def _size(file: S3Object | Path) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.size


def _version(file: S3Object | Path) -> str:
    return "" if isinstance(file, Path) else file.version


def _are_equal(one: S3Object | Path, other: S3Object | Path) -> bool:
    """Tell whether two files are known to hold the same bytes."""
    if _size(one) != _size(other):
        return False
    if isinstance(one, Path):
        return have_equal_content(one, other) if isinstance(other, Path) else _are_equal(other, one)
    if isinstance(other, S3Object):
        return one.etag == other.etag
    with other.open("rb") as file:
        return one.checksum is not None and verify_file(file.fileno(), one.size, one.checksum)
