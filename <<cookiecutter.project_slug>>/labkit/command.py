"""A typed, documented function as a command-line program.

The function's signature and docstring are all there is to say: defopt makes options of its keyword-only parameters and
positional arguments of the others. What a user gets wrong is answered in one sentence with exit code 2.
"""

import contextlib
import difflib
import functools
import inspect
import io
import math
import re
import sys
import types
import typing
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, TypeVar

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 75
"""Interrupted, with a checkpoint: run me again (``EX_TEMPFAIL``)."""
EXIT_KILLED: Final = 130
"""Ended by the user's Ctrl-C, as shells have it."""

NOT_GIVEN: Final = object()
NEGATIVE_NUMBER_WITH_EXPONENT: Final = re.compile(r"-(\d+\.?\d*|\.\d+)[eE][-+]?\d+")

P = ParamSpec("P")
R = TypeVar("R")


class UsageError(Exception):
    """A user's input cannot be used; the message is one sentence that says what would be right."""


class UnavailableError(Exception):
    """Something that is needed does not answer, or refuses; the message is one sentence that says what."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The numbers that a parameter takes, as in ``Annotated[float, Limits(above=0)]``; never infinity or NaN."""

    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf

    def admit(self, number: float) -> bool:
        """Tell whether a number is within the limits."""
        return -math.inf < number < math.inf and number > self.above and self.least <= number <= self.most

    def __str__(self) -> str:
        """Say in words which numbers these are."""
        words = {"above": self.above, "from": self.least, "to": self.most}
        return " ".join(["a number", *(f"{word} {limit}" for word, limit in words.items() if math.isfinite(limit))])


class Command(Generic[P, R]):
    """A function that can also be run from the command line, through :meth:`main`."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the function with a command line.

        :param argv: The words of the command line without the program's name; ``sys.argv[1:]`` by default.
        :return: The exit code: what the function returned if that is an integer, else 0; 2 for bad input, 1 where
            something that is needed is not available.
        """
        try:
            arguments = parse(self.function, argv, program=program_name(self.function))
            call = inspect.BoundArguments(inspect.signature(self.function), OrderedDict(arguments))
            result: object = functools.partial(self.function, *call.args, **call.kwargs)()
        except (UsageError, UnavailableError) as error:
            return report_error(program_name(self.function), error)
        except KeyboardInterrupt:
            return EXIT_KILLED
        return result if type(result) is int else EXIT_DONE


def command(function: Callable[P, R]) -> Command[P, R]:
    """Make a function runnable from the command line: ``function.main()``.

    :param function: Typed parameters, and a docstring that describes them in reStructuredText fields.
    :return: The function, callable as before, with a ``main`` for console scripts.
    """
    return Command(function)


def program_name(function: Callable[..., object]) -> str:
    """Return the name of the command that runs a function: ``data_verify`` is ``data-verify``."""
    return function.__name__.replace("_", "-")


def report_error(program: str, error: UsageError | UnavailableError) -> int:
    """Print the sentence of an error and return its exit code."""
    print(f"{program}: {error}", file=sys.stderr)
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED


def parse(
    function: Callable[..., object], argv: Sequence[str] | None = None, *, program: str | None = None
) -> dict[str, Any]:
    """Parse a command line for a function.

    Only what was given is returned, so that a caller can tell a given value from a default. Types with a class method
    ``parse(text)`` are read through it, and numbers have to be within their :class:`Limits`.

    :param function: The function to be called.
    :param argv: The words of the command line; ``sys.argv[1:]`` by default.
    :param program: The name to show.
    :return: The arguments that were given, by the function's parameter names.
    :raises UsageError: If the command line does not fit the function.
    """
    import defopt

    program = program or program_name(function)
    words = list(sys.argv[1:] if argv is None else argv)
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function)
    words = _join_negative_numbers([_with_hyphens(word) for word in words])
    asked_for_help = bool({"-h", "--help"} & set(words))
    # Help shows the true defaults; parsing hides them, so that what is missing afterwards was not given.
    target = function if asked_for_help else _without_defaults(function, signature, hints)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            call = defopt.bind(
                target,
                argv=words,
                short={},
                parsers=_find_parsers(hints.values()),
                argparse_kwargs={"prog": program, "allow_abbrev": False},
                version=False,
            )
    except SystemExit as error:
        if not error.code:
            raise
        message = messages.getvalue().rpartition("error: ")[2].strip()
        raise UsageError(_explain(message, signature, program)) from None
    call = typing.cast("functools.partial[object]", getattr(call, "__wrapped__", call))
    bound = signature.bind_partial(*call.args, **call.keywords)
    given = {name: value for name, value in bound.arguments.items() if value is not NOT_GIVEN}
    check_limits(given, typing.get_type_hints(function, include_extras=True))
    return given


