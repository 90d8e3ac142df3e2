"""Arguments as a user types them: ``rate=0.1,label='a, b',sizes=[1, 2]``; pure.

A value is a word, read by the type of the parameter; a text in quotes, in which a backslash stands before a quote or
another backslash; or a list in brackets.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

from labkit.command import UsageError
from labkit.tracking.parameter import Plain, Word

NAME: Final = re.compile(r"\s*([A-Za-z_][\w-]*)\s*=\s*", re.ASCII)
QUOTED: Final = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(?=[,\]]|\Z)""", re.DOTALL)
ESCAPED: Final = re.compile(r"""\\([\\'"])""")
HARMLESS: Final = re.compile(r"[\w./:+-]+", re.ASCII)
"""Words that need no quotes."""


def parse_arguments(text: str, option: str = "--arguments") -> dict[str, Plain]:
    """Read arguments of which each has one value.

    :param text: Such as ``a=1,b=text``.
    :param option: Where it was given, to name it.
    :return: The values by the parameters' names; what was typed without quotes as a :class:`Word`.
    :raises UsageError: If it cannot be read.
    """
    arguments: dict[str, Plain] = {}
    for name, values in _read(text, option).items():
        if len(values) != 1:
            _refuse(option, text, f"'{name}' has several values: write each argument as name=value, a text in quotes")
        arguments[name] = values[0]
    return arguments


def parse_argument_sets(text: str, option: str = "--argument-sets") -> dict[str, list[Plain]]:
    """Read arguments of which each may have several values.

    :param text: Such as ``a=1,2,3,b=4,5``.
    :param option: Where it was given, to name it.
    :return: The values by the parameters' names.
    :raises UsageError: If it cannot be read.
    """
    return _read(text, option)


def combine(values: Mapping[str, list[Plain]]) -> Iterator[dict[str, Plain]]:
    """Yield every combination, the last argument varying fastest.

    :param values: The values of each argument.
    :return: Arguments by name.
    """
    for choice in itertools.product(*values.values()):
        yield dict(zip(values, choice, strict=True))


def write_arguments(arguments: Mapping[str, Plain]) -> str:
    """Write arguments so that :func:`parse_arguments` reads the same.

    :param arguments: Plain data by the parameters' names.
    :return: The text.
    """
    return ",".join(f"{name.replace('_', '-')}={write_value(value)}" for name, value in arguments.items())


def write_value(value: Plain) -> str:
    """Write one value, in quotes where it would be read as something else without."""
    if isinstance(value, list):
        return f"[{','.join(map(write_value, value))}]"
    if isinstance(value, str) and (not HARMLESS.fullmatch(value) or value in {"None", "true", "false"}):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(text: str, option: str) -> dict[str, list[Plain]]:
    values: dict[str, list[Plain]] = {}
    name: str | None = None
    position = 0
    while position < len(text) or (name is not None and text.endswith(",")):
        if match := NAME.match(text, position):
            new = match[1].replace("-", "_")
            if new in values:
                _refuse(option, text, f"'{match[1]}' stands twice")
            name, position, values[new] = new, match.end(), []
        if name is None:
            _refuse(option, text, "it does not begin with a name: write it as name=value,name=value")
        value, position = _read_value(text, position, option)
        values[name].append(value)
        if position >= len(text):
            break
        if text[position] != ",":
            _refuse(option, text, f"a comma is missing before {text[position:]!r}")
        position += 1
    return values


def _read_value(text: str, position: int, option: str, end: str = ",") -> tuple[Plain, int]:
    """Return a value and the place of what follows it: a comma, a bracket or the end."""
    rest = text[position:].lstrip()
    if match := QUOTED.match(text, position):
        quoted = match[1] if match[1] is not None else match[2]
        return ESCAPED.sub(r"\1", quoted), match.end()
    if rest.startswith(("'", '"')):
        _refuse(option, text, "a quote does not end, or something follows it")
    if rest.startswith("["):
        return _read_list(text, len(text) - len(rest) + 1, option)
    stop = min((place for mark in end if (place := text.find(mark, position)) >= 0), default=len(text))
    return Word(text[position:stop].strip()), stop


def _read_list(text: str, position: int, option: str) -> tuple[Plain, int]:
    elements: list[Plain] = []
    if text[position:].lstrip().startswith("]"):
        position = text.index("]", position)
    else:
        while True:
            element, position = _read_value(text, position, option, end=",]")
            elements.append(element)
            if text[position : position + 1] != ",":
                break
            position += 1
    if text[position : position + 1] != "]":
        _refuse(option, text, "a list does not end: write it as [1, 2]")
    end = position + 1
    while text[end : end + 1].isspace():
        end += 1
    if text[end : end + 1] not in {"", ",", "]"}:
        _refuse(option, text, "something follows a list: write such a text in quotes")
    return elements, end


def _refuse(option: str, text: str, reason: str) -> NoReturn:
    raise UsageError(f"{option} is {text!r}: {reason}.")
