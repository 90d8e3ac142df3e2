import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.command import UsageError
from labkit.launch.launcher import Request, read_request
from labkit.launch.local import local_launch
from labkit.launch.sealing import Sealed, reopen, seal
from labkit.launch.standing import Standing, read_standings
from labkit.launch.trial import SealedSession, begin
from labkit.launch.unit import Unit
from labkit.tracking.run import Run, open_run
from labkit.tracking.state import STATE_TAG, State
from tests.project import Project
from tests.repository import commit, git, write


def seal_session(study: Project, **options: Any) -> Sealed:
    return seal(read_request({"entry_point": "descend", **options}), study.environment)


def open_session(study: Project, sealed: Sealed) -> SealedSession:
    return SealedSession(open_run(study.environment, sealed.identifier))


def read_code(run: Run, name: str) -> str:
    from labkit.launch.opening import unpack

    return (unpack(run) / name).read_text()


def test_a_session_is_sealed_once(study: Project) -> None:
    sealed = seal_session(study, argument_sets="rate=0.1,0.2,steps=1,2", repeat=2, run_name="rates", note="why")
    assert study.run.info.run_id == sealed.identifier
    assert study.run.info.run_name == "rates"
    assert study.run.data.tags[STATE_TAG] == "created"
    assert study.run.data.tags["mlflow.note.content"] == "why"
    artifacts = {artifact.path for artifact in study.store.list_artifacts(sealed.identifier)}
    assert artifacts == {"envelope.json", "environment.json", "manifest.jsonl", "session.json", "source.tar.gz"}
    trials = list(open_session(study, sealed).read_trials())
    assert [(trial.arguments["rate"], trial.arguments["steps"], trial.repetition) for trial in trials] == [
        (rate, steps, repetition) for rate in (0.1, 0.2) for steps in (1, 2) for repetition in (0, 1)
    ]
    assert len({trial.seed for trial in trials}) == 2
    assert sealed.units == [Unit(sealed.identifier, index) for index in range(8)]


def test_a_seed_of_zero_is_a_seed(study: Project) -> None:
    sealed = seal_session(study, arguments="seed=0", argument_sets="rate=0.1,0.2")
    assert [trial.seed for trial in open_session(study, sealed).read_trials()] == [0, 0]


def test_a_trial_becomes_a_run_once(study: Project) -> None:
    session = open_session(study, seal_session(study, argument_sets="rate=0.1,0.2"))
    run = begin(session, 1)
    assert run.arguments == {"rate": 0.2, "steps": 3, "seconds": 0.0, "label": ""}
    tags = study.store.get_run(run.identifier).data.tags
    assert tags["mlflow.parentRunId"] == tags["labkit.session"] == session.identifier
    assert tags["labkit.trial"] == f"{session.identifier}/1"
    assert begin(session, 1).identifier == run.identifier
    # Elsewhere nothing is known of it but what the store has.
    (session.folder / "trials" / "1").unlink()
    assert begin(session, 1).identifier == run.identifier
    assert len(study.runs) == 2
    assert run.source_archive() == session.folder / "source.tar.gz"


