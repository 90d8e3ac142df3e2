import json
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from labkit.command import UsageError
from labkit.launch.apptainer.controller import Process, read_idle, read_work
from labkit.launch.apptainer.job import TEMPLATE, Job, choose_lanes, render_job
from labkit.launch.apptainer.launch import read_devices
from labkit.launch.cluster import ApptainerHost, Paths, Resources
from tests.project import ROOT

FOLDER = PurePosixPath("/data/my runs/.apptainer")
GOLDEN = Path(__file__).parent / "golden"


def make_job(host: ApptainerHost, **resources: int) -> Job:
    return Job(
        launch="aa11",
        trials=(0, 1, 4),
        lanes=("0,1", "2,3"),
        folder=FOLDER,
        host=host,
        resources=Resources(**resources),  # pyright: ignore[reportArgumentType]  they are all numbers
        sha256="f" * 64,
        token="0a1b",
    )


GOLDEN_JOBS = {
    "container": make_job(
        ApptainerHost(
            container="training.sif",
            paths=Paths(runs=PurePosixPath("/data/my runs"), data=PurePosixPath("/data/the group's data")),
            variables={"OMP_NUM_THREADS": "4"},
        ),
        gpus=2,
        max_restarts=3,
    ),
    "environment": make_job(ApptainerHost(paths=Paths(environment=PurePosixPath("/opt/my env"))), tasks_per_node=2),
}


@pytest.mark.parametrize("name", GOLDEN_JOBS)
def test_a_script_is_what_it_was(name: str) -> None:
    assert render_job(ROOT / TEMPLATE, GOLDEN_JOBS[name]) == (GOLDEN / f"{name}.sh").read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck: apt-get install shellcheck")
@pytest.mark.parametrize("name", GOLDEN_JOBS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    done = subprocess.run(["shellcheck", GOLDEN / f"{name}.sh"], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_bootstrap_is_told_the_trials_and_the_hash_of_their_code() -> None:
    order = json.loads(make_job(ApptainerHost(), tasks_per_node=2).order)
    assert order == {
        "launch": "aa11",
        "sha256": "f" * 64,
        "trials": [[0, 1], [4, 4]],
        "nodes": 1,
        "processes": 2,
    }


def test_accelerators_are_shared_out_in_groups() -> None:
    assert choose_lanes([0, 2, 3, 5, 6], 2, None, 9) == ("0,2", "3,5")
    assert choose_lanes([0, 2, 3], 1, 2, 9) == ("0", "2")
    assert choose_lanes([0, 2, 3], 1, None, 2) == ("0", "2")
    assert choose_lanes([], 0, 3, 2) == ("", "")
    assert choose_lanes([], 0, None, 2) == ("",)
    with pytest.raises(UsageError, match=r"^2 idle GPUs are needed, and there are 1: "):
        choose_lanes([4], 2, None, 1)


def test_an_accelerator_is_idle_whose_memory_nobody_uses() -> None:
    assert read_idle("0, 4\n1, 23012\n2, 0\n") == [0, 2]
    assert read_idle("") == []
    assert read_devices("0,3") == [0, 3]


def test_what_a_host_prints_tells_where_each_unit_stands() -> None:
    over = json.dumps({"launch": "aa11", "trials": None, "lanes": ["0"]})
    active = json.dumps({"launch": "bb22", "trials": [[0, 2]], "lanes": ["1,2", "4,5"]})
    text = f"job\taa11-1\tover\t{over}\nended\t0\t75\n"
    text += f"job\tbb22-1\tactive\t{active}\nrunning\t1\t\nended\t0\t0\n"
    run, session = read_work(text)
    assert (run.unit(0), run.word(0)) == ("aa11", "ended (75)")
    assert [session.unit(place) for place in range(session.size)] == ["bb22/0", "bb22/1", "bb22/2"]
    assert [session.word(place) for place in range(session.size)] == ["ended (0)", "running", "waiting"]
    assert (run.accelerators, session.accelerators) == (set(), {1, 2, 4, 5})


def test_a_unit_whose_job_is_gone_is_lost() -> None:
    work = Process(name="x", launch="x", trials=(0, 1), is_active=False, running=[0])
    assert [work.word(0), work.word(1)] == ["lost", "not started"]
