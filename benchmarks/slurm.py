"""Submitting 100 runs to a real Slurm: as one array of jobs, beside one by one.

Run by `make benchmark NAME=slurm`. The cluster is that of tests/services/slurm.sh, and its jobs are held, so that only
sealing and submitting is measured; both are in one process, which has imported all it needs. The last line is
`sbatch` alone, of a script that seals nothing.
"""

# pyright: reportMissingImports=false

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labkit.environment import Environment
from labkit.launch.cluster import Paths, SlurmCluster
from labkit.launch.handover import hand_over
from labkit.launch.launcher import read_request
from labkit.launch.site import complete, find_site
from labkit.launch.slurm.controller import FOLDER_OF_JOBS
from labkit.launch.slurm.job import TEMPLATE
from labkit.launch.slurm.launch import Queue

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "build" / "my-research"
SLURM = ROOT / "tests" / "services" / "slurm.sh"
RUNS = 100
RATES = ",".join(f"{number / 1000}" for number in range(1, RUNS + 1))


def launch(environment: Environment, **options: str) -> None:
    """Do what `slurm-launch` does."""
    cluster = SlurmCluster(paths=Paths.model_validate({"environment": str(DEMO / ".venv")}), options={"hold": None})
    cluster = complete(cluster, environment)
    queue = Queue("held", cluster, find_site(cluster, FOLDER_OF_JOBS), DEMO / TEMPLATE)
    with contextlib.redirect_stdout(None):
        hand_over(read_request(options), environment, lambda *_: queue)


def measure(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = subprocess.run([SLURM, "start", folder / "slurm"], check=True, capture_output=True, text=True)
        os.environ["SLURM_CONF"] = started.stdout.strip().partition("=")[2]
        environment = replace(
            Environment.read({}, DEMO),
            runs_path=folder / "runs",
            mlflow_tracking_uri=f"sqlite:///{folder}/mlflow.db",
        )
        try:
            launch(environment, entry_point="train")  # the store's tables, and the imports
            array = measure(lambda: launch(environment, entry_point="train", argument_sets=f"learning-rate={RATES}"))
            rates = RATES.split(",")
            single = measure(
                lambda: [launch(environment, entry_point="train", arguments=f"learning-rate={rate}") for rate in rates]
            )
            script = folder / "job.sh"
            script.write_text("#!/bin/sh\n#SBATCH --hold\ntrue\n")
            calls = measure(lambda: [subprocess.run(["sbatch", script], check=True, stdout=-3) for _ in rates])
        finally:
            subprocess.run([SLURM, "stop", folder / "slurm"], check=True)
    print(f"{RUNS} runs, sealed and submitted")
    print(f"as one array of jobs        {array:8.2f} s")
    print(f"one by one                  {single:8.2f} s   {single / array:6.1f} times as long")
    print(f"sbatch alone, {RUNS} calls    {calls:8.2f} s   nothing sealed")


if __name__ == "__main__":
    main()
