import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Subset, TensorDataset
from torchmetrics import Metric

from labkit.command import UsageError
from labkit.data.footprint import measure_arrays
from labkit.environment import Environment
from labkit.recipe.check import Check, Findings, Verdict, at_least, judge
from labkit.recipe.context import Context, DataCache
from labkit.recipe.ensemble import Ensemble, let_answer
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.freezing import freeze, thaw
from labkit.recipe.inspection import ClassProbabilities, Histograms, Inspection, SaveBatch, TensorStatistics
from labkit.recipe.observation import MOST_LOOKS, MOST_VALUES, HistogramRecorder, TensorRecorder, draw_histograms
from labkit.recipe.result import collect
from labkit.recipe.steps import (
    Choice,
    EvaluateBaseline,
    ExploreData,
    LossAtInitialisation,
    OverfitOneBatch,
    Range,
    Regularise,
    Squeeze,
    TransferLearning,
    Tune,
)
from labkit.recipe.steps.explore_data import read_samples
from labkit.tracking.run import Run
from labkit.training.duration import Duration
from labkit.training.task import Task
from labkit.training.tasks import (
    Classification,
    LanguageModelling,
    MultiLabelClassification,
    Regression,
    Segmentation,
    SequenceClassification,
    Similarity,
)
from tests.project import Project

CLASSES = 3


