"""Processes side by side; a small program stands for what opens a run."""

import os
import signal
from pathlib import Path

import pytest

from labkit.launch.parallel import execute_units
from labkit.launch.unit import Unit

PROGRAM = """
import os, signal, sys, time
word = sys.argv[1].partition("/")[2]
print("unit", word, flush=True)
match word:
    case "1":
        sys.exit(3)
    case "2":
        os.kill(os.getpid(), signal.SIGTERM)
    case "3":
        os.kill(os.getpid(), signal.SIGKILL)
    case "7" | "8":
        time.sleep(20)
"""


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    package = tmp_path / "labkit" / "launch"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "local.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)  # where Python looks first for what -m names
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_units_are_executed_past_those_that_fail(tmp_path: Path, variables: dict[str, str]) -> None:
    units = [Unit("session", index) for index in range(5)]
    codes: dict[Unit, int] = {}
    number = execute_units(units, 2, lambda unit: tmp_path / f"{unit.index}.txt", codes.__setitem__, variables)
    assert number is None
    assert [codes[unit] for unit in units] == [0, 3, 75, 137, 0]
    assert [(tmp_path / f"{index}.txt").read_text() for index in range(5)] == [f"unit {index}\n" for index in range(5)]


def test_a_signal_reaches_what_is_being_started_and_nothing_more_is(tmp_path: Path, variables: dict[str, str]) -> None:
    def log(unit: Unit) -> Path:
        if unit.index == 8:
            os.kill(os.getpid(), signal.SIGUSR1)
        return tmp_path / "log.txt"

    codes: list[tuple[int | None, int]] = []
    units = [Unit("session", index) for index in (7, 8, 9)]
    number = execute_units(units, 2, log, lambda unit, code: codes.append((unit.index, code)), variables)
    assert number == signal.SIGUSR1
    assert sorted(codes, key=lambda pair: pair[0] or 0) == [(7, 75), (8, 75)]
