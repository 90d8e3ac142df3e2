"""The recipe of a fresh project: through all nine steps, and to the step that finds what is wrong."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import TEMPLATE, Project, render

STEPS = (
    *("explore data", "evaluate baseline", "check loss at initialisation", "overfit one batch", "overfit"),
    *("regularise", "tune", "squeeze", "transfer learning"),
)
LEAK = """split.folds[fold]["validation"] += split.folds[fold]["train"][:50]
    return Parts("""
WRONG_AXIS = """
    from torch.nn import functional

    from labkit.training.task import Result

    class WrongAxis(tasks.Classification):
        def compute(self, batch):
            inputs, target = batch
            logits = self(inputs)
            return Result(functional.nll_loss(logits.log_softmax(dim=0), target), logits, target)

    return WrongAxis("""
AVERAGED_BY_BATCH = """
    from torchmetrics import MeanMetric
    from torchmetrics.functional.classification import multiclass_f1_score

    class AveragedByBatch(MeanMetric):
        def update(self, prediction, target):
            super().update(multiclass_f1_score(prediction, target, num_classes=CLASSES))

    class WithF1(tasks.Classification):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            for metrics in self._metrics.values():
                metrics.metrics["f1"] = AveragedByBatch()

    return WithF1("""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose recipe has been gone through, with what it printed in ``output.txt``."""
    project = render(tmp_path_factory.mktemp("recipe"), {})
    project.adopt_environment()
    done = project.run(".venv/bin/recipe", check=False, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (project.folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    return project


@pytest.fixture
def project(healthy: Project) -> Iterator[Project]:
    """That project, whose study can be edited: it is as it was afterwards."""
    files = {path: path.read_bytes() for path in (healthy.folder / "my_research").glob("*.py")}
    yield healthy
    for path, content in files.items():
        path.write_bytes(content)


def go(project: Project, words: str = "") -> tuple[int, str]:
    done = project.run(f".venv/bin/recipe {words}", check=False, OMP_NUM_THREADS="1")
    return done.returncode, done.stdout + done.stderr


def read_tutorial(command: str) -> str:
    """Return what the tutorial shows a command to print."""
    page = (TEMPLATE / "docs" / "recipe.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"^    \$ {command}\n((?:    .*\n)+)", page, flags=re.MULTILINE)
    return textwrap.dedent(shown)


def edit(project: Project, file: str, old: str, new: str) -> None:
    """Replace a text that stands once in a file of the study."""
    path = project.folder / "my_research" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def count_runs(project: Project) -> int:
    return len(list((project.folder / "runs").iterdir()))


def test_a_fresh_project_goes_through_all_nine_steps_and_then_has_nothing_to_do(healthy: Project) -> None:
    output = healthy.read("output.txt")
    for position, step in enumerate(STEPS, start=1):
        assert f"{position}/9 {step}: not run" in output
    for part in read_tutorial("recipe").split("…\n"):
        assert part in output
    table = [line for line in output.splitlines() if "up to date" in line]
    assert len(table) == len(STEPS)

    runs = count_runs(healthy)
    assert go(healthy) == (0, "\n".join(table) + "\n")
    assert count_runs(healthy) == runs


def test_a_comment_is_nothing_and_a_helper_is_named(project: Project) -> None:
    edit(project, "train.py", "def make_task(", "# A comment.\ndef make_task(")
    edit(project, "model.py", "nn.Dropout(0.25)", "nn.Dropout(0.5)")
    code, output = go(project, "--list")
    assert code == 0
    assert output.count("up to date") == 2
    assert output.startswith(read_tutorial("recipe --list"))
    assert "make_task" not in output


def test_two_bugs_in_the_data_are_found_at_the_first_step(project: Project) -> None:
    edit(project, "data.py", ".reshape(-1, *SHAPE) / LARGEST_VALUE", ".reshape(-1, *SHAPE)")
    edit(project, "data.py", "return Parts(", LEAK)

    code, output = go(project)

    assert code == 1, output
    magnitude = "inputs/largest magnitude is 16, not at most 10"
    leak = "validation/also in training is 50, not equal to 0"
    assert f"recipe: the step 'explore data' failed: {magnitude}; {leak}." in output


@pytest.mark.parametrize(
    ("file", "old", "new", "step", "reason"),
    [
        pytest.param(
            "data.py",
            "targets = torch.from_numpy(classes)",
            "targets = torch.from_numpy(classes)[torch.randperm(len(classes), generator=torch.Generator())]",
            *("evaluate baseline", "nearest mean/accuracy is "),
            id="labels shuffled",
        ),
        pytest.param(
            *("train.py", "\n    return tasks.Classification(", WRONG_AXIS),
            *("check loss at initialisation", "distance from expected is "),
            id="loss on the wrong axis",
        ),
        pytest.param(
            *("train.py", "\n    return tasks.Classification(", AVERAGED_BY_BATCH),
            *("check loss at initialisation", "largest dependence on batch size is "),
            id="metric averaged by batch",
        ),
        pytest.param(
            "train.py",
            "optimizer=make_optimizer, ",
            "optimizer=lambda weights: make_optimizer(list(weights)[2:]), ",
            *("overfit one batch", "weights that did not move is 2, not equal to 0"),
            id="frozen weights",
        ),
    ],
)
def test_a_planted_bug_is_found_at_its_step(
    project: Project, *, file: str, old: str, new: str, step: str, reason: str
) -> None:
    edit(project, file, old, new)

    code, output = go(project)

    assert code == 1, output
    assert f"recipe: the step '{step}' failed: {reason}" in output


def test_the_pictures_of_the_inspections_are_kept(healthy: Project) -> None:
    names = {path.name for path in Path(healthy.folder / "runs").glob("*/figures/*.png")}
    assert names == {"batch.png", "class-probabilities.png", "gradients.png", "weights.png"}
