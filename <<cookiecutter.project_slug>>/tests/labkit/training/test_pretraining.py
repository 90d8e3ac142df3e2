"""Beginning with the weights of another run: what is loaded, what is refused, and what is remembered."""

import re
import signal
from collections import OrderedDict
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from labkit.command import UsageError
from labkit.data.loading import Loader
from labkit.tracking.interruption import Interruption
from labkit.tracking.run import Run
from labkit.training import checkpoint
from labkit.training.duration import Duration
from labkit.training.pretraining import PRETRAINED_TAG, load_pretrained
from labkit.training.seeding import seed_everything
from labkit.training.tasks import Classification
from labkit.training.trainer import fit
from tests.labkit.training.test_trainer import BATCH_SIZE, CLASSES, DATA, follow, signal_after
from tests.project import Project

STEPS_PER_EPOCH = 5


def make_task(
    task: type[Classification] = Classification,
    *,
    width: int = 8,
    classes: int = CLASSES,
    norm: bool = False,
    average_decay: float | None = None,
) -> Classification:
    """Make a task of a body and a head, with a layer in between or without one."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(body=nn.Linear(2, width), activation=nn.ReLU())
    if norm:
        layers["norm"] = nn.LayerNorm(width)
    layers["head"] = nn.Linear(width, classes)
    optimizer = partial(SGD, lr=0.1)
    return task(nn.Sequential(layers), classes=classes, optimizer=optimizer, average_decay=average_decay)


def train(run: Run, task: Classification, duration: str = "3 epochs", **arguments: Any) -> None:
    training = Loader(DATA, batch_size=BATCH_SIZE, seed=run.seed, shuffle=True)
    validation = Loader(DATA, batch_size=7, seed=run.seed)
    fit(task, run, training, validation, duration=Duration.parse(duration), **arguments)


def copy_weights(task: Classification) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


@pytest.fixture
def earlier(project: Project) -> Run:
    """A run whose best checkpoint is that of its second epoch, of three."""
    run = project.make_run(seed=1)
    seed_everything(run.seed, "initialisation")
    train(run, make_task(follow(3.0, 1.0, 2.0)))
    return run


def read_weights(run: Run, name: checkpoint.Name) -> dict[str, Tensor]:
    return checkpoint.read(checkpoint.path_of(run.folder, name))["state_dict"]


@pytest.mark.parametrize(("name", "epochs"), [("best", 2), ("last", 3)])
def test_a_run_begins_with_the_weights_of_the_checkpoint_that_is_named(
    run: Run, earlier: Run, name: checkpoint.Name, epochs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make_task()
    load_pretrained(task, run, earlier.identifier, "best" if name == "best" else "last")
    for key, value in read_weights(earlier, name).items():
        assert torch.equal(task.state_dict()[key], value), key
    path = checkpoint.path_of(earlier.folder, name)
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == (
        f"Beginning with 4 weights of {path}, made in {epochs * STEPS_PER_EPOCH} steps."
    )
    assert output.err == ""


def test_with_which_weights_a_run_began_is_recorded(project: Project, run: Run, earlier: Run) -> None:
    from labkit.tracking.sender import Sender

    load_pretrained(make_task(), run, earlier.identifier)
    run.spool.close()
    Sender(run.folder, run.environment).send_all()
    tags = project.store.get_run(run.identifier).data.tags
    assert tags[PRETRAINED_TAG] == f"{earlier.identifier}/best.ckpt, step {2 * STEPS_PER_EPOCH}"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"norm": True}, "it lacks 'model.norm.weight', 'model.norm.bias'"),
        (
            {"classes": 2},
            "it has in another shape 'model.head.weight' ((3, 8), not (2, 8)), 'model.head.bias' ((3,), not (2,))",
        ),
    ],
)
def test_another_architecture_is_refused_and_leaves_the_task_as_it_was(
    run: Run, earlier: Run, task: dict[str, Any], reason: str
) -> None:
    learner = make_task(**task)
    before = copy_weights(learner)
    path = checkpoint.path_of(earlier.folder, "best")
    sentence = re.escape(f"the checkpoint {path} is of another architecture: {reason}.")
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        load_pretrained(learner, run, earlier.identifier, may_be_missing=["model.nothing.*"], may_be_unused=["*"])
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_what_may_be_missing_stays_fresh(run: Run, earlier: Run, capsys: pytest.CaptureFixture[str]) -> None:
    task = make_task(norm=True, classes=2)
    before = copy_weights(task)
    load_pretrained(task, run, earlier.identifier, may_be_missing=["model.norm.*", "model.head.*"])
    weights, there = task.state_dict(), read_weights(earlier, "best")
    for name in ("model.body.weight", "model.body.bias"):
        assert torch.equal(weights[name], there[name])
    fresh = ["model.norm.weight", "model.norm.bias", "model.head.weight", "model.head.bias"]
    for name in fresh:
        assert torch.equal(weights[name], before[name])
    assert capsys.readouterr().err == f"These stay fresh: {', '.join(fresh)}.\n"


def test_what_may_be_missing_and_is_there_is_loaded(run: Run, earlier: Run) -> None:
    task = make_task()
    load_pretrained(task, run, earlier.identifier, may_be_missing=["*"])
    assert all(torch.equal(task.state_dict()[name], value) for name, value in read_weights(earlier, "best").items())


@pytest.mark.parametrize("average_decay", [None, 0.5])
def test_where_an_average_was_judged_it_is_what_a_run_begins_with(
    project: Project, run: Run, average_decay: float | None
) -> None:
    judged = project.make_run()
    train(judged, make_task(average_decay=0.9), "1 epoch")
    task = make_task(average_decay=average_decay)
    load_pretrained(task, run, judged.identifier)
    there = read_weights(judged, "best")
    assert not torch.equal(there["average.model.head.bias"], there["model.head.bias"])
    for name, value in task.state_dict().items():
        assert torch.equal(value, there[f"average.{name.removeprefix('average.')}"]), name


def test_an_average_begins_with_the_weights_that_are_loaded(run: Run, earlier: Run) -> None:
    task = make_task(average_decay=0.5, classes=2)
    fresh = copy_weights(task)
    load_pretrained(task, run, earlier.identifier, may_be_missing=["model.head.*"])
    assert torch.equal(task.state_dict()["average.model.body.bias"], read_weights(earlier, "best")["model.body.bias"])
    assert torch.equal(task.state_dict()["average.model.head.bias"], fresh["model.head.bias"])


def test_what_is_left_over_has_to_be_named_too(project: Project, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    larger = project.make_run()
    train(larger, make_task(norm=True), "1 epoch")
    task = make_task()
    with pytest.raises(UsageError, match=r"the model lacks 'model\.norm\.weight', 'model\.norm\.bias'\.$"):
        load_pretrained(task, run, larger.identifier, may_be_missing=["*"], may_be_unused=["model.norm.scale"])
    load_pretrained(task, run, larger.identifier, may_be_unused=["model.norm.*"])
    assert torch.equal(task.state_dict()["model.head.bias"], read_weights(larger, "best")["model.head.bias"])
    assert capsys.readouterr().err == "These are left out: model.norm.weight, model.norm.bias.\n"


def test_to_load_nothing_is_refused(run: Run, earlier: Run) -> None:
    with pytest.raises(UsageError, match="no weight of it fits the model"):
        load_pretrained(make_task(width=9, classes=4), run, earlier.identifier, may_be_missing=["*"])


def test_a_run_without_such_a_checkpoint_is_refused(project: Project, run: Run) -> None:
    other = project.make_run()
    with pytest.raises(UsageError, match=rf"^the run {other.identifier} has no best\.ckpt yet: "):
        load_pretrained(make_task(), run, other.identifier)
    with pytest.raises(UsageError, match=r"^there is no run 'unheard-of' in "):
        load_pretrained(make_task(), run, "unheard-of")


def test_a_run_that_goes_on_keeps_the_weights_that_it_has_learned(project: Project, earlier: Run) -> None:
    def learn(run: Run, **arguments: Any) -> None:
        seed_everything(run.seed, "initialisation")
        task = make_task()
        load_pretrained(task, run, earlier.identifier)
        train(run, task, **arguments)

    whole = project.make_run()
    learn(whole)

    stopped = project.make_run()
    with stopped.signals.installed(), pytest.raises(Interruption):
        learn(stopped, callbacks=[signal_after(7, signal.SIGTERM)])
    checkpoint.path_of(earlier.folder, "best").unlink()  # nobody may want to read it again
    stopped.signals.requested = None
    learn(stopped)

    for name, value in read_weights(whole, "last").items():
        assert torch.equal(read_weights(stopped, "last")[name], value), name
    assert stopped.history == whole.history
