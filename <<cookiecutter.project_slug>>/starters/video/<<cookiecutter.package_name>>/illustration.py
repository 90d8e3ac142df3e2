"""Pictures of clips, and of what a model makes of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


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
