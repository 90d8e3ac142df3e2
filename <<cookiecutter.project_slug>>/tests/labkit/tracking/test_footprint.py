"""A run says which data it uses, and uses no others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.data.footprint import Footprint, identify_data, measure_footprint
from labkit.environment import Environment
from labkit.tracking.entry_point import EntryPoint, entry_point
from labkit.tracking.run import FOOTPRINT_TAG, Run, open_run
from labkit.tracking.sender import Sender
from tests.project import Project

OTHER = Footprint("0123456789abcdef" * 4, files=1, bytes=2)


@pytest.fixture
def data(project: Project) -> Path:
    """A folder of data."""
    folder = project.path / "data" / "cells"
    folder.mkdir(parents=True)
    (folder / "one.txt").write_text("1")
    (folder / "two.txt").write_text("2")
    return folder


@pytest.fixture
def trained() -> list[str]:
    """The identifiers of runs that have got as far as to train."""
    return []


@pytest.fixture
def train(data: Path, trained: list[str]) -> EntryPoint[...]:
    """An entry point that uses the data, unless it is careless."""

    @entry_point
    def train(run: Run, *, careless: bool = False) -> None:
        """Train.

        :param careless: Whether it does not look at its data.
        """
        if not careless:
            run.log_footprint(identify_data(data))
        trained.append(run.identifier)
        if len(trained) == 1:
            raise RuntimeError("interrupted")

    return train


@pytest.mark.slow
def test_the_footprint_of_the_data_is_an_artifact_and_its_root_a_tag(
    project: Project, train: EntryPoint[...], data: Path, trained: list[str], tmp_path: Path
) -> None:
    trained.append("before")
    footprint = measure_footprint(data)
    assert train.main([]) == 0
    assert project.run.data.tags[FOOTPRINT_TAG] == footprint.root
    artifact = project.store.download_artifacts(project.run.info.run_id, "footprint.json", str(tmp_path))
    assert json.loads(Path(artifact).read_bytes()) == {"root": footprint.root, "files": 2, "bytes": 2}


@pytest.mark.slow
def test_data_that_are_expected_are_used(train: EntryPoint[...], data: Path, trained: list[str]) -> None:
    trained.append("before")
    assert train.main(["--expect", measure_footprint(data).root[:8].upper()]) == 0
    assert len(trained) == 2


@pytest.mark.slow
def test_other_data_than_expected_are_refused_before_training(
    project: Project, train: EntryPoint[...], data: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--expect", "0123abcd"]) == 2
    assert trained == []
    root = measure_footprint(data).root
    sentence = f"train: the data have the root {root}, not 0123abcd as --expect says: these are other data.\n"
    assert sentence in capsys.readouterr().err
    assert project.run.data.tags["labkit.state"] == "failed"
    assert FOOTPRINT_TAG not in project.run.data.tags


def test_an_expectation_that_can_be_no_root_makes_no_run(
    project: Project, train: EntryPoint[...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--expect", "digits"]) == 2
    assert capsys.readouterr().err == "train: The root 'digits' is no hash: give 8 to 64 hexadecimal digits.\n"
    assert project.runs == []


@pytest.mark.slow
def test_an_expectation_that_nobody_looks_at_is_no_success(
    train: EntryPoint[...], trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    trained.append("before")
    assert train.main(["--careless", "--expect", "0123abcd"]) == 2
    assert (
        "train: --expect cannot be met, since `train` does not say which data it uses: let it call run.log_footprint "
        "first.\n"
    ) in capsys.readouterr().err


@pytest.mark.slow
def test_data_that_changed_between_an_interruption_and_its_continuation_are_refused(
    project: Project, train: EntryPoint[...], data: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = measure_footprint(data).root
    assert train.main([]) == 1
    identifier = project.run.info.run_id
    (data / "two.txt").write_text("3")
    assert train.main(["--run-id", identifier]) == 2
    assert "The data" in (errors := capsys.readouterr().err)
    assert "are not as recorded, 1 files differ (changed two.txt)" in errors

    # Even where somebody has said that they are meant to be so.
    after = identify_data_anew(data)
    assert train.main(["--run-id", identifier]) == 2
    assert trained == [identifier]
    assert (
        f"train: the data have the root {after}, and the run {identifier} used data with the root {before}: bring "
        "those back, or begin a new run.\n"
    ) in capsys.readouterr().err

    (data / "two.txt").write_text("2")
    identify_data_anew(data)
    assert train.main(["--run-id", identifier]) == 0
    assert trained == [identifier, identifier]


def identify_data_anew(data: Path) -> str:
    for record in (data / ".labkit").iterdir():
        record.unlink()
    return identify_data(data).root


def test_another_machine_knows_the_data_from_the_store(project: Project, run: Run, tmp_path: Path) -> None:
    run.log_footprint(OTHER)
    run.spool.close()
    assert Sender(run.folder, run.environment).send_all()
    elsewhere = Environment.read({"RUNS_PATH": str(tmp_path / "elsewhere")}, project.path)
    opened = open_run(elsewhere, run.identifier)
    assert opened.root == OTHER.root
    opened.check_footprint(OTHER)
    with pytest.raises(UsageError, match=rf"^the data have the root ffff, and the run {run.identifier} used data"):
        opened.check_footprint(replace(OTHER, root="ffff"))


def test_processes_that_help_check_their_data_and_record_nothing(run: Run) -> None:
    run.envelope = replace(run.envelope, expect=OTHER.root)
    run.environment = replace(run.environment, rank=1)
    run.log_footprint(OTHER)
    run.check_expectation()
    assert run.root is None
    with pytest.raises(UsageError, match="these are other data"):
        run.log_footprint(replace(OTHER, root="ffff"))
