"""What Lightning calls while a training goes on, for those who look into it."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from labkit.command import UsageError
from labkit.tracking.run import Run
from labkit.training.task import Task

BINS: Final = 40
MOST_LOOKS: Final = 64
"""At all weights; when there are more, every second one is forgotten, and half as many follow."""
MOST_VALUES: Final = 1000
"""Of a tensor that are kept of one look."""
SMALLEST_GRADIENT: Final = 1e-12
COLUMNS: Final = 8
COLOURS_OF_A_PICTURE: Final = 3

Looks = dict[str, dict[int, NDArray[np.float32]]]
"""Values of tensors by the steps at which they were looked at."""


class BatchPicture(Callback):
    """Draws the first batch."""

    def __init__(self, run: Run, samples: int) -> None:
        """Draw for a run."""
        self.run = run
        self.samples = samples
        self._is_done = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Draw the batch, if it is the first."""
        del trainer, pl_module, batch_idx
        if not self._is_done:
            self._is_done = True
            self.run.log_figure("batch", draw_batch(batch[0][: self.samples], batch[1][: self.samples]))


class TensorRecorder(Callback):
    """Records statistics of what leaves modules."""

    def __init__(self, run: Run, modules: Sequence[str], every: int) -> None:
        """Record in a run."""
        self.run = run
        self.modules = modules
        self.every = every
        self._seen: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the modules."""
        del trainer
        known = dict(pl_module.named_modules())
        for name in self.modules:
            if name not in known:
                raise UsageError(f"there is no module '{name}' to look at, but {', '.join(filter(None, known))}.")

            def listen(module: torch.nn.Module, _: Any, output: Any, name: str = name) -> None:
                if module.training and isinstance(output, Tensor):
                    self._seen[name] = output.detach()

            self._handles.append(known[name].register_forward_hook(listen))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record what was heard."""
        del pl_module, outputs, batch, batch_idx
        if trainer.global_step % self.every == 0:
            for name, tensor in self._seen.items():
                metrics = {f"inspection/{name}/{word}": value for word, value in measure(tensor).items()}
                self.run.log_metrics(metrics, step=trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no longer."""
        del trainer, pl_module
        for handle in self._handles:
            handle.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no longer."""
        del exception
        self.on_fit_end(trainer, pl_module)


class ProbabilityRecorder(Callback):
    """Records how probable the true class is found, for each class."""

    def __init__(self, run: Run) -> None:
        """Record in a run."""
        self.run = run
        self._found: list[tuple[Tensor, Tensor]] = []
        self._course: list[tuple[int, dict[int, float]]] = []

    def on_validation_batch_end(  # noqa: PLR0917  Lightning's
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a batch."""
        del trainer, outputs, batch_idx, dataloader_idx
        if isinstance(pl_module, Task):
            result = pl_module.compute(batch)
            probabilities = result.prediction.softmax(dim=1)
            self._found.append((probabilities.gather(1, result.target[:, None])[:, 0], result.target))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the means."""
        del pl_module
        probabilities, classes = (torch.cat(tensors) for tensors in zip(*self._found, strict=True))
        self._found.clear()
        means = {label: probabilities[classes == label].mean().item() for label in classes.unique().tolist()}
        self._course.append((trainer.global_step, means))
        metrics = {f"inspection/probability of class {label}": value for label, value in means.items()}
        self.run.log_metrics(metrics, step=trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the course."""
        del trainer, pl_module
        self.run.log_figure("class-probabilities", draw_probabilities(self._course))


class HistogramRecorder(Callback):
    """Draws the distributions of weights and gradients over time."""

    def __init__(self, run: Run, every: int) -> None:
        """Draw for a run."""
        self.run = run
        self.every = every
        self._weights: Looks = {}
        self._gradients: Looks = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Take a look at all weights and gradients."""
        del optimizer
        step = trainer.global_step
        if step % self.every:
            return
        for name, weight in pl_module.named_parameters():
            if weight.grad is not None:
                sizes = sample(weight.grad).abs().clamp(min=SMALLEST_GRADIENT).log10()
                self._weights.setdefault(name, {})[step] = sample(weight).numpy()
                self._gradients.setdefault(name, {})[step] = sizes.numpy()
        if max(map(len, self._weights.values()), default=0) > MOST_LOOKS:
            self.every *= 2
            self._weights, self._gradients = (
                {name: {step: seen for step, seen in looks.items() if step % self.every == 0} for name, looks in each}
                for each in (self._weights.items(), self._gradients.items())
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them."""
        del trainer, pl_module
        if self._weights:
            self.run.log_figure("weights", draw_histograms(self._weights, "weight"))
            self.run.log_figure("gradients", draw_histograms(self._gradients, "log10 |gradient|"))


def sample(tensor: Tensor) -> Tensor:
    """Take some of a tensor's values, evenly spread, as numbers of 32 bits outside of any accelerator."""
    values = tensor.detach().flatten()
    return values[:: math.ceil(len(values) / MOST_VALUES) or 1].float().cpu()


def measure(tensor: Tensor) -> dict[str, float]:
    """Return the statistics of a tensor by name."""
    values = tensor.double()
    return {
        "mean": values.mean().item(),
        "deviation": values.std(correction=0).item(),
        "smallest": values.min().item(),
        "largest": values.max().item(),
        "share of zeros": (values == 0).double().mean().item(),
    }


def draw_batch(inputs: Tensor, classes: Tensor) -> Figure:
    """Draw inputs as pictures, each with its class above it; what is no image as a curve.

    :param inputs: ``(samples, channels, height, width)``, or anything else by sample.
    :param classes: ``(samples,)``.
    :return: The figure.
    """
    columns = min(COLUMNS, len(inputs))
    rows = math.ceil(len(inputs) / columns)
    figure = Figure(figsize=(1.2 * columns, 1.4 * rows), layout="constrained")
    for place, (sample, label) in enumerate(zip(inputs.cpu(), classes.tolist(), strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        if sample.ndim == 3 and len(sample) in {1, COLOURS_OF_A_PICTURE}:  # noqa: PLR2004  channels, height, width
            low, high = sample.min(), sample.max()
            picture = (sample - low) / (high - low).clamp(min=SMALLEST_GRADIENT)
            axes.imshow(picture.permute(1, 2, 0).numpy(), cmap="gray")
        else:
            axes.plot(sample.flatten().numpy(), linewidth=0.8)
        axes.set_title(str(label), fontsize="small")
        axes.set_axis_off()
    return figure


def draw_probabilities(course: Sequence[tuple[int, dict[int, float]]]) -> Figure:
    """Draw the mean probability of the true class over time, a curve a class.

    :param course: Optimiser steps, and the means by class.
    :return: The figure.
    """
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for label in sorted({label for _, means in course for label in means}):
        points = [(step, means[label]) for step, means in course if label in means]
        axes.plot(*zip(*points, strict=True), label=str(label), marker=".")
    axes.set_ylim(0, 1)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("probability of the true class")
    axes.legend(title="class", loc="lower right", ncols=2, fontsize="small")
    return figure


def draw_histograms(looks: Looks, what: str) -> Figure:
    """Draw how the values of tensors are distributed over time, a panel a tensor, dark where many are.

    :param looks: The values; of those that are no finite numbers it is said how many there are.
    :param what: What the values are.
    :return: The figure.
    """
    columns = min(3, len(looks))
    rows = math.ceil(len(looks) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.4 * rows), layout="constrained")
    for place, (name, seen) in enumerate(looks.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        moments = [values[np.isfinite(values)] for values in seen.values()]
        share = 1 - sum(map(len, moments)) / sum(map(len, seen.values()))
        edges = np.histogram_bin_edges(np.concatenate(moments), BINS)
        counts = np.stack([np.histogram(moment, edges)[0] / max(len(moment), 1) for moment in moments], axis=1)
        axes.pcolormesh([*seen, max(seen) + 1], edges, counts, cmap="Blues")
        axes.set_title(name + (f", {share:.1%} not finite" if share else ""), fontsize="small")
        axes.set_xlabel("optimiser steps", fontsize="small")
        axes.set_ylabel(what, fontsize="small")
    return figure
