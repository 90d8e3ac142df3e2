"""Executing a run on this machine, from its own code: `local-launch --help`.

This is what every launcher comes down to: wherever a run is to be executed, its envelope is opened there.
"""

import importlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Protocol, cast

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.secret import is_masked
from labkit.tracking.run import Run, open_run
from labkit.tracking.source import unpack_source

SOURCE: Final = "source"
"""The folder, in that of a run, from which it is executed."""
MLPROJECT: Final = "MLproject"
SQLITE: Final = "sqlite:///"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@command
def local_launch(run_id: str | None = None, *, entry_point: str | None = None, arguments: str = "") -> None:
    """Execute a run on this machine, from the code that it was sealed with.

    Changes of the working tree since then do not matter. A run that was interrupted goes on; the exit code is that of
    the run. Examples: local-launch 4f0c12, local-launch --entry-point train --arguments "--learning-rate 0.1"

    :param run_id: The run to execute or continue; without it, one is sealed first.
    :param entry_point: What the new run executes, by its name in MLproject.
    :param arguments: The new run's arguments, as on the command line of the entry point; of one that is there already,
        only its secrets, which are not recorded.
    """
    environment = Environment.read()
    words = split(arguments)
    if run_id is None:
        if entry_point is None:
            raise UsageError("say which run: give the id of one, or --entry-point for a new one.")
        run = seal(environment, entry_point, words)
        words = _select(words, {name for name, value in run.arguments.items() if is_masked(value)})
    elif entry_point is not None:
        raise UsageError(f"the run {run_id} has its own entry point: leave out --entry-point, or the run's id.")
    else:
        run = open_run(environment, run_id)
    prepared = prepare(run, words)
    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})", flush=True)
    # The entry point takes the place of this process: signals, the terminal and the exit code are its own.
    os.chdir(prepared.folder)
    os.execvpe(prepared.words[0], prepared.words, prepared.variables)  # noqa: S606  no shell is wanted


@dataclass(frozen=True, kw_only=True)
class Execution:
    """All that is needed to start a process."""

    words: list[str]
    folder: Path
    variables: dict[str, str]


class _Sealer(Protocol):
    def seal(self, argv: list[str], environment: Environment) -> Run: ...


def seal(environment: Environment, entry_point: str, words: list[str]) -> Run:
    """Create a run of the project, complete but for its execution.

    :param environment: Says which project, and which store.
    :param entry_point: Its name in MLproject.
    :param words: The arguments, as on the command line of the entry point.
    :return: The run.
    :raises UsageError: If there is no such entry point, or it does not take the arguments.
    """
    project = environment.project_path
    match read_command(project, entry_point):
        case ["python" | "python3", "-m", module, *first_words]:
            pass
        case other:
            raise UsageError(
                f"the entry point '{entry_point}' in {project / MLPROJECT} is '{shlex.join(other)}': "
                "only one of the form 'python -m package.module' can be sealed."
            )
    # A command's own folder comes first for Python, not the one in which it was called.
    sys.path.insert(0, str(project))
    name = entry_point.replace("-", "_")
    try:
        sealer = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(f"there is no module '{module}' in {project}, which {MLPROJECT} names.") from None
    if not hasattr(sealer, "seal"):
        raise UsageError(f"the module '{module}' has no entry point '{name}': mark the function with @entry_point.")
    return cast("_Sealer", sealer).seal([*first_words, *words], environment)


def prepare(run: Run, words: Sequence[str] = ()) -> Execution:
    """Unpack the code of a run, and find out how to execute it.

    :param run: A run that has not finished.
    :param words: The arguments that the run does not record, its secrets, as on a command line.
    :return: What to start.
    :raises UsageError: If the run has finished, or its code is missing, damaged or without its entry point.
    """
    if run.has_finished:
        raise UsageError(
            f"the run {run.identifier} has finished: `reproduce-run {run.identifier}` does the same again."
        )
    folder = unpack(run)
    program, *first_words = read_command(folder, run.envelope.entry_point)
    environment = run.environment
    paths = {
        "RUNS_PATH": environment.runs_path,
        "DATA_PATH": environment.data_path,
        "DATA_EPHEMERAL_PATH": environment.data_ephemeral_path,
    }
    return Execution(
        words=[
            sys.executable if program in {"python", "python3"} else program,
            *first_words,
            *("--run-id", run.identifier),
            *words,
        ],
        folder=folder,
        variables={
            **os.environ,
            **{name: str(path.absolute()) for name, path in paths.items() if path},
            "MLFLOW_TRACKING_URI": _make_absolute(environment.mlflow_tracking_uri),
            # The project may be installed, in its present state: the code of the run comes before it.
            "PYTHONPATH": os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(
                os.pathsep
            ),
        },
    )


def unpack(run: Run) -> Path:
    """Unpack the code of a run in the run's folder.

    :param run: The run.
    :return: The folder.
    :raises UsageError: If the run has no code, or it is damaged.
    """
    source = run.envelope.source
    if source is None:
        raise UsageError(f"the run {run.identifier} was created without its code: start a new one.")
    folder = run.folder / SOURCE
    unpack_source(run.source_archive(), folder, source.sha256)
    return folder


def execute(run: Run, words: Sequence[str] = ()) -> int:
    """Execute a run from its own code in another process, and pass signals on to it.

    :param run: A run that has not finished.
    :param words: The arguments that the run does not record, its secrets, as on a command line.
    :return: The exit code; as in a shell 128 and the signal's number where one ended the process.
    :raises UsageError: As for :func:`prepare`.
    """
    prepared = prepare(run, words)
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
        process = subprocess.Popen(prepared.words, cwd=prepared.folder, env=prepared.variables, process_group=0)
        for number in early:
            process.send_signal(number)
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def read_command(project: Path, entry_point: str) -> list[str]:
    """Read how an entry point is executed.

    :param project: The folder with the file ``MLproject``.
    :param entry_point: Its name there.
    :return: The words of its command.
    :raises UsageError: If it is not there.
    """
    import yaml

    path = project / MLPROJECT
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        entry_points: dict[str, dict[str, str]] = content.get("entry_points") or {}
        commands = {name: shlex.split(entry["command"]) for name, entry in entry_points.items()}
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}: call this in a project's folder.") from None
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the file {path} does not list entry points with their commands: {error}.") from error
    if not commands.get(entry_point):
        known = ", ".join(f"'{name}'" for name in commands) or "none"
        raise UsageError(f"there is no entry point '{entry_point}' in {path}, but {known}.")
    return commands[entry_point]


def split(arguments: str) -> list[str]:
    """Split a text into the words of a command line, as a shell does.

    :param arguments: The text, such as ``--learning-rate 0.1 --note 'a try'``.
    :return: The words.
    :raises UsageError: If a quote does not end.
    """
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"--arguments is {arguments!r}, in which a quote does not end: {error}.") from None


def _select(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the options of a command line that have certain names, with their values."""
    selected: list[str] = []
    wanted = False
    for word in words:
        if word.startswith("--"):
            wanted = word.partition("=")[0].removeprefix("--").replace("-", "_") in names
        if wanted:
            selected.append(word)
    return selected


def _make_absolute(uri: str) -> str:
    """Name the file of a store by its absolute path: the entry point is executed in another folder."""
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute()) if uri.startswith(SQLITE) else uri


if __name__ == "__main__":
    sys.exit(local_launch.main())
