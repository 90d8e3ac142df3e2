"""The process that creates a run and then sends its records, while the one that asks imports."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.command import UnavailableError, UsageError
from labkit.tracking import registration
from labkit.tracking.registration import Request, import_ahead, register
from labkit.tracking.state import STATE_TAG
from tests.project import Project

REQUEST = Request(words=("train", "--rate", "1"), arguments={"rate": 1}, seed=3, experiment_name="study")


def do_nothing() -> None:
    pass


def test_what_a_function_imports_is_there_before_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needed.py").touch()
    (tmp_path / "needed_too.py").touch()
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)

    def function() -> None:
        import broken  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
        import needed  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
        from needed_too import nothing  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401

    import_ahead(function)

    assert {"needed", "needed_too"} < sys.modules.keys()
    assert "broken" not in sys.modules


def test_of_a_function_that_is_in_no_file_nothing_is_imported() -> None:
    names: dict[str, Any] = {"__name__": "typed"}
    exec("def function():\n    import needed_never\n", names)  # noqa: S102
    import_ahead(names["function"])
    assert "needed_never" not in sys.modules


def test_a_run_whose_asker_is_gone_before_it_begins_is_killed(project: Project) -> None:
    run, gaps = register(REQUEST, project.environment, do_nothing)
    assert (run.arguments, run.seed, run.experiment_name) == ({"rate": 1}, 3, "study")
    assert gaps is None
    assert project.store.get_run(run.identifier).data.tags[STATE_TAG] == "created"
    assert run.sender is not None
    assert run.sender.stdin is not None

    run.sender.stdin.close()

    assert run.sender.wait(60) == 0
    assert project.store.get_run(run.identifier).data.tags[STATE_TAG] == "killed"


def test_a_ctrl_c_meanwhile_ends_it_without_a_word(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registration, "import_ahead", interrupt)
    with pytest.raises(KeyboardInterrupt):
        register(REQUEST, project.environment, do_nothing)
    assert project.run.data.tags[STATE_TAG] == "killed"
    assert capfd.readouterr() == ("", "")


def test_what_is_refused_there_is_refused_here(project: Project) -> None:
    with pytest.raises(UsageError, match=r"^the project is in no git repository: commit first, or leave out "):
        register(replace(REQUEST, refuses_changes=True), project.environment, do_nothing)
    assert project.runs == []


def test_without_an_answer_there_is_no_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    popen: Any = subprocess.Popen

    def start(*arguments: Any, **named: Any) -> Any:
        started.append(popen(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(registration, "import_ahead", lambda _: started[0].kill())
    with pytest.raises(UnavailableError, match=r"^the run could not be created, for the reason above\.$"):
        register(REQUEST, project.environment, do_nothing)
