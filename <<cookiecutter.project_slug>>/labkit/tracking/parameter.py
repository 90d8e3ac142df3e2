"""The arguments of a run as plain data, and back again without loss; and as a user writes them in a file."""

import enum
import types
import typing
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal

Plain = None | bool | int | float | str | list["Plain"]
"""What JSON can hold; an argument of another type is held as its text."""

WORDS_OF_TRUTH: Final = {"true": True, "yes": True, "false": False, "no": False}


class Word(str):
    """A text that was typed without quotes, and so may also stand for a boolean or for nothing."""

    __slots__ = ()


def encode(value: object) -> Plain:
    """Turn an argument into plain data.

    :param value: A plain value, a sequence of them, a member of an enumeration, or a value whose text says all.
    :return: Plain data from which :func:`decode` makes an equal value.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(encode, value), key=repr)  # the order of a set is another one in each process
    if isinstance(value, Sequence):
        return [encode(element) for element in value]
    return str(value)


def decode(value: Plain, hint: Any) -> Any:
    """Turn plain data into an argument of an annotated type.

    :param value: What :func:`encode` returned.
    :param hint: The annotation of the parameter.
    :return: The argument.
    """
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:  # pyright: ignore[reportDeprecated]  Optional makes one
        if value is None:
            return None
        fitting = [choice for choice in choices if isinstance(choice, type) and type(value) is choice]
        remaining = [choice for choice in choices if choice is not type(None)]
        return decode(value, (fitting or remaining)[0])
    if isinstance(value, list):
        return _decode_sequence(value, origin or hint, choices)
    if isinstance(value, str) and isinstance(hint, type):
        return _decode_text(value, hint)
    return float(value) if hint is float and isinstance(value, int) else value


def interpret(value: Plain, hint: Any) -> Any:  # noqa: PLR0911  one for each kind of type
    """Make an argument of what a user wrote, in a file or as a text.

    :param value: Plain data, in which a text is read as the command line reads it; a :class:`Word` stands for anything.
    :param hint: The annotation of the parameter.
    :return: The argument.
    :raises ValueError: If it is none of that type; the message says what would be.
    :raises UsageError: If the type itself says what is wrong with a text.
    """
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return interpret(value, choices[0])
    if origin in {typing.Union, types.UnionType}:  # pyright: ignore[reportDeprecated]  Optional makes one
        return _interpret_union(value, choices)
    if origin is Literal:
        fitting = [choice for choice in choices if choice == value or str(choice) == value]
        if not fitting:
            raise ValueError(f"one of {', '.join(map(str, choices))}")
        return fitting[0]
    if origin is not None or hint in {list, tuple, set, frozenset}:
        return _interpret_sequence(value, origin or hint, choices)
    if isinstance(value, str):
        return _interpret_text(value, hint)
    if hint is float and type(value) is int:
        return float(value)
    if hint is not Any and (type(value) is not hint):
        raise ValueError(_name(hint))
    return value


def _interpret_union(value: Plain, choices: tuple[Any, ...]) -> Any:
    if types.NoneType in choices and (value is None or (isinstance(value, Word) and value == "None")):
        return None
    remaining = [choice for choice in choices if choice is not types.NoneType]
    errors: list[ValueError] = []
    # A text fits a parameter of text always, and so last.
    for choice in sorted(remaining, key=lambda choice: choice is str and isinstance(value, str)):
        try:
            return interpret(value, choice)
        except ValueError as error:
            errors.append(error)
    raise ValueError(" or ".join(map(str, errors)))


def _interpret_sequence(value: Plain, container: Any, hints: tuple[Any, ...]) -> Any:
    if not isinstance(value, list):
        raise ValueError("a list")  # noqa: TRY004  it is the value that is wrong
    if container is tuple and hints and hints[-1] is not Ellipsis:
        if len(value) != len(hints):
            raise ValueError(f"a list of {len(hints)}")
        return tuple(interpret(element, hint) for element, hint in zip(value, hints, strict=True))
    elements = [interpret(element, hints[0] if hints else Any) for element in value]
    return container(elements) if container in {tuple, set, frozenset} else elements


def _interpret_text(text: str, hint: Any) -> Any:
    if hint is bool and isinstance(text, Word) and text.lower() in WORDS_OF_TRUTH:
        return WORDS_OF_TRUTH[text.lower()]
    if hint in {int, float}:
        try:
            return hint(text)
        except ValueError:
            raise ValueError(_name(hint)) from None
    if hint in {str, Any}:
        return str(text)
    if isinstance(hint, type):
        if issubclass(hint, enum.Enum):
            if text not in hint.__members__:
                raise ValueError(f"one of {', '.join(hint.__members__)}")
            return hint[text]
        if issubclass(hint, PurePath) or hasattr(hint, "parse"):
            return _decode_text(str(text), hint)
    raise ValueError(_name(hint))


def _name(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text, in quotes"}
    return names.get(hint, f"a value of type {getattr(hint, '__name__', hint)}")


def _decode_text(text: str, hint: type) -> Any:
    if issubclass(hint, enum.Enum):
        return hint[text]
    if issubclass(hint, PurePath):
        return hint(text)
    parse = getattr(hint, "parse", None)
    return parse(text) if parse else text


def _decode_sequence(values: list[Plain], container: Any, hints: tuple[Any, ...]) -> Any:
    if container is tuple and hints and hints[-1] is not Ellipsis:
        return tuple(decode(value, hint) for value, hint in zip(values, hints, strict=True))
    elements = [decode(value, hints[0] if hints else Any) for value in values]
    return container(elements) if container in {tuple, set, frozenset} else elements
