import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.arguments import write_value
from labkit.launch.launcher import Request
from labkit.launch.local import local_launch
from labkit.launch.opening import execute
from labkit.launch.project import read_command
from labkit.tracking.run import Run, open_run
from labkit.tracking.state import STATE_TAG
from tests.project import ROOT, Project
from tests.repository import write
from tests.tiny_study import seal

LAUNCH = ("-m", "labkit.launch.local")
SECONDS_TO_START = 60.0


def read_marker(run: Run) -> list[str]:
    """Return what a run said: the folder of its code, its factor, rate, secret and label."""
    return (run.folder / "executed").read_text().split("\n", maxsplit=4)


def start(project: Project, run: Run, *words: str) -> subprocess.Popen[str]:
    """Start Python in the project's folder, and wait until the run's own code is being executed."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while not (run.folder / "executed").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_sealed_run_waits_to_be_executed(study: Project) -> None:
    run = seal(study.environment, "rate=2,seed=7", run_name="mine")
    assert study.run.info.run_id == run.identifier
    assert study.run.info.status == "SCHEDULED"
    assert study.run.data.tags[STATE_TAG] == "created"
    assert study.run.data.params["rate"] == "2.0"
    assert (run.name, run.seed, run.envelope.entry_point) == ("mine", 7, "train")
    artifacts = {artifact.path for artifact in study.store.list_artifacts(run.identifier)}
    assert artifacts == {"envelope.json", "environment.json", "source.tar.gz"}
    assert not (run.folder / "executed").exists()


@pytest.mark.slow
def test_what_is_edited_after_sealing_changes_nothing(study: Project) -> None:
    run = seal(study.environment, "rate=2")
    write(study.path, {"tiny/model.py": "FACTOR = 666.0\n", "MLproject": "name: nothing\n"})
    (study.path / "tiny" / "train.py").unlink()
    # As where the project is installed in the environment, in its present state.
    done = study.execute(*LAUNCH, run.identifier, PYTHONPATH=f"{study.path}:{ROOT}")
    assert done.returncode == 0, done.stderr
    assert read_marker(run)[:3] == [str(run.folder / "source"), "10.0", "2.0"]
    assert study.run.info.status == "FINISHED"
    assert study.read_metric(run.identifier, "train/loss")[0] == (1, 20.0 + run.seed)


@pytest.mark.slow
def test_a_run_can_be_sealed_and_executed_at_once(study: Project) -> None:
    label = "a 'b' \"c\" $(touch evil) `d`; -e --f\nü"
    arguments = f"rate=3,api-key=canary-4f0c12aa,label={write_value(label)},steps=1"
    done = study.execute(*LAUNCH, "--entry-point", "train", "--arguments", arguments)
    assert done.returncode == 0, done.stderr
    run = open_run(study.environment, study.run.info.run_id)
    assert done.stdout.startswith(f"run         {run.identifier} (")
    assert read_marker(run) == [str(run.folder / "source"), "10.0", "3.0", "canary-4f0c12aa", label]
    assert not list(study.path.rglob("evil"))


@pytest.mark.slow
def test_a_run_that_was_sealed_can_also_be_started_by_its_entry_point(study: Project) -> None:
    run = seal(study.environment)
    done = study.execute("-m", "tiny.train", "--run-id", run.identifier)
    assert done.returncode == 0, done.stderr
    assert read_marker(run)[0] == str(study.path)
    assert study.run.info.status == "FINISHED"


@pytest.mark.slow
def test_the_exit_code_is_that_of_the_entry_point(study: Project) -> None:
    done = study.execute(*LAUNCH, "--entry-point", "train", "--arguments", "label=fail")
    assert done.returncode == 1
    assert "RuntimeError: as asked for" in done.stderr
    assert study.run.info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_interrupts_the_run_which_then_goes_on(study: Project, number: signal.Signals) -> None:
    run = seal(study.environment, "seconds=600")
    process = start(study, run, *LAUNCH, run.identifier)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert errors.endswith(f"\nInterrupted. To go on: local-launch {run.identifier}\n")
    assert study.run.data.tags[STATE_TAG] == "interrupted"
    write(study.path, {"tiny/model.py": "FACTOR = 666.0\n"})
    done = study.execute(*LAUNCH, run.identifier)
    assert done.returncode == 0, done.stderr
    assert read_marker(run)[1] == "10.0"
    assert study.run.data.tags[STATE_TAG] == "finished"


@pytest.mark.slow
def test_signals_are_passed_on_to_a_run_in_another_process(study: Project) -> None:
    run = seal(study.environment, "seconds=600")
    code = f"""
