"""Pictures of clips, and of what a model makes of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from labkit.report.figures import plot_confusion
from labkit.tracking.run import Run

from .clip import MOTIONS
from .data import Parts

if TYPE_CHECKING:
    from labkit.training.task import Task

CLIPS_SHOWN: Final = 8


def illustrate(task: "Task", run: Run, parts: Parts) -> None:
    """Keep pictures of the last validation, and some of its clips with what they are taken for.

    :param task: The task with its weights.
    :param run: The run that keeps them.
    :param parts: The data, of which the validation set is looked at.
    """
    if not run.is_led_here:
        return
    counts = task.results["validation"]["confusion"].numpy()
    run.log_figure("confusion-validation", plot_confusion(counts, MOTIONS))
    clips, classes = (tensor[:CLIPS_SHOWN] for tensor in parts.validation.tensors)
    with torch.no_grad():
        probabilities = task.eval()(clips.to(task.device)).softmax(dim=1).cpu()
    run.log_figure("clips-validation", plot_clips(clips.numpy(), probabilities.numpy(), classes.numpy(), MOTIONS))


def plot_clips(
    clips: NDArray[np.floating], probabilities: NDArray[np.floating], classes: NDArray[np.integer], names: Sequence[str]
) -> Figure:
    """Plot clips as strips of their frames, each with its motion and with what a model takes it for.

    :param clips: ``(clips, 1, frames, height, width)``, values 0 to 1.
    :param probabilities: ``(clips, classes)``.
    :param classes: The true class numbers, ``(clips,)``.
    :param names: The classes' names.
    :return: The figure, one row a clip.
    """
    figure = Figure(figsize=(1.1 * clips.shape[2], 1.4 * len(clips)), layout="constrained")
    for row, (clip, own, number) in enumerate(zip(clips, probabilities, classes.tolist(), strict=True)):
        axes = figure.add_subplot(len(clips), 1, row + 1)
        # A white line between two frames.
        frames = [np.pad(frame, ((0, 0), (0, 1)), constant_values=1) for frame in clip[0]]
        axes.imshow(np.hstack(frames), cmap="gray", vmin=0, vmax=1)
        taken = int(own.argmax())
        axes.set_title(
            f"{names[number]}, taken for {names[taken]} ({100 * own[taken]:.0f}%)",
            fontsize="small",
            color="black" if taken == number else "red",
        )
        axes.set_axis_off()
    return figure
