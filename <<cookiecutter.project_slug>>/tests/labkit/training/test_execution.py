"""How a training is executed: what the options of every `train` do."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.training import checkpoint
from labkit.training.execution import Execution, Precision
from tests.labkit.training.plain_study import SAMPLES, train
from tests.project import ROOT, Project

STEPS_PER_EPOCH = SAMPLES // 4
Histories = dict[str, tuple[list[int], list[float]]]


def execute(project: Project, batch_size: int = 4, **options: object) -> Histories:
    """Train in this process and return what was recorded."""
    run = project.make_run(seed=3)
    train(run, batch_size=batch_size, execution=Execution(**options))  # pyright: ignore[reportArgumentType]
    return run.history


def read_weights(project: Project, folder: Path | None = None) -> dict[str, torch.Tensor]:
    folder = folder or project.made[-1].folder
    return checkpoint.read(checkpoint.path_of(folder, "last"))["state_dict"]


@pytest.mark.slow
def test_the_options_stand_in_the_help_and_in_the_record_of_the_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--fast-dev-run", "--precision", "bf16-mixed", "--accumulate", "2"]
    assert train.main(words) == 0
    parameters = project.run.data.params
    assert (parameters["precision"], parameters["accumulate"], parameters["devices"]) == ("bf16-mixed", "2", "None")
    assert "execution" not in parameters
    with pytest.raises(SystemExit):
        train.main(["--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "--overfit-batches OVERFIT_BATCHES Learn from so many batches only, the same in each epoch" in help_text
    assert "--batch-size BATCH_SIZE The samples that one process takes at a time." in help_text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--accumulate", "0"], "train: --accumulate is 0: it takes a number from 1.\n"),
        (["--precision", "16-mixed"], "train: --precision 16-mixed needs an accelerator: take bf16-mixed"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator")
def test_what_cannot_be_executed_is_refused_in_one_sentence(
    project: Project, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.path.exists()
    assert train.main(words) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_more_devices_than_there_are_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"^--devices is 2, and this machine has 1\.$"):
        execute(project, devices=2)


@pytest.mark.parametrize("accumulate", [2, 5])  # of the twelve batches of an epoch, five leave two to the last step
def test_accumulated_batches_are_one_larger_batch(project: Project, accumulate: int) -> None:
    together = execute(project, batch_size=4 * accumulate)
    apart = execute(project, batch_size=4, accumulate=accumulate)
    assert together.keys() == apart.keys()
    for name, (steps, values) in together.items():
        assert apart[name][0] == steps
        assert apart[name][1] == pytest.approx(values, rel=1e-5, abs=1e-6), name


def test_batches_are_limited_in_one_way() -> None:
    with pytest.raises(UsageError, match="both say how many batches to take: give one of them"):
        Execution(overfit_batches=2, limit_batches=1)


def test_a_quick_try_does_one_step_and_all_that_follows(project: Project) -> None:
    history = execute(project, fast_dev_run=True)
    assert all(steps == [1] for steps, _ in history.values())
    assert {"train/loss_step", "train/loss", "validation/loss", "validation/accuracy"} <= history.keys()
    assert checkpoint.path_of(project.made[-1].folder, "best").exists()


def test_only_some_batches_of_each_epoch_and_validation_are_taken(project: Project) -> None:
    history = execute(project, limit_batches=3)
    assert history["train/loss_step"][0] == list(range(1, 7))
    assert history["validation/loss"][0] == [3, 6]
    first, second = (tuple(history["train/loss_step"][1][epoch * 3 : epoch * 3 + 3]) for epoch in (0, 1))
    assert first != second
    for accuracy in history["validation/accuracy"][1]:
        assert accuracy * 24 == pytest.approx(round(accuracy * 24))


def test_fixed_batches_are_those_of_the_first_epoch() -> None:
    loader = Loader(TensorDataset(torch.arange(SAMPLES)), batch_size=4, seed=0, shuffle=True)
    whole = [batch[0].tolist() for batch in loader]
    loader.load_state_dict({"epoch": 0, "position": 0})
    loader.batches.restrict(2, fixed=True)
    assert len(loader) == 2
    assert [[batch[0].tolist() for batch in loader] for _ in range(3)] == [whole[:2]] * 3
    loader.batches.restrict(2)
    assert [batch[0].tolist() for batch in loader] != whole[:2]


@pytest.mark.slow
def test_the_same_batch_is_learned_by_heart(project: Project) -> None:
    run = project.make_run(seed=3)
    train(run, epochs=60, execution=Execution(overfit_batches=1))
    losses = run.history["train/loss_step"][1]
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 3
    assert run.history["train/accuracy"][1][-1] == 1


@pytest.mark.slow
def test_numbers_of_another_precision_are_near(project: Project) -> None:
    exact = execute(project)["train/loss_step"][1]
    precisions: dict[Precision, float] = {"64-true": 1e-5, "bf16-mixed": 0.05}
    for precision, tolerance in precisions.items():
        losses = execute(project, precision=precision)["train/loss_step"][1]
        assert losses == pytest.approx(exact, rel=tolerance)
        assert losses != exact
    assert execute(project, precision="bf16-true").keys()
    assert read_weights(project)["model.0.weight"].dtype == torch.bfloat16


def test_an_anomaly_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(values: torch.Tensor) -> torch.Tensor:
        return values.clamp(min=0).sqrt() * 0 + values  # the gradient of a root is none at 0

    monkeypatch.setattr(torch.nn.Tanh, "forward", lambda _, values: spoil(values))
    with (
        pytest.warns(UserWarning, match="Error detected in SqrtBackward0"),
        pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values"),
    ):
        execute(project, detect_anomaly=True)


@pytest.mark.slow
def test_a_profile_is_kept_with_the_run(project: Project) -> None:
    assert train.main(["--profile", "--limit-batches", "7"]) == 0
    run_id = project.run.info.run_id
    folder = project.path / "runs" / run_id / "profile"
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert names.count("Optimizer.step#SGD.step") == 5
    assert "aten::addmm" in (folder / "operators.txt").read_text()
    artifacts = {file.path for file in project.store.list_artifacts(run_id, "profile")}
    assert artifacts == {"profile/trace.json.gz", "profile/operators.txt"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # inside torch itself
def test_what_is_compiled_computes_the_same(project: Project) -> None:
    plain, compiled = execute(project), execute(project, compile=True)
    assert compiled["validation/loss"][1] == pytest.approx(plain["validation/loss"][1], rel=1e-4)
    assert "model.0.weight" in read_weights(project)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_with_twice_the_batch(project: Project) -> None:
    alone = execute(project, batch_size=8)
    weights = read_weights(project)
    done = subprocess.run(
        [sys.executable, "-m", train.function.__module__, "--seed", "3", "--devices", "2"],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    together = project.runs[0].info.run_id
    for name, (steps, values) in alone.items():
        recorded = project.read_metric(together, name)
        assert [step for step, _ in recorded] == steps
        assert [value for _, value in recorded] == pytest.approx(values, rel=1e-5, abs=1e-6), name
    for name, value in read_weights(project, project.path / "runs" / together).items():
        torch.testing.assert_close(value, weights[name])
