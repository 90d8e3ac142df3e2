"""Sessions on this machine, from their beginning to their table."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.launch.launcher import read_request
from labkit.launch.overview import collect, show_ranking
from labkit.launch.sealing import seal
from labkit.tracking.spool import read_history
from labkit.tracking.state import STATE_TAG
from tests.project import ROOT, Project

LAUNCH = ("-m", "labkit.launch.local")
SECONDS_TO_START = 120.0
pytestmark = pytest.mark.slow


def read_results(study: Project) -> list[dict[str, str]]:
    """Return the lines of the only session's table."""
    (path,) = (study.path / "runs").glob("*/results.csv")
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def find_session(study: Project) -> Path:
    """Return the only session's folder."""
    (path,) = (study.path / "runs").glob("*/session.json")
    return path.parent


def test_a_session_goes_on_past_a_failure_and_ends_with_a_table(study: Project) -> None:
    path = study.path / "session.yaml"
    path.write_text(
        "entry-point: descend\n"
        "arguments_: [{label: fail}, {label: nan}, {rate_: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}]\n"
        "minimise: validation/loss\n"
        "parallel: 2\n"
    )
    done = study.execute(*LAUNCH, "--session", str(path))
    assert done.returncode == 1, done.stderr
    assert re.search(r"^trial 0 +ended with exit code 1: RuntimeError: as asked for$", done.stdout, re.MULTILINE)
    results = read_results(study)
    assert [line["rank"] for line in results] == ["1", "2", "3", "4", "5", "6", "", ""]
    assert results[0]["rate"] == "0.5"
    assert float(results[0]["validation/loss"]) == 0.0
    assert [line["state"] for line in results] == [*["finished"] * 6, "failed", "finished"]
    assert len(study.runs) == 9
    for line in results[:6]:  # two at a time, and each has its own log
        log = Path(study.store.download_artifacts(line["run"], "logs/attempt-1.txt")).read_text()
        assert re.findall(r"step (\d) at rate (.*)", log) == [(step, line["rate"]) for step in "123"]

    session = find_session(study).name
    nothing = study.execute(*LAUNCH, session)
    assert "0 of 8 to be executed" in nothing.stdout
    assert nothing.returncode == 1
    again = study.execute(*LAUNCH, session, "--retry")
    assert "1 of 8 to be executed" in again.stdout
    assert len(study.runs) == 9
    attempts = [len(list((study.path / "runs" / line["run"] / "logs").glob("attempt-*"))) for line in results]
    assert sorted(attempts) == [1, 1, 1, 1, 1, 1, 1, 2]


def test_a_session_that_is_killed_goes_on_where_it_was(study: Project) -> None:
    words = ("--entry-point", "descend", "--arguments", "seconds=0.5,steps=12", "--argument-sets", "rate=0.1,0.2")
    process = subprocess.Popen(
        [sys.executable, *LAUNCH, *words, "--repeat", "2", "--parallel", "2", "--minimise", "validation/loss"],
        cwd=study.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while len(list((study.path / "runs").glob("*/spool.jsonl"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = study.execute(*LAUNCH, find_session(study).name, "--parallel", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_results(study)
    assert [line["state"] for line in results] == ["finished"] * 4
    assert len(study.runs) == 5
    for line in results:
        steps, _ = read_history(study.path / "runs" / line["run"] / "spool.jsonl")["validation/loss"]
        assert steps == list(range(1, 13))
    assert {run.info.status for run in study.runs} == {"FINISHED"}

    session = find_session(study).name[:8]
    table = study.execute("-m", "labkit.report.comparison", "validation/loss", "--session", session).stdout
    assert re.findall(r"^\| +\d \| (0\.\d) +\| +(\d) \|", table, re.MULTILINE) == [("0.1", "2"), ("0.2", "2")]
    assert "| no claim: 2 seeds, and it takes 3 |" in table


def test_what_is_hopeless_is_ended_early(study: Project) -> None:
    path = study.path / "session.yaml"
    path.write_text(
        "entry-point: descend\n"
        "arguments_: [{rate_: [0.3, 0.35, 0.4, 0.45, 0.5], steps: 60}, {rate: 0.01, steps: 60, seconds: 2}]\n"
        "minimise: validation/loss\nprune: true\n"
    )
    done = study.execute(*LAUNCH, "--session", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_results(study)
    assert [line["state"] for line in results] == [*["finished"] * 5, "pruned"]
    steps, _ = read_history(study.path / "runs" / results[-1]["run"] / "spool.jsonl")["validation/loss"]
    assert 1 <= len(steps) < 60
    again = study.execute(*LAUNCH, find_session(study).name)
    assert "0 of 6 to be executed" in again.stdout
    assert again.returncode == 0


def test_a_search_chooses_each_trial_when_it_starts(study: Project) -> None:
    path = study.path / "session.yaml"
    path.write_text(
        "entry-point: descend\n"
        "arguments: {rate_: {least: 0.01, most: 0.5}, steps_: [2, 3]}\n"
        "search: bayesian\ntrials: 4\nminimise: validation/loss\nparallel: 2\n"
    )
    done = study.execute(*LAUNCH, "--session", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_results(study)
    rates = [float(line["rate"]) for line in results]
    assert len(set(rates)) == 4
    assert all(0.01 <= rate <= 0.5 for rate in rates)
    assert [line["state"] for line in results] == ["finished"] * 4
    assert len(study.runs) == 5


def test_the_last_trial_to_end_ranks_them_all_wherever_each_was(study: Project) -> None:
    request = read_request({"entry_point": "descend", "argument_sets": "rate=0.1,0.3", "minimise": "validation/loss"})
    session = seal(request, study.environment).identifier
    for index, state in ((1, "running"), (0, "finished")):
        done = study.execute(*LAUNCH, f"{session}/{index}", RUNS_PATH=str(study.path / f"machine-{index}"))
        assert done.returncode == 0, done.stderr
        assert study.store.get_run(session).data.tags[STATE_TAG] == state
    ranking = show_ranking(study.environment, collect(study.environment, [session], {}))
    heading, *lines = ranking.strip().splitlines()
    assert heading.split() == ["rank", "trial", "repetition", "seed", "rate", "validation/loss", "state", "run"]
    assert [line.split()[:2] for line in lines] == [["1", "1"], ["2", "0"]]
