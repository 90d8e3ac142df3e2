"""A training and a tracking server, between which everything happens: nothing is lost, nothing is doubled."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from project import ENVIRONMENT, environment
from services.line import Fault, Line, lay_line
from services.tracking_server import Entry, TrackingServer, find_free_port, serving

STUDY = Path(__file__).parent / "services" / "recorded_study.py"
METRICS = 5
LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
ARTIFACTS = "/api/2.0/mlflow-artifacts"


class Study:
    """A training in a process of its own."""

    def __init__(self, folder: Path, address: str, steps: int, *words: str, seconds_per_step: float = 0.001) -> None:
        self.folder = folder
        self.steps = steps
        self.variables = environment() | {"MLFLOW_TRACKING_URI": address, "RUNS_PATH": str(folder / "runs")}
        self.output = folder / f"output-{len(list(folder.glob('output-*')))}"
        with self.output.open("wb") as output, self.output.with_suffix(".errors").open("wb") as errors:
            self.process = subprocess.Popen(
                [ENVIRONMENT / "bin" / "python", STUDY, str(steps), str(seconds_per_step), *words],
                cwd=folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    @property
    def run_id(self) -> str:
        """The run's id, as soon as it is printed."""
        return self.await_line(0)

    @property
    def errors(self) -> str:
        return self.output.with_suffix(".errors").read_text()

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / self.run_id

    def await_line(self, number: int) -> str:
        """Return a line of the output, as soon as it is printed."""
        while self.output.read_text().count("\n") <= number:
            assert self.process.poll() is None, self.errors
            time.sleep(0.01)
        return self.output.read_text().splitlines()[number]

    def await_spool(self, length: int) -> None:
        """Wait until so many records are in the spool."""
        while len(self.read_spool()) < length:
            assert self.process.poll() is None, self.errors
            time.sleep(0.01)

    def read_spool(self) -> list[dict[str, Any]]:
        path = self.run_folder / "spool.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait()

    def synchronise(self, *run_ids: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ENVIRONMENT / "bin" / "sync-runs", *run_ids],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def expected(self) -> list[Entry]:
        """Return every metric that was recorded."""
        return sorted(
            (name, record["step"], value)
            for record in self.read_spool()
            for name, value in record.get("metrics", {}).items()
        )

    def assert_complete(self, server: TrackingServer) -> None:
        """Assert that every metric of every step is in the database, once, and that all else is there too."""
        expected = self.expected()
        assert len(expected) == METRICS * self.steps
        assert server.read_metrics(self.run_id) == expected
        assert server.read_status(self.run_id) == "FINISHED"
        assert server.read_tags(self.run_id)["labkit.state"] == "finished"
        artifacts = server.find_artifacts(self.run_id)
        assert artifacts["results/result.txt"] == f"{self.steps} steps".encode()
        logs = {f"logs/{path.name}": path.read_bytes() for path in (self.run_folder / "logs").iterdir()}
        assert {name: log for name, log in logs.items() if log}.items() <= artifacts.items()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[TrackingServer]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def line(server: TrackingServer) -> Generator[Line]:
    with lay_line(server.port) as line:
        yield line


@pytest.fixture
def start(tmp_path: Path) -> Generator[Callable[..., Study]]:
    """Start trainings; those that a failed test leaves behind are ended."""
    studies: list[Study] = []

    def start(address: str, steps: int, *words: str, **options: float) -> Study:
        studies.append(Study(tmp_path, address, steps, *words, **options))
        return studies[-1]

    (tmp_path / "MLproject").touch()
    yield start
    for study in studies:
        study.process.kill()
        study.process.wait()


def test_all_arrives_once_and_in_few_requests(server: TrackingServer, line: Line, start: Callable[..., Study]) -> None:
    study = start(line.address, 3000)
    assert (study.end(), study.errors) == (0, "")
    study.assert_complete(server)
    assert line.requests[LOG_BATCH] < METRICS * study.steps / 100


def test_a_server_that_is_killed_and_comes_back_misses_nothing(
    server: TrackingServer, start: Callable[..., Study]
) -> None:
    (study := start(server.address, 3000)).folder.joinpath("wait").touch()
    study.await_spool(500)
    server.kill()
    time.sleep(20)  # the outage itself
    server.start()
    study.folder.joinpath("wait").unlink()
    assert (study.end(), study.errors) == (0, "")
    study.assert_complete(server)
    assert study.synchronise().returncode == 0
    study.assert_complete(server)


