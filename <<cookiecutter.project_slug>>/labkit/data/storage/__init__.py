"""Data in buckets and folders: verified copies that processes and machines share."""

from labkit.data.storage.disk import ByteCount
from labkit.data.storage.error import (
    AccessDeniedError,
    ChangedError,
    CorruptError,
    DiskFullError,
    NotFoundError,
    StorageError,
    UnreachableError,
)
from labkit.data.storage.eviction import evict
from labkit.data.storage.store import FileEntry, Storage

__all__ = [
    "AccessDeniedError",
    "ByteCount",
    "ChangedError",
    "CorruptError",
    "DiskFullError",
    "FileEntry",
    "NotFoundError",
    "Storage",
    "StorageError",
    "UnreachableError",
    "evict",
]