@pytest.mark.slow
def test_two_processes_that_begin_a_trial_at_once_make_one_run(study: Project) -> None:
    session = open_session(study, seal_session(study, argument_sets="rate=0.1,0.2"))
    code = """
import sys
from labkit.environment import Environment
from labkit.launch.trial import SealedSession, begin
from labkit.tracking.run import open_run
print(begin(SealedSession(open_run(Environment.read(), sys.argv[1])), 0).identifier)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, session.identifier], cwd=study.path, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert printed[0] == printed[1] != b""
    assert len(study.runs) == 2


def test_a_trial_that_is_not_there_is_refused(study: Project, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = seal_session(study, argument_sets="rate=0.1,0.2")
    assert local_launch.main([f"{sealed.identifier}/2"]) == 2
    assert capsys.readouterr().err == (
        f"local-launch: the session {sealed.identifier} has trials 0 to 1, and none with the number 2.\n"
    )


def test_what_has_ended_is_not_executed_again_unless_so_asked(study: Project) -> None:
    sealed = seal_session(study, argument_sets="rate=0.1,0.2,0.3,0.4")
    session = open_session(study, sealed)
    for index, state in enumerate(("finished", "failed", "interrupted")):
        study.store.set_tag(begin(session, index).identifier, STATE_TAG, state)
    assert [standing.state for standing in read_standings(session)] == ["finished", "failed", "interrupted", None]
    again = Request(options={}, run_id=sealed.identifier)
    assert reopen(again, study.environment).trials == (2, 3)
    retried = Request(options={}, run_id=sealed.identifier, retry=True)
    assert reopen(retried, study.environment).trials == (1, 2, 3)


@pytest.mark.parametrize(
    ("state", "is_pruned", "left"),
    [(State.FINISHED, False, False), (State.KILLED, True, False), (State.KILLED, False, True), (None, False, True)],
)
def test_what_was_ended_early_is_not_left(state: State | None, *, is_pruned: bool, left: bool) -> None:
    assert Standing(index=0, state=state, is_pruned=is_pruned).is_left(retry=True) is left


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--argument-sets", "rate=0.1,x"], "--rate takes a number, not 'x'."),
        (["--argument-sets", "rtae=0.1,0.2"], "there is no option --rtae: did you mean --rate? "),
        (["--arguments", "rate=1", "--argument-sets", "rate=1,2"], "'rate' stands both in --arguments and in "),
        (["--search", "bayesian", "--trials", "3", "--minimise", "validation/loss"], "there is nothing to search: "),
        (["--arguments", "rate=1", "--maximise", "test/loss"], "maximise: 'test/loss' is measured on the test data, "),
        (["--retry"], "--retry goes with the --run-id of a session."),
        (["--version", "nothing"], "there is no version 'nothing' in the repository of "),
        (["--version=--upload-pack=evil"], "there is no version '--upload-pack=evil' in the repository of "),
    ],
)
def test_what_is_wrong_is_refused_before_there_is_anything(
    study: Project, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert local_launch.main(["--entry-point", "descend", *words]) == 2
    assert capsys.readouterr().err.startswith(f"local-launch: {sentence}")
    assert study.runs == []
    assert not (study.path / "runs").exists()


def test_a_session_records_no_secrets_and_so_takes_none(study: Project) -> None:
    with pytest.raises(UsageError, match=r"^the arguments have a secret, 'api_key', which no session records: "):
        seal_session(study, entry_point="train", argument_sets="rate=1,2", arguments="api-key=canary-4f0c12aa")
    assert study.runs == []


def test_a_secret_of_a_run_goes_to_no_other_machine(study: Project) -> None:
    sealed = seal_session(study, entry_point="train", arguments="api-key=canary-4f0c12aa")
    assert sealed.secrets == {"api_key": "canary-4f0c12aa"}
    assert "canary" not in repr(sealed)
    with pytest.raises(
        UsageError, match=r"^--arguments has a secret, 'api_key', which nobody but this machine may see"
    ):
        sealed.require_no_secrets()
    again = reopen(
        read_request({"run_id": sealed.identifier, "arguments": "api-key=canary-4f0c12aa"}), study.environment
    )
    assert again.secrets == sealed.secrets


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"arguments": "rate=1"}, "the session {} has its own arguments: leave out --arguments."),
        ({"memory": "16GB"}, "resources.memory is '16GB': string should match pattern"),
    ],
)
def test_what_cannot_be_said_of_a_sealed_session_is_refused(
    study: Project, words: dict[str, str], sentence: str
) -> None:
    sealed = seal_session(study, argument_sets="rate=0.1,0.2")
    with pytest.raises(UsageError) as error:
        reopen(read_request({"run_id": sealed.identifier, **words}), study.environment)
    assert str(error.value).startswith(sentence.format(sealed.identifier))


def test_the_code_of_another_version_is_sealed(study: Project) -> None:
    git(study.path, "tag", "first")
    commit(study.path, {"tiny/model.py": "FACTOR = 20.0\n"})
    write(study.path, {"tiny/model.py": "FACTOR = 30.0\n"})
    before = git(study.path, "status", "--porcelain"), git(study.path, "worktree", "list")
    sealed = seal_session(study, entry_point="train", version="first")
    run = open_run(study.environment, sealed.identifier)
    assert read_code(run, "tiny/model.py") == "FACTOR = 10.0\n"
    assert run.envelope.source
    assert (run.envelope.source.commit, run.envelope.source.is_dirty) == (git(study.path, "rev-parse", "first"), False)
    assert study.run.data.tags["labkit.version"] == "first"
    assert (git(study.path, "status", "--porcelain"), git(study.path, "worktree", "list")) == before


def test_a_dry_run_shows_no_secret_whatever_it_is_called(
    study: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-key")
    assert local_launch.main(["--entry-point", "train", "--arguments", "label=canary-of-a-key", "--dry-run"]) == 0
    assert "label='[secret]',seconds" in capsys.readouterr().out
    assert study.runs == []


def test_a_dry_run_prints_what_would_be_sent_and_leaves_nothing(
    study: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--entry-point", "descend", "--arguments", "seed=7,label='a, b'", "--argument-sets", "rate=0.1,0.2"]
    assert local_launch.main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "experiment  tiny",
        "ID/0        descend seed=7,rate=0.1,steps=3,seconds=0.0,label='a, b'",
        "ID/1        descend seed=7,rate=0.2,steps=3,seconds=0.0,label='a, b'",
    ]
    assert study.runs == []


def test_a_session_is_read_from_a_file(study: Project) -> None:
    path = study.path / "session.yaml"
    path.write_text("entry-point: descend\narguments: {rate_: [1, 2], steps: 5}\nexperiment-name: other\n")
    sealed = seal(read_request({"session": path, "arguments": "steps=6"}), study.environment)
    trials = list(open_session(study, sealed).read_trials())
    assert [(trial.arguments["rate"], trial.arguments["steps"]) for trial in trials] == [(1.0, 6), (2.0, 6)]
    assert sealed.experiment_name == "other"


def test_a_faulty_file_of_a_session_exits_with_2_and_leaves_nothing(
    study: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study.path / "session.yaml"
    path.write_text("entry-point: descend\nreapet: 5\n")
    assert local_launch.main(["--session", str(path)]) == 2
    assert capsys.readouterr().err == f"local-launch: {path}: there is no key 'reapet'.\n"
    assert study.runs == []


def test_the_manifest_is_one_line_a_trial(study: Project, tmp_path: Path) -> None:
    sealed = seal_session(study, argument_sets="rate=0.1,0.2")
    path = Path(study.store.download_artifacts(sealed.identifier, "manifest.jsonl", str(tmp_path)))
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1]


def test_launching_a_session_needs_no_torch(study: Project) -> None:
    code = """
import sys
from labkit.launch.local import local_launch
local_launch.main(["--entry-point", "descend", "--argument-sets", "rate=0.1,0.2", "--dry-run"])
print(sorted({"torch", "lightning", "mlflow", "optuna"} & sys.modules.keys()))
"""
    done = study.execute("-c", code)
    assert done.stdout.endswith("\n[]\n"), done.stderr
