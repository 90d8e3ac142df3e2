"""Optimisers, schedules, losses and metrics by name: what is made, and what is refused in one sentence."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR
from torchmetrics.classification import MulticlassF1Score

from labkit.command import UsageError, command
from labkit.training.choice import Choice, choose_loss, choose_metrics, choose_optimizer, choose_scheduler


def make_parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2, 2))]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("AdamW", Choice("AdamW")),
        (" AdamW() ", Choice("AdamW")),
        ("SGD(momentum=0.9, nesterov=True)", Choice("SGD", (("momentum", 0.9), ("nesterov", True)))),
        ("AdamW(betas=(0.9, 0.95))", Choice("AdamW", (("betas", (0.9, 0.95)),))),
        ("Foo(a='it\\'s', b=[1, -2e-3], c=None)", Choice("Foo", (("a", "it's"), ("b", [1, -0.002]), ("c", None)))),
    ],
)
def test_a_choice_is_read_and_written(text: str, choice: Choice) -> None:
    assert Choice.parse(text) == choice
    assert Choice.parse(str(choice)) == choice


@pytest.mark.parametrize("text", ["", "SGD(0.1)", "import os", "SGD(lr=rate)", "torch.optim.SGD", "SGD(lr=1", "1"])
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no choice: write a name with its arguments, such as 'SGD"):
        Choice.parse(text)


def test_a_choice_is_an_option_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def learn(*, optimizer: Choice = Choice("AdamW")) -> None:
        """Learn.

        :param optimizer: How.
        """
        print(choose_optimizer(optimizer, lr=0.5)(make_parameters()).defaults["lr"])

    assert learn.main(["--optimizer", "SGD(lr=0.25)"]) == 0
    assert learn.main([]) == 0
    assert capsys.readouterr().out == "0.25\n0.5\n"
    assert learn.main(["--optimizer", "SGD(learning_rate=0.25)"]) == 2
    assert capsys.readouterr().err.startswith("learn: the optimizer SGD has no argument learning_rate: it has lr, ")


def test_an_optimizer_gets_what_was_chosen_and_the_defaults_that_it_knows() -> None:
    optimizer = choose_optimizer("SGD(momentum=0.9)", lr=0.1, betas=(0.5, 0.5))(make_parameters())
    assert isinstance(optimizer, SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.1, 0.9)
    assert isinstance(choose_optimizer("AdamW")(make_parameters()), AdamW)


def test_a_schedule_gets_the_length_of_the_training_and_the_largest_rate() -> None:
    cycle, cosine, steps = (
        choose_scheduler(text)(SGD(make_parameters(), lr=0.3, momentum=0.5), 40)
        for text in ("OneCycleLR", "CosineAnnealingLR(eta_min=0.1)", "StepLR(step_size=7)")
    )
    assert isinstance(cycle, OneCycleLR)
    assert isinstance(cosine, CosineAnnealingLR)
    assert isinstance(steps, StepLR)
    assert (cycle.total_steps, cosine.T_max, cosine.eta_min, steps.step_size) == (40, 40, 0.1, 7)
    assert cycle.optimizer.param_groups[0]["max_lr"] == 0.3


def test_a_loss_takes_lists_as_tensors() -> None:
    loss = choose_loss("CrossEntropyLoss(weight=[1, 3], label_smoothing=0.5)")
    assert isinstance(loss, nn.CrossEntropyLoss)
    assert isinstance(loss.weight, Tensor)
    assert loss.weight.tolist() == [1, 3]
    assert loss.label_smoothing == 0.5


def test_metrics_get_the_defaults_that_they_know() -> None:
    metrics = choose_metrics({"f1": "MulticlassF1Score(average='macro')", "error": "MeanSquaredError"}, num_classes=3)
    assert list(metrics) == ["f1", "error"]
    f1 = metrics["f1"]
    assert isinstance(f1, MulticlassF1Score)
    assert (f1.num_classes, f1.average) == (3, "macro")


@pytest.mark.parametrize(
    ("choose", "text", "sentence"),
    [
        (choose_optimizer, "Adamm", "there is no optimizer Adamm: did you mean Adam?"),
        (choose_loss, "AdamW", "there is no loss AdamW: there are AdaptiveLogSoftmaxWithLoss, BCELoss, "),
        (choose_optimizer, "SGD(momentum='x')", "the optimizer SGD takes for momentum a value of type float, not 'x'."),
        (choose_optimizer, "SGD(nesterov=1)", "the optimizer SGD takes for nesterov a value of type bool, not 1."),
        (choose_optimizer, "AdamW(lr=-1)", "the optimizer AdamW(lr=-1) cannot be made: Invalid learning rate: -1"),
        (choose_optimizer, "SGD(**{'lr': 1})", "the optimizer SGD has no argument **: it has lr, "),
        (choose_scheduler, "StepLR", "the scheduler StepLR needs step_size: write StepLR(step_size=...)."),
        (choose_scheduler, "LambdaLR", "there is no scheduler LambdaLR: "),
        (choose_loss, "BCEWithLogitsLoss(pos_weight=3)", "takes for pos_weight a list of numbers, not 3."),
        (
            lambda text: choose_metrics({"f1": text}, num_classes=3),
            "MulticlassF1Score(average='macr')",
            "takes for average 'micro' or 'macro' or 'weighted' or 'none', not 'macr'.",
        ),
        (
            lambda text: choose_metrics({"f1": text}),
            "MulticlassF1Score",
            "the metric MulticlassF1Score needs num_classes",
        ),
        (lambda text: choose_metrics({"f1": text}), "MulticlassF1Score(num_classes=3, top=2)", "`top`"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(choose: Any, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        choose(text)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
