"""Inputs whose views are recognised among those of all others."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric

from labkit.training.retrieval import MeanAveragePrecision, PrecisionAtOne
from labkit.training.task import Result, Task


class Contrastive(Task):
    """Views of one input, or of inputs of one class, attract each other and repel all others of the batch.

    Without labels this is SimCLR (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
    2020), with them SupCon (Khosla et al., "Supervised Contrastive Learning", 2020). What is judged and used afterwards
    are the model's representations; the head serves the loss alone. Processes that train together contrast each its own
    part of a batch.
    """

    can_combine: ClassVar[bool] = False  # models that learned apart put their vectors each in a space of its own

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        labelled: bool = True,
        temperature: float = 0.1,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations ``(batch, features)``.
        :param head: Maps these to the vectors that are compared.
        :param labelled: Whether inputs of one class belong together, or only views of one input.
        :param temperature: How much the nearest ones weigh: the less, the more.
        :param metrics: By default what a search by each input's representation for others of its class finds.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {"map": MeanAveragePrecision(), "precision_at_1": PrecisionAtOne()}
        arguments = {"training_metrics": {}, **arguments}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.labelled = labelled
        self.temperature = temperature

    def make_network(self) -> nn.Module:
        """Return what maps inputs to representations."""
        return self.parts[0]

    def compute(self, batch: Any) -> Result:
        """Compute the contrastive loss.

        :param batch: Inputs ``(batch, ...)``, or several views of them as :class:`labkit.data.transform.Views` makes
            them, and class numbers ``(batch,)``. Without labels, two views are needed, and class numbers only to judge.
        :return: Loss, representations of the first views with length 1, and class numbers.
        :raises ValueError: If nothing belongs together: inputs are neither labelled nor there in two views.
        """
        inputs, *targets = batch
        if not targets and (self.labelled or self._metrics["validation"].metrics):
            raise ValueError("contrastive learning without class numbers needs labelled=False and metrics={}")
        views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if len(views) == 1 and not self.labelled:
            raise ValueError("contrastive learning without labels needs two views of each input: use Views")
        model, head = self.parts
        representations = model(torch.cat(views))
        itself = torch.arange(len(views[0]), device=representations.device)
        target = targets[0] if targets else itself
        identity = target if self.labelled else itself
        loss = compute_contrastive_loss(head(representations), identity.repeat(len(views)), self.temperature)
        return Result(loss, functional.normalize(representations[: len(target)]), target)


def compute_contrastive_loss(vectors: Tensor, identity: Tensor, temperature: float) -> Tensor:
    """Compute how hard it is to tell what belongs to a vector from all else, mean of the vectors that have something.

    :param vectors: Vectors ``(batch, features)`` of any length.
    :param identity: Numbers ``(batch,)``, equal for what belongs together.
    :param temperature: What cosines are divided by.
    :return: The mean negative logarithm of the probabilities, a scalar.
    """
    vectors = functional.normalize(vectors)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    positive = (identity[:, None] == identity[None, :]) & ~itself
    logarithms = similarity.log_softmax(dim=1).masked_fill(~positive, 0)
    counts = positive.sum(dim=1)
    losses = -logarithms.sum(dim=1) / counts.clamp(min=1)
    return losses.sum() / (counts > 0).sum().clamp(min=1)
