"""A line to a server, on which everything can happen that happens on lines."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Generator
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LENGTHS = {"Connection", "Content-Length", "Transfer-Encoding"}
"""Headers that each of two lines has of its own."""

Answer = tuple[int, list[tuple[str, str]], bytes]


class Fault(Enum):
    """What happens to a request."""

    NONE = auto()
    ERROR = auto()
    """The server answers 500."""
    SILENCE = auto()
    """Nobody answers."""
    CUT = auto()
    """The server has done what it was asked to, but its answer never arrives."""
    DELAY = auto()
    """The same, and the connection stays open."""


class Line(ThreadingHTTPServer):
    """Passes requests on to a server, if nothing happens to them.

    :ivar fault: What happens to requests whose path begins with ``affected``, from now on.
    :ivar seconds_of_delay: How much longer a request takes to which nothing happens.
    :ivar faults: To how many requests something has happened.
    :ivar requests: How many requests there were, by their path.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = port
        self.fault = Fault.NONE
        self.affected = "/"
        self.seconds_of_delay = 0.0
        self.faults = 0
        self.requests = Counter[str]()
        self._mended = threading.Event()
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def break_down(self, fault: Fault, affected: str = "/") -> None:
        """Let something happen to requests from now on."""
        self.fault, self.affected = fault, affected
        self._mended.clear()

    def mend(self) -> None:
        """Let nothing happen to requests from now on; those that nobody answered are cut off."""
        self.fault = Fault.NONE
        self._mended.set()

    def await_faults(self, count: int) -> None:
        """Wait until something has happened to so many requests more."""
        end = self.faults + count
        while self.faults < end:
            time.sleep(0.01)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that do not wait for their answer."""

    def choose_fault(self, path: str) -> Fault:
        with self._lock:
            self.requests[path.partition("?")[0]] += 1
        if self.fault is Fault.NONE or not path.startswith(self.affected):
            return Fault.NONE
        return self.fault

    def count_fault(self) -> None:
        with self._lock:
            self.faults += 1

    def be_silent(self) -> None:
        self._mended.wait()


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    raw_requestline = b""
    server: Line  # pyright: ignore[reportIncompatibleVariableOverride]  nobody else makes handlers

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(2**16)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._read_body()
        self.close_connection = True
        fault = self.server.choose_fault(self.path)
        if fault is Fault.NONE:
            time.sleep(self.server.seconds_of_delay)
            self._answer(*self._pass_on(body))
            return
        if fault in {Fault.CUT, Fault.DELAY}:
            self._pass_on(body)
        self.server.count_fault()
        if fault is Fault.ERROR:
            self._answer(500, [("Content-Type", "text/html")], b"<h1>Internal Server Error</h1>")
        elif fault in {Fault.SILENCE, Fault.DELAY}:
            self.server.be_silent()

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _pass_on(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name not in LENGTHS}
        headers["Content-Length"] = str(len(body))
        with contextlib.closing(connection):
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            except OSError:
                return 502, [], b"nobody is there"

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.title() not in LENGTHS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def lay_line(port: int) -> Generator[Line]:
    """Lay a line to a port of this machine."""
    line = Line(port)
    thread = threading.Thread(target=line.serve_forever, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.mend()
        line.shutdown()
        line.server_close()
        thread.join()
