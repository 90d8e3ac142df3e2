"""What several classifiers find probable, taken together."""

import math

from torch import Tensor
from torch.nn import functional


def average_probabilities(logits: Tensor, dim: int) -> Tensor:
    """Average the probabilities of classes of which one is true.

    :param logits: ``(models, batch, ...)``.
    :param dim: The dimension of the classes.
    :return: Logarithms of the mean probabilities, which are logits again, ``(batch, ...)``.
    """
    return logits.log_softmax(dim).logsumexp(dim=0) - math.log(len(logits))


def average_label_probabilities(logits: Tensor) -> Tensor:
    """Average the probabilities of labels, each of which is true or not.

    :param logits: ``(models, batch, labels)``.
    :return: The logits of the mean probabilities, ``(batch, labels)``.
    """
    return functional.logsigmoid(logits).logsumexp(dim=0) - functional.logsigmoid(-logits).logsumexp(dim=0)
