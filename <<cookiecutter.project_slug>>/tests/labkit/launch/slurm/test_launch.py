from pathlib import Path, PurePosixPath

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.cluster import Paths, Resources, SlurmCluster
from labkit.launch.handover import Order
from labkit.launch.host import Host
from labkit.launch.site import Site, complete, find_site
from labkit.launch.slurm.controller import View, read_records
from labkit.launch.slurm.job import Job, find_opener
from labkit.launch.slurm.launch import plan_jobs
from labkit.launch.slurm.queue import read_queue
from labkit.launch.surroundings import find_variables, write_exports

ENVIRONMENT = PurePosixPath("/home/me/.venv")
CLUSTER = SlurmCluster(paths=Paths(environment=ENVIRONMENT), resources=Resources(time="4h", cpus=8))
SITE = Site(host=Host("login"), folder=PurePosixPath("/runs/jobs"))


def plan(trials: tuple[int, ...] | None, view: View, **resources: str | int) -> list[Job]:
    asked = Resources.model_validate(resources).over(CLUSTER.resources)
    order = Order(launch="rates-1", trials=trials, parallel=2, resources=asked, sha256="f" * 64)
    return plan_jobs(order, CLUSTER, SITE, view)


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


def test_a_unit_is_executed_in_the_environment_or_in_a_container() -> None:
    assert find_opener(CLUSTER, Resources()) == ("/home/me/.venv/bin/local-launch",)
    image = CLUSTER.model_copy(update={"container": "/images/it.sif"})
    words = ("--nv", "--bind", "/home/me/.venv", "/images/it.sif", "/home/me/.venv/bin/local-launch")
    assert find_opener(image, Resources(gpus=1)) == ("apptainer", "exec", *words)
    image = SlurmCluster(container="ghcr.io/group/training@sha256:4f0c12")
    assert find_opener(image, Resources()) == (
        *("apptainer", "exec", "docker://ghcr.io/group/training@sha256:4f0c12", "local-launch"),
    )
    with pytest.raises(UsageError, match=r"neither paths\.environment nor a container"):
        find_opener(SlurmCluster(), Resources())


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
