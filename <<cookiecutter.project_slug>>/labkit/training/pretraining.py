"""Beginning with the weights of another run."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from torch import nn

from labkit.tracking.run import Run, open_run
from labkit.training.checkpoint import demand_fit, find_newest, read

AVERAGE: Final = "average."
"""How the names of weights begin that are moving averages of others."""
PRETRAINED_TAG: Final = "labkit.pretrained"
"""On a run that began with the weights of another one: that run's id, the checkpoint, and its step."""


def load_pretrained(
    task: nn.Module,
    run: Run,
    run_id: str,
    checkpoint: Literal["best", "last"] = "best",
    *,
    may_be_missing: Iterable[str] = (),
    may_be_unused: Iterable[str] = (),
) -> None:
    """Give a task the weights of another run, if its own run is at its beginning.

    A run that goes on from a checkpoint of its own has those weights already, and learned from there. Where the run
    that is begun with kept a moving average of its weights, that was judged, and so it is what is taken.

    :param task: The task, with fresh weights.
    :param run: The run that trains it.
    :param run_id: The run whose weights it begins with.
    :param checkpoint: Which of that run's checkpoints.
    :param may_be_missing: Patterns such as ``model.head.*``: these weights stay fresh where the checkpoint lacks them,
        or has them in another shape.
    :param may_be_unused: Patterns: these weights of the checkpoint are left out where the task lacks them.
    :raises UsageError: If there is no such run or checkpoint, or other weights than these do not match.
    """
    if find_newest(run.folder):
        return
    path = open_run(run.environment, run_id).checkpoint(checkpoint)
    content = read(path)
    weights, origin = _take_average(content["state_dict"]), f"the checkpoint {path}"
    averaged = [name for name in task.state_dict() if name.startswith(AVERAGE)]
    weights |= {name: weights[plain] for name in averaged if (plain := name.removeprefix(AVERAGE)) in weights}
    may_be_missing = [*may_be_missing, *(AVERAGE + pattern for pattern in may_be_missing)]
    fit = demand_fit(task, weights, origin, may_be_missing=may_be_missing, may_be_unused=may_be_unused)
    task.load_state_dict(fit.fitting, strict=False)
    step = content["global_step"]
    run.log_tags({PRETRAINED_TAG: f"{run_id}/{path.name}, step {step}"})
    if not run.is_led_here:
        return
    print(f"Beginning with {len(fit.fitting)} weights of {path}, made in {step} steps.")
    for names, what in ((fit.missing, "stay fresh"), (fit.unused, "are left out")):
        if names:
            print(f"These {what}: {', '.join(names)}.", file=sys.stderr)


def _take_average(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's weights, and of those of which there is a moving average, that one."""
    averages = {name.removeprefix(AVERAGE): value for name, value in weights.items() if name.startswith(AVERAGE)}
    return {name: value for name, value in weights.items() if not name.startswith(AVERAGE)} | averages