def load(_: Environment) -> Data:
    """Load points in three heaps."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(60) % CLASSES
    points = torch.eye(CLASSES)[classes] + 0.1 * torch.randn(60, CLASSES, generator=generator)
    footprint = measure_arrays({"points": points.numpy()})
    return Data(TensorDataset(points[:42], classes[:42]), TensorDataset(points[42:], classes[42:]), footprint)


def make_task(rate: float = 0.5, width: int = 8) -> Classification:
    def schedule(optimizer: Optimizer, steps: int) -> OneCycleLR:
        return OneCycleLR(optimizer, rate, total_steps=steps)

    return Classification(
        nn.Sequential(nn.Linear(CLASSES, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, CLASSES)),
        classes=CLASSES,
        optimizer=partial(SGD, lr=rate),
        scheduler=schedule,
    )


EXPERIMENT = Experiment(
    data=load,
    task=make_task,
    arguments={"rate": 0.5},
    duration=Duration(2, "epochs"),
    validation_every=Duration(2, "epochs"),
    batch_size=14,
)


@pytest.fixture
def context(project: Project) -> Context:
    """What a step works with."""
    return make_context(project)


def make_context(project: Project, inspections: Sequence[Inspection] = ()) -> Context:
    run = project.make_run()
    load = DataCache(run.environment)
    return Context(
        run, recipe="r", step="s", experiment=EXPERIMENT, seed=1, earlier={}, load=load, inspections=inspections
    )


def test_exploring_finds_what_is_in_both_parts_and_what_is_no_number(context: Context) -> None:
    values = ExploreData().execute(context)
    assert values["validation/also in training"] == 0
    assert values["training/classes"] == {0: 14, 1: 14, 2: 14}
    assert (values["inputs/shape"], values["inputs/not finite"]) == ([3], 0)

    def load_leaking(environment: Environment) -> Data:
        data = load(environment)
        data.training.tensors[0][0, 0] = math.nan  # pyright: ignore[reportAttributeAccessIssue]
        return replace(data, validation=data.training)

    context.experiment = replace(EXPERIMENT, data=load_leaking)
    values = ExploreData().execute(context)
    assert (values["validation/also in training"], values["inputs/not finite"]) == (42, 2)  # once in each part

    nothing = TensorDataset(torch.full((2, 3), math.nan), torch.arange(2))
    data = Data(nothing, nothing, measure_arrays({}))
    context.experiment = replace(EXPERIMENT, data=lambda _: data)
    result = collect(ExploreData().execute(context))
    failed = [verdict.reason for verdict in judge(ExploreData().checks, Findings(result)) if not verdict.holds]
    assert failed[:2] == ["inputs/not finite is 4, not equal to 0", "inputs/largest magnitude is NaN"]


def test_each_pixel_may_have_a_class() -> None:
    samples = Subset(TensorDataset(torch.zeros(3, 1, 2, 2), torch.ones(3, 2, 2).long()), [0, 2])
    inputs, classes = read_samples(samples)
    assert (inputs.shape, classes.tolist()) == ((2, 1, 2, 2), 2 * [[[1, 1], [1, 1]]])


def test_baselines_are_functions_from_data_to_metrics(context: Context) -> None:
    values = EvaluateBaseline().execute(context)
    assert values == {"commonest class/accuracy": pytest.approx(1 / 3), "nearest mean/accuracy": 1.0}
    assert EvaluateBaseline(methods={"mine": lambda _: {"f1": 0.5}}).execute(context) == {"mine/f1": 0.5}


def test_an_untrained_model_guesses(context: Context) -> None:
    values = LossAtInitialisation(expected=math.log(CLASSES), seeds=3).execute(context)
    losses = values["losses"]
    assert isinstance(losses, list)
    assert len(set(losses)) == 3
    assert values["distance from expected"] == pytest.approx(abs(sum(losses) / 3 - math.log(3)))
    assert float(str(values["largest dependence on batch size"])) < 1e-6

    def make_unmeasurable(**arguments: Any) -> Classification:
        task = make_task(**arguments)
        return Classification(task.model, classes=CLASSES, metrics={"f1": Unmeasurable()})

    context.experiment = replace(EXPERIMENT, task=make_unmeasurable)
    values = LossAtInitialisation(expected=math.log(CLASSES), seeds=1).execute(context)
    assert math.isnan(float(str(values["largest dependence on batch size"])))


class Unmeasurable(Metric):
    """A metric that is undefined."""

    def update(self, *_: Tensor) -> None:
        """Look away."""

    def compute(self) -> Tensor:
        return torch.tensor(math.nan)


def test_one_batch_is_learned_and_what_did_not_move_is_named(context: Context) -> None:
    values = OverfitOneBatch(samples=6, steps=40).execute(context)
    assert float(str(values["loss"])) < 0.05
    assert values["weights that did not move"] == 0

    def freeze_first(**arguments: Any) -> Classification:
        task = make_task(**arguments)
        freeze(task, ["model.0.*"])
        return task

    context.experiment = replace(EXPERIMENT, task=freeze_first)
    values = OverfitOneBatch(samples=6, steps=2).execute(context)
    assert values["names of weights that did not move"] == ["model.0.weight", "model.0.bias"]


def test_candidates_are_tried_until_one_satisfies_and_all_are_remembered(context: Context) -> None:
    candidates = {"a": {"dropout": 0.9}, "b": {"dropout": 0.0}, "c": {"augment": True}}
    seen: list[float] = []

    def second_time(findings: Findings) -> Verdict:
        seen.append(findings.result.scores["validation/loss"])
        return Verdict("", None, None, len(seen) == 2, f"time {len(seen)}")

    values: Mapping[str, Any] = Regularise(candidates=candidates, until=Check("", second_time)).execute(context)
    assert (values["chosen"], values["changes"]) == ("b", {"dropout": 0.0})
    tried = [(each["name"], each["changes"], each["holds"], each["reason"]) for each in values["candidates"]]
    assert tried == [("a", {"dropout": 0.9}, False, "time 1"), ("b", {"dropout": 0.0}, True, "time 2")]
    # Nothing is another when it is done again, such as the ids of runs: those after it would be stale.
    assert values["candidates"][0].keys() == {"name", "changes", "scores", "holds", "reason"}
    values = Regularise(candidates={"a": {}}, until=at_least("validation/accuracy", 2)).execute(context)
    assert "chosen" not in values
    assert len(values["candidates"]) == 1


def test_tuning_looks_at_the_validation_and_begins_with_what_is_there(context: Context, project: Project) -> None:
    space = {"rate": Range(0.1, 1.0, log=True)}
    values: Mapping[str, Any] = Tune(space=space, trials=3, metric="validation/loss", smaller_is_better=True).execute(
        context
    )
    trials = values["trials"]
    assert trials[0]["changes"] == {"rate": 0.5}
    assert len({trial["changes"]["rate"] for trial in trials}) == 3
    best = min(trials, key=lambda trial: trial["value"])
    assert (values["best"], values["changes"]) == (best["value"], best["changes"])
    assert len(context.trainings) == 3
    again: Mapping[str, Any] = Tune(space=space, trials=3, metric="validation/loss", smaller_is_better=True).execute(
        make_context(project)
    )
    assert again["trials"] == trials


def test_nothing_is_tuned_by_what_is_tested_on(context: Context) -> None:
    assert {own.name for own in fields(Data)} == {"training", "validation", "footprint", "augmentation"}
    with pytest.raises(UsageError, match=r"^'test/accuracy' is no metric of the validation, and nothing else is there"):
        Tune(space={}, metric="test/accuracy").execute(context)
    assert context.trainings == []


def test_nan_is_never_the_best(context: Context) -> None:
    context.experiment = EXPERIMENT.changed({"rate": 1e30})
    tune = Tune(space={"rate": Choice([1e30, 0.5])}, trials=4, metric="validation/loss", smaller_is_better=True)
    values: Mapping[str, Any] = tune.execute(context)
    assert math.isnan(values["trials"][0]["value"])
    assert (values["changes"], math.isfinite(values["best"])) == ({"rate": 0.5}, True)


def test_what_is_there_is_tried_first_where_the_space_holds_it() -> None:
    assert [Range(0.1, 1.0).holds(value) for value in (0.1, 1, 1.1, "adam", None)] == [True, True, False, False, False]
    assert [Range(1, 4).holds(value) for value in (4, 2.5)] == [True, False]
    assert [Choice(["adam", "sgd"]).holds(value) for value in ("sgd", "adamw", None)] == [True, False, False]
    settings = EXPERIMENT.settings
    assert (settings["rate"], settings["batch_size"], settings["duration"]) == (0.5, 14, "2 epochs")
    assert EXPERIMENT.changed(settings) == EXPERIMENT


def test_choices_and_whole_numbers_are_tuned_too(context: Context) -> None:
    space = {"width": Range(2, 4), "batch_size": Choice([7, 14])}
    values: Mapping[str, Any] = Tune(space=space, trials=1, metric="validation/loss").execute(context)
    assert values["changes"]["width"] in {2, 3, 4}
    assert values["changes"]["batch_size"] in {7, 14}


def combine_probabilities(logits: Tensor, dim: int) -> Tensor:
    return logits.softmax(dim).mean(dim=0).log()


def combine_labels(logits: Tensor) -> Tensor:
    return logits.sigmoid().mean(dim=0).logit()


@pytest.mark.parametrize(
    ("make", "inputs", "target", "combine"),
    [
        (partial(Classification, classes=3), (5, 2), torch.ones(5).long(), partial(combine_probabilities, dim=2)),
        (partial(MultiLabelClassification, classes=3), (5, 2), torch.ones(5, 3), combine_labels),
        (Regression, (5, 2), torch.ones(5, 3), partial(torch.mean, dim=0)),
    ],
)
def test_models_answer_together_as_their_task_has_it(
    make: Callable[..., Task], inputs: tuple[int, ...], target: Tensor, combine: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    members = [make(nn.Linear(2, 3)).eval() for _ in range(3)]
    batch = (torch.randn(inputs), target)
    expected = combine(torch.stack([member(batch[0]) for member in members]))
    together = make(nn.Linear(2, 3), average_decay=0.9).eval()
    let_answer(together, Ensemble(members))
    torch.testing.assert_close(together(batch[0]), expected)
    result, reference = together.compute(batch), make(nn.Identity()).compute((expected, target))
    torch.testing.assert_close((result.loss, result.prediction), (reference.loss, reference.prediction))


def test_probabilities_are_averaged_over_the_dimension_of_the_classes() -> None:
    logits = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    pixels, tokens = Segmentation(nn.Identity(), classes=3), LanguageModelling(nn.Identity(), vocabulary=3)
    torch.testing.assert_close(pixels.combine(logits), combine_probabilities(logits, dim=2))
    torch.testing.assert_close(tokens.combine(logits), combine_probabilities(logits, dim=-1))


def test_sequences_are_classified_together(project: Project) -> None:
    def load_tokens(_: Environment) -> Data:
        tokens = torch.arange(12).remainder(4).reshape(6, 2)
        samples = TensorDataset(tokens, tokens[:, 0])
        return Data(samples, samples, measure_arrays({"tokens": tokens.numpy()}))

    def make(rate: float = 0.1) -> SequenceClassification:
        return SequenceClassification(
            nn.Embedding(4, 3), nn.Linear(3, 4), classes=4, optimizer=partial(SGD, lr=rate), average_decay=0.5
        )

    context = make_context(project)
    context.experiment = Experiment(data=load_tokens, task=make, duration=Duration(1, "epochs"))
    values: Mapping[str, Any] = Squeeze(members=2).execute(context)
    assert values["ensemble/loss"] < values["members/loss"]


def test_models_whose_outputs_have_nothing_in_common_are_not_trained_to_be_squeezed(context: Context) -> None:
    context.experiment = replace(EXPERIMENT, task=lambda rate: Similarity(nn.Linear(3, rate)), arguments={"rate": 2})
    with pytest.raises(
        UsageError, match=r"^several models of a Similarity cannot answer together: leave Squeeze out\.$"
    ):
        Squeeze().execute(context)
    assert context.trainings == []


def test_squeezing_trains_for_longer_and_puts_models_together(context: Context, project: Project) -> None:
    values: Mapping[str, Any] = Squeeze(members=2, longer=3).execute(context)
    assert len(set(values["members"]["loss"])) == 2
    assert values["members/loss"] == pytest.approx(sum(values["members"]["loss"]) / 2)
    assert values["ensemble/loss"] < values["members/loss"]  # Jensen's inequality
    (one, _) = (project.store.get_run(run_id) for run_id in context.trainings)
    assert one.data.params["duration"] == "6 epochs"


class Rates(Callback):
    """Notes the learning rates of all groups."""

    def __init__(self) -> None:
        self.rates: set[tuple[float, ...]] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del pl_module, outputs, batch, batch_idx
        self.rates.add(tuple(group["lr"] for group in trainer.optimizers[0].param_groups))


def test_frozen_weights_stay_and_thawed_ones_learn_with_their_own_rate(context: Context) -> None:
    task = context.make_task()
    frozen = freeze(task, ["model.0.*"])
    assert frozen == ["model.0.weight", "model.0.bias"]
    before = {name: weight.detach().clone() for name, weight in task.named_parameters()}
    context.train(name="frozen", task=task)
    kept = {name: weight.detach().clone() for name, weight in task.named_parameters()}
    assert [name for name in before if torch.equal(before[name], kept[name])] == frozen

    thaw(task, frozen, 0.001)
    assert all(torch.equal(weight, kept[name]) for name, weight in task.named_parameters())
    rates = Rates()
    context.train(name="thawed", task=task, callbacks=[rates])
    assert rates.rates == {(0.5, 0.001)}
    assert not any(torch.equal(weight, kept[name]) for name, weight in task.named_parameters())

    task = context.make_task(EXPERIMENT.changed({"weight_decay": 0.1}))
    thaw(task, freeze(task, ["model.0.*"]), 0.001)
    groups = task.configure_optimizers().param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.1), (0.001, 0.1)]
    with pytest.raises(UsageError, match=r"^no weight is named like 'model\.7\.\*': there are model\.0\.weight, "):
        freeze(task, ["model.7.*"])


@dataclass(frozen=True)
class Watch(Inspection):
    """Notes what trainings begin and end with."""

    seen: list["Watcher"]

    def observe(self, run: Run) -> "Watcher":
        del run
        self.seen.append(Watcher())
        return self.seen[-1]


class Watcher(Rates):
    """Notes what a training begins and ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.start: dict[str, Tensor] = {}
        self.end: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer
        self.start = {name: weight.detach().clone() for name, weight in pl_module.named_parameters()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer
        self.end = {name: weight.detach().clone() for name, weight in pl_module.named_parameters()}


def test_transfer_takes_weights_over_and_thaws_them_with_their_own_rate(project: Project) -> None:
    seen: list[Watcher] = []
    context = make_context(project, inspections=[Watch(seen)])
    step = TransferLearning(
        source=EXPERIMENT,
        target=EXPERIMENT,
        freeze=("model.0.*",),
        fresh=("model.3.*",),
        rate=0.01,
        thawed_duration=Duration(3, "epochs"),
    )
    values: Mapping[str, Any] = step.execute(context)
    source, frozen, thawed, scratch = seen
    names = ["model.0.weight", "model.0.bias", "model.3.weight", "model.3.bias"]
    kept = {"model.0.weight", "model.0.bias"}
    assert {name for name in names if torch.equal(frozen.start[name], source.end[name])} == kept
    assert {name for name in names if torch.equal(frozen.end[name], source.end[name])} == kept
    assert {name for name in names if torch.equal(thawed.start[name], frozen.end[name])} == {*names}
    assert not any(torch.equal(thawed.end[name], frozen.end[name]) for name in names)
    assert not any(torch.equal(scratch.start[name], source.end[name]) for name in names)
    assert (thawed.rates, values["frozen weights that moved"], values["frozen"]) == ({(0.5, 0.01)}, 0, names[:2])
    assert {"frozen/accuracy", "thawed/accuracy", "scratch/accuracy"} <= values.keys()
    durations = [project.store.get_run(run_id).data.params["duration"] for run_id in context.trainings]
    assert durations == ["2 epochs", "2 epochs", "3 epochs", "5 epochs"]


def make_renamed(rate: float = 0.5) -> Classification:
    task = make_task(rate)
    task.model, task.head = nn.Identity(), task.model
    return task


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"source": replace(EXPERIMENT, task=make_renamed)},
            r"^the source is of another architecture: it lacks 'model\.",
        ),
        ({"fresh": ("model.7.*",)}, r"^no weight is named like 'model\.7\.\*': there are model\.0\.weight, "),
        (
            {"thawed_duration": Duration(5, "steps")},
            r"^the target learns for 2 epochs and then for 5 steps: give both in",
        ),
    ],
)
def test_what_cannot_be_transferred_is_refused_before_any_training(
    context: Context, fields: dict[str, Any], message: str
) -> None:
    step = TransferLearning(source=EXPERIMENT, target=EXPERIMENT, freeze=("model.0.*",), fresh=("model.3.*",))
    with pytest.raises(UsageError, match=message):
        replace(step, **fields).execute(context)
    assert context.trainings == []


