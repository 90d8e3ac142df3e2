"""What all launchers share: the options that say what to run, written once."""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, Generic, ParamSpec

from labkit.command import (
    EXIT_KILLED,
    Limits,
    UnavailableError,
    UsageError,
    parse,
    program_name,
    report_error,
    with_options,
)
from labkit.launch.arguments import parse_argument_sets, parse_arguments
from labkit.launch.session import SWEEP, Search

P = ParamSpec("P")


def launch_options(
    *,
    entry_point: str | None = None,
    arguments: str = "",
    argument_sets: str = "",
    session: Path | None = None,
    search: Search = "grid",
    trials: Annotated[int, Limits(least=1)] | None = None,
    minimise: str | None = None,
    maximise: str | None = None,
    prune: bool = False,
    repeat: Annotated[int, Limits(least=1)] = 1,
    parallel: Annotated[int, Limits(least=1)] | None = None,
    experiment_name: str | None = None,
    run_name: str | None = None,
    note: str | None = None,
    version: str | None = None,
    run_id: str | None = None,
    retry: bool = False,
    cluster: str | None = None,
    dry_run: bool = False,
) -> None:
    """Say what to run.

    :param entry_point: What to execute, by its name in MLproject.
    :param arguments: Its arguments: "rate=0.1,label='a, b',sizes=[1,2]".
    :param argument_sets: Arguments of which every combination makes a run of a session: "rate=0.1,0.01,depth=2,3".
    :param session: A YAML file that says what to run; what the command line says counts more.
    :param search: All combinations; some at random; or, one after the other, what those before were worth suggests.
    :param trials: How many combinations there are at most.
    :param minimise: The validation metric by which runs are ranked and chosen, of which less is better.
    :param maximise: The same, of which more is better.
    :param prune: End runs early that are worse than most others were at the same step.
    :param repeat: How many runs each combination gets, each under another seed.
    :param parallel: How many runs are executed at the same time.
    :param experiment_name: The experiment that the runs belong to; the study's name by default.
    :param run_name: A readable name; one is invented by default.
    :param note: A sentence to remember why.
    :param version: The commit, branch or tag whose code is executed; by default the code as it lies there.
    :param run_id: Launch this run or session again, what has not finished of it, as it was sealed.
    :param retry: Of a session that is launched again, also what has failed or was killed.
    :param cluster: A profile in deploy/clusters.yaml; the first that fits by default.
    :param dry_run: Print exactly what would be sent, and send nothing.
    """


def unit_option(unit: str | None = None) -> None:
    """Say which.

    :param unit: The same as --run-id; also one trial of a session, SESSION/NUMBER.
    """


def resource_options(
    *,
    nodes: Annotated[int, Limits(least=1)] | None = None,
    tasks_per_node: Annotated[int, Limits(least=1)] | None = None,
    gpus: Annotated[int, Limits(least=0)] | None = None,
    cpus: Annotated[int, Limits(least=1)] | None = None,
    memory: str | None = None,
    time: str | None = None,
    signal_before: str | None = None,
    max_restarts: Annotated[int, Limits(least=0)] | None = None,
) -> None:
    """Say what each run gets; the session's file and the profile of the cluster say the rest.

    :param nodes: The machines that share one run.
    :param tasks_per_node: The processes on each of them.
    :param gpus: The accelerators of each machine.
    :param cpus: The cores of each process.
    :param memory: The memory of each machine: 16G.
    :param time: How long a run may take: 90s, 10m, 4h, 1d12h.
    :param signal_before: How long before that limit it is told to write a checkpoint.
    :param max_restarts: How often it may begin anew from its checkpoint.
    """


