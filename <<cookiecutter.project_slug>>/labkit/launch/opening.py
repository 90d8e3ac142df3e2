"""Opening the envelope of a run: its code is unpacked, and its entry point executed there."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from labkit.command import EXIT_INTERRUPTED, UsageError
from labkit.environment import Environment
from labkit.launch.project import read_command
from labkit.secret import is_masked
from labkit.tracking.parameter import Plain
from labkit.tracking.run import Run
from labkit.tracking.source import Source, unpack_source

SOURCE: Final = "source"
"""The folder, in that of a run or of a session, from which it is executed."""
SQLITE: Final = "sqlite:///"
PR_SET_PDEATHSIG: Final = 1
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """All that is needed to start a process."""

    words: list[str]
    folder: Path
    variables: dict[str, str]

    def replace_process(self) -> NoReturn:
        """Let the entry point take the place of this process: signals, the terminal and the exit code are its own."""
        os.chdir(self.folder)
        os.execvpe(self.words[0], self.words, self.variables)  # noqa: S606  no shell is wanted


def prepare(run: Run, secrets: Mapping[str, Plain] | None = None) -> Execution:
    """Unpack the code of a run, and find out how to execute it.

    :param run: A run that has not finished.
    :param secrets: The arguments that the run does not record.
    :return: What to start.
    :raises UsageError: If the run has finished, or its code is missing, damaged or without its entry point.
    """
    if run.has_finished:
        raise UsageError(
            f"the run {run.identifier} has finished: `reproduce-run {run.identifier}` does the same again."
        )
    folder = unpack(run)
    program, *first_words = read_command(folder, run.envelope.entry_point)
    return Execution(
        words=[
            sys.executable if program in {"python", "python3"} else program,
            *first_words,
            *("--run-id", run.identifier),
            *_write_words(secrets or {}),
        ],
        folder=folder,
        variables={
            **make_variables(run.environment),
            # The project may be installed, in its present state: the code of the run comes before it.
            "PYTHONPATH": os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(
                os.pathsep
            ),
        },
    )


def make_variables(environment: Environment) -> dict[str, str]:
    """Return this process's environment, with paths that hold in every folder.

    :param environment: What it says.
    :return: Values by name.
    """
    paths = {
        "RUNS_PATH": environment.runs_path,
        "DATA_PATH": environment.data_path,
        "DATA_EPHEMERAL_PATH": environment.data_ephemeral_path,
    }
    return {
        **os.environ,
        **{name: str(path.absolute()) for name, path in paths.items() if path},
        "MLFLOW_TRACKING_URI": _make_absolute(environment.mlflow_tracking_uri),
    }


def unpack(run: Run) -> Path:
    """Unpack the code of a run, that of a session's trials once for all of them on a machine.

    :param run: The run.
    :return: The folder.
    :raises UsageError: If the run has no code, or it is damaged.
    """
    source = require_source(run)
    folder = run.folder_of_source / SOURCE
    unpack_source(run.source_archive(), folder, source.sha256)
    return folder


def require_source(run: Run) -> Source:
    """Return the code of a run.

    :param run: The run.
    :raises UsageError: If it has none.
    """
    if run.envelope.source is None:
        raise UsageError(f"the run {run.identifier} was created without its code: start a new one.")
    return run.envelope.source


def execute(
    run: Run,
    secrets: Mapping[str, Plain] | None = None,
    watch: "Callable[[subprocess.Popen[bytes]], int] | None" = None,
) -> int:
    """Execute a run from its own code in another process, and pass signals on to it.

    :param run: A run that has not finished.
    :param secrets: The arguments that the run does not record.
    :param watch: Waits for the process and returns its exit code; by default, it is only waited for.
    :return: The exit code, as :func:`find_exit_code` reads it.
    :raises UsageError: As for :func:`prepare`.
    """
    prepared = prepare(run, secrets)
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if process:
            process.send_signal(number)
        else:
            early.append(number)

    handlers = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        # Apart from the terminal's group: a Ctrl-C comes through this process, and so only once.
        process = subprocess.Popen(
            prepared.words,
            cwd=prepared.folder,
            env=prepared.variables,
            process_group=0,
            preexec_fn=end_with_parent,  # noqa: PLW1509  there are no threads
        )
        for number in early:
            process.send_signal(number)
        code = watch(process) if watch else process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return find_exit_code(code)


def find_exit_code(code: int) -> int:
    """Read how a process that opens a run has ended.

    :param code: What Python says: less than 0 where a signal ended the process.
    :return: The exit code. A request to interrupt only ends one that does not listen yet, and so has done nothing.
    """
    if -code in {signal.SIGTERM, signal.SIGUSR1}:
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """Let the kernel, where it can, ask this process for a checkpoint and an end when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def select_secrets(run: Run, arguments: Mapping[str, Plain]) -> dict[str, Plain]:
    """Hold what is given to a run that is there already to what it lacks: its secrets.

    :param run: The run.
    :param arguments: What is given.
    :return: The same.
    :raises UsageError: If something else is given.
    """
    for name in arguments:
        if not is_masked(run.arguments.get(name)):
            raise UsageError(
                f"the run {run.identifier} has its own arguments, and '{name}' is no secret: leave it out."
            )
    return dict(arguments)


def _write_words(secrets: Mapping[str, Plain]) -> list[str]:
    """Write arguments as words of a command line."""
    words: list[str] = []
    for name, value in secrets.items():
        option = "--" + name.replace("_", "-")
        words += [option, *map(str, value)] if isinstance(value, list) else [f"{option}={value}"]
    return words


def _make_absolute(uri: str) -> str:
    """Name the file of a store by its absolute path: the entry point is executed in another folder."""
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute()) if uri.startswith(SQLITE) else uri
