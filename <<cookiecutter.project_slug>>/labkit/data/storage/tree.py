"""A file, or all files of a directory, as they are at one moment."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labkit.command import UsageError
from labkit.data.storage.address import Address, S3Address, check_file_name, name_tiny
from labkit.data.storage.bucket import S3Object, Server
from labkit.data.storage.cache import Item, hash_text
from labkit.data.storage.error import NotFoundError


@dataclass(frozen=True)
class S3Tree:
    """An object, or the objects below a directory."""

    address: S3Address
    files: Mapping[str, S3Object] = field(repr=False)
    """By the path below the directory; the one file of a tree that is a file has the path ``""``."""

    @property
    def item(self) -> Item:
        """What a copy of it is a copy of."""
        name = check_file_name(self.address.name, str(self.address))
        if list(self.files) == [""]:
            version = self.files[""].version
        else:
            version = hash_text("\n".join(f"{path}\t{file.version}" for path, file in sorted(self.files.items())))
        return Item(
            uri=str(self.address),
            server=next(iter(self.files.values())).server.endpoint,
            version=version,
            name=name,
            sizes={place_below(name, path): file.size for path, file in self.files.items()},
            total=sum(file.size for file in self.files.values()),
        )


@dataclass(frozen=True)
class LocalTree:
    """A file, or the files below a folder."""

    address: Path
    files: Mapping[str, Path] = field(repr=False)
    """By the path below the folder; the one file of a tree that is a file has the path ``""``."""


Tree = S3Tree | LocalTree


def place_below(name: str, path: str) -> str:
    """Return where a tree's file lies, seen from the folder around the tree.

    :param name: The tree's name.
    :param path: The file's path in the tree; ``""`` if the tree is a file.
    :return: A path with slashes.
    """
    return f"{name}/{path}" if path else name


def exists(address: Address, server: Server) -> bool:
    """Tell whether there is a file or a directory at exactly this address.

    :param address: The address.
    :param server: Answers for S3.
    :raises StorageError: If the server does not tell.
    """
    if isinstance(address, Path):
        return address.exists()
    if server.find(address):
        return True
    try:
        return any(True for _ in server.list(address))
    except NotFoundError:
        return False


def find_tree(address: Address, server: Server) -> Tree:
    """List what is at an address.

    :param address: A file or a directory.
    :param server: Answers for S3.
    :return: The tree.
    :raises NotFoundError: If there is nothing.
    :raises UsageError: If its files' names cannot be those of files in a folder.
    """
    if isinstance(address, Path):
        return _find_local(address)
    if found := server.find(address):
        return S3Tree(address, {"": found})
    files = {check_file_name(file.address.key[len(address.prefix) :], file.uri): file for file in server.list(address)}
    if not files:
        raise NotFoundError(f"There is no object or directory '{address}': check its name and S3_ENDPOINT_URL.")
    _check_folders(files, address)
    return S3Tree(address, files)


def find_tiny_tree(address: Address, server: Server) -> Tree:
    """List what is at an address, or its small variant where that exists.

    :param address: A file or a directory.
    :param server: Answers for S3.
    :return: The tree.
    :raises NotFoundError: If there is nothing.
    """
    for directory in (False, True):
        tiny = address.with_name(name_tiny(address.name, directory=directory))
        if isinstance(tiny, S3Address) and directory and not tiny.names_directory:
            tiny = replace(tiny, key=tiny.key + "/")
        if exists(tiny, server):
            return find_tree(tiny, server)
    return find_tree(address, server)


def _find_local(path: Path) -> LocalTree:
    if path.is_file():
        return LocalTree(path, {"": path})
    if not path.is_dir():
        raise NotFoundError(f"There is no file or folder '{path}': check its name.")
    files = {
        Path(folder, name).relative_to(path).as_posix(): Path(folder, name)
        for folder, _, names in os.walk(path, followlinks=True)
        for name in names
    }
    return LocalTree(path, files)


def _check_folders(paths: Iterable[str], address: S3Address) -> None:
    """Refuse names of which one is a file and a folder."""
    names = set(paths)
    for path in names:
        parent = path
        while parent := parent.rpartition("/")[0]:
            if parent in names:
                raise UsageError(
                    f"'{address.below(parent)}' is an object and a directory at once, which no folder can hold: "
                    "rename one of them."
                )
