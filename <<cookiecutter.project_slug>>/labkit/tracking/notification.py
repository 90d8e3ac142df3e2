"""Messages to Slack about a run: that it has begun, and how it ended.

A process of its own sends them: no thread is in the way of workers that are forked, the interpreter's exit waits for
nobody, and where the run's process dies without a word (killed, out of memory), somebody is left to say so. It reads
one JSON object a line from its standard input: ``{"text": message, "otherwise": message or null}``, the second being
what to say if nothing follows.

Run as ``python -m labkit.tracking.notification``; the address is in ``SLACK_URL``.
"""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final, Self

from labkit.environment import Environment
from labkit.secret import Masker
from labkit.tracking.run import Run
from labkit.tracking.state import State

SECONDS_PER_ATTEMPT: Final = 5
"""Without a sign from the server. Slack's own answers take less than one."""
TRIES_AGAIN: Final = 2
SECONDS_PER_MESSAGE: Final = 20
"""In all, whatever the server does: a byte a second, or a request to come back in an hour."""
SECONDS_TO_WAIT_AT_THE_END: Final = 10.0
"""For the last message; in a batch job it would be lost if its process ended together with the job."""
LENGTH_OF_TEXT: Final = 200
"""Characters of a run's name, of a metric's or of an exception; Slack takes 40,000 in all."""
LENGTH_OF_LOG: Final = 2000
LINES_OF_LOG: Final = 15
METRICS: Final = 20
LOG: Final = "notification.log"


class Notifier:
    """Tells about one process's work on a run; where Slack fails, hangs or is not wanted, the run does not notice."""

    def __init__(self, run: Run) -> None:
        """Prepare to tell.

        :param run: The run; nothing is told in development, or without ``SLACK_URL``.
        """
        self.run = run
        self._time_of_start = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the notifier itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the messages, a bounded time; say so where one was not sent."""
        if self._process is None:
            return
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.wait(SECONDS_TO_WAIT_AT_THE_END) == 0:
                return
        print(f"Not every message has reached Slack: see {self.run.folder / LOG}.", file=sys.stderr)

    def tell_start(self) -> None:
        """Say that the run has begun, or goes on."""
        if self.run.environment.development_mode or not self.run.environment.slack_url:
            return
        with contextlib.suppress(OSError):
            self._process = _start_process(self.run)
        self._tell(
            "runs",
            otherwise=self._compose("has ended without a word: killed, or out of memory", self._say_how_to_go_on()),
        )

    def tell_end(self, state: State, *, error: str | None = None, log: Path | None = None) -> None:
        """Say how the run ended.

        :param state: The state that it ended in.
        :param error: What went wrong.
        :param log: The file whose last lines tell more about it.
        """
        if self._process is None:
            return
        duration = timedelta(seconds=round(time.monotonic() - self._time_of_start))
        details: list[str] = []
        match state:
            case State.FINISHED:
                details += describe_metrics(self.run.history)
            case State.FAILED:
                details += [escape(shorten(self.run.masker.mask(error or ""), LENGTH_OF_TEXT))]
                details += [quote_lines(self.run.masker.mask(read_end(log)))] if log else []
            case _:
                details += [self._say_how_to_go_on()]
        self._tell(f"{state} after {duration}", *details)

    def _say_how_to_go_on(self) -> str:
        return f"To go on: `{escape(self.run.command_to_go_on)}`"

    def _compose(self, predicate: str, *details: str) -> str:
        run = self.run
        name, experiment = (
            escape(shorten(run.masker.mask(text), LENGTH_OF_TEXT)) for text in (run.name, run.experiment_name)
        )
        sentence = f"{escape(run.envelope.entry_point)} {name} ({experiment}) {predicate}, on {socket.gethostname()}."
        mention = [mention_user(run.environment.slack_user)] if run.environment.slack_user else []
        return "\n".join([" ".join([*mention, sentence]), f"Run {run.identifier}", *filter(None, details)])

    def _tell(self, predicate: str, *details: str, otherwise: str | None = None) -> None:
        if self._process is None or self._process.stdin is None:
            return
        message = {"text": self._compose(predicate, *details), "otherwise": otherwise}
        with contextlib.suppress(OSError):  # a pipe holds far more than both messages: writing never waits
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


def mention_user(user: str) -> str:
    """Write a user so that Slack tells them.

    :param user: A member's id (``U012AB3CD``), or a name, which Slack shows without telling anybody.
    :return: The text.
    """
    return f"<@{user}>" if re.fullmatch(r"[UW][A-Z0-9]{6,}", user) else f"@{escape(shorten(user, LENGTH_OF_TEXT))}"


def escape(text: str) -> str:
    """Write a text so that Slack shows it as it is, and takes nothing in it for a mention or a link.

    :param text: Any text, such as ``<!channel>``.
    :return: The text as Slack's documentation on formatting wants it.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, length: int) -> str:
    """Cut a text.

    :param text: The text.
    :param length: The characters that may be left.
    :return: The text, or its beginning and an ellipsis.
    """
    return text if len(text) <= length else text[: length - 1] + "…"


