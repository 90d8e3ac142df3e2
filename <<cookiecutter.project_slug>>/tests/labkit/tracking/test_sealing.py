"""What entry points do so that a run is, and stays, what it was sealed as."""

import json
import tarfile
from pathlib import Path

import pytest

from labkit.tracking.entry_point import EntryPoint, entry_point
from labkit.tracking.run import Run, open_run
from labkit.tracking.state import STATE_TAG
from tests.project import Project
from tests.repository import commit, write


@pytest.fixture
def repository(project: Project) -> Project:
    commit(project.path, {"code.py": "x = 1\n", ".gitignore": "/runs/\n/mlruns/\n/mlflow.db*\n"})
    return project


def make_train(*, fails: bool = False) -> EntryPoint[...]:
    """Make an entry point; a run that has failed can be continued."""

    @entry_point
    def train(run: Run, *, rate: float = 0.5, required: int) -> None:
        """Train.

        :param rate: A number.
        :param required: Another.
        """
        run.log_metrics({"train/loss": rate * required}, step=1)
        if fails:
            raise RuntimeError("as asked for")

    return train


def read_state(project: Project) -> str:
    """Return where the only run stands."""
    return project.run.data.tags[STATE_TAG]


def download(project: Project, run_id: str, name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return Path(project.store.download_artifacts(run_id, name, str(folder)))


def test_all_is_in_the_store_before_anything_executes(repository: Project, tmp_path: Path) -> None:
    head = commit(repository.path)
    write(repository.path, {"code.py": "x = 2\n", "new.py": ""})
    run = make_train().seal(["--required", "2"], repository.environment)
    assert read_state(repository) == "created"
    assert repository.run.data.tags["labkit.commit"] == head
    assert repository.run.data.tags["labkit.dirty"] == "true"
    with tarfile.open(download(repository, run.identifier, "source.tar.gz", tmp_path / "fetched")) as archive:
        content = archive.extractfile("code.py")
        assert content
        assert content.read() == b"x = 2\n"
        assert "new.py" in archive.getnames()
    assert b"+x = 2\n" in download(repository, run.identifier, "difference.patch", tmp_path / "fetched").read_bytes()
    surroundings = json.loads(
        download(repository, run.identifier, "environment.json", tmp_path / "fetched").read_text()
    )
    assert surroundings["command_line"] == ["train", "--required", "2"]
    reopened = open_run(repository.environment, run.identifier).envelope.source
    assert reopened == run.envelope.source
    assert reopened
    assert (reopened.commit, reopened.changed, reopened.untracked) == (head, ["code.py"], ["new.py"])


@pytest.mark.parametrize("way", ["changed", "untracked", "no repository"])
def test_a_dirty_tree_is_refused_if_so_asked(
    repository: Project,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    head = commit(repository.path)
    reason = f"the working tree differs from the commit {head[:8]} in 'code.py'"
    match way:
        case "changed":
            write(repository.path, {"code.py": "x = 2\n"})
        case "untracked":
            write(repository.path, {"new.py": ""})
            reason = reason.replace("code.py", "new.py")
        case _:
            (repository.path / ".git").rename(repository.path / ".history")
            reason = "the project is in no git repository"
    assert make_train().main(["--required", "2", "--on-dirty", "refuse"]) == 2
    assert capsys.readouterr().err == f"train: {reason}: commit first, or leave out --on-dirty refuse.\n"
    assert repository.runs == []


def test_a_clean_tree_is_not_refused(repository: Project) -> None:
    make_train().seal(["--required", "2", "--on-dirty", "refuse"], repository.environment)
    assert repository.run.data.tags["labkit.dirty"] == "false"


def test_what_is_too_large_to_be_kept_is_said(repository: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (repository.path / "weights.bin").write_bytes(bytes(11 * 2**20))
    make_train().seal(["--required", "2"], repository.environment)
    assert capsys.readouterr().err.startswith("train: The run's own copy of the code lacks 'weights.bin' (11.0 MiB): ")


@pytest.mark.slow
def test_a_finished_run_is_not_continued(repository: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_train().main(["--required", "2"]) == 0
    run_id = repository.run.info.run_id
    # The store need not have heard of it: what this machine knows is enough, and the other way round.
    repository.store.set_tag(run_id, STATE_TAG, "running")
    capsys.readouterr()
    assert make_train().main(["--run-id", run_id]) == 2
    assert capsys.readouterr().err == (
        f"train: the run {run_id} has finished: `reproduce-run {run_id}` does the same again, "
        "and `train` without --run-id something new.\n"
    )
    repository.store.set_tag(run_id, STATE_TAG, "finished")
    (repository.path / "runs" / run_id / "spool.jsonl").unlink()
    assert make_train().main(["--run-id", run_id]) == 2


@pytest.mark.slow
def test_a_needed_argument_need_not_be_given_again(repository: Project, capsys: pytest.CaptureFixture[str]) -> None:
    train = make_train()
    assert train.main([]) == 2
    assert "required" in capsys.readouterr().err
    run = train.seal(["--required", "4"], repository.environment)
    assert train.main(["--run-id", run.identifier]) == 0
    assert repository.run.data.metrics == {"train/loss": 2.0}


def test_an_argument_that_the_code_no_longer_has_is_refused(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_train().seal(["--required", "4"], repository.environment)

    @entry_point
    def train(run: Run, *, required: int = 1) -> None:
        """Train.

        :param required: A number.
        """
        raise AssertionError(run, required)

    assert train.main(["--run-id", run.identifier]) == 2
    assert capsys.readouterr().err == (
        f"train: the run {run.identifier} has --rate, which is no longer there: "
        f"`local-launch {run.identifier}` continues it with its own code.\n"
    )
    assert read_state(repository) == "created"


@pytest.mark.slow
def test_an_argument_that_is_new_takes_its_default_and_one_without_is_refused(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_train().seal(["--required", "4"], repository.environment)

    @entry_point
    def train(run: Run, *, rate: float, required: int, depth: int) -> None:
        """Train.

        :param rate: A number.
        :param required: A number.
        :param depth: A number.
        """
        raise AssertionError(run, rate, required, depth)

    assert train.main(["--run-id", run.identifier]) == 2
    assert capsys.readouterr().err.startswith(
        f"train: the run {run.identifier} has no --depth, which is needed by now: `local-launch "
    )
    executed: list[int] = []

    @entry_point
    def newer(run: Run, *, rate: float, required: int, depth: int = 3) -> None:
        """Train.

        :param rate: A number.
        :param required: A number.
        :param depth: A number.
        """
        assert (run.seed, rate, required) == (run.seed, 0.5, 4)
        executed.append(depth)

    newer.function.__name__ = "train"
    assert newer.main(["--run-id", run.identifier]) == 0
    assert executed == [3]
    assert f"--depth is newer than the run {run.identifier}: it is 3.\n" in capsys.readouterr().err


@pytest.mark.slow
def test_other_code_than_the_run_was_sealed_with_is_kept_beside_it(
    repository: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert make_train(fails=True).main(["--required", "2"]) == 1
    run_id = repository.run.info.run_id
    sealed = repository.run.data.tags["labkit.source"]
    assert make_train(fails=True).main(["--run-id", run_id]) == 1
    assert "labkit.other_source" not in repository.run.data.tags
    assert "not what the run was sealed with" not in capsys.readouterr().err

    write(repository.path, {"code.py": "x = 666\n"})
    assert make_train().main(["--run-id", run_id]) == 0
    assert "The code is not what the run was sealed with: it goes on with this code, kept as source-1.tar.gz. " in (
        capsys.readouterr().err
    )
    tags = repository.run.data.tags
    assert tags["labkit.source"] == sealed != tags["labkit.other_source"]
    with tarfile.open(download(repository, run_id, "source-1.tar.gz", tmp_path / "fetched")) as archive:
        content = archive.extractfile("code.py")
        assert content
        assert content.read() == b"x = 666\n"
    assert b"+x = 666\n" in download(repository, run_id, "difference-1.patch", tmp_path / "fetched").read_bytes()


@pytest.mark.slow
def test_surroundings_that_have_changed_are_kept_for_each_attempt(
    repository: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert make_train(fails=True).main(["--required", "2"]) == 1
    run_id = repository.run.info.run_id
    first = (repository.path / "runs" / run_id / "environment.json").read_text()
    assert make_train(fails=True).main(["--run-id", run_id]) == 1
    assert (repository.path / "runs" / run_id / "environment.json").read_text() == first
    monkeypatch.setenv("TRAINING_IMAGE", "another@sha256:1")
    assert make_train().main(["--run-id", run_id]) == 0
    latest = json.loads(download(repository, run_id, "environment.json", tmp_path / "fetched").read_text())
    assert latest["image"] == "another@sha256:1"
    assert latest["command_line"] == ["train", "--run-id", run_id]
    assert download(repository, run_id, "environment-1.json", tmp_path / "fetched").read_text() == first
