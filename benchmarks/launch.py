"""What launching costs: 100 runs on a real Slurm, and a session of 10,000 combinations, from its file to its status.

Run by `make benchmark NAME=launch`. The session's project is a small one under git, the store an SQLite file. Sealing
holds every combination to the entry point's signature, and makes one source archive and one list of trials; the status
is what every launcher's status shows, before any trial has begun, and with many that have. `--without-slurm` leaves out
what needs a Slurm.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from labkit.environment import Environment
from labkit.launch.launcher import read_request
from labkit.launch.overview import collect, show
from labkit.launch.sealing import seal
from labkit.launch.trial import SESSION_TAG, TRIAL_TAG
from labkit.tracking.run import connect
from labkit.tracking.state import STATE_TAG

from benchmarks import slurm

SECONDS_TO_SEAL = 10.0
SECONDS_FOR_THE_STATUS = 2.0
STUDY = '''
import sys

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run


@entry_point
def walk(run: Run, *, rate: float = 0.25, depth: int = 2, width: int = 8, label: str = "") -> None:
    """Do nothing.

    :param rate: A number.
    :param depth: Another.
    :param width: Another.
    :param label: A text.
    """


if __name__ == "__main__":
    sys.exit(walk.main())
'''


@contextlib.contextmanager
def project() -> Generator[Environment]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "MLproject").write_text("name: walk\nentry_points: {walk: {command: python -m walk}}\n")
        (folder / "walk.py").write_text(STUDY)
        (folder / ".gitignore").write_text("runs/\nmlruns/\nmlflow.db\n__pycache__/\n")
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        os.chdir(folder)
        yield Environment.read({}, folder)


def write_session(folder: Path, combinations: int) -> Path:
    rates = [number / combinations for number in range(1, combinations // 100 + 1)]
    path = folder / "session.yaml"
    path.write_text(
        "entry-point: walk\nminimise: validation/loss\narguments:\n"
        f"  rate_: {rates}\n  depth_: {list(range(10))}\n  width_: {list(range(10))}\n"
    )
    return path


def begin_trials(environment: Environment, session: str, number: int) -> None:
    """Put the runs of trials into the store, as if these had begun, without what else a run is made of."""
    store = connect(environment)
    experiment = store.get_run(session).info.experiment_id
    for index in range(number):
        unit = f"{session}/{index}"
        tags = {SESSION_TAG: session, TRIAL_TAG: unit, STATE_TAG: "finished"}
        store.create_run(experiment, tags=tags)


@contextlib.contextmanager
def measured(what: str, limit: float) -> Generator[None]:
    """Print how long something takes, on the clock and of this process alone."""
    start, start_of_process = time.perf_counter(), time.process_time()
    yield
    seconds, own = time.perf_counter() - start, time.process_time() - start_of_process
    verdict = "met" if seconds < limit else "MISSED"
    print(f"{what:<50}{seconds:8.2f} s  ({own:.2f} s of CPU)   at most {limit:.0f} s: {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make benchmark NAME=launch", description=__doc__)
    parser.add_argument("--combinations", type=int, default=10_000)
    parser.add_argument("--begun", type=int, default=1_000, help="trials that have a run when the status is asked for")
    parser.add_argument("--without-slurm", action="store_true")
    options = parser.parse_args()
    if not options.without_slurm:
        slurm.main()
    sys.dont_write_bytecode = True
    with project() as environment:
        connect(environment).search_experiments()  # makes the tables, which takes seconds once
        path = write_session(environment.project_path, options.combinations)
        with measured(f"{options.combinations} combinations expanded, checked and sealed", SECONDS_TO_SEAL):
            sealed = seal(read_request({"session": path}), environment, ["benchmark"])
        for begun in (0, options.begun):
            begin_trials(environment, sealed.identifier, begun)
            with measured(f"their status, with {begun} begun", SECONDS_FOR_THE_STATUS):
                show(collect(environment, [sealed.identifier], {}), "Slurm")


if __name__ == "__main__":
    main()
