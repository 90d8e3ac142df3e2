import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from labkit.training import retrieval
from labkit.training.retrieval import MeanAveragePrecision, PrecisionAtOne


def make_set(samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 3, generator=generator), torch.randint(0, 4, (samples,), generator=generator)


def test_it_is_what_scikit_learn_says_of_each_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "QUERIES_AT_ONCE", 7)  # the last search is in a batch of another size
    vectors, classes = make_set(40)
    similarity = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    precisions: list[float] = []
    nearest: list[float] = []
    for query in range(40):
        others = torch.arange(40) != query
        truth = classes[others] == classes[query]
        precisions.append(float(average_precision_score(truth, similarity[query][others])))
        nearest.append(float(truth[similarity[query][others].argmax()]))

    for metric, expected in ((MeanAveragePrecision(), precisions), (PrecisionAtOne(), nearest)):
        for part in (slice(0, 11), slice(11, 40)):
            metric.update(vectors[part], classes[part])
        assert float(metric.compute()) == pytest.approx(sum(expected) / 40, rel=1e-6)


def test_what_is_alone_in_its_class_asks_for_nothing() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    metric = MeanAveragePrecision()
    metric.update(vectors, torch.tensor([0, 0, 1]))
    assert metric.compute() == 1
    metric.reset()
    metric.update(vectors, torch.tensor([0, 1, 2]))
    assert math.isnan(metric.compute())


def test_length_does_not_count() -> None:
    vectors, classes = make_set(20)
    long, short = MeanAveragePrecision(), MeanAveragePrecision()
    long.update(vectors * 1000, classes)
    short.update(vectors, classes)
    assert float(long.compute()) == pytest.approx(float(short.compute()), rel=1e-6)
