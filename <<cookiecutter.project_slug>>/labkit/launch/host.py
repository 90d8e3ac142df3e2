"""Commands on a host: on this machine, or over ssh as the user's own configuration has it.

What a login shell says of its own accord is no answer, and ssh's exit code is not the command's: a frame around the
command marks where its output begins and with which code it ended. Where the end of the frame is missing, the
connection broke off. The commands are sent through standard input, so that no list of processes shows them.
"""

import functools
import secrets
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from labkit.command import UnavailableError, UsageError

FRAME: Final = r"""{{
printf '\n%s\n' {mark}
printf '\n%s\n' {mark} >&2
(
{script}
)
code=$?
printf '\n%s %d\n' {mark} "$code"
exit "$code"
}}
"""
"""Braces: the shell has read all of it before it begins, and leaves the rest of the input to the commands."""
SHARED_CONNECTION: Final = ("ControlMaster=auto", "ControlPath=~/.ssh/labkit-%C", "ControlPersist=60")
WATCHED_CONNECTION: Final = {"serveraliveinterval": "ServerAliveInterval=15", "connecttimeout": "ConnectTimeout=30"}
UNSET: Final = frozenset({None, "none", "0", "no", "false"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a command."""

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The last words of the errors, or of the output: mostly what went wrong."""
        return _last_line(self.errors) or _last_line(self.output) or f"exit code {self.code}"


@dataclass(frozen=True)
class Host:
    """A machine to execute commands on.

    :ivar name: As in ``ssh NAME``; None is this machine.
    """

    name: str | None = None

    def __str__(self) -> str:
        """Name the machine in a sentence."""
        return self.name or "this machine"

    def run(self, script: str, *, text: str = "") -> Answer:
        """Execute commands.

        :param script: What bash executes; a login shell where it is another machine.
        :param text: What they read from standard input.
        :return: What came of them, whatever that is.
        :raises UnavailableError: If the host does not answer, or the connection breaks off before the commands end.
        """
        mark = secrets.token_hex(16)
        content = FRAME.format(mark=mark, script=script) + text
        # No pipe for the errors: the process that keeps the connection open for others would keep it open too.
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.run(
                    self._shell(), input=content.encode(), stdout=subprocess.PIPE, stderr=errors, check=False
                )
            except FileNotFoundError as error:
                raise UsageError(f"{error.filename} is missing: install it with your system's packages.") from None
            errors.seek(0)
            return self._read(mark, process.stdout.decode(errors="replace"), errors.read().decode(errors="replace"))

    def require(self, script: str, *, text: str = "") -> str:
        """Execute commands that must succeed.

        :param script: As for :meth:`run`.
        :param text: As for :meth:`run`.
        :return: What they print.
        :raises UnavailableError: If they fail; as for :meth:`run`.
        """
        answer = self.run(script, text=text)
        if answer.code:
            raise UnavailableError(f"{self} refuses: {answer.reason}.")
        return answer.output

    def _shell(self) -> Sequence[str]:
        if self.name is None:
            return ["bash", "-s"]
        return ["ssh", *_options(self.name), "-T", "--", self.name, "exec bash -l -s"]

    def _read(self, mark: str, output: str, errors: str) -> Answer:
        _, begins, output = output.partition(f"\n{mark}\n")
        if not begins:
            command = "bash" if self.name is None else f"ssh {self.name}"
            raise UnavailableError(
                f"{self} cannot be reached ({_last_line(errors) or 'no answer'}): see what `{command}` says."
            )
        output, ends, code = output.rpartition(f"\n{mark} ")
        if not ends:
            raise UnavailableError(
                f"the connection to {self} broke off: call this again, which does what is left, and nothing twice."
            )
        return Answer(code=int(code), output=output, errors=errors.partition(f"\n{mark}\n")[2])


def connection_options(configuration: Mapping[str, str]) -> list[str]:
    """Choose what is to be said to ssh beside the user's own configuration, which is never overruled.

    :param configuration: What the configuration says of a host, by ``ssh -G``.
    :return: Options for one connection that all commands share, and that is given up where it is dead.
    """
    wanted = [
        *(SHARED_CONNECTION if configuration.get("controlpath") in UNSET else ()),
        *(option for name, option in WATCHED_CONNECTION.items() if configuration.get(name) in UNSET),
    ]
    return [word for option in wanted for word in ("-o", option)]


@functools.cache
def _options(name: str) -> list[str]:
    process = subprocess.run(
        ["ssh", "-G", "--", name], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    pairs = (line.partition(" ") for line in process.stdout.splitlines())
    return connection_options({name: value for name, _, value in pairs})


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""
