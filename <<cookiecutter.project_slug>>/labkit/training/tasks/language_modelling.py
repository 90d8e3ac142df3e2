"""Sequences of which each token is foretold from those before it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from labkit.training.averaging import average_probabilities
from labkit.training.task import Result, Task


class LanguageModelling(Task):
    """Each token is foretold from those before it, in all places at once."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None = None,
        *,
        vocabulary: int,
        padding: int | None = None,
        metrics: Mapping[str, Metric] | None = None,
        **arguments: Any,
    ) -> None:
        """Put the parts together.

        :param model: Maps tokens ``(batch, length)`` to representations ``(batch, length, features)``, each of its
            token and those before it.
        :param head: Maps these to logits ``(batch, length, vocabulary)``; without one, the model does.
        :param vocabulary: How many different tokens there are.
        :param padding: The token that fills sequences up and is not foretold, if there is one.
        :param metrics: By default the accuracy; the perplexity is always there.
        :param arguments: Further ones of :class:`~labkit.training.task.Task`.
        """
        default = {"accuracy": MulticlassAccuracy(vocabulary, average="micro")}
        super().__init__(model, head, metrics=default if metrics is None else metrics, **arguments)
        self.padding = padding

    def compute(self, batch: Any) -> Result:
        """Compute the cross entropy of all tokens but the first of each sequence.

        :param batch: Tokens ``(batch, length)``, alone or followed by what is not looked at.
        :return: Loss, the likeliest tokens ``(tokens,)`` and the true ones; logits of a whole split would be too many.
        """
        (tokens,) = self.select_inputs(batch)
        logits, target = self(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
        if self.padding is not None:
            counts = target != self.padding
            logits, target = logits[counts], target[counts]
        loss = functional.cross_entropy(logits, target, reduction="sum") / max(len(target), 1)
        return Result(loss, logits.argmax(dim=1), target)

    def combine(self, outputs: Tensor) -> Tensor:
        """Average the models' probabilities of tokens, given as logits ``(models, batch, length, vocabulary)``."""
        return average_probabilities(outputs, dim=-1)

    def derive(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the perplexity: among how many tokens, equally likely, the choice would be as hard."""
        return {"perplexity": metrics["loss"].exp()}
