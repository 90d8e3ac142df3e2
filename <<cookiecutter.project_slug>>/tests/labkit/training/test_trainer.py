import math
import os
import signal
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import TensorDataset

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run
from labkit.tracking.state import State
from labkit.training import checkpoint
from labkit.training.choice import choose_loss
from labkit.training.duration import Duration, Interval
from labkit.training.execution import Execution
from labkit.training.seeding import seed_everything
from labkit.training.task import Result
from labkit.training.tasks import Classification
from labkit.training.trainer import evaluate, fit
from tests.project import Project

SAMPLES = 18
BATCH_SIZE = 4
CLASSES = 3
DATA = TensorDataset(torch.arange(SAMPLES * 2.0).reshape(SAMPLES, 2) / SAMPLES, torch.arange(SAMPLES) % CLASSES)


def schedule(optimizer: Optimizer, steps: int) -> LinearLR:
    return LinearLR(optimizer, total_iters=steps)


def make_task(run: Run, task: type[Classification] = Classification) -> Classification:
    seed_everything(run.seed, "initialisation")
    return task(
        nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, CLASSES)),
        classes=CLASSES,
        optimizer=partial(SGD, lr=0.1, momentum=0.9),
        scheduler=schedule,
    )


def train(
    run: Run, duration: str = "2 epochs", task: type[Classification] = Classification, **arguments: Any
) -> Classification:
    """Train a small network on a little data."""
    learner = make_task(run, task)
    training = Loader(DATA, batch_size=BATCH_SIZE, seed=run.seed, shuffle=True)
    validation = Loader(DATA, batch_size=7, seed=run.seed)
    fit(learner, run, training, validation, duration=Duration.parse(duration), **arguments)
    return learner


def read_steps(run: Run) -> dict[str, list[int]]:
    return {name: steps for name, (steps, _) in run.history.items()}


def read_weights(run: Run, name: checkpoint.Name = "last") -> dict[str, Any]:
    return checkpoint.read(checkpoint.path_of(run.folder, name))


class Scripted(Classification):
    """A task whose validation loss is what a script says, one value an epoch."""

    script: tuple[float, ...] = ()

    def compute(self, batch: tuple[Tensor, Tensor]) -> Result:
        result = super().compute(batch)
        if self.training:
            return result
        return result._replace(loss=torch.tensor(self.script[self.current_epoch]))


def follow(*script: float) -> type[Scripted]:
    return type("Scripted", (Scripted,), {"script": script})


def signal_after(step: int, number: signal.Signals = signal.SIGTERM) -> LambdaCallback:
    """Send this process a signal after a step."""

    def send(trainer: Trainer, *_: object) -> None:
        if trainer.global_step == step:
            os.kill(os.getpid(), number)

    return LambdaCallback(on_train_batch_end=send)


def test_every_metric_is_recorded_once_a_step_or_once_an_epoch(run: Run) -> None:
    train(run)
    assert read_steps(run) == {
        "train/loss_step": list(range(1, 11)),
        "train/learning_rate_step": list(range(1, 11)),
        "train/loss": [5, 10],
        "train/accuracy": [5, 10],
        "validation/loss": [5, 10],
        "validation/accuracy": [5, 10],
    }


def test_the_loss_of_an_epoch_counts_every_sample_alike(run: Run) -> None:
    train(run, "1 epoch")
    losses = run.history["train/loss_step"][1]
    sizes = [4, 4, 4, 4, 2]
    mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / SAMPLES
    assert run.history["train/loss"][1] == [pytest.approx(mean, rel=1e-12)]


def test_metrics_that_are_no_scalars_are_kept_for_figures(run: Run) -> None:
    task = train(run, "1 epoch")
    confusion = task.results["validation"]["confusion"]
    assert confusion.sum(dim=1).tolist() == [6, 6, 6]
    correct = run.history["validation/accuracy"][1][-1] * SAMPLES
    assert int(confusion.diagonal().sum()) == round(correct)


def test_training_ends_after_the_steps_that_were_asked_for(run: Run) -> None:
    train(run, "7 steps")
    assert read_steps(run)["train/loss_step"] == list(range(1, 8))
    assert read_weights(run)["global_step"] == 7


def test_validation_comes_as_often_as_was_asked_for(run: Run) -> None:
    train(run, "12 steps", validation_every=Duration(3, "steps"))
    assert read_steps(run)["validation/loss"] == [3, 6, 9, 12]