def test_a_server_that_is_killed_for_good_harms_nothing_and_gets_the_rest_later(
    server: TrackingServer, start: Callable[..., Study]
) -> None:
    study = start(server.address, 3000)
    study.await_spool(500)
    server.kill()
    try:
        assert study.end() == 0
        assert "sent by `sync-runs`" in study.errors
        early = study.synchronise()
        assert early.returncode == 1
        assert study.run_id in early.stdout
        assert "metrics are left" in early.stderr
    finally:
        server.start()
    late = study.synchronise()
    assert (late.returncode, late.stderr) == (0, "")
    study.assert_complete(server)
    again = study.synchronise()
    assert (again.returncode, again.stdout) == (0, "1 runs: nothing is left to send.\n")
    study.assert_complete(server)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT, Fault.SILENCE])
@pytest.mark.parametrize("affected", ["/", LOG_BATCH])
def test_requests_that_fail_for_a_while_are_made_up_for(
    server: TrackingServer, line: Line, start: Callable[..., Study], fault: Fault, affected: str
) -> None:
    (study := start(line.address, 3000, seconds_per_step=0.002)).folder.joinpath("wait").touch()
    study.await_spool(200)
    line.break_down(fault, affected)
    line.await_faults(1 if fault is Fault.SILENCE else 3)
    line.mend()
    study.folder.joinpath("wait").unlink()
    assert (study.end(), study.errors) == (0, "")
    study.assert_complete(server)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT, Fault.SILENCE])
def test_requests_that_fail_until_the_end_are_made_up_for_later(
    server: TrackingServer, line: Line, start: Callable[..., Study], fault: Fault
) -> None:
    study = start(line.address, 3000)
    study.await_spool(200)
    line.break_down(fault)
    assert study.end() == 0
    assert "sent by `sync-runs`" in study.errors
    line.mend()
    assert study.synchronise(study.run_id).returncode == 0
    study.assert_complete(server)


def test_files_that_are_refused_hold_up_neither_metrics_nor_the_end(
    server: TrackingServer, line: Line, start: Callable[..., Study]
) -> None:
    study = start(line.address, 1000)
    study.await_spool(10)
    line.break_down(Fault.ERROR, ARTIFACTS)
    assert study.end() == 0
    assert "sent by `sync-runs`" in study.errors
    assert server.read_metrics(study.run_id) == study.expected()
    assert server.read_status(study.run_id) == "FINISHED"
    assert "results/result.txt" not in server.find_artifacts(study.run_id)
    line.mend()
    assert study.synchronise().returncode == 0
    study.assert_complete(server)


def test_a_killed_training_is_interrupted_and_one_that_goes_on_is_running(
    server: TrackingServer, start: Callable[..., Study]
) -> None:
    (study := start(server.address, 2000)).folder.joinpath("wait").touch()
    study.await_spool(1000)
    while server.read_status(study.run_id) != "RUNNING":
        time.sleep(0.01)
    study.process.send_signal(signal.SIGKILL)
    while server.read_tags(study.run_id)["labkit.state"] != "interrupted":
        time.sleep(0.01)
    assert server.read_status(study.run_id) == "SCHEDULED"

    resumed = start(server.address, 2000, study.run_id)
    resumed.await_line(0)
    while server.read_tags(study.run_id)["labkit.state"] != "running":
        time.sleep(0.01)
    assert server.read_status(study.run_id) == "RUNNING"
    study.folder.joinpath("wait").unlink()
    assert (resumed.end(), resumed.errors) == (0, "")
    resumed.assert_complete(server)


def find_sender(folder: Path) -> int:
    """Return the process id of the sender of a run's folder, as soon as there is one."""
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "labkit.tracking.sender" in words and str(folder) in words:
                return int(process.name)
        time.sleep(0.01)


def test_a_training_that_is_killed_together_with_its_sender_is_corrected_by_the_next_contact(
    server: TrackingServer, start: Callable[..., Study]
) -> None:
    (study := start(server.address, 2000)).folder.joinpath("wait").touch()
    study.await_spool(1000)
    while server.read_status(study.run_id) != "RUNNING":
        time.sleep(0.01)
    os.kill(find_sender(study.run_folder), signal.SIGKILL)
    study.process.send_signal(signal.SIGKILL)
    study.end()
    assert server.read_status(study.run_id) == "RUNNING"

    assert study.synchronise().returncode == 0
    assert server.read_status(study.run_id) == "SCHEDULED"
    assert server.read_tags(study.run_id)["labkit.state"] == "interrupted"
    assert server.read_metrics(study.run_id) == study.expected()


