"""Several units at the same time, each in a process of its own on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from labkit.launch.opening import SIGNALS, end_with_parent, find_exit_code
from labkit.launch.unit import Unit

SECONDS_BETWEEN_LOOKS: Final = 0.1


@dataclass
class Crew:
    """The processes at work.

    :ivar processes: What each of them executes.
    :ivar signal: The signal that has asked for an end; None if none has.
    :ivar told: Those processes that have been told of it.
    """

    processes: "dict[subprocess.Popen[bytes], Unit]" = field(default_factory=dict["subprocess.Popen[bytes]", Unit])
    signal: int | None = None
    told: "set[subprocess.Popen[bytes]]" = field(default_factory=set["subprocess.Popen[bytes]"])

    def add(self, process: "subprocess.Popen[bytes]", unit: Unit) -> None:
        """Take in a process, and tell it what was said while it was being started."""
        self.processes[process] = unit
        if self.signal is not None and process not in self.told:
            process.send_signal(self.signal)

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """Tell all processes what this one was told; no further ones are started."""
        self.signal = number
        self.told = set(self.processes)
        for process in self.told:
            process.send_signal(number)


def execute_units(
    units: Sequence[Unit],
    parallel: int,
    log: Callable[[Unit], Path],
    report: Callable[[Unit, int], None],
    variables: Mapping[str, str] = os.environ,
) -> int | None:
    """Execute units, and go on past those that fail.

    Should this process be killed, the others are asked for a checkpoint and an end.

    :param units: What to execute, in this order.
    :param parallel: How many at the same time.
    :param log: Says where what a unit prints is kept.
    :param report: Called with each unit that has ended and its exit code.
    :param variables: The environment of the processes.
    :return: The signal that interrupted it; None if all have ended by themselves.
    """
    waiting = list(reversed(units))
    crew = Crew()
    with _passing_on(crew):
        while crew.processes or (waiting and crew.signal is None):
            while waiting and len(crew.processes) < parallel and crew.signal is None:
                unit = waiting.pop()
                crew.add(_start(unit, log(unit), variables), unit)
            for process in [process for process in crew.processes if process.poll() is not None]:
                report(crew.processes.pop(process), find_exit_code(process.returncode))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return crew.signal


def _start(unit: Unit, log: Path, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "labkit.launch.local", str(unit)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            process_group=0,
            preexec_fn=end_with_parent,  # noqa: PLW1509  there are no threads
        )


@contextlib.contextmanager
def _passing_on(crew: Crew) -> Generator[None]:
    handlers = {number: signal.signal(number, crew.pass_on) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
