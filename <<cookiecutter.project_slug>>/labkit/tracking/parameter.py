"""The arguments of a run as plain data, and back again without loss."""

import enum
import types
import typing
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

Plain = None | bool | int | float | str | list["Plain"]
"""What JSON can hold; an argument of another type is held as its text."""


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