RESOURCES: Final = tuple(inspect.signature(resource_options).parameters)
AT_SEALING: Final = frozenset(inspect.signature(launch_options).parameters) - {
    *("run_id", "retry", "parallel", "cluster", "dry_run", "arguments"),
}
"""Options that say what a run is, and so have nothing to say about one that is there; secrets are said again."""
NOT_OF_A_SESSION: Final = ("arguments", "argument_sets", "session", "run_id", "retry", "dry_run")
"""Options that are no field of a session, or not as they stand."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks a launcher to run.

    :ivar file: A session's file.
    :ivar options: What the command line says, by the names of the fields of a session.
    :ivar sweeps: Whether the command line asks for several runs.
    :ivar run_id: A run or session that is there already.
    :ivar retry: Whether what has failed or was killed is executed again.
    :ivar dry_run: Whether nothing is to be sent.
    """

    options: Mapping[str, Any]
    file: Path | None = None
    sweeps: bool = False
    run_id: str | None = None
    retry: bool = False
    dry_run: bool = False


def read_request(given: Mapping[str, Any]) -> Request:
    """Understand the common options.

    :param given: Those that were given, by name.
    :return: What is asked for.
    :raises UsageError: If they contradict each other, or arguments cannot be read.
    """
    given = dict(given)
    if (unit := given.pop("unit", None)) is not None and given.setdefault("run_id", unit) != unit:
        raise UsageError(f"{unit!r} and --run-id both say what to run: leave out one of them.")
    if not given.keys() & {"entry_point", "session", "run_id"}:
        raise UsageError("say what to run: give --entry-point, --session or --run-id.")
    if "run_id" in given and (other := sorted(given.keys() & AT_SEALING)):
        raise UsageError(f"--run-id names what is sealed already: leave out --{other[0].replace('_', '-')}.")
    if "retry" in given and "run_id" not in given:
        raise UsageError("--retry goes with the --run-id of a session.")
    options = {name: value for name, value in given.items() if name not in NOT_OF_A_SESSION}
    arguments: dict[str, Any] = dict(parse_arguments(given.get("arguments", "")))
    sets = parse_argument_sets(given.get("argument_sets", ""))
    if twice := sorted(sets.keys() & arguments.keys()):
        raise UsageError(f"'{twice[0]}' stands both in --arguments and in --argument-sets: leave out one of them.")
    resources = {name: options.pop(name) for name in RESOURCES if name in options}
    return Request(
        file=given.get("session"),
        options={
            **options,
            "arguments": {**arguments, **{name + SWEEP: values for name, values in sets.items()}},
            "resources": resources,
        },
        sweeps=bool(sets) or bool(given.keys() & {"search", "trials", "repeat"}),
        run_id=given.get("run_id"),
        retry=given.get("retry", False),
        dry_run=given.get("dry_run", False),
    )


class Launcher(Generic[P]):
    """A command that launches what the common options say."""

    def __init__(self, function: Callable[Concatenate[Request, P], int], *options: Callable[..., object]) -> None:
        """Take the function; its first parameter receives what is to be run."""
        self.function = function
        self._options = (launch_options, *options)
        functools.update_wrapper(self, function)

    def __call__(self, request: Request, *args: P.args, **kwargs: P.kwargs) -> int:
        """Call the function itself."""
        return self.function(request, *args, **kwargs)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Launch what a command line says.

        :param argv: The words of the command line without the program's name; ``sys.argv[1:]`` by default.
        :return: The exit code.
        """
        program = program_name(self.function)
        try:
            own = dict(list(inspect.signature(self.function).parameters.items())[1:])
            given = parse(with_options(self.function, own.values(), *self._options), argv, program=program)
            mine = OrderedDict((name, given.pop(name)) for name in own if name in given)
            signature = inspect.signature(self.function)
            mine = OrderedDict([(next(iter(signature.parameters)), read_request(given)), *mine.items()])
            call = inspect.BoundArguments(signature, mine)
            return functools.partial(self.function, *call.args, **call.kwargs)()
        except (UsageError, UnavailableError) as error:
            return report_error(program, error)
        except KeyboardInterrupt:
            return EXIT_KILLED


def launcher(
    *options: Callable[..., object],
) -> Callable[[Callable[Concatenate[Request, P], int]], Launcher[P]]:
    """Make a function a launcher, with :func:`launch_options` beside its own parameters.

    :param options: Further shared options, such as :func:`resource_options`.
    :return: A decorator.
    """
    return lambda function: Launcher(function, *options)