def test_a_sender_that_is_killed_in_the_middle_of_requests_sends_nothing_twice(
    server: TrackingServer, line: Line, start: Callable[..., Study]
) -> None:
    (study := start(line.address, 2000)).folder.joinpath("wait").touch()
    study.await_spool(1000)
    line.break_down(Fault.DELAY, LOG_BATCH)
    line.await_faults(1)
    os.kill(find_sender(study.run_folder), signal.SIGKILL)
    study.folder.joinpath("wait").unlink()
    line.await_faults(1)  # of the sender that takes its place
    os.kill(find_sender(study.run_folder), signal.SIGKILL)
    assert study.end() == 0
    assert "sent by `sync-runs`" in study.errors
    line.mend()
    assert study.synchronise().returncode == 0
    study.assert_complete(server)


def test_an_attempt_whose_predecessor_is_still_being_sent_is_sent_too(
    server: TrackingServer, line: Line, start: Callable[..., Study]
) -> None:
    (study := start(line.address, 2000)).folder.joinpath("wait").touch()
    study.await_spool(1000)
    line.break_down(Fault.SILENCE, LOG_BATCH)
    line.await_faults(1)
    study.process.send_signal(signal.SIGKILL)
    study.end()
    study.folder.joinpath("wait").unlink()
    resumed = start(line.address, 2000, study.run_id)
    resumed.await_line(1)
    line.mend()
    assert resumed.end() == 0
    resumed.synchronise()
    resumed.assert_complete(server)


def test_without_a_server_nothing_begins_and_one_sentence_says_why(start: Callable[..., Study]) -> None:
    study = start(f"http://127.0.0.1:{find_free_port()}", 10)
    assert study.end() == 1
    assert study.output.read_text() == ""
    (sentence,) = study.errors.splitlines()
    assert "Connection refused" in sentence
    assert "MLFLOW_TRACKING_URI" in sentence


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT, Fault.SILENCE])
def test_with_a_server_that_does_not_answer_nothing_begins_either(
    line: Line, start: Callable[..., Study], fault: Fault
) -> None:
    line.break_down(fault)
    study = start(line.address, 10)
    assert study.end() == 1
    assert study.output.read_text() == ""
    (sentence,) = study.errors.splitlines()
    assert sentence.startswith(f"record: the tracking store {line.address} cannot be used (")
    assert sentence.endswith("): start it, or name another one in MLFLOW_TRACKING_URI.")


REFUSED = """
import math, sys
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Envelope, create_run
run = create_run(Environment.read(), Envelope(entry_point="x", arguments={}, seed=0), experiment_name="refused")
print(run.identifier, flush=True)
with attempt(run) as outcome:
    run.log_metrics({"before": 1.0, "x" * 251: 2.0, "with": 3.0}, 1)
    run.log_metrics({"nan": math.nan, "infinity": math.inf, "less": -math.inf, "a name\\x01of no sort": 1.0}, 2)
    run.log_metrics({"too large a step": 1.0}, 2**70)
    run.log_tags({"long": "y" * 10_000, "z" * 251: "name", "short": "s"})
    run.spool.append({"wish": "unknown"})
    run.spool._write("no JSON at all\\n")
    run.log_artifact(run.folder / "gone.txt")
    run.log_metrics({"after": 4.0}, 3)
sys.exit(outcome.exit_code)
"""


def test_what_the_server_refuses_fails_alone(server: TrackingServer, tmp_path: Path) -> None:
    variables = environment() | {"MLFLOW_TRACKING_URI": server.address, "RUNS_PATH": str(tmp_path / "runs")}
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "python", "-c", REFUSED],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    run_id = done.stdout.strip()
    assert done.returncode == 0
    log = (tmp_path / "runs" / run_id / "sender.log").read_text()
    assert str(tmp_path / "runs" / run_id / "sender.log") in done.stderr
    metrics = {key: (step, value) for key, step, value in server.read_metrics(run_id)}
    assert metrics.pop("nan")[1] != metrics.get("nan", (0, 0.0))[1]
    assert metrics == {
        "before": (1, 1.0),
        "with": (1, 3.0),
        "infinity": (2, sys.float_info.max),
        "less": (2, -sys.float_info.max),
        "after": (3, 4.0),
    }
    assert server.read_tags(run_id)["short"] == "s"
    for refused in ("x" * 251, "of no sort", "too large a step", "z" * 251, "unknown", "no JSON at all", "gone.txt"):
        assert refused in log
    assert server.read_status(run_id) == "FINISHED"
