"""Freezing part of a model, and thawing it with a learning rate of its own."""

import warnings
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer

from labkit.command import UsageError
from labkit.training.task import Task


def freeze(task: Task, patterns: Sequence[str]) -> list[str]:
    """Keep weights, and the statistics of their modules, as they are.

    :param task: The task, which is changed.
    :param patterns: The weights by name: ``model.0.*``.
    :return: The names of the weights.
    :raises UsageError: If a pattern fits none.
    """
    weights = dict(task.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in weights):
            raise UsageError(f"no weight is named like '{pattern}': there are {', '.join(weights)}.")
    frozen = [name for name in weights if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name in frozen:
        weights[name].requires_grad = False
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # so they shall be
    for module in task.modules():
        own = list(module.parameters())
        if own and not any(weight.requires_grad for weight in own):
            module.eval()  # Lightning leaves it so
    return frozen


def thaw(task: Task, names: Iterable[str], rate: float) -> None:
    """Let frozen weights learn again, with a rate of their own; from now on all rates stay as they are.

    A schedule would give all weights one rate, and so there is none any more.

    :param task: The task, which is changed; no weight is.
    :param names: The weights.
    :param rate: Their learning rate.
    :raises UsageError: If the task has no optimiser.
    """
    make = task.optimizer
    if make is None:
        raise UsageError(f"this {type(task).__name__} cannot be trained: it was made without an optimizer.")
    chosen = set(names)
    weights = [weight for name, weight in task.named_parameters() if name in chosen]
    for weight in weights:
        weight.requires_grad = True
    task.train()
    thawed = {id(weight) for weight in weights}

    def make_with_rates(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = make([weight for weight in parameters if id(weight) not in thawed])
        for group in make(weights).param_groups:  # with all that the optimiser is made with, such as a decay
            optimizer.add_param_group({**group, "lr": rate})
        return optimizer

    task.optimizer, task.scheduler = make_with_rates, None
