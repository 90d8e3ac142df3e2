"""Pictures of what a model makes of samples, kept with its run while it trains."""

from typing import TYPE_CHECKING, Any, Final, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from labkit.report.figures import embed, plot_distributions, plot_embedding
from labkit.tracking.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from labkit.training.task import Task

SAMPLES: Final = 120
"""Of a validation set, its first; more would cover one another."""
FACTOR: Final = 4
"""Between the numbers of validations at which pictures are drawn."""
VALUES: Final = 10_000
"""Of the activations of a module at most so many are counted."""


class RepresentationPicture(Callback):
    """Keeps where a model places samples by their principal components, and how the activations are distributed.

    This is done at the validations 1, 4, 16 and so on: even a long training has but few of these pictures to draw.
    """

    def __init__(self, run: Run) -> None:
        """Keep them with a run.

        :param run: The run that the training is part of.
        """
        self.run = run
        self._validations = 0
        self._next = 1
        self._sample: tuple[Tensor, Tensor] | None = None

    def on_validation_batch_end(  # noqa: PLR0917  Lightning's
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first batch, inputs and class numbers, until the validation ends."""
        del trainer, pl_module, outputs, dataloader_idx
        if batch_idx == 0:
            self._sample = (batch[0][:SAMPLES], batch[1][:SAMPLES])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the model makes of that batch, while it still judges and does not learn."""
        self._validations += 1
        if self._validations < self._next or self._sample is None or not self.run.is_led_here:
            return
        self._next *= FACTOR
        inputs, classes = self._sample
        model, _ = cast("Task", pl_module).parts
        representations, activations = look_inside(model, inputs)
        places, step = embed(representations, method="pca"), trainer.global_step
        self.run.log_figure(f"embedding-{step:06d}", plot_embedding(places, classes.cpu().numpy()))
        self.run.log_figure(f"activations-{step:06d}", plot_distributions(activations, "activations"))


def look_inside(model: nn.Module, inputs: Tensor) -> "tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]":
    """Apply a model, and keep what leaves each of the modules that it is made of.

    :param model: Maps inputs to representations, and judges. Of dropout, and of what changes shapes only, nothing is
        kept: that has been seen before.
    :param inputs: A batch.
    :return: Representations ``(batch, features)``, and by the modules' names at most :data:`VALUES` activations, evenly
        taken.
    """
    activations: dict[str, NDArray[np.float32]] = {}

    def listen(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            flat = output.detach().flatten()
            activations[name] = flat[:: -(-len(flat) // VALUES)].float().cpu().numpy()

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: listen(name, output))
        for name, module in model.named_modules()
        if not list(module.children()) and not isinstance(module, nn.Dropout | nn.Flatten | nn.Identity)
    ]
    try:
        with torch.no_grad():
            representations = model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return representations.float().flatten(1).cpu().numpy(), activations
