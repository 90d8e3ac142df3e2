"""Pictures of a classification, kept with its run while it trains and when it has been trained."""

from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from labkit.report.figures import (
    embed,
    plot_boundaries,
    plot_confusion,
    plot_confusion_rates,
    plot_curves,
    plot_distributions,
    plot_embedding,
    plot_most_wrong,
    plot_scores,
)
from labkit.report.projector import write_projection
from labkit.report.representation import SAMPLES
from labkit.report.results import plot_results
from labkit.tracking.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from labkit.data.loading import Loader
    from labkit.training.task import Task


class ConfusionPicture(Callback):
    """Keeps the confusion matrix of every validation: counts, and rates."""

    def __init__(self, run: Run) -> None:
        """Keep them with a run.

        :param run: The run that the training is part of.
        """
        self.run = run

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep that of the validation that has just ended."""
        results: dict[str, dict[str, Tensor]] = getattr(pl_module, "results", {})
        confusion = results.get("validation", {}).get("confusion")
        if confusion is None or not self.run.is_led_here:
            return
        counts, step = confusion.numpy(), trainer.global_step
        self.run.log_figure(f"confusion-counts-validation-{step:06d}", plot_confusion(counts))
        self.run.log_figure(f"confusion-rates-validation-{step:06d}", plot_confusion_rates(counts))


class CurvePicture(Callback):
    """Keeps the learning curves when a training ends, also where it is interrupted or fails."""

    def __init__(self, run: Run) -> None:
        """Keep them with a run.

        :param run: The run that the training is part of.
        """
        self.run = run

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep those of the whole training."""
        del pl_module
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep those up to here."""
        del pl_module, exception
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if trainer.logger and self.run.is_led_here:
            trainer.logger.save()
            self.run.log_figure("curves", plot_curves(self.run.history))


class BoundaryPicture(Callback):
    """Keeps, at every validation, where a classifier of points in two dimensions decides for which class."""

    def __init__(self, run: Run, points: Tensor, classes: Tensor) -> None:
        """Keep them with a run.

        :param run: The run that the training is part of.
        :param points: The samples to draw, ``(samples, 2)``.
        :param classes: The class number of each, ``(samples,)``.
        """
        self.run = run
        self.points = points.numpy()
        self.classes = classes.numpy()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep that of the validation that has just ended, while the model still judges and does not learn."""
        if not self.run.is_led_here:
            return

        def predict(points: "NDArray[np.float64]") -> "NDArray[np.floating]":
            inputs = torch.from_numpy(points).to(next(pl_module.parameters()))  # their device and precision
            return pl_module(inputs).float().cpu().numpy()

        figure = plot_boundaries(predict, self.points, self.classes)
        self.run.log_figure(f"boundaries-{trainer.global_step:06d}", figure)


def illustrate(task: "Task", run: Run, loader: "Loader") -> None:
    """Keep pictures of what a trained model does: its representations and weights, and of a classifier its mistakes.

    :param task: The task with its weights; its model maps images ``(batch, channels, height, width)`` to
        representations ``(batch, features)``, and of a classification the head maps these to logits.
    :param run: The run that keeps them.
    :param loader: The batches to look at, such as the validation set, images and class numbers.
    """
    if not run.is_led_here:
        return
    device = next(task.parameters()).device
    task.eval()
    model, head = task.parts
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for images, classes in loader:
            representations = model(images.to(device))
            parts.append((images, representations.cpu(), head(representations).cpu(), classes))
    images, representations, logits, classes = (torch.cat(part) for part in zip(*parts, strict=True))
    targets = classes.numpy()
    for name, figure in plot_results(task.results["validation"]).items():
        run.log_figure(f"{name}-validation", figure)
    counts = task.results["validation"].get("confusion")
    if counts is not None:
        run.log_figure("scores-validation", plot_scores(counts.numpy()))
        run.log_figure("most-wrong-validation", plot_most_wrong(images.numpy(), logits.softmax(dim=1).numpy(), targets))
    some = representations[:SAMPLES].numpy()
    for dimensions in (2, 3):
        for method in ("pca", "t-sne"):
            figure = plot_embedding(embed(some, method=method, dimensions=dimensions), targets[:SAMPLES])
            run.log_figure(f"{method}-in-{dimensions}-dimensions-validation", figure)
    weights = {name: value.detach().cpu().numpy() for name, value in model.named_parameters() if value.dim() > 1}
    run.log_figure("weights", plot_distributions(weights, "weights"))
    if task.average is None:  # an average of weights has no gradients
        task.zero_grad()
        task.compute((parts[0][0].to(device), parts[0][3].to(device))).loss.backward()
        gradients = {
            name: value.grad.cpu().numpy()
            for name, value in model.named_parameters()
            if value.grad is not None and value.dim() > 1
        }
        task.zero_grad()
        run.log_figure("gradients", plot_distributions(gradients, "gradients of a batch"))
    folder = run.folder / "projector"
    write_projection(folder, representations.numpy(), [str(number) for number in targets.tolist()])
    run.log_artifact(folder, "projector")
