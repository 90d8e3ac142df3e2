"""How a study trains: its data and its task, and what may be changed about a training, always on a copy."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from labkit.command import UsageError
from labkit.training.duration import Duration

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.data import Dataset

    from labkit.data.footprint import Footprint
    from labkit.data.loading import Transform
    from labkit.environment import Environment
    from labkit.recipe.result import Plain
    from labkit.training.task import Task

CHANGEABLE: Final = ("duration", "validation_every", "batch_size", "augment", "dropout", "weight_decay")
"""Fields of an experiment that can be changed by name."""


@dataclass(frozen=True)
class Data:
    """What is learned from and what is judged by; what is tested on stays out of a recipe's sight."""

    training: "Dataset[Any]"
    validation: "Dataset[Any]"
    footprint: "Footprint"
    augmentation: "Transform | None" = None
    """Applied to samples that are learned from, where an experiment augments."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One way to train."""

    data: "Callable[[Environment], Data]"
    """Loads the data."""
    task: "Callable[..., Task]"
    """Makes a task with fresh weights."""
    arguments: "Mapping[str, Plain]" = field(default_factory=dict)
    """What the task is made with, by name."""
    duration: Duration = Duration(10, "epochs")
    validation_every: Duration = Duration(1, "epochs")
    batch_size: int = 64
    augment: bool = False
    """Whether what is learned from is augmented."""
    dropout: float | None = None
    """The share that every dropout of the model drops; None leaves each as it is."""
    weight_decay: float | None = None
    """The decay of all weights; None leaves the optimiser as it is."""

    @property
    def settings(self) -> "dict[str, Any]":
        """All that :meth:`changed` can change, by name, as it is given there."""
        own = {name: getattr(self, name) for name in CHANGEABLE}
        return {
            **{name: str(value) if isinstance(value, Duration) else value for name, value in own.items()},
            **self.arguments,
        }

    def changed(self, changes: "Mapping[str, Any]") -> Self:
        """Return a copy with changes.

        :param changes: Fields of the experiment by name; any other name is an argument of its task.
        :return: The copy.
        :raises UsageError: If one of them cannot be changed.
        """
        if wrong := sorted({"data", "task", "arguments"} & changes.keys()):
            raise UsageError(f"'{wrong[0]}' cannot be changed by name: make another Experiment.")
        own = {name: value for name, value in changes.items() if name in CHANGEABLE}
        for name in {"duration", "validation_every"} & own.keys():
            own[name] = Duration.parse(str(own[name]))
        others = {name: value for name, value in changes.items() if name not in CHANGEABLE}
        return replace(self, arguments={**self.arguments, **others}, **own)

    def make_task(self) -> "Task":
        """Make a task with fresh weights, drawn from the global streams; nobody else has it."""
        task = self.task(**self.arguments)
        if self.dropout is not None:
            _set_dropout(task, self.dropout)
        if self.weight_decay is not None and task.optimizer is not None:
            task.optimizer = _with_weight_decay(task.optimizer, self.weight_decay)
        return task


def _set_dropout(task: "Task", share: float) -> None:
    from torch import nn

    for module in task.modules():
        match module:
            case nn.Dropout() | nn.Dropout1d() | nn.Dropout2d() | nn.Dropout3d():
                module.p = share
            case nn.AlphaDropout() | nn.FeatureAlphaDropout():
                module.p = share
            case nn.RNNBase() | nn.MultiheadAttention():
                module.dropout = share
            case _:
                pass


def _with_weight_decay(
    make: "Callable[[Iterable[nn.Parameter]], Optimizer]", decay: float
) -> "Callable[[Iterable[nn.Parameter]], Optimizer]":
    def make_with_decay(parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        optimizer = make(parameters)
        for group in optimizer.param_groups:
            group["weight_decay"] = decay
        return optimizer

    return make_with_decay
