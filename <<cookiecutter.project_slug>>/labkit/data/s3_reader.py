"""An object in S3 as something to open an archive in: only the ranges that are read are downloaded."""

from labkit.command import UsageError
from labkit.data.storage import Storage
from labkit.data.storage.reader import ObjectReader


class S3Reader:
    """Reads one version of an object, which a :class:`labkit.data.reader.Reader` does."""

    def __init__(self, storage: Storage, uri: str) -> None:
        """Look the object up.

        :param storage: Where it is.
        :param uri: Its address.
        :raises UsageError: If it is no object in S3, or there is none.
        """
        self._storage = storage
        self._uri = uri
        reader = storage.open(uri).raw
        if not isinstance(reader, ObjectReader):
            raise UsageError(f"The file '{uri}' is not in S3: open it by its path.")
        self._reader = reader
        self.size = reader.source.size
        self.version = f"{reader.source.server.endpoint} {uri} {reader.source.version}"

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range, in one request; if the object was replaced meanwhile, there is an error."""
        return self._reader.pread(length, offset)

    def __reduce__(self) -> tuple[type["S3Reader"], tuple[Storage, str]]:
        return S3Reader, (self._storage, self._uri)
