import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest

from labkit.command import Limits
from labkit.tracking.entry_point import EntryPoint, entry_point
from labkit.tracking.parameter import Plain
from labkit.tracking.run import Envelope, Run, create_run
from labkit.training.duration import Duration
from tests.project import Project
from tests.small_disk import SmallDisk


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Received = list[tuple[int, dict[str, object]]]


@pytest.fixture
def received() -> Received:
    """The seed and the arguments of every call of the entry point."""
    return []


@pytest.fixture
def train(received: Received) -> EntryPoint[...]:
    """An entry point with a parameter of every kind."""

    @entry_point
    def train(
        run: Run,
        *,
        learning_rate: float = 0.1,
        layers: int = 2,
        glossy: bool = True,
        colour: Colour = Colour.RED,
        brush: Literal["flat", "round"] = "flat",
        sizes: Sequence[int] = (1, 2),
        text: str = "",
        path: Path | None = None,
        duration: Duration = Duration(10, "epochs"),
    ) -> None:
        """Paint.

        :param learning_rate: How fast.
        :param layers: How many.
        :param glossy: Whether it shines.
        :param colour: Which colour.
        :param brush: Which brush.
        :param sizes: Which sizes.
        :param text: What is written.
        :param path: Where.
        :param duration: How long.
        """
        arguments: dict[str, object] = {
            "learning_rate": learning_rate,
            "layers": layers,
            "glossy": glossy,
            "colour": colour,
            "brush": brush,
            "sizes": list(sizes),
            "text": text,
            "path": path,
            "duration": duration,
        }
        received.append((run.seed, arguments))
        run.log_metrics({"train/loss": 0.5}, step=len(received))

    return train


DEFAULTS: dict[str, object] = {
    "learning_rate": 0.1,
    "layers": 2,
    "glossy": True,
    "colour": Colour.RED,
    "brush": "flat",
    "sizes": [1, 2],
    "text": "",
    "path": None,
    "duration": Duration(10, "epochs"),
}


def create(project: Project, entry_point: str = "train", **others: Plain) -> Run:
    """Make a run of the entry point above, that has not been executed."""
    arguments: dict[str, Plain] = {
        "learning_rate": 0.1,
        "layers": 2,
        "glossy": True,
        "colour": "RED",
        "brush": "flat",
        "sizes": [1, 2],
        "text": "",
        "path": None,
        "duration": "10 epochs",
        **others,
    }
    envelope = Envelope(entry_point=entry_point, arguments=arguments, seed=7)
    return create_run(project.environment, envelope, experiment_name="tests")


@pytest.mark.slow
def test_what_is_recorded_is_exactly_what_the_function_received(
    project: Project, train: EntryPoint[...], received: Received
) -> None:
    text = "ü, 'a' = \"b\"\n--layers=9 $(exit)"
    words = ["--learning_rate", "-0.5", "--layers=-3", "--no-glossy", "--colour", "BLUE", "--brush", "round"]
    words += ["--sizes", "4", "-5", "--text", text, "--path", "a b/c", "--duration", "1 step", "--seed", "0"]
    assert train.main([*words, "--run-name", "a name", "--experiment-name", "an experiment", "--note", "why"]) == 0

    arguments: dict[str, object] = {
        "learning_rate": -0.5,
        "layers": -3,
        "glossy": False,
        "colour": Colour.BLUE,
        "brush": "round",
        "sizes": [4, -5],
        "text": text,
        "path": Path("a b/c"),
        "duration": Duration(1, "steps"),
    }
    assert received == [(0, arguments)]
    run = project.run
    assert run.data.params == {
        "seed": "0",
        "learning_rate": "-0.5",
        "layers": "-3",
        "glossy": "False",
        "colour": "BLUE",
        "brush": "round",
        "sizes": "[4, -5]",
        "text": text,
        "path": "a b/c",
        "duration": "1 step",
    }
    envelope = json.loads((project.path / "runs" / run.info.run_id / "envelope.json").read_text())
    assert (envelope["entry_point"], envelope["seed"]) == ("train", 0)
    assert envelope["arguments"] == {
        "learning_rate": -0.5,
        "layers": -3,
        "glossy": False,
        "colour": "BLUE",
        "brush": "round",
        "sizes": [4, -5],
        "text": text,
        "path": "a b/c",
        "duration": "1 step",
    }
    assert run.info.run_name == "a name"
    assert project.store.get_experiment(run.info.experiment_id).name == "an experiment"
    assert run.data.tags["mlflow.note.content"] == "why"


