"""Slack's side of a webhook, good and bad."""

import json
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import Any, Final

PATH: Final = "/services/T0000AAAA/B0000BBBB/cccccccccccccccccccccccc"


class Request(BaseHTTPRequestHandler):
    """A request to the webhook."""

    def do_POST(self) -> None:
        slack = self.server
        assert isinstance(slack, Slack)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        slack.requests.append({"path": self.path, **json.loads(body)})
        slack.called.set()
        slack.next_answer()(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Print nothing."""


Answer = Callable[[Request], None]


class Slack(ThreadingHTTPServer):
    """A server on this machine that keeps what it is sent."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: Iterable[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.requests: list[dict[str, Any]] = []
        self.called = threading.Event()
        self.closing = threading.Event()
        self._answers = iter(answers)
        self._lock = threading.Lock()

    def next_answer(self) -> Answer:
        with self._lock:
            return next(self._answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{PATH}"

    @property
    def texts(self) -> list[str]:
        """The messages that came, also those that were not taken."""
        return [request["text"] for request in self.requests]


def accept(request: Request) -> None:
    answer(200, "ok")(request)


def hang(request: Request) -> None:
    """Say nothing, and keep the line."""
    slack = request.server
    assert isinstance(slack, Slack)
    slack.closing.wait()


def trickle(request: Request) -> None:
    """Answer so slowly that no single wait is long."""
    slack = request.server
    assert isinstance(slack, Slack)
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    while not slack.closing.wait(0.05):
        try:
            request.wfile.write(b"o")
        except OSError:
            return


def babble(request: Request) -> None:
    """Answer, but not in HTTP."""
    request.wfile.write(b"\x00\xffSSH-2.0-what?\r\n\r\n" * 10)


def answer(status: int, body: str, **headers: str) -> Answer:
    def respond(request: Request) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body.encode())

    return respond


@contextmanager
def serve(*answers: Answer) -> Generator[Slack]:
    """Run a server that answers in this order, in the end always as the last time.

    :param answers: What it does with each request.
    :return: A context with the server.
    """
    with Slack(chain(answers, repeat(answers[-1]))) as slack:
        thread = threading.Thread(target=slack.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield slack
        finally:
            slack.closing.set()
            slack.shutdown()
            thread.join()