def test_validation_can_leave_out_epochs(run: Run) -> None:
    train(run, "4 epochs", validation_every=Duration(2, "epochs"))
    assert read_steps(run)["validation/loss"] == [10, 20]


@pytest.mark.parametrize(
    ("duration", "every"), [("3 epochs", "2 epochs"), ("13 steps", "2 epochs"), ("13 steps", "10 steps")]
)
def test_the_end_is_judged_whatever_was_asked_for(run: Run, duration: str, every: str) -> None:
    train(run, duration, validation_every=Duration.parse(every))
    end = Duration.parse(duration).in_steps(5)
    assert read_steps(run)["validation/loss"] == [10, end]
    assert read_weights(run)["global_step"] == end


def test_a_training_that_is_shorter_than_its_interval_of_validations_is_judged_once(run: Run) -> None:
    train(run, "2 epochs", validation_every=Duration(5, "epochs"))
    assert read_steps(run)["validation/loss"] == [10]


def test_a_step_can_be_made_of_several_batches(run: Run) -> None:
    train(run, "2 epochs", execution=Execution(accumulate=2))
    assert read_steps(run)["train/loss_step"] == list(range(1, 7))
    assert read_steps(run)["validation/loss"] == [3, 6]
    first, second, third = run.history["train/loss_step"][1][:3]
    # Two batches of four samples, twice; the last one, of two samples, is alone.
    mean = (first * 8 + second * 8 + third * 2) / SAMPLES
    assert run.history["train/loss"][1][0] == pytest.approx(mean, rel=1e-6)


def test_the_schedule_spans_the_training_and_is_recorded(run: Run) -> None:
    train(run, "4 steps")
    factors = [1 / 3 + (1 - 1 / 3) * step / 4 for step in (1, 2, 3, 4)]
    assert run.history["train/learning_rate_step"][1] == [pytest.approx(0.1 * factor) for factor in factors]


@pytest.mark.parametrize(
    ("mode", "script", "best"),
    [
        ("min", (3.0, 1.0, 2.0), 10),
        ("max", (3.0, 1.0, 2.0), 5),
        ("min", (3.0, math.nan, 2.0), 15),
        ("max", (math.nan, 1.0, 0.5), 10),
        ("min", (1.0, 1.0, 1.0), 5),
    ],
)
def test_the_best_checkpoint_is_the_one_with_the_best_score(
    run: Run, mode: str, script: tuple[float, ...], best: int
) -> None:
    train(run, "3 epochs", follow(*script), mode=mode)
    assert read_weights(run, "best")["global_step"] == best
    assert read_weights(run, "last")["global_step"] == 15


def test_without_a_score_there_is_no_best_checkpoint(run: Run) -> None:
    train(run, "1 epoch", follow(math.nan))
    assert not checkpoint.path_of(run.folder, "best").exists()


def test_a_score_that_is_not_measured_is_named_with_those_that_are(run: Run) -> None:
    with pytest.raises(
        KeyError, match=r"there is no metric 'validation/f1' to tell the best checkpoint by, only .*loss"
    ):
        train(run, "1 epoch", monitor="validation/f1")


def test_checkpoints_are_written_every_few_steps(run: Run) -> None:
    steps: list[int] = []

    def watch(_: Trainer, __: LightningModule, checkpoint: dict[str, Any]) -> None:
        steps.append(checkpoint["global_step"])

    train(
        run,
        "1 epoch",
        follow(math.nan),
        checkpoint_every=Duration(2, "steps"),
        callbacks=[LambdaCallback(on_save_checkpoint=watch)],
    )
    assert steps == [2, 4, 5]
    assert read_weights(run, "previous")["global_step"] == 4


