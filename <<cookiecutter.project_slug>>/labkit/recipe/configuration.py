"""How a step is configured, as plain data; and the parts that its configuration holds."""

import functools
import hashlib
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from logging import Logger
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, cast

from labkit.command import UsageError
from labkit.recipe.result import Plain, encode_numbers
from labkit.training.duration import Interval

LARGEST_SHOWN_ARRAY: Final = 100
"""Elements; of a larger one the digest stands for its content."""


def describe(value: object) -> Plain:
    """Describe a part of a configuration as plain data: functions by name, and with what they enclose.

    :param value: A plain value, a function, an object, or lists and mappings of such.
    :return: The same for the same configuration, in every process.
    :raises UsageError: If something in it says nothing of its content, such as a lock.
    """
    return _describe(value, frozenset())


def _describe(value: object, enclosing: frozenset[int]) -> Plain:
    if isinstance(value, None | bool | int | float | str):
        return encode_numbers(value)
    if id(value) in enclosing:
        return "itself"
    enclosing |= {id(value)}
    if isinstance(value, range | Interval | Enum | PurePath):
        return str(value)
    if isinstance(value, functools.partial | Mapping | set | frozenset | Sequence):
        return _describe_elements(value, enclosing)
    return _describe_object(value, enclosing)


def _describe_elements(value: object, enclosing: frozenset[int]) -> Plain:
    match value:
        case functools.partial():
            partial = cast("functools.partial[object]", value)
            return {
                "function": _describe(partial.func, enclosing),
                "with": [_describe(partial.args, enclosing), _describe(partial.keywords, enclosing)],
            }
        case Mapping():
            elements = cast("Mapping[object, object]", value).items()
            return {str(name): _describe(element, enclosing) for name, element in elements}
        case set() | frozenset():
            return sorted((_describe(element, enclosing) for element in cast("set[object]", value)), key=repr)
        case _:
            return [_describe(element, enclosing) for element in cast("Sequence[object]", value)]


def _describe_object(value: object, enclosing: frozenset[int]) -> Plain:
    if _is_array(value):
        return _describe_array(value, enclosing)
    state = {name: _describe(part, enclosing) for name, part in find_state(value).items()}
    match value:
        case FunctionType() | MethodType() | BuiltinFunctionType() | type():
            name = f"{find_module(value)}.{value.__qualname__}"
            return {"function": name, "with": [[part, content] for part, content in state.items()]} if state else name
        case ModuleType(__name__=name) | Logger(name=name):
            return name
        case _ if state or is_dataclass(value):
            return {type(value).__name__: state}
        case _ if type(value).__repr__ is object.__repr__:  # nothing but its class
            return type(value).__qualname__
        case _:
            return _describe_by_text(str(value))


def _describe_by_text(text: str) -> str:
    if re.search(r" at 0x[0-9a-fA-F]+", text):
        raise UsageError(f"a step cannot hold {text}: nobody could tell whether it has changed.")
    return text


def _is_array(value: object) -> bool:
    """Tell whether a value is an array of NumPy or a tensor."""
    return hasattr(value, "tolist") and hasattr(value, "dtype") and hasattr(value, "shape")


def _describe_array(array: Any, enclosing: frozenset[int]) -> Plain:
    if math.prod(array.shape) <= LARGEST_SHOWN_ARRAY or getattr(array.dtype, "hasobject", False):
        return _describe(array.tolist(), enclosing)
    content = array.numpy(force=True) if hasattr(array, "numpy") else array
    return {
        "type": str(array.dtype),
        "shape": list(array.shape),
        "digest": hashlib.sha256(content.tobytes()).hexdigest()[:16],
    }


def find_state(value: object) -> dict[str, object]:
    """Find what makes a function or an object another one than those of the same code.

    :param value: Of a function, what it encloses; of a dataclass, the fields; of another object, what pickle would
        keep, which its class can say by ``__getstate__``.
    :return: Values by name.
    :raises UsageError: If the object says that it cannot be kept.
    """
    match value:
        case FunctionType():
            return {name: part for name, part in _find_enclosed(value) if name != "__class__"}
        case MethodType() | BuiltinFunctionType():
            owner = value.__self__
            return {} if owner is None or isinstance(owner, ModuleType) else {"self": owner}
        case type() | ModuleType() | Logger() | Interval() | Enum() | PurePath():
            return {}
        case _ if _is_array(value):
            return {}
        case _ if is_dataclass(value):
            return {own.name: getattr(value, own.name) for own in fields(value)}
        case _:
            return _find_kept(value)


def _find_enclosed(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it is bound later
            continue
    if "<" in function.__qualname__:  # a lambda, or made by another function: its defaults stand in no definition
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        defaults = function.__defaults__ or ()
        yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
        yield from (function.__kwdefaults__ or {}).items()
    yield from _without_names(vars(function)).items()


def _find_kept(value: object) -> dict[str, object]:
    try:
        state: object = value.__getstate__()
    except TypeError as error:
        raise UsageError(f"a step cannot hold a {type(value).__name__}: {error}.") from error
    match state:
        case None:
            return {}
        case (own, slots):  # of a class with slots
            return {**_without_names(own or {}), **slots}
        case dict():
            return _without_names(state)
        case _:
            return {"state": state}


def _without_names(state: Mapping[str, object]) -> dict[str, object]:
    """Leave out what wrappers copy from the function that they wrap, its docstring among it, but for that itself."""
    return {name: part for name, part in state.items() if not name.startswith("__") or name == "__wrapped__"}


def find_module(value: Callable[..., Any]) -> str:
    """Find the name of the module that a function or class is of, also where that is executed by ``python -m``.

    :param value: The function or class.
    :return: The name under which others would import it.
    """
    name: str = getattr(value, "__module__", None) or type(value).__module__
    main = sys.modules["__main__"]
    word = getattr(value, "__qualname__", "").partition(".")[0]
    if name == "__main__" and main.__spec__ and hasattr(main, word):
        return main.__spec__.name
    return name


def walk(value: object) -> Iterator[object]:
    """Yield the functions, classes and objects that a part of a configuration holds, but for those of checks.

    :param value: A plain value, a function, an object, or lists and mappings of such.
    :return: Each once.
    """
    waiting = [value]
    seen: dict[int, object] = {}  # which keeps them, so that no id is given twice
    while waiting:
        part = waiting.pop()
        if isinstance(part, None | bool | int | float | str | bytes | range) or id(part) in seen:
            continue
        seen[id(part)] = part
        match part:
            case functools.partial():
                partial = cast("functools.partial[object]", part)
                waiting += [partial.func, *partial.args, *partial.keywords.values()]
            case Mapping():
                waiting += cast("Mapping[object, object]", part).values()
            case set() | frozenset() | Sequence():
                waiting += cast("Sequence[object]", part)
            case _:
                yield part
                waiting += [content for name, content in find_state(part).items() if name != "checks"]
