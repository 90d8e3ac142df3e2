import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.command import UsageError
from labkit.recipe import record as record_module
from labkit.recipe.context import DataCache
from labkit.recipe.execution import Progress
from labkit.recipe.record import OUTCOME_TAG, ROLE_TAG, STEP_TAG, History
from tests.labkit.recipe.conftest import TinyStudy


def find_steps(study: TinyStudy, name: str) -> list[Any]:
    """Return the runs of a step as the store has them, the newest first."""
    return [run for run in study.project.runs if run.data.tags.get(STEP_TAG) == name]


def read_artifact(study: TinyStudy, run_id: str, name: str) -> Any:
    return json.loads(Path(study.project.store.download_artifacts(run_id, name)).read_text())


def read_standings(study: TinyStudy) -> dict[str, tuple[str, list[str]]]:
    """Return how the steps stand by the newest recipe run."""
    run = next(run for run in study.project.runs if run.data.tags.get(ROLE_TAG) == "recipe")
    steps = read_artifact(study, run.info.run_id, "recipe.json")["steps"]
    return {step["name"]: (step["state"], step["reasons"]) for step in steps}


def start(study: TinyStudy, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tiny.study", *words],
        cwd=study.project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_execution(study: TinyStudy, name: str, *processes: "subprocess.Popen[str]") -> None:
    """Wait until each process has executed the step of a name."""
    path = study.project.path / "executed.txt"
    while not path.exists() or path.read_text().splitlines().count(name) < len(processes):
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.slow
def test_a_recipe_is_executed_once_and_recorded(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study.recipe() == 0
    assert study.executed == ["first", "second", "third"]
    (run,) = find_steps(study, "second")
    assert (run.info.status, run.data.tags[OUTCOME_TAG], run.data.metrics["accuracy"]) == ("FINISHED", "passed", 0.8)
    whole = next(run for run in study.project.runs if run.data.tags[ROLE_TAG] == "recipe")
    assert run.data.tags["mlflow.parentRunId"] == whole.info.run_id
    record = read_artifact(study, run.info.run_id, "step.json")
    assert record["verdicts"] == [
        {
            "check": "accuracy at least 0 above accuracy of 'first'",
            "value": 0.8,
            "threshold": 0.6,
            "holds": True,
            "reason": "accuracy is 0.8, 0 above accuracy of 'first', 0.6",
        }
    ]
    assert read_standings(study) == dict.fromkeys(["first", "second", "third"], ("up to date", []))
    first = read_artifact(study, find_steps(study, "first")[0].info.run_id, "step.json")
    assert first["faults"] == {"model": "a value of type object cannot be stored"}

    runs = len(study.project.runs)
    capsys.readouterr()
    assert study.recipe() == 0
    assert study.executed == []
    assert len(study.project.runs) == runs
    assert capsys.readouterr().out == (
        "1  first   up to date   1/1 checks\n2  second  up to date   1/1 checks\n3  third   up to date   1/1 checks\n"
    )
    # Another machine, which knows nothing by itself, asks the store, page by page.
    monkeypatch.setattr(record_module, "RUNS_OF_A_PAGE", 1)
    shutil.rmtree(study.project.path / "runs")
    assert study.recipe() == 0
    assert study.executed == []


def test_an_edited_comment_is_nothing_and_an_edited_helper_is_named(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.go() is None
    assert study.executed == ["first", "second", "third"]
    study.edit("helper.py", "# A comment.", "# Another one.")
    assert study.go() is None
    assert study.executed == []

    study.edit("helper.py", "return SCALE * value", "return SCALE * value + 0.01")
    capsys.readouterr()
    assert study.recipe("--list") == 0
    assert capsys.readouterr().out == (
        "1  first   stale        1/1 checks\n"
        "           function tiny.helper.scale changed\n"
        "2  second  stale        1/1 checks\n"
        "           function tiny.helper.scale changed\n"
        "           the step 'first' before it changed\n"
        "3  third   stale        1/1 checks\n"
        "           the step 'first' before it changed\n"
        "           the step 'second' before it changed\n"
    )
    assert study.recipe("--on-stale", "fail") == 1
    assert capsys.readouterr().err == ("recipe: the step 'first' is stale: function tiny.helper.scale changed.\n")
    assert study.recipe("--on-stale", "warn") == 0
    assert study.executed == []
    assert study.go() is None
    assert study.executed == ["first", "second", "third"]
    # What was executed once is known for ever: the way back costs nothing.
    study.edit("helper.py", "return SCALE * value + 0.01", "return SCALE * value")
    assert study.go() is None
    assert study.executed == []


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (
            "tiny/study.py",
            '"rate": 0.1',
            '"rate": 0.2',
            "argument experiment.Experiment.arguments.rate: 0.1 became 0.2",
        ),
        ("data.txt", "2", "3", "the data changed: "),
    ],
    ids=["argument", "data"],
)
def test_an_argument_or_the_data_make_stale(study: TinyStudy, file: str, old: str, new: str, reason: str) -> None:
    assert study.go() is None
    path = study.project.path / file
    path.write_text(path.read_text().replace(old, new))
    assert study.go(on_stale="warn") is None
    assert study.executed == ["first", "second", "third"]
    for state, reasons in study.states.values():
        assert state == "stale"
        assert reasons[0].startswith(reason)


def test_what_a_step_is_given_is_part_of_it(study: TinyStudy) -> None:
    assert study.go() is None
    old = 'step(third, at_least("accuracy", THRESHOLD))'
    study.edit("study.py", old, 'step(third, at_least("accuracy", THRESHOLD), changes={"rate": 0.3})')
    assert study.go(on_stale="warn") is None
    assert study.states == {
        "first": ("up to date", []),
        "second": ("up to date", []),
        "third": (
            "stale",
            ["argument step.changes: {} became nothing", "argument step.changes.rate: nothing became 0.3"],
        ),
    }


def test_numbers_that_json_has_not_make_nothing_stale(study: TinyStudy) -> None:
    changes = '{"accuracy": 0.8, "trials": [float("nan")], "changes": {"rate": -float("inf")}}'
    study.edit("study.py", '{"accuracy": helper.scale(0.4)}', changes)
    study.edit("study.py", 'return {"accuracy": 0.9}', 'return {"accuracy": 0.9, **context.experiment.arguments}')
    study.edit("study.py", '"rate": 0.1', '"rate": float("inf")')
    assert study.go() is None
    assert study.executed == ["first", "second", "third"]
    record = study.standings[2].record
    assert record is not None
    assert record.result.scores == {"accuracy": 0.9, "rate": -math.inf}
    assert study.go() is None
    assert study.executed == []


def test_a_verdict_on_nan_stands(study: TinyStudy) -> None:
    study.edit("study.py", 'return {"accuracy": 0.9}', 'return {"accuracy": float("nan")}')
    failure = "the step 'third' failed: accuracy is NaN."
    assert study.go() == failure
    assert study.go() == failure
    assert len(find_steps(study, "third")) == 1
    standing = study.standings[2]
    assert standing.record is not None
    # As where each NaN is another object, which Python compares by their value from 3.13 on.
    (verdict,) = standing.verdicts
    assert not replace(standing, verdicts=[replace(verdict, value=float("nan"))]).is_judged_otherwise
    assert replace(standing, verdicts=[replace(verdict, value=0.5)]).is_judged_otherwise


def test_an_edited_threshold_is_judged_without_executing_again(study: TinyStudy) -> None:
    assert study.go() is None
    assert study.executed == ["first", "second", "third"]
    study.edit("study.py", 'step(first, at_least("accuracy", THRESHOLD))', 'step(first, at_least("accuracy", 0.7))')
    assert study.go() == "the step 'first' failed: accuracy is 0.6, not at least 0.7."
    assert study.executed == []
    newest, oldest = find_steps(study, "first")
    record = json.loads((study.project.environment.runs_path / newest.info.run_id / "step.json").read_text())
    assert (record["outcome"], record["judged_again"]) == ("failed", oldest.info.run_id)
    # It stands so, and nothing new is written.
    assert study.go() == "the step 'first' failed: accuracy is 0.6, not at least 0.7."
    assert len(find_steps(study, "first")) == 2
    study.edit("study.py", 'step(first, at_least("accuracy", 0.7))', 'step(first, at_least("accuracy", THRESHOLD))')
    assert study.go() is None
    assert study.executed == []


def test_a_failed_check_ends_the_recipe(study: TinyStudy) -> None:
    failure = "accuracy is 0.4, not 0 above accuracy of 'first', 0.6"
    study.edit("study.py", "helper.scale(0.4)", "helper.scale(0.2)")
    assert study.go() == f"the step 'second' failed: {failure}."
    assert study.executed == ["first", "second"]
    assert study.states["second"] == ("failed", [failure])
    assert study.states["third"][0] == "not run"
    # Nothing has changed, and it would fail again.
    assert study.go() == f"the step 'second' failed: {failure}."
    assert study.executed == []
    study.edit("study.py", "helper.scale(0.2)", "helper.scale(0.4)")
    assert study.go() is None
    assert study.executed == ["second", "third"]


def test_bad_input_of_a_step_is_recorded_too(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study.edit("study.py", "import torch\n", "import torch\nfrom labkit.command import UsageError\n")
    study.edit("study.py", "RuntimeError", "UsageError")
    (study.project.path / "fail").touch()
    with pytest.raises(UsageError, match=r"^as asked for$"):
        study.go()
    standings = json.loads((study.project.made[-1].folder / "recipe.json").read_text())["steps"]
    assert [standing["state"] for standing in standings] == ["up to date", "failed", "not run"]
    assert study.recipe("--list") == 1
    assert capsys.readouterr().out.endswith(
        "2  second  failed       0/0 checks\n           as asked for\n3  third   not run\n"
    )


def test_a_step_is_said_to_run_while_it_does(study: TinyStudy) -> None:
    steps = 'json.loads(next(Path("runs").glob("*/recipe.json")).read_text())["steps"]'
    study.edit("study.py", "import sys\n", "import json\nimport sys\n")
    study.edit("study.py", 'return {"accuracy": 0.9}', f'return {{"accuracy": 0.9, "steps": {steps}}}')
    assert study.go() is None
    record = study.standings[2].record
    assert record is not None
    seen: Any = record.result.data["steps"]
    assert [step["state"] for step in seen] == ["up to date", "up to date", "running"]
    assert seen[2]["run_id"] == record.run_id


def test_what_another_recipe_has_finished_is_taken_over(study: TinyStudy) -> None:
    environment = study.project.environment
    assert study.go(step="first") is None
    history = History(environment, "tiny", "tiny")
    progress = Progress(study.load().recipe.plan(), history, DataCache(environment))
    elsewhere = replace(progress, history=History(environment, "tiny", "another experiment"))
    assert elsewhere.assess_next().state == "not run"
    first = progress.assess_next()
    assert first.state == "up to date"
    progress.advance(first)
    assert progress.assess_next().state == "not run"
    assert study.go() is None
    history.refresh()
    assert progress.assess_next().state == "up to date"


@pytest.mark.slow
def test_an_exception_is_the_failure_of_its_step(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    (study.project.path / "fail").touch()
    assert study.recipe() == 1
    assert study.executed == ["first", "second"]
    assert read_standings(study)["second"] == ("failed", ["RuntimeError: as asked for"])
    (run,) = find_steps(study, "second")
    assert run.data.tags[OUTCOME_TAG] == "error"
    assert read_artifact(study, run.info.run_id, "step.json")["error"] == "RuntimeError: as asked for"
    traceback = study.project.store.download_artifacts(run.info.run_id, "logs/traceback.txt")
    assert 'raise RuntimeError("as asked for")' in Path(traceback).read_text()
    assert "recipe: the step 'second' failed: RuntimeError: as asked for." in capsys.readouterr().err
    (study.project.path / "fail").unlink()
    assert study.go() is None
    assert study.executed == ["second", "third"]


def test_single_steps_are_chosen_and_forced(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.go(step="third") is None
    assert study.executed == ["third"]
    assert study.go() is None
    assert study.executed == ["first", "second", "third"]  # others are before it now
    assert study.go(step="second", force=True) is None
    assert study.executed == ["second"]
    assert study.go() is None
    assert study.executed == []  # the same came out
    assert study.go(start="second", force=True) is None
    assert study.executed == ["second", "third"]
    assert study.recipe("--from", "second") == 0
    assert study.recipe("--seed", "1") == 2
    assert capsys.readouterr().err.startswith("recipe: --seed is no option here: ")
    assert study.recipe("--step", "second", "--from", "second") == 2
    assert capsys.readouterr().err == (
        "recipe: --step is one step, and --from a step and those after it: give one of the two.\n"
    )
    assert study.recipe("--step", "unheard-of") == 2
    assert capsys.readouterr().err == "recipe: there is no step 'unheard-of', but 'first', 'second', 'third'.\n"


def test_two_steps_of_one_name_are_refused(study: TinyStudy) -> None:
    recipe = study.load().recipe
    with pytest.raises(ValueError, match=r"^two steps are called 'first': give one of them another name$"):
        type(recipe)("tiny", recipe.experiment, *recipe.steps, recipe.steps[0])


def test_steps_of_one_function_have_records_of_their_own(study: TinyStudy) -> None:
    study.edit(
        "study.py", "    step(third, ", '    step(third, at_least("accuracy", 0), name="other"),\n    step(third, '
    )
    assert study.go() is None
    assert study.executed == ["first", "second", "other", "third"]
    assert len(find_steps(study, "other")) == len(find_steps(study, "third")) == 1


@pytest.mark.slow
def test_an_interrupted_step_is_said_to_be_so_and_done_again(study: TinyStudy) -> None:
    (study.project.path / "wait").touch()
    process = start(study)
    await_execution(study, "second", process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 75, output
    states = {run.data.tags.get(STEP_TAG, "recipe"): run.data.tags["labkit.state"] for run in study.project.runs}
    assert states == {"recipe": "interrupted", "first": "finished", "second": "interrupted"}
    assert read_standings(study)["second"] == ("interrupted", ["it was interrupted"])
    assert OUTCOME_TAG not in find_steps(study, "second")[0].data.tags
    (study.project.path / "wait").unlink()
    assert study.executed == ["first", "second"]
    whole = next(run for run in study.project.runs if run.data.tags[ROLE_TAG] == "recipe")
    assert f"To go on: recipe --run-id {whole.info.run_id}" in output
    assert study.recipe("--run-id", whole.info.run_id) == 0
    assert study.executed == ["second", "third"]
    assert study.project.store.get_run(whole.info.run_id).data.tags["labkit.state"] == "finished"


def test_two_recipes_at_once_lose_nothing(study: TinyStudy) -> None:
    (study.project.path / "wait").touch()
    processes = [start(study), start(study)]
    await_execution(study, "second", *processes)
    (study.project.path / "wait").unlink()
    for process in processes:
        output = process.communicate()[0]
        assert process.returncode == 0, output
    executed = study.executed  # what one has finished when the other comes to it, that one takes over
    assert executed.count("second") == 2
    outcomes = {
        name: [run.data.tags[OUTCOME_TAG] for run in find_steps(study, name)] for name in ("first", "second", "third")
    }
    assert outcomes == {name: ["passed"] * executed.count(name) for name in outcomes}
    assert all(outcomes.values())
    assert study.recipe() == 0
    assert study.executed == []
