"""How a step is configured, as plain data; and the functions that its configuration holds."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

from labkit.recipe.result import Plain


def describe(value: object) -> Plain:
    """Describe a part of a configuration as plain data; of a function that is its name.

    :param value: A plain value, a function, a dataclass, or lists and mappings of such.
    :return: The same for the same configuration, in every process.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case functools.partial():
            partial = cast("functools.partial[object]", value)
            return {"function": describe(partial.func), "with": [describe(partial.args), describe(partial.keywords)]}
        case Mapping():
            return {str(name): describe(element) for name, element in cast("Mapping[object, object]", value).items()}
        case set() | frozenset():
            return sorted((describe(element) for element in cast("set[object]", value)), key=repr)
        case Sequence():
            return [describe(element) for element in value]
        case _:
            return _describe_object(value)


def _describe_object(value: object) -> Plain:
    if "__str__" in type(value).__dict__:  # as of durations: the text says all
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: {own.name: describe(getattr(value, own.name)) for own in fields(value)}}
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return type(value).__qualname__


def find_functions(value: object) -> Iterator[Callable[..., Any]]:
    """Yield the functions and classes that a part of a configuration holds; those of checks are left out.

    :param value: A plain value, a function, a dataclass, or lists and mappings of such.
    :return: Functions and classes, some perhaps several times.
    """
    match value:
        case functools.partial():
            partial = cast("functools.partial[object]", value)
            yield from find_functions([partial.func, partial.args, partial.keywords])
        case Mapping():
            yield from find_functions(list(cast("Mapping[object, object]", value).values()))
        case list() | tuple() | set() | frozenset():
            for element in cast("list[object]", value):
                yield from find_functions(element)
        case _ if is_dataclass(value) and not isinstance(value, type):
            yield type(value)
            for own in fields(value):
                if own.name != "checks":
                    yield from find_functions(getattr(value, own.name))
        case _ if callable(value):
            yield value
        case _:
            pass
