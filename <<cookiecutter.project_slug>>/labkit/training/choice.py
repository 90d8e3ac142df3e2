"""Parts chosen by name, with arguments of their own: ``AdamW(weight_decay=0.1)``.

A choice is read without torch; what is chosen from is looked at when the part is made. Arguments are held to the
signature and its annotations: a wrong one is a sentence before the first step, not a traceback in the middle of it.
"""

import ast
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from labkit.command import UsageError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torchmetrics import Metric

Part = TypeVar("Part")

LENGTHS: Final = ("total_steps", "T_max", "total_iters")
"""What schedules call the length of the training."""
UNNAMEABLE: Final = {"ChainedScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR"}
"""Schedules that are made of functions or of other schedules, which no text can name."""

PLAIN_TYPES: Final[dict[Any, set[type]]] = {
    None: {type(None)},
    type(None): {type(None)},
    bool: {bool},
    float: {float, int},
    int: {int},
    str: {str},
}
"""The values that an annotation allows; true and false are no numbers."""


@dataclass(frozen=True)
class Choice:
    """A name, and arguments by their names."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a choice.

        :param text: A name, or a call with literal values: ``SGD(momentum=0.9, nesterov=True)``.
        :return: The choice.
        :raises UsageError: If it is neither.
        """
        try:
            expression = ast.parse(text.strip(), mode="eval").body
            if isinstance(expression, ast.Name):
                return cls(expression.id)
            if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and not expression.args:
                arguments = [(str(word.arg or "**"), ast.literal_eval(word.value)) for word in expression.keywords]
                return cls(expression.func.id, tuple(arguments))
        except (SyntaxError, ValueError):
            pass
        raise UsageError(f"{text!r} is no choice: write a name with its arguments, such as 'SGD(momentum=0.9)'.")

    def __str__(self) -> str:
        """Return the text from which :meth:`parse` makes the choice."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments)
        return f"{self.name}({arguments})" if arguments else self.name

    def make(
        self,
        what: str,
        parts: Mapping[str, Callable[..., Part]],
        *positional: object,
        defaults: Mapping[str, object] | None = None,
    ) -> Part:
        """Make what was chosen.

        :param what: What it is, in words: ``optimizer``.
        :param parts: What there is to choose from, by name.
        :param positional: Its first arguments, which are not chosen.
        :param defaults: Arguments that it gets where it has such, and none was chosen.
        :return: The part.
        :raises UsageError: If there is none of that name, or it does not take the arguments.
        """
        part = parts.get(self.name)
        if part is None:
            similar = difflib.get_close_matches(self.name, parts, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"there are {', '.join(sorted(parts))}."
            raise UsageError(f"there is no {what} {self.name}: {hint}")
        given = dict(self.arguments)
        parameters = dict(list(inspect.signature(part).parameters.items())[len(positional) :])
        given |= {name: value for name, value in (defaults or {}).items() if name in parameters and name not in given}
        self._check(what, parameters, given)
        given = _as_tensors(part, given)
        try:
            return part(*positional, **given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"the {what} {self} cannot be made: {' '.join(str(error).split())}") from error

    def _check(self, what: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, object]) -> None:
        takes = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
        is_open = len(takes) < len(parameters)
        for name, value in given.items():
            if name not in takes:
                if is_open and name != "**":
                    continue
                raise UsageError(f"the {what} {self.name} has no argument {name}: it has {', '.join(takes)}.")
            hint = parameters[name].annotation
            if not _fits(value, hint):
                raise UsageError(f"the {what} {self.name} takes for {name} {_describe(hint)}, not {value!r}.")
        if missing := [
            name for name in takes if parameters[name].default is inspect.Parameter.empty and name not in given
        ]:
            raise UsageError(f"the {what} {self.name} needs {missing[0]}: write {self.name}({missing[0]}=...).")


def choose_optimizer(choice: Choice | str, **defaults: object) -> "Callable[[Iterable[nn.Parameter]], Optimizer]":
    """Choose one of torch's optimisers.

    :param choice: Such as ``AdamW(weight_decay=0.1)``.
    :param defaults: Arguments that it gets where they are not chosen, such as ``lr``.
    :return: Makes the optimiser for parameters.
    :raises UsageError: If there is no such optimiser, or it does not take the arguments.
    """
    import torch
    from torch import nn
    from torch.optim import Optimizer

    choice = _read(choice)
    optimizers = _subclasses(torch.optim, Optimizer)

    def make(parameters: "Iterable[nn.Parameter]") -> Optimizer:
        return choice.make("optimizer", optimizers, parameters, defaults=defaults)

    make([nn.Parameter(torch.zeros(1, 1))])  # so that a wrong argument is found now
    return make


def choose_scheduler(choice: Choice | str) -> "Callable[[Optimizer, int], LRScheduler]":
    """Choose one of torch's schedules of the learning rate.

    A schedule that has a length gets that of the training, and one that has a largest rate the optimiser's.

    :param choice: Such as ``CosineAnnealingLR`` or ``StepLR(step_size=1000)``.
    :return: Makes the schedule for an optimiser and the steps, or epochs, to come.
    :raises UsageError: If there is no such schedule, or it does not take the arguments.
    """
    import torch
    from torch import nn
    from torch.optim import SGD, Optimizer, lr_scheduler
    from torch.optim.lr_scheduler import LRScheduler

    choice = _read(choice)
    schedulers = {name: part for name, part in _subclasses(lr_scheduler, LRScheduler).items() if name not in UNNAMEABLE}

    def make(optimizer: Optimizer, length: int) -> LRScheduler:
        defaults = {"max_lr": optimizer.param_groups[0]["lr"], **dict.fromkeys(LENGTHS, length)}
        return choice.make("scheduler", schedulers, optimizer, defaults=defaults)

    make(SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.5), 100)
    return make


def choose_loss(choice: Choice | str, **defaults: object) -> "nn.Module":
    """Choose one of torch's losses.

    :param choice: Such as ``CrossEntropyLoss(label_smoothing=0.1)``; numbers in brackets become a tensor.
    :param defaults: Arguments that it gets where it has such and they are not chosen.
    :return: The loss, a function of prediction and target.
    :raises UsageError: If there is no such loss, or it does not take the arguments.
    """
    from torch import nn

    losses = {name: part for name, part in _subclasses(nn, nn.Module).items() if name.endswith("Loss")}
    return _read(choice).make("loss", losses, defaults=defaults)


def choose_metrics(choices: Mapping[str, Choice | str], **defaults: object) -> "dict[str, Metric]":
    """Choose metrics of torchmetrics.

    :param choices: By the names that they are recorded under: ``{"f1": "MulticlassF1Score(average='macro')"}``.
    :param defaults: Arguments that each gets where it has such and they are not chosen, such as ``num_classes``.
    :return: The metrics by the same names.
    :raises UsageError: If there is no such metric, or it does not take the arguments.
    """
    import torchmetrics
    from torchmetrics import Metric, classification

    metrics = _subclasses(torchmetrics, Metric) | _subclasses(classification, Metric)
    return {name: _read(choice).make("metric", metrics, defaults=defaults) for name, choice in choices.items()}


def _read(choice: Choice | str) -> Choice:
    return Choice.parse(choice) if isinstance(choice, str) else choice


def _subclasses(module: types.ModuleType, base: type[Part]) -> dict[str, type[Part]]:
    """Return what a module exports of a kind, but for the kind itself."""
    return {
        name: part
        for name, part in vars(module).items()
        if not name.startswith("_") and isinstance(part, type) and issubclass(part, base) and part is not base
    }


def _fits(value: object, hint: Any) -> bool:
    """Tell whether a value is one that an annotation allows, as far as annotations of plain types tell."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:  # pyright: ignore[reportDeprecated]  Optional makes one
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if _is_tensor(hint):
        return _is_list(value)
    return type(value) in PLAIN_TYPES.get(hint, {type(value)})


def _describe(hint: Any) -> str:
    if arguments := [argument for argument in typing.get_args(hint) if argument is not type(None)]:
        return " or ".join(dict.fromkeys(map(_describe, arguments)))
    if _is_tensor(hint):
        return "a list of numbers"
    return f"a value of type {hint.__name__}" if isinstance(hint, type) else repr(hint)


def _is_tensor(hint: Any) -> bool:
    return isinstance(hint, type) and hint.__module__ == "torch" and hint.__name__ == "Tensor"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _as_tensors(part: Callable[..., object], given: Mapping[str, Any]) -> dict[str, Any]:
    """Make tensors of the lists that a part takes as such."""
    import torch

    parameters = inspect.signature(part).parameters
    hints = {name: parameters[name].annotation for name in given if name in parameters}
    return {
        name: torch.tensor(value, dtype=torch.get_default_dtype())
        if name in hints and _is_list(value) and any(map(_is_tensor, [hints[name], *typing.get_args(hints[name])]))
        else value
        for name, value in given.items()
    }
