"""A real tracking server, such as `make tracking-server` runs, to be started, asked and killed.

Run as a program, `python tests/services/tracking_server.py FOLDER`, it serves until it is ended.
"""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parents[2] / "build" / "my-research"
SECONDS_TO_START = 180
# No proxy stands between this machine and itself.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Entry = tuple[str, int, float]


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class TrackingServer:
    """A tracking server on a port of its own, whose data outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        variables = {"TRACKING_PORT": str(self.port), "TRACKING_PATH": str(self.folder), "TRACKING_ARTIFACTS": ""}
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_", "S3_"))}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [DEMO / ".tools" / "bin" / "python", DEMO / "make" / "tracking_server.py"],
                env=own | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError((self.folder / "server.log").read_text())
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it with all its processes, in the middle of whatever it does."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def read_metrics(self, run_id: str) -> list[Entry]:
        """Return every metric of a run that is in the database, as often as it is there, sorted."""
        rows = self._query("select key, step, case is_nan when 1 then 'nan' else value end from metrics", run_id)
        return sorted((key, step, float(value)) for key, step, value in rows)

    def read_tags(self, run_id: str) -> dict[str, str]:
        """Return the tags of a run."""
        return dict(self._query("select key, value from tags", run_id))

    def read_status(self, run_id: str) -> str:
        """Return how a run stands, in MLflow's words."""
        ((status,),) = self._query("select status from runs", run_id)
        return status

    def find_artifacts(self, run_id: str) -> dict[str, bytes]:
        """Return the content of every artifact of a run by its path."""
        (folder,) = self.folder.glob(f"artifacts/*/{run_id}/artifacts")
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def _query(self, question: str, run_id: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "mlflow.db", timeout=60)) as database:
            return database.execute(f"{question} where run_uuid = ?", (run_id,)).fetchall()

    def _answers(self) -> bool:
        try:
            with OPENER.open(f"{self.address}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextlib.contextmanager
def serving(folder: Path) -> Generator[TrackingServer]:
    """Run a tracking server."""
    server = TrackingServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    with serving(Path(sys.argv[1]).absolute()) as running:
        print(f"export MLFLOW_TRACKING_URI={running.address}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
