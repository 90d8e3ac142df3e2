"""A typed, documented function whose every call is a recorded run.

.. code-block:: python

    @entry_point
    def train(run: Run, *, learning_rate: float = 0.01) -> None:
        \"\"\"Train a model.

        :param learning_rate: The size of a step.
        \"\"\"

``train.main()`` reads the command line, creates a run (or, with ``--run-id``, continues one), calls the function and
records how it ended.
"""

import difflib
import functools
import inspect
import random
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Concatenate, Final, Generic, Literal, ParamSpec

from labkit.command import (
    EXIT_KILLED,
    Limits,
    UnavailableError,
    UsageError,
    check_limits,
    parse,
    program_name,
    report_error,
    with_options,
)
from labkit.environment import Environment
from labkit.option_group import flatten
from labkit.secret import Masker, find_secrets_in_arguments, is_masked
from labkit.tracking.parameter import Plain, decode, encode, interpret
from labkit.tracking.patient_file import DISK_IS_FULL
from labkit.tracking.registration import Request, make_run, register
from labkit.tracking.run import Run, open_run

P = ParamSpec("P")
LARGEST_SEED: Final = 2**32 - 1
"""NumPy takes no larger one."""


def run_options(
    *,
    seed: Annotated[int | None, Limits(least=0, most=LARGEST_SEED)] = None,
    run_name: str | None = None,
    experiment_name: str | None = None,
    note: str | None = None,
    on_dirty: Literal["record", "refuse"] = "record",
    expect: str | None = None,
    run_id: str | None = None,
) -> None:
    """Say which run it is.

    :param seed: The number from which all chance derives, 0 to 4294967295; chosen at random by default, and recorded.
    :param run_name: A readable name for the run; one is invented by default.
    :param experiment_name: The experiment that the run belongs to; the study's name by default.
    :param note: A sentence to remember why.
    :param on_dirty: What to do where the code is not what was committed: keep it with the run as it is, or refuse.
    :param expect: Refuse data whose footprint has another root hash than this, of which 8 digits are enough.
    :param run_id: Continue this run with its own arguments, from its newest checkpoint.
    """


