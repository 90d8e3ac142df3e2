"""Making a run of what a command line asks for, in the process that will send the run's records.

To ask the tracking store, and to keep the code, takes about as long as to import PyTorch. So one process does the one
and a second one the other, and the run begins when both are done. The first goes on as the run's sender, with all that
it has imported.

Run as ``python -m labkit.tracking.registration``: the request comes through standard input and what became of it goes
to standard output, a line of JSON each. A line without words then says that the run begins.
"""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from labkit.command import UnavailableError, UsageError
from labkit.environment import Environment
from labkit.secret import find_secrets_in_arguments
from labkit.tracking.parameter import Plain
from labkit.tracking.run import Envelope, Run, connect, create_run, now, read_run
from labkit.tracking.state import State, tell

REFUSALS: Final = {error.__name__: error for error in (UsageError, UnavailableError, OSError)}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command line asks for, as plain data.

    :ivar words: The command line, the program's name first.
    :ivar arguments: All arguments of the entry point.
    :ivar refuses_changes: Whether code that is not what was committed is refused.
    """

    words: tuple[str, ...]
    arguments: dict[str, Plain]
    seed: int
    experiment_name: str
    run_name: str | None = None
    note: str | None = None
    expect: str | None = None
    refuses_changes: bool = False


def make_run(request: Request, environment: Environment) -> tuple[Run, str | None]:
    """Create a run as it is asked for, with the code as it is now.

    :param request: What is asked for.
    :param environment: Says which project, and which store.
    :return: The run, and what of the code it does not hold, in a sentence.
    :raises UsageError: If the code or the data are none that were asked for.
    :raises UnavailableError: If the store does not answer.
    """
    from labkit.data.footprint import check_root
    from labkit.tracking.provenance import capture, describe_changes, describe_gaps

    if request.expect is not None:
        check_root(request.expect)
    with tempfile.TemporaryDirectory() as folder:
        secrets = find_secrets_in_arguments(request.arguments)
        provenance = capture(environment, Path(folder), request.words, secrets=secrets)
        source = provenance.source
        if request.refuses_changes and source.is_dirty:
            raise UsageError(f"{describe_changes(source)}: commit first, or leave out --on-dirty refuse.")
        run = create_run(
            environment,
            Envelope(
                entry_point=request.words[0],
                arguments=request.arguments,
                seed=request.seed,
                source=source,
                expect=request.expect,
            ),
            experiment_name=request.experiment_name,
            run_name=request.run_name,
            tags=provenance.tags | ({"mlflow.note.content": request.note} if request.note else {}),
            files=sorted(Path(folder).iterdir()),
        )
        return run, describe_gaps(source)


def register(request: Request, environment: Environment, function: Callable[..., None]) -> tuple[Run, str | None]:
    """Let another process make a run, and import meanwhile what its function needs.

    :param request: What is asked for.
    :param environment: Says which project, and which store.
    :param function: What the run will execute.
    :return: As :func:`make_run`; the run has a sender that waits for its beginning.
    :raises UsageError: If the code or the data are none that were asked for.
    :raises UnavailableError: If the store does not answer.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.tracking.registration"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  they are pipes
    try:
        process.stdin.write(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
        process.stdin.flush()
        import_ahead(function)
        answer = _read_answer(process.stdout.readline())
        process.stdout.close()
        run = read_run(environment, answer["run"], answer["name"], answer["experiment_name"])
        run.sender = process
    except BaseException:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()
        raise
    return run, answer["gaps"]


def import_ahead(function: Callable[..., None]) -> None:
    """Import what a function imports in its first lines; what fails is left to the function itself.

    :param function: The function.
    """
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    except OSError:  # it was typed, and is in no file
        return
    package = function.__module__.rpartition(".")[0]
    for statement in definition.body if isinstance(definition, ast.FunctionDef) else ():
        match statement:
            case ast.Import(names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module, _, level):
                modules = ["." * level + (module or "")]
            case _:
                continue
        for module in modules:
            with contextlib.suppress(Exception):
                importlib.import_module(module, package)


def _read_answer(line: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(line or "{}")
    if "run" in answer:
        return answer
    refusal = REFUSALS.get(answer.get("refusal", ""), UnavailableError)
    raise refusal(*answer.get("arguments", ["the run could not be created, for the reason above."]))


def _answer(line: str, environment: Environment) -> tuple[dict[str, Any], Run | None]:
    fields: dict[str, Any] = json.loads(line)
    request = Request(words=tuple(fields.pop("words")), **fields)
    try:
        run, gaps = make_run(request, environment)
    except (UsageError, UnavailableError) as error:
        return {"refusal": type(error).__name__, "arguments": [str(error)]}, None
    except OSError as error:  # such as of a full disk
        return {"refusal": OSError.__name__, "arguments": [error.errno, error.strerror, error.filename]}, None
    return {"run": run.identifier, "name": run.name, "experiment_name": run.experiment_name, "gaps": gaps}, run


def main() -> int:
    """Make the run that is asked for, and send what it has to say."""
    environment = Environment.read()
    answer, run = _answer(sys.stdin.readline(), environment)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)
    if run is None:
        return 0
    from labkit.tracking.sender import LOG, serve

    if not sys.stdin.readline():  # whoever asked is gone, and nobody else knows of the run
        tell(connect(environment), run.identifier, State.KILLED, now())
        return 0
    with (run.folder / LOG).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        for standard, file in enumerate((nothing, log, log)):
            os.dup2(file.fileno(), standard)
    return serve(run.folder, environment)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # without waiting for a request that hangs