import sys
from labkit.environment import Environment
from labkit.launch.opening import execute
from labkit.tracking.run import open_run
sys.exit(execute(open_run(Environment.read(), {run.identifier!r})))
"""
    process = start(study, run, "-c", code)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert study.run.data.tags[STATE_TAG] == "killed"


@pytest.mark.slow
def test_paths_of_the_caller_hold_in_the_folder_of_the_code(
    study: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").rename(tmp_path / "other.db")
    monkeypatch.chdir(study.path / "tiny")
    variables = {"MLFLOW_TRACKING_URI": "sqlite:///../other.db", "RUNS_PATH": "../elsewhere"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run = seal(Environment.read())
    assert execute(run) == 0
    assert run.folder == study.path / "tiny" / ".." / "elsewhere" / run.identifier
    assert Path(read_marker(run)[0]).samefile(run.folder / "source")
    assert open_run(Environment.read(), run.identifier).has_finished
    assert not (study.path / "mlflow.db").exists()


def test_a_finished_run_is_refused(study: Project) -> None:
    run = seal(study.environment)
    study.store.set_tag(run.identifier, STATE_TAG, "finished")
    with pytest.raises(UsageError, match=rf"^the run {run.identifier} has finished: `reproduce-run {run.identifier}` "):
        local_launch(Request(options={}, run_id=run.identifier))
    assert not (run.folder / "source").exists()


@pytest.mark.slow
def test_code_that_was_tampered_with_is_refused(study: Project) -> None:
    run = seal(study.environment)
    archive = run.folder / "source.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(UsageError, match=r"source\.tar\.gz is damaged .*: delete it to fetch it from the store\.$"):
        local_launch(Request(options={}, run_id=run.identifier))
    archive.unlink()
    assert execute(run) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say what to run: give --entry-point, --session or --run-id."),
        (["nothing"], "there is no run 'nothing' in "),
        (
            ["x", "--entry-point", "train"],
            "--run-id names what is sealed already: leave out --entry-point.",
        ),
        (["--entry-point", "test"], "there is no entry point 'test' in "),
        (["--entry-point", "absent"], "there is no module 'tiny.absent' in "),
        (["--entry-point", "helper"], "the module 'tiny.model' has no entry point 'helper': mark the function with "),
        (["--entry-point", "script"], "the entry point 'script' in "),
        (["--entry-point", "train", "--arguments", "rtae=1"], "there is no option --rtae: did you mean --rate? "),
        (["--entry-point", "train", "--arguments", "rate=x"], "--rate takes a number, not 'x'."),
        (
            ["--entry-point", "train", "--arguments", "label='a"],
            '--arguments is "label=\'a": a quote does not end, or ',
        ),
        (["--entry-point", "train", "--arguments", "run-id=1"], "there is no option --run-id: "),
        (
            ["--entry-point", "train", "--arguments", "seed=-1"],
            "--seed is -1: it takes a number from 0 to 4294967295",
        ),
    ],
)
def test_what_cannot_be_launched_is_refused_in_a_sentence(
    study: Project, capfd: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert local_launch.main(words) == 2
    assert capfd.readouterr().err.startswith(f"local-launch: {sentence}")
    assert study.runs == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file .*MLproject: call this in a project's folder"),
        ("", "does not list entry points with their commands"),
        ("entry_points: [train]", "does not list entry points with their commands"),
        ("entry_points: {train: {}}", "does not list entry points with their commands: 'command'"),
        ('entry_points: {train: {command: "\'"}}', "does not list entry points with their commands: No closing"),
        ("{", "MLproject, line 1 is no YAML: "),
        ("name: x", "there is no entry point 'train' in .*MLproject, but none"),
    ],
)
def test_a_project_without_entry_points_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "MLproject").write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read_command(tmp_path, "train")


@pytest.mark.parametrize("command", ["labkit.launch.local", "labkit.report.reproduction"])
def test_help_answers_without_heavy_imports(project: Project, command: str) -> None:
    code = f"""
import contextlib, importlib, sys
module = importlib.import_module({command!r})
with contextlib.suppress(SystemExit):
    getattr(module, "local_launch" if "local" in module.__name__ else "reproduce_run").main(["--help"])
print(sorted({{"torch", "lightning", "mlflow", "rich"}} & sys.modules.keys()))
"""
    done = project.execute("-c", code)
    assert done.stdout.startswith("usage: "), done.stderr
    assert done.stdout.endswith("\n[]\n")


def test_launching_needs_no_torch(study: Project) -> None:
    code = """
import sys
from labkit.environment import Environment
from labkit.launch.opening import prepare
from tests.tiny_study import seal
prepare(seal(Environment.read()))
print(sorted({"torch", "lightning"} & sys.modules.keys()))
"""
    done = study.execute("-c", code)
    assert done.stdout == "[]\n", done.stderr