def quote_lines(text: str) -> str:
    """Show lines as they are, in a block."""
    return "```\n" + escape(text).replace("```", "'''") + "\n```" if text else ""


def describe_metrics(history: dict[str, tuple[list[int], list[float]]]) -> list[str]:
    """Describe the last value of each metric, a line each.

    :param history: The steps and values of each metric.
    :return: The first :data:`METRICS` lines, in the order of the metrics' names.
    """
    lines = [
        f"{escape(shorten(name, LENGTH_OF_TEXT))}: {values[-1]:.4g}"
        for name, (_, values) in sorted(history.items())
        if not name.endswith("_step")
    ]
    return lines if len(lines) <= METRICS else [*lines[:METRICS], f"and {len(lines) - METRICS} more"]


def read_end(path: Path) -> str:
    """Read the last lines of a log.

    :param path: The file.
    :return: At most :data:`LINES_OF_LOG` lines and :data:`LENGTH_OF_LOG` characters; a progress bar as it last was.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4 * LENGTH_OF_LOG))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")]
    return "\n".join(lines[-LINES_OF_LOG:])[-LENGTH_OF_LOG:]


def _start_process(run: Run) -> subprocess.Popen[bytes]:
    """Start the process that sends in a session of its own, so that no signal for this one reaches it."""
    with (run.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "labkit.tracking.notification"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "SLACK_URL": run.environment.slack_url or ""},
        )


def send(text: str, environment: Environment) -> None:
    """Send a message.

    :param text: The message.
    :param environment: Says where to.
    :raises Exception: If Slack did not take it.
    """
    from slack_sdk.http_retry.builtin_handlers import (
        ConnectionErrorRetryHandler,
        RateLimitErrorRetryHandler,
        ServerErrorRetryHandler,
    )
    from slack_sdk.webhook import WebhookClient

    silence = logging.Logger("silence", logging.CRITICAL + 1)  # it would show the address, which is a secret
    handlers = (ConnectionErrorRetryHandler, RateLimitErrorRetryHandler, ServerErrorRetryHandler)
    client = WebhookClient(
        environment.slack_url or "",
        timeout=SECONDS_PER_ATTEMPT,
        proxy=environment.proxy_url,
        logger=silence,
        retry_handlers=[handler(max_retry_count=TRIES_AGAIN) for handler in handlers],
    )
    response = client.send(text=text, unfurl_links=False, unfurl_media=False)
    if response.status_code != 200:  # noqa: PLR2004
        raise RuntimeError(f"Slack answers {response.status_code}: {shorten(response.body, LENGTH_OF_TEXT)}")


class _OutOfTime(BaseException):
    """The time is up; no ``Exception``, which a library could take for a fault of the network and try again."""


@contextlib.contextmanager
def _at_most(seconds: int) -> Generator[None]:
    """End what takes longer, whatever it waits for.

    :param seconds: How long it may take.
    :raises TimeoutError: When it is ended.
    """

    def give_up(*_: int | FrameType | None) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    except _OutOfTime:
        raise TimeoutError(f"no success within {seconds} seconds") from None
    finally:
        signal.alarm(0)


def main() -> int:
    """Send the messages that come by standard input.

    :return: 0 if each of them was sent, else 1.
    """
    environment = Environment.read()
    masker = Masker(environment.secrets())
    everything_was_sent = True

    def try_to_send(text: str) -> None:
        nonlocal everything_was_sent
        try:
            with _at_most(SECONDS_PER_MESSAGE):
                send(text, environment)
        except Exception as error:
            everything_was_sent = False
            sentence = " ".join(f"{type(error).__name__}: {error}".split())
            print(masker.mask(sentence), file=sys.stderr, flush=True)

    otherwise: str | None = None
    for line in sys.stdin:
        message: dict[str, str | None] = json.loads(line)
        try_to_send(message["text"] or "")
        otherwise = message["otherwise"]
        if not otherwise:  # not waiting for the end of the pipe, which processes forked by the run keep open
            break
    if otherwise:
        try_to_send(otherwise)
    return 0 if everything_was_sent else 1


if __name__ == "__main__":
    sys.exit(main())