@pytest.mark.parametrize(("every", "expected"), [("2 epochs", [10, 15]), ("1 minute", [2, 4, 6, 8, 11, 13, 15])])
def test_checkpoints_are_written_every_few_epochs_or_minutes(
    run: Run, every: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    seconds = [0.0]

    def watch(_: Trainer, __: LightningModule, checkpoint: dict[str, Any]) -> None:
        steps.append(checkpoint["global_step"])

    def take_half_a_minute(*_: object) -> None:
        seconds[0] += 30.0

    class Clock:
        monotonic = staticmethod(lambda: seconds[0])

    monkeypatch.setattr("labkit.training.checkpointing.time", Clock)
    monkeypatch.setattr("labkit.training.checkpointing.SECONDS_BETWEEN_EPOCHS", math.inf)
    train(
        run,
        "3 epochs",
        follow(math.nan, math.nan, math.nan),
        checkpoint_every=Interval.parse(every),
        callbacks=[LambdaCallback(on_save_checkpoint=watch, on_train_batch_end=take_half_a_minute)],
    )
    assert steps == expected


@pytest.mark.parametrize(
    ("number", "state"),
    [(signal.SIGTERM, State.INTERRUPTED), (signal.SIGUSR1, State.INTERRUPTED), (signal.SIGINT, State.KILLED)],
)
def test_a_signal_stops_training_with_a_checkpoint_of_the_step(run: Run, number: signal.Signals, state: State) -> None:
    with run.signals.installed(), pytest.raises(Interruption) as stop:
        train(run, callbacks=[signal_after(3, number)])
    assert stop.value.state is state
    assert read_weights(run)["global_step"] == 3
    assert read_steps(run)["train/loss_step"] == [1, 2, 3]


@pytest.mark.parametrize("step", [3, 5, 7])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(run: Run, step: int) -> None:
    train(run, "3 epochs")
    truth, history = read_weights(run), run.history
    run.spool.close()

    again = Run("again", "again", run.experiment_name, run.envelope, run.environment)
    with again.signals.installed(), pytest.raises(Interruption):
        train(again, "3 epochs", callbacks=[signal_after(step)])
    again.spool.close()
    resumed = Run("again", "again", run.experiment_name, run.envelope, run.environment)
    train(resumed, "3 epochs")
    resumed.spool.close()

    assert resumed.history == history
    weights = read_weights(resumed)
    assert weights["global_step"] == truth["global_step"] == 15
    for name, value in truth["state_dict"].items():
        assert torch.equal(weights["state_dict"][name], value), name


class HalfPrecision(Callback):
    """Lets gradients be scaled, as on a GPU, by a factor that doubles after every step."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        del pl_module, stage
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1)
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", scaler)


def test_the_scale_of_gradients_is_kept_through_an_interruption(run: Run, project: Project) -> None:
    train(run, "2 epochs", callbacks=[HalfPrecision()])
    assert read_weights(run)["MixedPrecision"]["scale"] == 2.0**11
    stopped = project.make_run()
    with stopped.signals.installed(), pytest.raises(Interruption):
        train(stopped, "2 epochs", callbacks=[HalfPrecision(), signal_after(3)])
    assert read_weights(stopped)["MixedPrecision"]["scale"] == 2.0**4
    again = resume(stopped, Classification, "2 epochs", callbacks=[HalfPrecision()])
    assert again.history == run.history
    assert read_weights(again)["MixedPrecision"] == read_weights(run)["MixedPrecision"]


def resume(run: Run, script: type[Classification], duration: str, **arguments: Any) -> Run:
    """Go on with a run in what would be another process."""
    run.spool.close()
    again = Run(run.identifier, run.name, run.experiment_name, run.envelope, run.environment)
    train(again, duration, script, **arguments)
    again.spool.close()
    return again


@pytest.mark.parametrize("damaged", [["last"], ["last", "previous"]])
def test_a_checkpoint_that_is_cut_short_costs_time_and_nothing_else(
    run: Run, project: Project, damaged: list[checkpoint.Name], capsys: pytest.CaptureFixture[str]
) -> None:
    train(run, "2 epochs", follow(2.0, 1.0))
    stopped = project.make_run()
    with stopped.signals.installed(), pytest.raises(Interruption):
        train(stopped, "2 epochs", follow(2.0, 1.0), checkpoint_every=Duration(1, "steps"), callbacks=[signal_after(8)])
    for name in damaged:
        path = checkpoint.path_of(stopped.folder, name)
        os.truncate(path, path.stat().st_size // 2)
    capsys.readouterr()
    again = resume(stopped, follow(2.0, 1.0), "2 epochs")
    sentences = ["going on from the one before", "beginning anew"]
    assert capsys.readouterr().err.splitlines() == [
        f"The checkpoint {checkpoint.path_of(stopped.folder, name)} is damaged: {sentence}."
        for name, sentence in zip(damaged, sentences, strict=False)
    ]
    assert again.history == run.history
    for name, value in read_weights(run)["state_dict"].items():
        assert torch.equal(read_weights(again)["state_dict"][name], value), name


@pytest.mark.parametrize("step", [7, 10, 12])
def test_the_best_score_is_kept_through_an_interruption(run: Run, step: int) -> None:
    script = follow(1.0, 3.0, 2.0)
    with run.signals.installed(), pytest.raises(Interruption):
        train(run, "3 epochs", script, callbacks=[signal_after(step)])
    again = resume(run, script, "3 epochs")
    assert read_weights(again, "best")["global_step"] == 5
    assert read_weights(again, "last")["global_step"] == 15


@pytest.mark.parametrize("step", [4, 7, 10, 13, 16])
def test_early_stopping_counts_on_through_an_interruption(run: Run, step: int) -> None:
    script = follow(2.0, 1.0, 1.5, 1.25, 0.5, 0.25)

    def stop_early() -> EarlyStopping:
        return EarlyStopping("validation/loss", patience=2)

    with run.signals.installed(), pytest.raises(Interruption):
        train(run, "6 epochs", script, callbacks=[stop_early(), signal_after(step)])
    again = resume(run, script, "6 epochs", callbacks=[stop_early()])
    assert again.history["validation/loss"] == ([5, 10, 15, 20], [2.0, 1.0, 1.5, 1.25])
    assert read_weights(again)["global_step"] == 20
    assert read_weights(again, "best")["global_step"] == 10


def test_a_run_whose_architecture_has_changed_since_is_refused_in_one_sentence(run: Run) -> None:
    class Other(Classification):
        def __init__(self, model: nn.Module, **arguments: Any) -> None:
            super().__init__(nn.Sequential(model, nn.Linear(CLASSES, CLASSES)), **arguments)

    with run.signals.installed(), pytest.raises(Interruption):
        train(run, callbacks=[signal_after(3)])
    kept = checkpoint.path_of(run.folder, "last").read_bytes()
    origin = "the checkpoint from which the run would go on"
    faults = r"it lacks 'model\.0\.0\.weight', .*; the model lacks 'model\.0\.weight', .*"
    with pytest.raises(UsageError, match=rf"^{origin} is of another architecture: {faults}\.$"):
        train(run, task=Other)
    assert checkpoint.path_of(run.folder, "last").read_bytes() == kept


def test_a_training_that_is_over_does_nothing_more(run: Run) -> None:
    train(run, "1 epoch")
    before = run.history
    train(run, "1 epoch")
    assert run.history == before


def test_evaluation_takes_the_whole_set_and_nothing_else(run: Run) -> None:
    task = make_task(run)
    results = evaluate(task, Loader(DATA, batch_size=7, seed=0))
    inputs, target = DATA.tensors
    task.eval()
    with torch.no_grad():
        logits = task(inputs)
    assert results.keys() == {"loss", "accuracy", "confusion"}
    assert float(results["loss"]) == pytest.approx(float(functional.cross_entropy(logits, target)), rel=1e-6)
    assert torch.equal(results["accuracy"], (logits.argmax(dim=1) == target).float().mean())
    assert task.results.keys() == {"test"}


def test_label_smoothing_gives_each_class_its_share() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    task = Classification(nn.Identity(), classes=CLASSES, loss=choose_loss("CrossEntropyLoss(label_smoothing=0.3)"))
    probabilities = logits.log_softmax(dim=1)
    expected = -(0.8 * probabilities[0, 0] + 0.1 * probabilities[0, 1] + 0.1 * probabilities[0, 2])
    assert float(task.compute((logits, torch.tensor([0]))).loss) == pytest.approx(float(expected))


def test_a_task_for_evaluation_cannot_be_trained() -> None:
    task = Classification(nn.Linear(2, CLASSES), classes=CLASSES)
    with pytest.raises(TypeError, match=r"^this Classification cannot be trained: it was made without an optimizer$"):
        task.configure_optimizers()


def test_what_happens_is_printed_line_by_line_where_there_is_no_terminal(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    train(run, "2 epochs", follow(0.5, 0.25))
    lines = capsys.readouterr().out.splitlines()
    accuracies = run.history["validation/accuracy"][1]
    assert [line.rpartition("  ")[0] for line in lines] == [
        f"epoch 1  step 5  validation/accuracy {accuracies[0]:.4f}  validation/loss 0.5000",
        f"epoch 2  step 10  validation/accuracy {accuracies[1]:.4f}  validation/loss 0.2500",
    ]
