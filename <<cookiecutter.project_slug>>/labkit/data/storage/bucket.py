"""Objects in S3: what is there, their bytes, and new ones.

boto3 speaks to the server, except where bytes come down: botocore signs an object's address, and the bytes come through
:mod:`labkit.data.storage.connection`. With each range the server is told which version is meant (``If-Match``), so that
an object that is replaced during a download is noticed at once.
"""

import contextlib
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote

from labkit.data.storage.address import S3Address
from labkit.data.storage.checksum import Checksum, Piece, read_etag, verify_file
from labkit.data.storage.connection import ConnectionPool, Response, describe
from labkit.data.storage.error import (
    AccessDeniedError,
    CorruptError,
    NotFoundError,
    StorageError,
    UnreachableError,
)
from labkit.data.storage.http import open_range
from labkit.data.storage.progress import Advance, ignore_advance
from labkit.data.storage.transfer import RANGE_SIZE
from labkit.environment import Environment

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.client import BaseClient

PART_SIZE: Final = 8 << 20
MOST_PARTS: Final = 10_000
THREADS: Final = 8
SECONDS_OF_A_SIGNATURE: Final = 3600
MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
DENIED: Final = frozenset(
    {"401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
)


class Server:
    """An S3 server, for any number of threads and forked processes."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.connections = ConnectionPool(environment.s3_verify, environment.proxy_url)
        self._clients: dict[int, Any] = {}
        self._credentials: dict[int, Any] = {}
        self._places: dict[str, tuple[str, str]] = {}

    def __reduce__(self) -> tuple[type["Server"], tuple[Environment]]:
        return Server, (self.environment,)

    @property
    def client(self) -> "BaseClient | Any":
        """The client of this process; connections must not be shared across a fork."""
        process = os.getpid()
        if process not in self._clients:
            self._clients[process] = make_client(self.environment)
        return self._clients[process]

    def close(self) -> None:
        """Close the connections; later requests open new ones."""
        self.connections.close()
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def sign(self, address: S3Address) -> str:
        """Return where an object can be read without credentials, for as long as a transfer may take.

        The client's own way to it works out the server of the bucket each time, and takes longer than a small object.

        :param address: The object's address.
        :return: The signed address on the web.
        :raises StorageError: If there are no credentials.
        """
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        with explained(str(address)):
            place, region = self._find_place(address.bucket)
            request = AWSRequest("GET", place + quote(address.key, safe="/~"))
            S3SigV4QueryAuth(self._find_credentials(), "s3", region, SECONDS_OF_A_SIGNATURE).add_auth(request)
        return str(request.url)

    def _find_credentials(self) -> Any:
        """Return the credentials that hold now; some are renewed from time to time."""
        from botocore.exceptions import NoCredentialsError

        process = os.getpid()
        if process not in self._credentials:
            self._credentials[process] = make_session(self.environment).get_credentials()
        credentials = self._credentials[process]
        if credentials is None:
            raise NoCredentialsError
        return credentials.get_frozen_credentials()

    def _find_place(self, bucket: str) -> tuple[str, str]:
        """Return what comes before each key of a bucket, and the region for which requests to it are signed."""
        if bucket not in self._places:
            url = self.client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
            place, _, query = url.partition("?")
            region = parse_qs(query)["X-Amz-Credential"][0].split("/")[-3]
            self._places[bucket] = (place.removesuffix("key"), region)
        return self._places[bucket]

    @property
    def endpoint(self) -> str:
        """The server's address, which tells its buckets from another server's of the same name."""
        return str(self.client.meta.endpoint_url)

    def find(self, address: S3Address) -> "S3Object | None":
        """Look an object up by its exact key.

        :param address: The object's address.
        :return: The object; none if there is no object of this key.
        :raises StorageError: If the server does not tell.
        """
        if address.names_directory:
            return None
        with explained(str(address)):
            try:
                answer = self.client.head_object(Bucket=address.bucket, Key=address.key)
            except self.client.exceptions.ClientError as error:
                if _code(error) in MISSING - {"NoSuchBucket"}:
                    return None
                raise
        return S3Object(self, address, answer["ContentLength"], answer["ETag"].strip('"'), _is_opaque(answer))

    def list(self, address: S3Address) -> Iterator["S3Object"]:
        """List the objects below a directory, in the order of their keys.

        :param address: The directory; a slash at its end is not needed.
        :return: The objects; markers of folders (empty, with a slash at the end) are left out.
        :raises StorageError: If the server does not tell.
        """
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=address.prefix)
        with explained(str(address)):
            for page in pages:
                for item in page.get("Contents", ()):
                    if not item["Key"].endswith("/"):
                        yield S3Object(
                            self, S3Address(address.bucket, item["Key"]), item["Size"], item["ETag"].strip('"')
                        )

    def upload(self, path: Path, address: S3Address, advance: Advance = ignore_advance) -> None:
        """Store a file as an object, in parallel parts, and verify what the server says it has.

        :param path: The file.
        :param address: The object's address.
        :param advance: Told of the bytes as they go.
        :raises CorruptError: If the server has something else, which is deleted.
        """
        from boto3.s3.transfer import TransferConfig

        size = path.stat().st_size
        part_size = max(PART_SIZE, -(-size // MOST_PARTS))
        configuration = TransferConfig(
            multipart_threshold=part_size, multipart_chunksize=part_size, max_concurrency=THREADS
        )
        with explained(str(address)):
            self.client.upload_file(str(path), address.bucket, address.key, Config=configuration, Callback=advance)
        stored = self.find(address)
        with path.open("rb") as file:
            if stored is None or not (
                verify_file(file.fileno(), stored.size, stored.checksum)
                or (stored.has_opaque_checksum() and stored.size == size)
            ):
                self.delete(address)
                raise CorruptError(
                    f"'{address}' is not what '{path}' holds: the file changed while it was uploaded, upload it again."
                )

    def copy(self, source: S3Address, target: S3Address) -> None:
        """Copy an object within the server.

        :param source: The object.
        :param target: The copy.
        """
        with explained(str(source)):
            self.client.copy({"Bucket": source.bucket, "Key": source.key}, target.bucket, target.key)

    def delete(self, address: S3Address) -> None:
        """Delete an object.

        :param address: The object's address.
        """
        with explained(str(address)):
            self.client.delete_object(Bucket=address.bucket, Key=address.key)


@dataclass(frozen=True)
class S3Object:
    """One version of an object; a :class:`labkit.data.storage.transfer.Source`."""

    server: Server
    address: S3Address
    size: int
    etag: str
    """Without its quotes."""
    is_opaque: bool | None = None
    """Whether the server encrypts it so that the ETag tells nothing of the content; none where not asked."""

    range_size = RANGE_SIZE

    @property
    def uri(self) -> str:
        """Its address, as messages name it."""
        return str(self.address)

    @property
    def version(self) -> str:
        """What changes when the content does."""
        return f"{self.etag}-{self.size}"

    @property
    def checksum(self) -> Checksum | None:
        """What its content hashes to, as far as the ETag tells."""
        return read_etag(self.etag, self.size)

    def has_opaque_checksum(self) -> bool:
        """Tell whether the ETag is not one of the content, as for objects encrypted with managed keys."""
        if self.is_opaque is not None:
            return self.is_opaque
        found = self.server.find(self.address)
        return found is not None and bool(found.is_opaque)

    @contextlib.contextmanager
    def open_range(self, piece: Piece) -> Generator[Response]:
        """Read a part of this version.

        :param piece: The part, not empty.
        :raises BrokenConnectionError: If another attempt may succeed.
        :raises ChangedError: If this version is no longer there.
        """
        with open_range(
            self.server.connections,
            self.server.sign(self.address),
            piece,
            uri=self.uri,
            size=self.size,
            etag=self.etag,
            make_error=_make_status_error,
        ) as response:
            yield response


def make_client(environment: Environment) -> Any:
    """Make the client for a server.

    :param environment: Where the server is and who asks; what it leaves out, boto3 finds in its usual places.
    :return: The client.
    """
    from botocore.config import Config

    proxies = {"http": environment.proxy_url, "https": environment.proxy_url} if environment.proxy_url else None
    configuration = Config(
        signature_version="s3v4",
        # Servers other than Amazon's may not know the newer checksums; the ETag is what is verified.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=2 * THREADS,
        proxies=proxies,
        s3={"addressing_style": "path"} if environment.s3_endpoint_url else None,
    )
    session = make_session(environment)
    return session.client(
        "s3",
        region_name=session.region_name or "us-east-1",
        endpoint_url=environment.s3_endpoint_url,
        verify=environment.s3_verify,
        config=configuration,
    )


def make_session(environment: Environment) -> "Session":
    """Make what finds the credentials and settings of a user.

    :param environment: What it says goes before boto3's usual places.
    :return: The session.
    """
    from boto3.session import Session
    from botocore.session import get_session

    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    return Session(
        botocore_session=session,
        aws_access_key_id=environment.aws_access_key_id,
        aws_secret_access_key=environment.aws_secret_access_key,
        aws_session_token=environment.aws_session_token,
    )


def parse_time(text: Any) -> datetime:
    """Read a time as botocore does, only sooner: that is most of the time that listing a directory takes.

    :param text: A time in any of S3's notations.
    :return: The same.
    """
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)


@contextlib.contextmanager
def explained(uri: str) -> Generator[None]:
    """Turn the client's errors into one sentence.

    :param uri: What was asked for.
    :raises StorageError: For each error of the client.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
    from botocore.exceptions import ConnectionError as NoConnectionError

    try:
        yield
    except ClientError as error:
        raise make_error(uri, _code(error), str(error)) from error
    except NoCredentialsError as error:
        raise AccessDeniedError(
            f"'{uri}' needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `credentials`."
        ) from error
    except (NoConnectionError, HTTPClientError) as error:
        raise UnreachableError(
            f"'{uri}' cannot be reached ({describe(error).rstrip('.')}): check the network and S3_ENDPOINT_URL."
        ) from error
    except (BotoCoreError, Boto3Error) as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise make_error(uri, _code(cause), str(cause)) from error
        raise StorageError(f"'{uri}' failed: {describe(error)}.") from error


def make_error(uri: str, code: str, message: str) -> StorageError:
    """Return the error for what a server answered.

    :param uri: What was asked for.
    :param code: The server's code, or the status.
    :param message: What to say of other codes.
    :return: The error, to be raised.
    """
    if code in MISSING:
        what = "bucket" if code == "NoSuchBucket" else "object"
        return NotFoundError(f"There is no {what} '{uri}': check its name and S3_ENDPOINT_URL.")
    if code in DENIED:
        return AccessDeniedError(
            f"The server denies access to '{uri}': check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the bucket's "
            "permissions."
        )
    return StorageError(f"'{uri}' failed: {message}.")


def _make_status_error(uri: str, status: int) -> StorageError:
    return make_error(uri, str(status), f"the server answered with status {status}")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_opaque(answer: dict[str, Any]) -> bool:
    return answer.get("ServerSideEncryption") == "aws:kms" or "SSECustomerAlgorithm" in answer
