"""Metrics of a search by example: each sample of a set asks for all others of its class, nearest first."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

QUERIES_AT_ONCE: Final = 1024


class _Search(Metric, ABC):
    """Keeps vectors and classes of a set; the similarity of two vectors is their cosine."""

    full_state_update = False
    higher_is_better = True
    vectors: list[Tensor]
    classes: list[Tensor]

    def __init__(self, **arguments: Any) -> None:
        """Begin with an empty set."""
        super().__init__(**arguments)
        self.add_state("vectors", [], dist_reduce_fx="cat")
        self.add_state("classes", [], dist_reduce_fx="cat")

    def update(self, vectors: Tensor, classes: Tensor) -> None:
        """Take in vectors ``(batch, features)`` and their class numbers ``(batch,)``."""
        self.vectors.append(functional.normalize(vectors))
        self.classes.append(classes)

    def compute(self) -> Tensor:
        """Return the mean over all samples that have others of their class; NaN where there is none."""
        scores = torch.cat([self.score(hits) for hits in self._find()])
        return scores.mean()

    @abstractmethod
    def score(self, hits: Tensor) -> Tensor:
        """Judge searches.

        :param hits: Whether what was found is of the class, nearest first ``(searches, samples - 1)``; for each search
            at least one is.
        :return: A number a search ``(searches,)``.
        """

    def _find(self) -> Iterator[Tensor]:
        vectors, classes = dim_zero_cat(self.vectors), dim_zero_cat(self.classes)
        for start in range(0, len(vectors), QUERIES_AT_ONCE):
            queries = slice(start, start + QUERIES_AT_ONCE)
            similarity = vectors[queries] @ vectors.T
            similarity.diagonal(start).fill_(torch.inf)  # each finds itself first, and that does not count
            order = similarity.argsort(dim=1, descending=True, stable=True)[:, 1:]
            hits = classes[order] == classes[queries, None]
            yield hits[hits.any(dim=1)]


class MeanAveragePrecision(_Search):
    """The mean, over all searches, of the precision at each sample that should be found."""

    def score(self, hits: Tensor) -> Tensor:
        """Return the average precision of searches."""
        ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
        precision = hits.cumsum(dim=1) / ranks
        return (precision * hits).sum(dim=1) / hits.sum(dim=1)


class PrecisionAtOne(_Search):
    """The share of searches whose nearest sample is of the class: the accuracy of the nearest neighbour."""

    def score(self, hits: Tensor) -> Tensor:
        """Tell of searches whether the nearest is right."""
        return hits[:, 0].float()