def test_changes_are_made_to_copies(context: Context) -> None:
    changed = EXPERIMENT.changed({"dropout": 0.0, "weight_decay": 0.1, "rate": 0.25, "duration": "3 steps"})
    assert (EXPERIMENT.arguments, EXPERIMENT.dropout) == ({"rate": 0.5}, None)
    assert changed.duration == Duration(3, "steps")
    task, other = context.make_task(changed), context.make_task()
    assert (task.model[2].p, other.model[2].p) == (0.0, 0.5)  # pyright: ignore[reportIndexIssue]
    task.steps = 1
    group = task.configure_optimizers()["optimizer"].param_groups[0]
    assert group["weight_decay"] == 0.1
    with pytest.raises(UsageError, match=r"^'data' cannot be changed by name: make another Experiment\.$"):
        EXPERIMENT.changed({"data": load})


def test_every_dropout_of_a_model_is_set() -> None:
    def make() -> Classification:
        parts = nn.Dropout(0.5), nn.LSTM(2, 2, 2, dropout=0.5), nn.TransformerEncoderLayer(4, 2, 4)
        return Classification(nn.Sequential(*parts), classes=2)

    layers: Any = Experiment(data=load, task=make, dropout=0.25).make_task().model
    encoder = layers[2]
    shares = [layers[0].p, layers[1].dropout, encoder.dropout.p, encoder.self_attn.dropout]
    assert shares == 4 * [0.25]