def with_options(
    function: Callable[..., object],
    own: Iterable[inspect.Parameter],
    *options: Callable[..., object],
    all_optional: bool = False,
) -> Callable[..., object]:
    """Return a function to :func:`parse` a command line for: its own parameters, and those that several commands share.

    :param function: The function; its docstring describes its parameters.
    :param own: The parameters of it that a user gives.
    :param options: Functions whose parameters are the shared options, described in their docstrings.
    :param all_optional: Whether the function's own parameters may all be left out.
    :return: A function with all of them.
    :raises TypeError: If two have the same name.
    """
    parameters = [parameter.replace(default=None) if all_optional else parameter for parameter in own]
    shared = [parameter for option in options for parameter in inspect.signature(option).parameters.values()]
    names = [parameter.name for parameter in (*parameters, *shared)]
    if clash := sorted(name for name in set(names) if names.count(name) > 1):
        raise TypeError(
            f"{function.__name__} may not have a parameter '{clash[0]}': all commands like it have it already"
        )
    combined = types.FunctionType((lambda: None).__code__, getattr(function, "__globals__", {}), function.__name__)
    combined.__signature__ = inspect.Signature(sorted([*parameters, *shared], key=lambda parameter: parameter.kind))
    hints = typing.get_type_hints(function, include_extras=True)
    for option in options:
        hints |= typing.get_type_hints(option, include_extras=True)
    combined.__annotations__ = {name: hints[name] for name in names}
    fields = [(inspect.getdoc(option) or "").partition("\n\n")[2] for option in options]
    combined.__doc__ = "\n".join([inspect.getdoc(function) or "", *fields])
    return combined


def check_limits(arguments: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Hold numbers, alone or in sequences, to the limits in the annotations of their parameters.

    :param arguments: The arguments by name.
    :param hints: The annotations, with their extras.
    :raises UsageError: If a number is beyond its limits.
    """
    for name, value in arguments.items():
        numbers: list[Any] = list(value) if isinstance(value, Sequence) else [] if value is None else [value]
        for limits in getattr(hints.get(name), "__metadata__", ()):
            for number in numbers if isinstance(limits, Limits) else []:
                if not limits.admit(number):
                    raise UsageError(f"--{name.replace('_', '-')} is {number}: it takes {limits}.")


def _with_hyphens(word: str) -> str:
    """Accept ``--learning_rate`` for ``--learning-rate``: sessions and ``mlflow run`` know parameters by that name."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _join_negative_numbers(words: Iterable[str]) -> list[str]:
    """Write ``--shift=-1e-05`` for ``--shift -1e-05``, in which argparse would see an option ``-1e-05``."""
    joined: list[str] = []
    for word in words:
        if NEGATIVE_NUMBER_WITH_EXPONENT.fullmatch(word) and joined and re.fullmatch(r"--[^=]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _without_defaults(
    function: Callable[..., object], signature: inspect.Signature, hints: dict[str, Any]
) -> Callable[..., object]:
    stand_in = types.FunctionType((lambda: None).__code__, getattr(function, "__globals__", {}), function.__name__)
    parameters = [
        parameter if parameter.default is parameter.empty else parameter.replace(default=NOT_GIVEN)
        for parameter in signature.parameters.values()
    ]
    stand_in.__signature__ = signature.replace(parameters=parameters)
    stand_in.__annotations__ = hints
    stand_in.__doc__ = function.__doc__
    return stand_in


def _find_parsers(hints: Iterable[Any]) -> dict[type, Callable[[str], Any]]:
    """Collect ``parse`` of every annotated type, also where it stands in a union or a container."""
    parsers: dict[type, Callable[[str], Any]] = {}
    for hint in hints:
        parse_text = getattr(hint, "parse", None)
        if isinstance(hint, type) and callable(parse_text):
            parsers[hint] = parse_text
        parsers |= _find_parsers(typing.get_args(hint))
    return parsers


def _explain(message: str, signature: inspect.Signature, program: str) -> str:
    """Make one sentence of what argparse says."""
    options = ["--" + name.replace("_", "-") for name in signature.parameters]
    if unknown := re.match(r"unrecognized arguments: (\S+)", message):
        word = unknown[1].partition("=")[0]
        similar = difflib.get_close_matches(word, options, n=1)
        hint = f"did you mean {similar[0]}? " if similar else ""
        return f"there is no option {word}: {hint}`{program} --help` lists all."
    if wrong := re.match(r"argument (\S+): invalid (.+?) value: (.*)", message, re.DOTALL):
        return f"{wrong[1]} takes a value of type {wrong[2]}, not {wrong[3]}."
    message = message.removeprefix("argument ").replace("choose from", "choose one of")
    return f"{message}; see `{program} --help`."
