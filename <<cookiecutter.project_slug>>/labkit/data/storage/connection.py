"""Byte ranges over HTTP, through connections that stay open.

The standard library's client is used because it costs a tenth of a millisecond a request, a twentieth of what boto3
takes, and reads straight into a buffer: with thousands of small files that decides how long a download takes.
"""

import contextlib
import http.client
import os
import ssl
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

USER_AGENT: Final = "labkit"
TIMEOUT_SECONDS: Final = 60
BLOCK_SIZE: Final = 1 << 20
MOST_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
NETWORK_ERRORS: Final = (OSError, http.client.HTTPException)


class BrokenConnectionError(Exception):
    """The server cannot be reached now, or broke off; another attempt may succeed."""


@dataclass(frozen=True)
class Response:
    """A server's answer, whose content is still to be read."""

    raw: http.client.HTTPResponse
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    def readinto(self, buffer: memoryview) -> int:
        """Read as much as fits.

        :param buffer: Where to put it.
        :return: The number of bytes; less than fits only at the end.
        :raises BrokenConnectionError: If the server broke off.
        """
        try:
            return self.raw.readinto(buffer)
        except NETWORK_ERRORS as error:
            raise BrokenConnectionError(describe(error)) from error

    def read(self) -> bytes:
        """Read all that is left.

        :return: The bytes.
        :raises BrokenConnectionError: If the server broke off.
        """
        try:
            return self.raw.read()
        except NETWORK_ERRORS as error:
            raise BrokenConnectionError(describe(error)) from error


@dataclass
class ConnectionPool:
    """Connections for any number of threads; a forked process opens its own."""

    verify: bool | str = True
    """Whether certificates are checked, or the file of those to check against."""
    proxy_url: str | None = None
    """The proxy for all servers; the system's settings by default."""
    _idle: dict[tuple[int, str, str], list[http.client.HTTPConnection]] = field(
        default_factory=lambda: defaultdict(list), init=False, repr=False
    )
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _proxies: dict[tuple[str, str | None], str | None] = field(default_factory=dict, init=False, repr=False)
    """What the system's settings say of each server: finding it out takes longer than a small request."""

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; later requests open new ones."""
        with self._guard:
            for connections in self._idle.values():
                while connections:
                    connections.pop().close()

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Generator[Response]:
        """Ask for a file or a range of it; redirections are followed.

        :param url: The address.
        :param headers: Sent along.
        :return: The answer, of any status.
        :raises BrokenConnectionError: If there is none.
        """
        for _ in range(MOST_REDIRECTS):
            with self._request(urlsplit(url), headers) as response:
                if response.status not in REDIRECTS or "location" not in response.headers:
                    yield response
                    return
                url = urljoin(url, response.headers["location"])
        raise BrokenConnectionError(f"{urlsplit(url).netloc} redirects without end")

    @contextlib.contextmanager
    def _request(self, url: SplitResult, headers: Mapping[str, str]) -> Generator[Response]:
        place = (os.getpid(), url.scheme, url.netloc)
        with self._guard:
            idle = self._idle[place]
            connection = idle.pop() if idle else None
        reused = connection is not None
        connection = connection or self._connect(url)
        try:
            raw = self._send(connection, url, headers)
        except BrokenConnectionError:
            connection.close()
            if not reused:
                raise
            # The server closed the connection while it was idle.
            connection = self._connect(url)
            raw = self._send(connection, url, headers)
        complete = False
        try:
            yield Response(raw, raw.status, {name.lower(): value for name, value in raw.getheaders()})
            complete = raw.isclosed() or (raw.length == 0 and not raw.read())
        finally:
            if complete and not raw.will_close:
                with self._guard:
                    self._idle[place].append(connection)
            else:
                raw.close()
                connection.close()

    def _send(
        self, connection: http.client.HTTPConnection, url: SplitResult, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if url.scheme == "http" and self._find_proxy(url):
            target = f"http://{url.netloc}{target}"
        try:
            connection.request("GET", target, headers={"Host": url.netloc, "User-Agent": USER_AGENT, **headers})
            return connection.getresponse()
        except NETWORK_ERRORS as error:
            connection.close()
            raise BrokenConnectionError(describe(error)) from error

    def _connect(self, url: SplitResult) -> http.client.HTTPConnection:
        proxy = self._find_proxy(url)
        server = urlsplit(proxy).netloc.rpartition("@")[2] if proxy else url.netloc
        if url.scheme != "https":
            return http.client.HTTPConnection(server, timeout=TIMEOUT_SECONDS, blocksize=BLOCK_SIZE)
        connection = http.client.HTTPSConnection(
            server, timeout=TIMEOUT_SECONDS, blocksize=BLOCK_SIZE, context=make_tls_context(self.verify)
        )
        if proxy:
            connection.set_tunnel(url.hostname or "", url.port or 443)
        return connection

    def _find_proxy(self, url: SplitResult) -> str | None:
        server = (url.scheme, url.hostname)
        if server not in self._proxies:
            is_near = urllib.request.proxy_bypass(url.hostname or "")
            proxy = self.proxy_url or urllib.request.getproxies().get(url.scheme)
            self._proxies[server] = None if is_near else proxy
        return self._proxies[server]


def make_tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return how certificates are checked.

    :param verify: Whether they are, or the file or folder of those to check against.
    :return: The settings.
    """
    if isinstance(verify, str):
        path = Path(verify)
        return ssl.create_default_context(capath=path) if path.is_dir() else ssl.create_default_context(cafile=path)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def describe(error: BaseException) -> str:
    """Return an error's message, or its kind where it has none."""
    return str(error) or type(error).__name__