@pytest.mark.slow
def test_without_options_the_defaults_and_a_seed_of_chance_are_recorded(
    project: Project, train: EntryPoint[...], received: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([]) == 0
    run = project.run
    ((seed, arguments),) = received
    assert arguments == DEFAULTS
    assert run.data.params["seed"] == str(seed)
    assert run.data.params["path"] == "None"
    assert run.info.status == "FINISHED"
    assert project.store.get_experiment(run.info.experiment_id).name == "tests"
    assert f"run         {run.info.run_id} ({run.info.run_name}, experiment tests)\n" in capsys.readouterr().out

    assert train.main(["--run-id", run.info.run_id]) == 2
    assert capsys.readouterr().err == (
        f"train: the run {run.info.run_id} has finished: `reproduce-run {run.info.run_id}` does the same again, and "
        "`train` without --run-id something new.\n"
    )
    assert len(received) == 1


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_arguments_and_seed(
    project: Project, train: EntryPoint[...], received: Received
) -> None:
    run = create(project, text="--layers=3", sizes=[], path="a b")
    assert train.main(["--run-id", run.identifier, "--layers", "2"]) == 0
    assert received == [(7, {**DEFAULTS, "text": "--layers=3", "sizes": [], "path": Path("a b")})]
    assert project.run.info.run_id == run.identifier
    assert project.run.info.status == "FINISHED"
    assert project.read_metric(run.identifier, "train/loss") == [(1, 0.5)]


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_out_of_range_is_refused(
    project: Project, train: EntryPoint[...], seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--seed", seed]) == 2
    assert capsys.readouterr() == ("", f"train: --seed is {seed}: it takes a number from 0 to 4294967295.\n")
    assert project.runs == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--layer", "3"], "there is no option --layer: did you mean --layers? `train --help` lists all."),
        (["--layers", "many"], "--layers takes a value of type int, not 'many'."),
        (
            ["--duration", "soon"],
            "'soon' is no duration: write a whole number of epochs or steps, such as '10 epochs'.",
        ),
        (
            ["--run-id", "nothing"],
            "there is no run 'nothing' in sqlite:///{folder}/mlflow.db: give the id that `train` printed.",
        ),
        (["--run-id", ""], "there is no run '' in sqlite:///{folder}/mlflow.db: give the id that `train` printed."),
    ],
)
def test_bad_input_is_one_sentence_and_makes_no_run(
    project: Project, train: EntryPoint[...], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    assert capsys.readouterr() == ("", f"train: {sentence.format(folder=project.path)}\n")
    assert project.runs == []
    assert not (project.path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "given", "recorded"),
    [
        (["--learning-rate", "0.5"], "--learning-rate is 0.5", "0.1"),
        (["--seed", "0"], "--seed is 0", "7"),
        (["--colour", "BLUE"], "--colour is 'BLUE'", "'RED'"),
        (["--duration", "10 steps"], "--duration is '10 steps'", "'10 epochs'"),
        (["--sizes", "2", "1"], "--sizes is [2, 1]", "[1, 2]"),
        (["--path", "a"], "--path is 'a'", "None"),
    ],
)
def test_a_value_that_the_run_does_not_have_is_refused(
    project: Project,
    train: EntryPoint[...],
    received: Received,
    words: list[str],
    given: str,
    recorded: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = create(project)
    assert train.main(["--run-id", run.identifier, *words]) == 2
    assert capsys.readouterr().err == (
        f"train: {given}, but the run {run.identifier} has {recorded}: "
        "leave it out to continue the run, or leave out --run-id for a new one.\n"
    )
    assert received == []
    assert project.run.info.status == "SCHEDULED"


@pytest.mark.parametrize("option", ["--run-name", "--experiment-name", "--note"])
def test_a_run_keeps_its_name(
    project: Project, train: EntryPoint[...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = create(project)
    assert train.main(["--run-id", run.identifier, option, "x"]) == 2
    assert capsys.readouterr().err == f"train: {option} cannot be given with --run-id: the run has its own.\n"


@pytest.mark.parametrize("option", ["--run-name", "--experiment-name"])
@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused(
    project: Project, train: EntryPoint[...], option: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([option, name]) == 2
    assert capsys.readouterr().err == f"train: {option} is empty: give a name, or leave it out.\n"
    assert project.runs == []


@pytest.mark.slow
def test_a_number_out_of_its_limits_is_refused_before_there_is_a_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    @entry_point
    def train(run: Run, *, learning_rate: Annotated[float, Limits(above=0)] = 0.1) -> None:
        """Train.

        :param learning_rate: How fast.
        """
        run.log_metrics({"train/loss": learning_rate}, step=1)

    assert train.main(["--learning-rate", "nan"]) == 2
    assert capsys.readouterr().err == "train: --learning-rate is nan: it takes a number above 0.\n"
    assert project.runs == []
    assert train.main(["--learning-rate", "0.5"]) == 0
    assert project.run.data.metrics["train/loss"] == 0.5


def test_a_store_that_is_none_is_refused_in_one_sentence(
    project: Project, train: EntryPoint[...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense")
    assert train.main([]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("train: The variable MLFLOW_TRACKING_URI is 'nonsense': write the address of a server")
    assert not (project.path / "runs").exists()


def test_a_disk_that_is_full_already_is_one_sentence(
    project: Project,
    train: EntryPoint[...],
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RUNS_PATH", str(small_disk.path))
    small_disk.fill()
    assert train.main([]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("train: the disk is full ([Errno 28] No space left on device")
    assert sentence.endswith("): make room, and try again.")
    assert project.run.info.status == "FAILED"


def test_a_run_of_another_entry_point_is_refused(
    project: Project, train: EntryPoint[...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = create(project, entry_point="prepare")
    assert train.main(["--run-id", run.identifier]) == 2
    assert capsys.readouterr().err == f"train: the run {run.identifier} is one of `prepare`, not of `train`.\n"


def test_help_lists_the_options_of_the_function_and_of_every_run(
    train: EntryPoint[...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(["--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    assert text.startswith("usage: train ")
    for option in ("--learning-rate", "--duration", "--seed", "--run-name", "--experiment-name", "--note", "--run-id"):
        assert option in text
    assert "How fast." in text
    assert "Continue this run" in text


def test_a_parameter_of_the_function_may_not_hide_one_of_every_run() -> None:
    @entry_point
    def train(run: Run, *, seed: int = 1) -> None:
        """Train.

        :param seed: A seed.
        """

    with pytest.raises(
        TypeError, match=r"^train may not have a parameter 'seed': all commands like it have it already$"
    ):
        train.main([])


def test_an_entry_point_can_be_called_with_a_run_that_exists(
    project: Project, train: EntryPoint[...], received: Received
) -> None:
    run = create(project)
    train(run, layers=5)
    run.spool.close()
    assert [(seed, arguments["layers"]) for seed, arguments in received] == [(7, 5)]


def test_a_process_of_several_that_joins_no_run_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @entry_point
    def train(run: Run) -> None:
        """Train."""
        raise AssertionError(run)

    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.delenv("LABKIT_RUN_ID", raising=False)
    assert train.main([]) == 2
    assert capsys.readouterr().err.startswith("train: this is process 1 of several, and none says which run it joins:")
    assert project.runs == []
