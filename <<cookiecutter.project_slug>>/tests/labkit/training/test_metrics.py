import math
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanSquaredError, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from labkit.training import checkpoint
from labkit.training.metrics import LIMIT_OF_BATCHES, LIMIT_OF_ELEMENTS, EpochMetrics

CLASSES = 5
Batch = tuple[Tensor, Tensor, Tensor]


def make_metrics() -> dict[str, Metric]:
    return {
        "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
        "f1": MulticlassF1Score(CLASSES, average="macro"),
        "confusion": MulticlassConfusionMatrix(CLASSES),
    }


def make_batches(samples: int, batch_size: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(samples, CLASSES, generator=generator)
    target = torch.randint(CLASSES, (samples,), generator=generator)
    return [
        (functional.cross_entropy(some_logits, some_target), some_logits, some_target)
        for some_logits, some_target in zip(logits.split(batch_size), target.split(batch_size), strict=True)
    ]


def join(batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    _, logits, targets = zip(*batches, strict=True)
    return torch.cat(logits), torch.cat(targets)


def take_in(metrics: EpochMetrics, batches: Iterable[Batch]) -> EpochMetrics:
    for batch in batches:
        metrics.update(*batch)
    return metrics


def assert_identical(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_metrics_are_those_of_the_whole_epoch_and_not_the_mean_of_its_batches() -> None:
    batches = make_batches(samples=41, batch_size=8)  # the last batch is a single sample
    values = take_in(EpochMetrics(make_metrics()), batches).compute()

    logits, target = join(batches)
    truth = MulticlassF1Score(CLASSES, average="macro")(logits, target)
    assert torch.equal(values["f1"], truth)
    of_batches = [MulticlassF1Score(CLASSES, average="macro")(logits, target) for _, logits, target in batches]
    assert abs(float(sum(of_batches)) / len(of_batches) - float(truth)) > 0.05

    assert torch.equal(values["accuracy"], (logits.argmax(dim=1) == target).float().mean())
    assert float(values["loss"]) == pytest.approx(float(functional.cross_entropy(logits, target)), rel=1e-6)
    assert float(sum(loss for loss, *_ in batches)) / len(batches) != pytest.approx(float(values["loss"]), rel=1e-3)


def test_two_metrics_of_one_class_do_not_collide() -> None:
    batches = make_batches(samples=41, batch_size=8)
    metrics = EpochMetrics({"top-1": MulticlassAccuracy(CLASSES), "top-3": MulticlassAccuracy(CLASSES, top_k=3)})
    values = take_in(metrics, batches).compute()
    logits, target = join(batches)
    assert torch.equal(values["top-1"], MulticlassAccuracy(CLASSES)(logits, target))
    assert torch.equal(values["top-3"], MulticlassAccuracy(CLASSES, top_k=3)(logits, target))
    assert values["top-1"] < values["top-3"]


@pytest.mark.parametrize("batch_count", [1, LIMIT_OF_BATCHES - 1, LIMIT_OF_BATCHES, 3 * LIMIT_OF_BATCHES + 5])
def test_passing_on_many_batches_at_a_time_changes_no_bit(batch_count: int) -> None:
    batches = make_batches(samples=4 * batch_count - 3, batch_size=4)
    assert len(batches) == batch_count
    values = take_in(EpochMetrics(make_metrics()), batches).compute()
    one_by_one = make_metrics()
    for metric in one_by_one.values():
        for _, logits, target in batches:
            metric.update(logits, target)
        assert metric.compute().isfinite().all()
    assert_identical(
        {name: values[name] for name in one_by_one}, {name: metric.compute() for name, metric in one_by_one.items()}
    )


def test_large_predictions_are_not_gathered() -> None:
    metrics = EpochMetrics({"error": MeanSquaredError()})
    pixels = torch.zeros(2, LIMIT_OF_ELEMENTS // 4)
    for _ in range(2):
        metrics.update(torch.tensor(0.0), pixels, pixels)
    assert metrics.state_dict()["pending"] == []


def test_an_epoch_begins_with_nothing_of_the_one_before() -> None:
    batches = make_batches(samples=300, batch_size=4)
    metrics = take_in(EpochMetrics(make_metrics()), batches[:40])
    metrics.reset()
    values = take_in(metrics, batches[40:]).compute()
    assert_identical(values, take_in(EpochMetrics(make_metrics()), batches[40:]).compute())


@pytest.mark.parametrize("batch_count", [0, 1, LIMIT_OF_BATCHES, LIMIT_OF_BATCHES + 3, 60])
def test_an_epoch_goes_on_in_another_process_to_the_same_bit(batch_count: int, tmp_path: Path) -> None:
    batches = make_batches(samples=61 * 4 + 1, batch_size=4)
    truth = take_in(EpochMetrics(make_metrics()), batches).compute()

    interrupted = take_in(EpochMetrics(make_metrics()), batches[:batch_count])
    checkpoint.write(interrupted.state_dict(), tmp_path / "last.ckpt")
    resumed = EpochMetrics(make_metrics())
    resumed.load_state_dict(checkpoint.read(tmp_path / "last.ckpt"))
    assert_identical(take_in(resumed, batches[batch_count:]).compute(), truth)

    resumed.reset()
    assert_identical(take_in(resumed, batches).compute(), truth)


class DeviceOf(Metric):
    """Tells where it gets its predictions; what it computes is on that device."""

    full_state_update = False

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.devices = {prediction.device.type, target.device.type}

    def compute(self) -> Tensor:
        return torch.zeros(2, 2).as_subclass(OnDevice)


class OnDevice(Tensor):
    """A tensor of a device, which NumPy cannot read."""

    def numpy(self, **_: object) -> NoReturn:
        raise TypeError("can't convert device type tensor to numpy")

    def cpu(self, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        del memory_format
        return self.as_subclass(Tensor)


def test_an_epoch_goes_on_on_a_device_though_checkpoints_are_read_to_the_cpu() -> None:
    interrupted = take_in(EpochMetrics({}), make_batches(samples=8, batch_size=4))
    metric = DeviceOf()
    resumed = EpochMetrics({"device": metric})
    state = interrupted.state_dict()
    resumed.load_state_dict({**state, "metrics": {"device": {"states": {}, "count": 0}}})
    for _ in range(LIMIT_OF_BATCHES):
        resumed.update(torch.tensor(0.0), torch.zeros(4, CLASSES, device="meta"), torch.zeros(4, device="meta"))
    assert metric.devices == {"meta"}


def test_what_an_epoch_has_computed_can_be_read_by_numpy() -> None:
    values = take_in(EpochMetrics({"matrix": DeviceOf()}), make_batches(samples=8, batch_size=4)).compute()
    assert values["matrix"].numpy().tolist() == [[0, 0], [0, 0]]


def test_a_state_replaces_all_that_was_taken_in() -> None:
    batches = make_batches(samples=200, batch_size=4)
    truth = take_in(EpochMetrics(make_metrics()), batches[:LIMIT_OF_BATCHES]).compute()
    metrics = take_in(EpochMetrics(make_metrics()), batches)
    metrics.compute()
    metrics.load_state_dict(take_in(EpochMetrics(make_metrics()), batches[:LIMIT_OF_BATCHES]).state_dict())
    assert_identical(metrics.compute(), truth)


def test_no_metric_takes_the_place_of_the_loss() -> None:
    with pytest.raises(ValueError, match="a metric cannot be named 'loss'"):
        EpochMetrics({"loss": MulticlassAccuracy(3)})


def test_an_epoch_without_a_batch_has_no_loss() -> None:
    assert math.isnan(float(EpochMetrics({}).compute()["loss"]))


def test_a_loss_holds_on_to_no_graph() -> None:
    weight = torch.ones(3, requires_grad=True)
    metrics = EpochMetrics({})
    metrics.update((weight * 2).mean(), weight * 2, torch.zeros(3))
    ((loss, _, prediction, _),) = metrics.state_dict()["pending"]
    assert not loss.requires_grad
    assert not prediction.requires_grad