def test_long_trainings_of_large_models_are_looked_at_within_bounds(context: Context) -> None:
    recorder = HistogramRecorder(context.run, every=2)
    task = context.make_task(EXPERIMENT.changed({"width": 1000}))
    task.model[0].weight.data[0, 0] = math.nan  # pyright: ignore[reportIndexIssue]
    for weight in task.parameters():
        weight.grad = torch.zeros_like(weight)
    del task.model[0].bias.grad  # pyright: ignore[reportIndexIssue]
    steps = 4 * MOST_LOOKS
    for step in range(steps):
        trainer: Any = SimpleNamespace(global_step=step)
        recorder.on_before_optimizer_step(trainer, task, SGD(task.parameters(), lr=0.1))
    looks = recorder._weights  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert looks.keys() == {"model.0.weight", "model.3.weight", "model.3.bias"}
    for seen in looks.values():
        assert list(seen) == list(range(0, steps, 4))
        assert all(len(values) <= MOST_VALUES for values in seen.values())
    titles = [axes.get_title() for axes in draw_histograms(looks, "weight").axes]
    assert titles == ["model.0.weight, 0.1% not finite", "model.3.weight", "model.3.bias"]


def test_nobody_listens_to_a_training_that_has_failed(context: Context) -> None:
    task, recorder = context.make_task(), TensorRecorder(context.run, ["model.0"], every=1)
    trainer: Any = None
    recorder.on_fit_start(trainer, task)
    layer: Any = task.get_submodule("model.0")
    assert len(layer._forward_hooks) == 1  # noqa: SLF001
    recorder.on_exception(trainer, task, RuntimeError())
    assert len(layer._forward_hooks) == 0  # noqa: SLF001


@pytest.mark.slow
def test_what_is_inside_is_seen_without_editing_the_model(project: Project) -> None:
    inspections = (SaveBatch(4), TensorStatistics(("model.1",), every=2), ClassProbabilities(), Histograms(every=2))
    context = make_context(project, inspections=inspections)
    training = context.train(name="seen")
    folder: Path = project.environment.runs_path / training.run_id / "figures"
    assert {path.name for path in folder.iterdir()} == {
        *("batch.png", "class-probabilities.png", "weights.png", "gradients.png"),
    }
    assert len(training.series["inspection/model.1/share of zeros"]) == 3
    assert training.series["inspection/model.1/smallest"] == [0.0, 0.0, 0.0]
    assert 0 < training.series["inspection/probability of class 2"][0] < 1
    context = make_context(project, inspections=(TensorStatistics(("model.9",)),))
    with pytest.raises(UsageError, match=r"^there is no module 'model\.9' to look at, but model, model\.0, "):
        context.train(name="unseen")
