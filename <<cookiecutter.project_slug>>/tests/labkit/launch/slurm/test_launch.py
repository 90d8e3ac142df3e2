import json
from pathlib import Path, PurePosixPath

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.cluster import Paths, Resources, SlurmCluster
from labkit.launch.handover import Order
from labkit.launch.host import Host
from labkit.launch.session import Session
from labkit.launch.site import Site, complete, find_site
from labkit.launch.slurm.controller import View, find_others, read_records
from labkit.launch.slurm.job import Job, find_opener
from labkit.launch.slurm.launch import plan_jobs
from labkit.launch.slurm.name import Name
from labkit.launch.slurm.queue import read_queue
from labkit.launch.surroundings import find_variables, write_exports

ENVIRONMENT = PurePosixPath("/home/me/.venv")
CLUSTER = SlurmCluster(paths=Paths(environment=ENVIRONMENT), resources=Resources(time="4h", cpus=8))
SITE = Site(host=Host("login"), folder=PurePosixPath("/runs/jobs"))


def make_order(trials: tuple[int, ...] | None, resources: Resources) -> Order:
    session = Session(entry_point=("train",), parallel=2)
    return Order(launch="rates-1", trials=trials, session=session, resources=resources, sha256="f0")


def plan(trials: tuple[int, ...] | None, view: View, **resources: str | int) -> list[Job]:
    asked = Resources.model_validate(resources).over(CLUSTER.resources)
    return plan_jobs(make_order(trials, asked), CLUSTER, SITE, view)


def test_a_session_is_as_few_arrays_as_the_cluster_takes() -> None:
    jobs = plan(tuple(range(8)), View(max_array_size=5))
    assert [(str(job.name), job.trials, job.throttle) for job in jobs] == [
        ("rates-1/0+0", (0, 1, 2, 3, 4), 2),
        ("rates-1/1+5", (5, 6, 7), 2),
    ]


def test_a_run_whose_job_has_ended_gets_a_new_one_with_a_new_name() -> None:
    view = View(
        entries=tuple(read_queue("12|12|TIMEOUT|0|0:00|None|rates-1/0|\n")),
        records=read_records("rates-1/0/jobs:12\n"),
    )
    assert [str(job.name) for job in plan(None, view)] == ["rates-1/1"]


def test_a_job_that_would_have_no_time_to_work_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--time 2m leaves nothing after --signal-before 2m: "):
        plan(None, View(), time="2m")


def test_a_unit_is_executed_in_the_environment_or_by_code_that_is_fetched_into_a_container() -> None:
    (job,) = plan(None, View())
    assert find_opener(job) == ["/home/me/.venv/bin/local-launch"]
    image = CLUSTER.model_copy(update={"container": "ghcr.io/group/training@sha256:4f0c12"})
    (job,) = plan_jobs(make_order(None, Resources(gpus=1)), image, SITE, View())
    folder = "/runs/jobs/rates-1/0"
    *words, order = find_opener(job)
    assert words == [
        *("apptainer", "exec", "--nv", "--bind", folder, "--bind", "/home/me/.venv", "--pwd", folder),
        *("docker://ghcr.io/group/training@sha256:4f0c12", "/home/me/.venv/bin/python", "bootstrap.py"),
    ]
    assert json.loads(order) == {"launch": "rates-1", "sha256": "f0", "trials": None, "nodes": 1, "processes": 1}


def test_arrays_of_a_limited_session_wait_for_what_is_under_way() -> None:
    queue = "12_3|14|RUNNING|0|0:09|None|rates-1/0+0|\n12_4|12|PENDING|0|0:00|None|rates-1/0+0|\n"
    others = "9_0|9|COMPLETED|0|0:09|None|rates-1/1+5|\n8|8|RUNNING|0|0:09|None|other/0|\n"
    assert find_others("rates-1", View(entries=tuple(read_queue(queue + others)))) == ["12"]


def test_a_name_is_not_given_again_where_no_job_came_of_it() -> None:
    name = Name(launch="rates-1", part=4, offset=0)
    assert View(folders=frozenset({name})).next_part("rates-1") == 5


def test_jobs_lie_beside_the_runs_which_also_a_login_node_has_where_its_user_wants_them(tmp_path: Path) -> None:
    environment = Environment.read({"RUNS_PATH": "/scratch/runs"}, tmp_path)
    profile = complete(SlurmCluster(), environment)
    assert profile.paths.variables == {"RUNS_PATH": "/scratch/runs"}
    assert find_site(profile, "jobs") == Site(host=Host(), folder=PurePosixPath("/scratch/runs/jobs"))
    profile = complete(SlurmCluster(host="login", paths=Paths(runs=PurePosixPath("/there"))), environment)
    assert find_site(profile, "jobs") == Site(host=Host("login"), folder=PurePosixPath("/there/jobs"))
    with pytest.raises(UsageError, match=r"give it paths\.runs"):
        complete(SlurmCluster(host="login"), environment)


def test_a_job_gets_what_the_user_has_been_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "it's $(secret)")
    monkeypatch.setenv("HOME", "/home/me")
    variables = find_variables(Environment.read({}, tmp_path))
    assert variables == {
        "AWS_SECRET_ACCESS_KEY": "it's $(secret)",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    answer = Host().run(write_exports(variables) + 'printf %s "$AWS_SECRET_ACCESS_KEY"')
    assert answer.output == "it's $(secret)"
