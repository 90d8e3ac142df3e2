"""What can go wrong between a bucket and a disk, each as one sentence for the user."""

from labkit.command import UsageError


class StorageError(Exception):
    """Data could not be moved; the message is one sentence that says what would help."""


class NotFoundError(StorageError, UsageError):
    """The address names nothing."""


class AccessDeniedError(StorageError, UsageError):
    """The credentials do not open this address, or there are none."""


class UnreachableError(StorageError):
    """The server did not answer, or broke off again and again."""


class ChangedError(StorageError):
    """The object was replaced or deleted while it was being read."""


class CorruptError(StorageError):
    """What arrived is not what the server's checksum describes."""


class DiskFullError(StorageError):
    """The file system has no room for the data."""
