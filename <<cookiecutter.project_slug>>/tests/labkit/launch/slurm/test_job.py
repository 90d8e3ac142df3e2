import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from labkit.launch.cluster import Paths, Resources, SlurmCluster
from labkit.launch.slurm.array import Array
from labkit.launch.slurm.job import Job, render_job, write_time
from tests.project import ROOT

TEMPLATE = ROOT / "deploy" / "slurm.sh.j2"
GOLDEN = Path(__file__).parent / "golden"
ENVIRONMENT = PurePosixPath("/home/me/my-research/.venv")
SHA256 = "f" * 64
FOLDER = PurePosixPath("/scratch/runs/jobs")
JOBS = {
    "run": Job(
        launch="4f0c12",
        part=1,
        folder=FOLDER,
        cluster=SlurmCluster(
            partition="gpu",
            modules=("cuda/12.8",),
            paths=Paths(
                environment=ENVIRONMENT,
                runs=PurePosixPath("/scratch/runs"),
                data=PurePosixPath("/scratch/the group's data"),
            ),
        ),
        resources=Resources(gpus=1, cpus=8, memory="32G", time="1d"),
        sha256=SHA256,
    ),
    "session": Job(
        launch="rates-1",
        array=Array(offset=1000, tasks=(0, 1, 2, 5)),
        throttle=2,
        folder=PurePosixPath("/scratch/100%/jobs"),
        cluster=SlurmCluster(
            account="a b",
            container="/images/my image.sif",
            options={"exclusive": None, "qos": "high"},
            variables={"OMP_NUM_THREADS": "1"},
        ),
        resources=Resources(signal_before="1m", max_restarts=3),
        sha256=SHA256,
    ),
    "nodes": Job(
        launch="4f0c12",
        folder=FOLDER,
        cluster=SlurmCluster(paths=Paths(environment=ENVIRONMENT)),
        resources=Resources(nodes=2, tasks_per_node=4, gpus=4, cpus=6),
        sha256=SHA256,
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_script_is_what_it_was(name: str) -> None:
    assert render_job(TEMPLATE, JOBS[name]) == (GOLDEN / f"{name}.sh").read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck: apt-get install shellcheck")
@pytest.mark.parametrize("name", JOBS)
def test_shellcheck_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(render_job(TEMPLATE, JOBS[name]), encoding="utf-8")
    done = subprocess.run(["shellcheck", "job.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_a_job_whose_credentials_are_gone_says_so_and_does_nothing(tmp_path: Path) -> None:
    job = replace(JOBS["run"], folder=PurePosixPath(tmp_path))
    (tmp_path / job.own_folder / "ended").mkdir(parents=True)
    variables = {"SLURM_JOB_ID": "12", "SLURMD_NODENAME": "n1", "PATH": "/usr/bin:/bin"}
    words = ["bash", "-c", render_job(TEMPLATE, job)]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "The credentials of this job are gone: launch it again."
    assert done.returncode == 1
    assert (tmp_path / job.own_folder / "ended" / "0").exists()


def test_every_job_has_a_folder_of_its_own() -> None:
    folders = {str(job.own_folder) for job in JOBS.values()}
    assert folders == {
        "/scratch/runs/jobs/4f0c12/1",
        "/scratch/100%/jobs/rates-1/0+1000",
        "/scratch/runs/jobs/4f0c12/0",
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "0-00:01:00"), (90, "0-00:02:00"), (129_600, "1-12:00:00"), (86_399, "1-00:00:00")]
)
def test_a_limit_of_time_is_written_as_slurm_reads_it(seconds: int, text: str) -> None:
    assert write_time(seconds) == text
