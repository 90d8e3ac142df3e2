"""Inputs that shall be near each other where they are of one class, so that they can be looked up by example."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric

from labkit.training.retrieval import MeanAveragePrecision, PrecisionAtOne
from labkit.training.task import Result, Task

Mining = Literal["all", "hard", "semi-hard"]


class Similarity(Task):
    """Representations of one class are nearer to each other than to those of others, by a margin.

    A batch needs inputs of several classes, and several of each: :class:`labkit.data.order.Balanced` sees to that.
    """

    can_combine: ClassVar[bool] = False  # models that learned apart put their vectors each in a space of its own

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        margin: float = 0.2,
        mining: Mining = "hard",
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps inputs ``(batch, ...)`` to representations.
        :param head: Maps these to the vectors that are compared, whose length is made 1.
        :param margin: How much nearer; the distance of two vectors is at most 2.
        :param mining: Which triplets of a batch count, see :func:`compute_triplet_loss`.
        :param metrics: By default what a search by each input for the others of its class finds.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        :raises ValueError: If there is no such mining.
        """
        if mining not in get_args(Mining):
            raise ValueError(f"there is no mining {mining!r}: there are {', '.join(get_args(Mining))}")
        default = {"map": MeanAveragePrecision(), "precision_at_1": PrecisionAtOne()}
        arguments = {"training_metrics": {}, **arguments}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.margin = margin
        self.mining: Mining = mining

    def compute(self, batch: Any) -> Result:
        """Compute the triplet loss.

        :param batch: Inputs ``(batch, ...)`` and class numbers ``(batch,)``.
        :return: Loss, vectors of length 1 ``(batch, features)``, and class numbers.
        """
        inputs, target = batch
        vectors = functional.normalize(self(inputs))
        return Result(compute_triplet_loss(vectors, target, self.margin, self.mining), vectors, target)


def compute_triplet_loss(vectors: Tensor, target: Tensor, margin: float, mining: Mining = "hard") -> Tensor:
    """Compute the mean hinge loss of triplets: an anchor, one of its class, and one of another.

    ``all`` takes every triplet that violates the margin. ``hard`` takes for each anchor the farthest of its class and
    the nearest of the others (Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification",
    2017). ``semi-hard`` takes for each pair of a class the nearest of the others that is farther than the pair, or,
    where none is, the farthest (Schroff, Kalenichenko and Philbin, "FaceNet", 2015).

    :param vectors: Vectors ``(batch, features)``.
    :param target: Their class numbers ``(batch,)``.
    :param margin: By how much distances shall differ.
    :param mining: Which triplets count.
    :return: The mean, a scalar; 0 where no triplet counts.
    """
    distances = _compute_distances(vectors)
    same = target[:, None] == target[None, :]
    positive = same & ~torch.eye(len(target), dtype=torch.bool, device=same.device)
    negative = ~same
    if mining == "hard":
        farthest = distances.where(positive, -torch.inf).amax(dim=1)
        nearest = distances.where(negative, torch.inf).amin(dim=1)
        counts = positive.any(dim=1) & negative.any(dim=1)
        return _mean(functional.relu(farthest - nearest + margin), counts)
    if mining == "semi-hard":
        farther = negative[:, None, :] & (distances[:, None, :] > distances[:, :, None])
        nearest = distances[:, None, :].where(farther, torch.inf).amin(dim=2)
        farthest = distances.where(negative, -torch.inf).amax(dim=1)
        chosen = nearest.where(farther.any(dim=2), farthest[:, None])
        return _mean(functional.relu(distances - chosen + margin), positive & negative.any(dim=1)[:, None])
    losses = functional.relu(distances[:, :, None] - distances[:, None, :] + margin)
    return _mean(losses, positive[:, :, None] & negative[:, None, :] & (losses > 0))


def _compute_distances(vectors: Tensor) -> Tensor:
    """Return the Euclidean distances of vectors, each to each, with a gradient also where one is 0."""
    with torch.autocast(vectors.device.type, enabled=False):  # the difference of large numbers, as a margin is small
        vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        squares = vectors.square().sum(dim=1)
        distances = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
        return distances.clamp(min=torch.finfo(vectors.dtype).eps).sqrt()


def _mean(losses: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of the losses that count."""
    return losses.where(counts, 0).sum() / counts.sum().clamp(min=1)
