"""Addresses of data: ``s3://bucket/key``, ``file:///path`` and plain paths."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from labkit.command import UsageError

EXAMPLES: Final = "'s3://bucket/key', 'file:///folder/name' or a path"


@dataclass(frozen=True)
class S3Address:
    """An object, or the objects below a prefix."""

    bucket: str
    key: str
    """The key as it is, not percent-encoded; it ends in ``/`` where only a directory can be meant."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key; the bucket's name for a whole bucket."""
        return PurePosixPath(self.key).name or self.bucket

    @property
    def names_directory(self) -> bool:
        """Whether only a directory can be meant: the whole bucket, or a key that ends in a slash."""
        return not self.key or self.key.endswith("/")

    @property
    def prefix(self) -> str:
        """What the keys of the files below this directory begin with."""
        return self.key if self.names_directory else self.key + "/"

    def with_name(self, name: str) -> "S3Address":
        """Return the address beside this one: the same parent, another last part.

        :param name: The new last part.
        :return: The address; it ends in a slash if this one does.
        """
        slash = "/" if self.key.endswith("/") else ""
        parent = self.key.rstrip("/").rpartition("/")[0]
        return S3Address(self.bucket, f"{parent}/{name}{slash}" if parent else name + slash)

    def below(self, relative: str) -> "S3Address":
        """Return the address of a file below this directory.

        :param relative: The file's path, with slashes.
        :return: The address.
        """
        return S3Address(self.bucket, self.prefix + relative)


Address = S3Address | Path


def parse_address(uri: str | Path) -> Address:
    """Read an address.

    :param uri: ``s3://bucket/key``, ``file:///path`` or a path.
    :return: The S3 address, or the path.
    :raises UsageError: If it is none of them.
    """
    text = str(uri)
    scheme, separator, rest = text.partition("://")
    if isinstance(uri, Path) or not separator:
        if not text:
            raise UsageError(f"The address is empty: write {EXAMPLES}.")
        return Path(text).expanduser()
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise UsageError(f"The address '{text}' names no bucket: write 's3://bucket/key'.")
        return S3Address(bucket, key)
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in {"", "localhost"} or not parts.path:
            raise UsageError(f"The address '{text}' is not on this machine: write 'file:///folder/name'.")
        return Path(unquote(parts.path))
    raise UsageError(f"The address '{text}' begins with '{scheme}://', which is not supported: write {EXAMPLES}.")


def name_tiny(name: str, *, directory: bool) -> str:
    """Name the small variant of a data set that ``DEVELOPMENT_MODE`` takes where it exists.

    :param name: The last part of an address.
    :param directory: Whether it is a directory, in whose name a dot begins no extension.
    :return: ``data-tiny.zip`` for ``data.zip``, ``data-tiny.tar.gz`` for ``data.tar.gz``, ``v1.0-tiny`` for a folder.
    """
    if directory:
        return f"{name}-tiny"
    path = PurePosixPath(name)
    extension = path.suffix
    if path.with_suffix("").suffix == ".tar":
        extension = ".tar" + extension
    return f"{name.removesuffix(extension)}-tiny{extension}"


def check_file_name(relative: str, uri: str) -> str:
    """Return a key's part below its prefix if it can be a file's path below a directory.

    :param relative: The part of the key below the prefix.
    :param uri: The whole address, for the message.
    :return: The same path.
    :raises UsageError: If it would lie outside the directory, or is no path at all.
    """
    if any(part in {"", ".", ".."} for part in relative.split("/")) or "\0" in relative:
        raise UsageError(f"The object '{uri}' has no place in a folder: '{relative}' is not a plain path; rename it.")
    return relative