class EntryPoint(Generic[P]):
    """A function whose calls from the command line, through :meth:`main`, are runs."""

    def __init__(self, function: Callable[Concatenate[Run, P], None], study: str | None = None) -> None:
        """Take the function; its first parameter receives the run.

        :param function: The function.
        :param study: The study that its runs belong to; by default, the package that the function is of.
        """
        self.function = function
        self._study = study
        functools.update_wrapper(self, function)

    def __call__(self, run: Run, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the function itself with a run that exists."""
        self.function(run, *args, **kwargs)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Execute a run as the command line says.

        :param argv: The words of the command line without the program's name; ``sys.argv[1:]`` by default.
        :return: The exit code: 0 done, 1 failed, 2 bad input, 75 interrupted with a checkpoint, 130 ended by Ctrl-C.
        """
        program = program_name(self.function)
        words = list(sys.argv[1:] if argv is None else argv)
        try:
            given = self.parse(words)
            from labkit.tracking.attempt import assistance, attempt  # not before: `--help` needs none of it
            from labkit.tracking.provenance import record_circumstances

            environment = Environment.read()
            continues = "run_id" in given
            if environment.rank:
                run = self._join(given, environment)
            elif continues:
                run = self._continue(given, environment)
            else:
                run, gaps = register(self._request(given, words), environment, self.function)
                self._report(gaps)
            hints = typing.get_type_hints(self.function)
            parameters = _own_parameters(self.function)
            # A run does not record secrets: they are what this command line says.
            values = {
                name: encode(given.get(name, parameters[name].default)) if name in _names_of_masked(run) else value
                for name, value in run.arguments.items()
            }
            run.masker = Masker([*environment.secrets(), *find_secrets_in_arguments(values, _names_of_masked(run))])
            arguments = {name: decode(value, hints[name]) for name, value in values.items()}
            with attempt(run) if run.is_led_here else assistance(run) as outcome:
                if continues and run.is_led_here:
                    record_circumstances(run, environment, [program, *words])
                functools.partial(self.function, run, **arguments)()
                run.check_expectation()
        except (UsageError, UnavailableError) as error:
            return report_error(program, error)
        except KeyboardInterrupt:  # before there was a run
            return EXIT_KILLED
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            return report_error(program, UnavailableError(f"the disk is full ({error}): make room, and try again."))
        if run.is_led_here:
            _print_summary(run)
        return outcome.exit_code

    @property
    def study(self) -> str:
        """The package that the function is of; its runs' experiment where no other is named."""
        if self._study:
            return self._study
        module = self.function.__module__
        if module == "__main__" and (specification := sys.modules["__main__"].__spec__):
            module = specification.name
        return module.partition(".")[0]

    def seal(self, argv: Sequence[str], environment: Environment) -> Run:
        """Create a run as a command line says, complete but for its execution.

        :param argv: The words of the command line without the program's name.
        :param environment: Says which project, and which store.
        :return: The run; ``main(["--run-id", run.identifier])`` executes it, here or elsewhere.
        :raises UsageError: If the command line does not fit the entry point.
        """
        given = self.parse(argv)
        if "run_id" in given:
            raise UsageError("--run-id names a run that is there already: leave it out to create one.")
        run, gaps = make_run(self._request(given, argv), environment)
        self._report(gaps)
        return run

    def parse(self, words: Sequence[str]) -> dict[str, Any]:
        """Read a command line.

        :param words: The words of the command line without the program's name.
        :return: The arguments that were given, those of :func:`run_options` among them.
        :raises UsageError: If the command line does not fit the entry point.
        """
        continues = any(word.partition("=")[0] in {"--run-id", "--run_id"} for word in words)
        own = _own_parameters(self.function).values()
        options = with_options(self.function, own, run_options, all_optional=continues)
        return parse(options, words, program=program_name(self.function))

    def read(self, arguments: Mapping[str, Plain]) -> dict[str, Any]:
        """Read arguments that are plain data, as a file or another program has them.

        :param arguments: Plain data by name, the entry point's own and ``seed``, ``expect`` and ``on_dirty``.
        :return: The arguments as a command line would give them, by the parameters' names.
        :raises UsageError: If there is no such parameter, a value is none for it, or one is missing.
        """
        hints = self._hints
        given: dict[str, Any] = {}
        for name, value in arguments.items():
            if name not in hints:
                similar = difflib.get_close_matches(name, hints, n=1)
                hint = f"did you mean {_option(similar[0])}? " if similar else ""
                raise UsageError(
                    f"there is no option {_option(name)}: {hint}`{program_name(self.function)} --help` lists all."
                )
            try:
                given[name] = interpret(value, hints[name])
            except ValueError as error:
                raise UsageError(f"{_option(name)} takes {error}, not {value!r}.") from None
        check_limits(given, hints)
        for name, parameter in _own_parameters(self.function).items():
            if parameter.default is parameter.empty and name not in given:
                raise UsageError(f"{_option(name)} is missing: `{program_name(self.function)}` needs it.")
        return given

    def complete(self, given: Mapping[str, Any]) -> dict[str, Plain]:
        """Return all of the function's arguments as a run records them.

        :param given: What was given; the other parameters have their defaults.
        :return: Plain data by the parameters' names.
        """
        parameters = _own_parameters(self.function)
        return {name: encode(given.get(name, parameter.default)) for name, parameter in parameters.items()}

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        """The annotations of what can be given: the function's own parameters, and what makes a run another one."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        options = typing.get_type_hints(run_options, include_extras=True)
        return {
            **{name: hints[name] for name in _own_parameters(self.function)},
            **{name: options[name] for name in ("seed", "expect", "on_dirty")},
        }

    def _request(self, given: dict[str, Any], words: Sequence[str]) -> Request:
        """Say what run a command line asks for."""
        for name in ("run_name", "experiment_name"):
            if not given.get(name, name).strip():
                raise UsageError(f"{_option(name)} is empty: give a name, or leave it out.")
        seed = given.get("seed")
        return Request(
            words=(program_name(self.function), *words),
            arguments=self.complete(given),
            seed=random.SystemRandom().randint(0, LARGEST_SEED) if seed is None else seed,
            experiment_name=given.get("experiment_name") or self.study,
            run_name=given.get("run_name"),
            note=given.get("note"),
            expect=given.get("expect"),
            refuses_changes=given.get("on_dirty") == "refuse",
        )

    def _report(self, gaps: str | None) -> None:
        if gaps:
            print(f"{program_name(self.function)}: {gaps}", file=sys.stderr)

    def _continue(self, given: dict[str, Any], environment: Environment) -> Run:
        run = open_run(environment, given.pop("run_id"))
        program = program_name(self.function)
        if run.envelope.entry_point != program:
            raise UsageError(f"the run {run.identifier} is one of `{run.envelope.entry_point}`, not of `{program}`.")
        run.require_unfinished()
        recorded = {**run.arguments, "seed": run.seed, "expect": run.envelope.expect}
        masked = _names_of_masked(run)
        values = {name: encode(value) for name, value in given.items()}
        if missing := sorted(masked - values.keys()):
            raise UsageError(
                f"{_option(missing[0])} was given a secret, which no run records: give it again to continue the run "
                f"{run.identifier}."
            )
        shown = Masker(environment.secrets()).mask_arguments(values)
        for name, value in values.items():
            if name not in recorded:
                raise UsageError(f"{_option(name)} cannot be given with --run-id: the run has its own.")
            if name not in masked and value != recorded[name]:
                raise UsageError(
                    f"{_option(name)} is {shown[name]!r}, but the run {run.identifier} has {recorded[name]!r}: "
                    "leave it out to continue the run, or leave out --run-id for a new one."
                )
        self._check_parameters(run)
        return run

    def _join(self, given: dict[str, Any], environment: Environment) -> Run:
        identifier = given.get("run_id") or environment.leading_run_id
        if identifier is None:
            raise UsageError(
                f"this is process {environment.rank} of several, and none says which run it joins: start one process, "
                "which starts the others, or give all of them the same --run-id."
            )
        return open_run(environment, identifier)

    def _check_parameters(self, run: Run) -> None:
        """Refuse arguments that the code, which may be newer than the run, has no parameters for, or no values."""
        own_code = f"`local-launch {run.identifier}` continues it with its own code."
        parameters = _own_parameters(self.function)
        for name in run.arguments:
            if name not in parameters:
                raise UsageError(f"the run {run.identifier} has {_option(name)}, which is no longer there: {own_code}")
        for name, parameter in parameters.items():
            if name in run.arguments:
                continue
            if parameter.default is parameter.empty:
                raise UsageError(f"the run {run.identifier} has no {_option(name)}, which is needed by now: {own_code}")
            print(
                f"{_option(name)} is newer than the run {run.identifier}: it is {encode(parameter.default)!r}.",
                file=sys.stderr,
            )


def entry_point(function: Callable[Concatenate[Run, P], None]) -> EntryPoint[P]:
    """Make a function an entry point: each of its calls from the command line is a recorded run.

    :param function: Takes the run first, then keyword-only parameters, typed and described in its docstring, or
        described where they are :class:`~labkit.option_group.OptionGroup`.
    :return: The function, callable as before, with a ``main`` for console scripts.
    """
    return EntryPoint(flatten(function))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _names_of_masked(run: Run) -> set[str]:
    """Return the parameters of which the run does not record what they were, only that it was secret."""
    return {name for name, value in run.arguments.items() if is_masked(value)}


def _own_parameters(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    """Return the parameters that a user gives: all but the first, the run."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def _print_summary(run: Run) -> None:
    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})")
    print(f"files       {run.folder}")
    for name, (_, values) in sorted(run.history.items()):
        if not name.endswith("_step"):
            print(f"{name:<28}{values[-1]:.4f}")
