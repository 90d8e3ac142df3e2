"""What tests know of the servers they use: an S3 server, a bucket of their own, and a line that can fail."""

import contextlib
import hashlib
import http.server
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest


def lack(what: str) -> NoReturn:
    """Skip a test for want of a service; fail instead where LABKIT_REQUIRE_SERVICES says that all must be there."""
    if os.environ.get("LABKIT_REQUIRE_SERVICES"):
        pytest.fail(what)
    pytest.skip(what)


@dataclass(frozen=True)
class S3Server:
    """Where a server is, and who may use it."""

    url: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test's own."""

    name: str
    client: Any

    def put(self, key: str, content: bytes) -> str:
        """Store an object; return its address."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.uri(key)

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def list_keys(self) -> list[str]:
        """Return the keys of all objects."""
        answer = self.client.list_objects_v2(Bucket=self.name)
        return sorted(item["Key"] for item in answer.get("Contents", ()))

    def uri(self, key: str) -> str:
        """Return the address of a key."""
        return f"s3://{self.name}/{key}"


@dataclass
class Line:
    """A relay on this machine before a server."""

    server: tuple[str, int]
    bytes_per_second: float = float("inf")
    break_after: int | None = None
    """Break each connection after it has carried so many bytes down, as often as ``breaks`` says."""
    breaks: int = 0
    damage: Callable[[bytes], bytes] = bytes
    """What happens to the bytes that come down."""
    damage_up: Callable[[bytes], bytes] = bytes
    """What happens to the bytes that go up."""
    received: int = 0
    """The bytes that have come down in all."""
    connections: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"http://{host}:{port}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.connections += 1
                server = socket.create_connection(self.server)
                threading.Thread(target=self._carry_up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._carry_down, args=(server, client), daemon=True).start()

    def _carry_up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := client.recv(1 << 16):
                server.sendall(self.damage_up(content))
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _carry_down(self, server: socket.socket, client: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while content := server.recv(1 << 16):
                client.sendall(self.damage(content))
                carried += len(content)
                with self._guard:
                    self.received += len(content)
                    time.sleep(len(content) / self.bytes_per_second)
                    if self.break_after is not None and carried >= self.break_after and self.breaks:
                        self.breaks -= 1
                        break
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        server.close()


@dataclass
class WebServer:
    """A web server on a folder."""

    folder: Path
    gives_ranges: bool = True
    bytes_per_second: float = float("inf")
    requests: list[str] = field(default_factory=list)
    """What was asked for: paths, with the range behind a space."""
    sent: int = 0
    """The bytes of content sent so far."""
    url: str = ""

    @contextlib.contextmanager
    def serve(self) -> Generator["WebServer"]:
        """Serve until the end of the ``with`` statement."""

        class Handler(_Handler):
            settings = self

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    settings: ClassVar[WebServer]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file, or a range of it."""
        settings = self.settings
        asked = self.headers.get("Range", "") if settings.gives_ranges else ""
        settings.requests.append(f"{self.path} {asked}".strip())
        path = settings.folder / urllib.parse.unquote(self.path).lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.headers.get("If-Match", etag) != etag:
            self.send_error(412)
            return
        start, stop = 0, len(content)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(content))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", etag)
        self.end_headers()
        with contextlib.suppress(OSError):
            for position in range(start, stop, 1 << 16):
                block = content[position : min(position + (1 << 16), stop)]
                self.wfile.write(block)
                settings.sent += len(block)
                time.sleep(len(block) / settings.bytes_per_second)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""
