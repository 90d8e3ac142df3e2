"""Options that belong together and that many functions have: written once, as a dataclass.

.. code-block:: python

    @dataclass(frozen=True, kw_only=True)
    class Execution(OptionGroup):
        \"\"\"How a training is executed.

        :param devices: How many devices take part.
        \"\"\"

        devices: int = 1

    @entry_point
    def train(run: Run, *, execution: Execution = Execution()) -> None:
        ...

On the command line of ``train`` there is ``--devices``, and the function receives all of the group as one argument.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])


class OptionGroup:
    """The base of dataclasses whose fields are options; all have defaults."""


def flatten(function: F) -> F:
    """Give a function the fields of its option groups as parameters.

    :param function: A function whose keyword-only parameters may be option groups, which its docstring leaves out.
    :return: A function that takes the groups or their fields; its signature and docstring show the fields.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, OptionGroup)}
    if not groups:
        return function

    signature = inspect.signature(function)

    @functools.wraps(function)
    def with_groups(*arguments: object, **given: Any) -> object:
        for name, group in groups.items():
            if fields := {field: given.pop(field) for field in _fields(group) if field in given}:
                given[name] = dataclasses.replace(given.get(name, signature.parameters[name].default), **fields)
        return function(*arguments, **given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters.extend(_parameters(groups[name], parameter.default) if name in groups else [parameter])
    flat = {name: hint for name, hint in hints.items() if name not in groups}
    flat |= {parameter.name: parameter.annotation for parameter in parameters if parameter.name not in flat}
    documented = [inspect.getdoc(part) or "" for part in (function, *groups.values())]
    flattened = typing.cast("Any", with_groups)
    flattened.__signature__ = signature.replace(parameters=parameters)
    flattened.__annotations__ = flat
    flattened.__doc__ = "\n".join([documented[0], *(text.partition("\n\n")[2] for text in documented[1:])])
    return flattened


def _fields(group: type[OptionGroup]) -> list[str]:
    return [field.name for field in dataclasses.fields(typing.cast("Any", group))]


def _parameters(group: type[OptionGroup], default: object) -> list[inspect.Parameter]:
    """Return the fields of a group as parameters, whose defaults are those of the function."""
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(default, name), annotation=hints[name])
        for name in _fields(group)
    ]
