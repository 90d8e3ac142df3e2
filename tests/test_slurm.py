"""Launching on a real Slurm through a real sshd: what can happen to a cluster and a line happens."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from combination import COMBINATIONS
from commands import HOSTILE
from project import ENVIRONMENT, TEMPLATE, Project, environment, render, run
from services import apptainer
from services.command_line import watching_command_lines

SLURM = TEMPLATE / "tests" / "services" / "slurm.sh"
SSHD = TEMPLATE / "tests" / "services" / "sshd.sh"
RATES = [0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.001]
# Named for this file: the command lines of other tests, which run at the same time, have canaries of their own.
CANARIES = {"AWS_SECRET_ACCESS_KEY": "slurm-canary-of-a-key", "AWS_SESSION_TOKEN": "slurm-canary-'of-a-token"}
KEY = "canary-of-the-vault's-key"
SECONDS_TO_WAIT = 400
TRAIN = ("--entry-point", "train", "--arguments", "architecture=mlp,duration='1 epoch'")

# Each step takes a while, so that there is time to interrupt it; and what reached the job is shown by its hash.
DAWDLE = """
import hashlib
import os
import time

from lightning.pytorch import Callback


class Dawdle(Callback):
    def __init__(self, run):
        names = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        text = "".join(hashlib.sha256(os.environ.get(name, "").encode()).hexdigest() + "\\n" for name in names)
        (run.folder / "received").write_text(text)

    def on_train_batch_end(self, *arguments):
        time.sleep(float(os.environ.get("SECONDS_PER_STEP", "0")))
"""
# What a job needs, and little time.
DESCEND = """
import sys
import time

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run


@entry_point
def descend(run: Run, *, rate: float = 0.1, steps: int = 2, seconds: float = 0.0) -> None:
    '''Go down, and go on where it was interrupted.

    :param rate: What is least at 0.5.
    :param steps: How many there are.
    :param seconds: How long each takes.
    '''
    done = run.folder / "done"
    for step in range(int(done.read_text()) if done.exists() else 0, steps):
        time.sleep(seconds)
        run.log_metrics({"validation/loss": (rate - 0.5) ** 2}, step)
        done.write_text(str(step + 1))


if __name__ == "__main__":
    sys.exit(descend.main())
"""
WEIGHTS = """
import hashlib, sys, torch
for path in sys.argv[1:]:
    weights = torch.load(path, weights_only=True)["state_dict"]
    print(hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest())
"""
# What a queue says that is full after one job; there are no limits of users without Slurm's accounting.
FULL_QUEUE = """#!/bin/sh
mkdir {folder}/submitted 2>/dev/null && exec {program} "$@"
echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2
reason="Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
echo "sbatch: error: Batch job submission failed: $reason" >&2
exit 1
"""
LOST_ANSWER = """#!/bin/sh
{program} "$@" >/dev/null
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""
# Who asks first for the names of jobs is told them late.
LATE_ANSWER = """#!/bin/sh
{program} "$@" || exit
case "$*" in
  *%j*) mkdir {folder}/asked 2>/dev/null && until [ -e {folder}/told ]; do sleep 0.1; done ;;
esac
true
"""
HOLD = """
import sys
from labkit.launch.host import Host
Host("login").run(f"touch {sys.argv[1]}; sleep 60")
"""
LOCALLY = """
import sys
from my_research.train import train
for rate in sys.argv[2:]:
    words = ["--architecture", "mlp", "--duration", "2 epochs", "--seed", "7", "--may-be-missing", sys.argv[1]]
    if code := train.main([*words, "--learning-rate", rate]):
        sys.exit(code)
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster with a login node, and a user's project."""

    folder: Path
    project: Project
    variables: dict[str, str]

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run a command in the project, or one of Slurm's own, and return what it prints."""
        program = ENVIRONMENT / "bin" / words[0]
        done = run(
            program if program.exists() else words[0],
            *words[1:],
            folder=self.project.folder,
            variables=self.variables,
            check=check,
        )
        return done.stdout + ("" if check else done.stderr)

    def slurm(self, *words: str) -> None:
        run(SLURM, words[0], self.folder / "slurm", *words[1:], folder=self.folder)

    def sshd(self, word: str) -> None:
        run(SSHD, word, self.folder / "sshd", folder=self.folder)

    @property
    def runs(self) -> Path:
        return self.project.folder / "runs"

    def jobs(self) -> dict[str, str]:
        """Return Slurm's state of every job in its queue, by its id."""
        lines = self("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def query(self, question: str, *values: str) -> list[tuple[str | int, ...]]:
        with contextlib.closing(sqlite3.connect(self.project.folder / "mlflow.db", timeout=60)) as database:
            return database.execute(question, values).fetchall()

    def trials(self, session: str) -> dict[int, str]:
        """Return the run of every trial of a session that has begun."""
        rows = self.query(
            "select run_uuid, value from tags where key = 'labkit.trial' and value like ?", f"{session}/%"
        )
        return {int(str(trial).rpartition("/")[2]): str(run_id) for run_id, trial in rows}

    def status(self, run_id: str) -> str:
        """Return how a run stands, in MLflow's words."""
        ((status,),) = self.query("select status from runs where run_uuid = ?", run_id)
        return str(status)

    def steps_of(self, run_id: str | None) -> int:
        """Return how many steps a run has recorded; none before there is one."""
        path = self.runs / (run_id or "none") / "spool.jsonl"
        return path.read_text().count("train/loss_step") if path.exists() else 0

    @contextlib.contextmanager
    def where(self, **programs: str) -> Generator[None]:
        """Have a login shell find other programs in the place of Slurm's."""
        profile, folder = self.folder / "sshd" / "home" / ".bash_profile", self.folder / "instead"
        folder.mkdir()
        for name, text in programs.items():
            (folder / name).write_text(text.format(program=shutil.which(name), folder=folder))
            (folder / name).chmod(0o755)
        talkative = profile.read_text()
        profile.write_text(f"{talkative}PATH={folder}:$PATH\n")
        try:
            yield
        finally:
            profile.write_text(talkative)
            shutil.rmtree(folder)


def wait_until(happened: Callable[[], object]) -> None:
    """Wait for something that is certain to happen."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    if not all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("slurmctld", "munged", "sshd")):
        reason = "no Slurm: apt-get install slurmctld slurmd slurm-client munge openssh-server openssh-client"
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("s")
    os.environ.pop("SLURM_CONF", None)
    run(SLURM, "start", folder / "slurm", "2", folder=folder, variables={"MAX_ARRAY_SIZE": "5"})
    configuration = f"SLURM_CONF={folder}/slurm/slurm.conf"
    run(SSHD, "start", folder / "sshd", configuration, folder=folder)
    project = render(folder / "p", COMBINATIONS["default"])
    (project.folder / "my_research" / "dawdle.py").write_text(DAWDLE)
    train = project.read("my_research/train.py")
    hooked = train.replace("callbacks=[ConfusionPicture(run)", "callbacks=[Dawdle(run), ConfusionPicture(run)")
    hooked = hooked.replace(
        "    from .data import find_parts", "    from .dawdle import Dawdle\n    from .data import find_parts"
    )
    assert hooked.count("Dawdle") == 2
    (project.folder / "my_research" / "train.py").write_text(hooked)
    (project.folder / "my_research" / "descend.py").write_text(DESCEND)
    with (project.folder / "MLproject").open("a") as file:
        file.write("  descend:\n    command: python -m my_research.descend\n")
    write_profile(project)
    try:
        yield Cluster(
            folder,
            project,
            {
                "PATH": f"{folder}/sshd/bin:{os.environ['PATH']}",
                "SLURM_CONF": f"{folder}/slurm/slurm.conf",
                "OMP_NUM_THREADS": "1",
                **CANARIES,
            },
        )
    finally:
        run(SSHD, "stop", folder / "sshd", folder=folder)
        run(SLURM, "stop", folder / "slurm", folder=folder)


def write_profile(project: Project, **further: object) -> None:
    variables = {
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SECONDS_PER_STEP": "0.3",
        "MASTER_ADDR": "127.0.0.1",
    }
    profile = {
        "scheduler": "slurm",
        "host": "login",
        "paths": {"environment": str(ENVIRONMENT), "runs": str(project.folder / "runs")},
        "variables": variables,
        **further,
    }
    (project.folder / "deploy" / "clusters.yaml").write_text(json.dumps({"test": profile}))


def write_session(project: Project, **arguments: object) -> None:
    common = {"architecture": "mlp", "duration": "2 epochs", "seed": 7, "may-be-missing": [HOSTILE]}
    session = {"entry-point": "train", "arguments": {**common, **arguments}}
    (project.folder / "session.yaml").write_text(json.dumps(session))


def move_into_vault(cluster: Cluster, name: str) -> None:
    """Keep a credential in the project, no longer in the shell."""
    key, vault = cluster.folder / "key", cluster.project.folder / "credentials.yaml"
    key.touch(mode=0o600)
    key.write_text(KEY)
    vault.write_text(json.dumps({name: cluster.variables.pop(name)}))
    cluster("ansible-vault", "encrypt", "--vault-password-file", str(key), str(vault))
    cluster.variables["CREDENTIALS_KEY_FILE"] = str(key)


def test_a_session_survives_all_that_happens_to_a_cluster(cluster: Cluster) -> None:
    write_session(cluster.project, **{"learning-rate_": RATES})
    move_into_vault(cluster, "AWS_SESSION_TOKEN")
    with watching_command_lines() as command_lines:
        launched = cluster("slurm-launch", "--session", "session.yaml")
        session = launched.split()[1]
        assert "trials 0-4" in launched
        assert "trials 5-7" in launched

        # The same again submits nothing.
        assert "Nothing is left to submit" in cluster("slurm-launch", "--run-id", session)
        assert len(cluster.jobs()) == 8
        (credentials, _) = (cluster.runs / "jobs" / session).glob("*/credentials")
        assert credentials.stat().st_mode & 0o777 == 0o600
        shown = cluster("scontrol", "show", "job")

        # Two are asked to go back into the queue in the middle of their training, by what Slurm itself sends.
        first, *_ = (job.partition("_")[0] for job in cluster.jobs())
        wait_until(lambda: min(cluster.steps_of(cluster.trials(session).get(trial)) for trial in (0, 1)) > 5)
        assert cluster.status(session) == "RUNNING"
        spool = "".join(
            path.read_text(errors="replace")
            for folder in ("state", "spool")
            for path in (cluster.folder / "slurm" / folder).rglob("*")
            if path.is_file()
        )
        cluster("scancel", "--batch", "--signal=USR1", f"{first}_0", f"{first}_1")
        cluster.slurm("kill-controller")
        refused = cluster("slurm-status", check=False)
        assert "Unable to contact slurm controller" in refused
        assert refused.count("\n") == 1
        cluster.slurm("start-controller")

        # A node dies; what ran on it begins again from its checkpoints.
        dead = cluster("squeue", "--noheader", "--states=RUNNING", "--format=%N").split()[0]
        cluster.slurm("kill-node", dead)
        cluster.slurm("start-node", dead)

        # One is stopped and one is cancelled; both go on when they are launched again.
        cluster("slurm-stop", f"{session}/7")
        cluster("slurm-cancel", f"{session}/6")
        status = cluster("slurm-status", session)
        assert status.startswith("8: ")
        assert f"{session}/0" in status
        assert "learning-rate=0.001" in status
        wait_until(lambda: not cluster.jobs())
        assert "trials 6-7" in cluster("slurm-launch", "--run-id", session)
        wait_until(lambda: not cluster.jobs())
        log = cluster("slurm-log", f"{session}/0", "--follow")

    assert "8: 8 finished" in cluster("slurm-status", session)
    assert "restart 0" in log
    assert "restart 1" in log
    runs = cluster.trials(session)
    assert sorted(runs) == list(range(8))
    assert len(cluster.query("select * from tags where key = 'labkit.trial'")) == 8
    assert [cluster.status(run_id) for run_id in (session, *runs.values())] == ["FINISHED"] * 9
    assert cluster.query("select count(*) from runs") == [(9,)]
    assert cluster.query("select count(*) from metrics group by run_uuid, key, step having count(*) > 1") == []

    # What a user typed is what arrived, and nothing else was executed.
    envelope = json.loads((cluster.runs / runs[3] / "envelope.json").read_text())
    assert envelope["arguments"]["may_be_missing"] == [HOSTILE]
    assert list(cluster.folder.rglob("executed")) == []

    assert_that_canaries_reached_jobs_alone(cluster, runs[3], [shown, spool, log, *command_lines])
    assert_that_weights_are_those_of_local_runs(cluster, runs)


def assert_that_canaries_reached_jobs_alone(cluster: Cluster, run_id: str, places: list[str]) -> None:
    (cluster.project.folder / "credentials.yaml").unlink()
    received = (cluster.runs / run_id / "received").read_text()
    assert received == "".join(f"{hashlib.sha256(value.encode()).hexdigest()}\n" for value in CANARIES.values())
    assert list((cluster.runs / "jobs").rglob("credentials")) == []
    # Scripts and output, logs, artifacts, and the store with its tags and parameters.
    files = [path for path in cluster.project.folder.rglob("*") if path.is_file()]
    assert {"job.sh", "0.txt", "mlflow.db", "last.ckpt", "envelope.json"} <= {path.name for path in files}
    assert any("local-launch" in place for place in places)
    assert [place for place in places if "slurm-canary" in place or KEY in place] == []
    assert [
        path for path in files if b"slurm-canary" in (content := path.read_bytes()) or KEY.encode() in content
    ] == []


def assert_that_weights_are_those_of_local_runs(cluster: Cluster, runs: dict[int, str]) -> None:
    variables = cluster.variables | {
        "RUNS_PATH": str(cluster.folder / "local"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{cluster.folder}/local.db",
    }
    python = ENVIRONMENT / "bin" / "python"
    run(python, "-c", LOCALLY, HOSTILE, *map(str, RATES), folder=cluster.project.folder, variables=variables)
    local = {
        json.loads(path.read_text())["arguments"]["learning_rate"]: path.parent
        for path in (cluster.folder / "local").glob("*/envelope.json")
    }
    folders = [*(cluster.runs / runs[trial] for trial in range(8)), *(local[rate] for rate in RATES)]
    weights = [folder / "checkpoints" / "last.ckpt" for folder in folders]
    digests = run(python, "-c", WEIGHTS, *weights, folder=cluster.folder).stdout.split()
    assert digests[:8] == digests[8:]
    assert len(set(digests)) == 8


def test_two_nodes_train_together_and_go_on_together(cluster: Cluster) -> None:
    write_profile(cluster.project)
    launched = cluster("slurm-launch", *TRAIN, "--nodes", "2")
    run_id, job = launched.split()[1], launched.split("job ")[1].split()[0]
    wait_until(lambda: cluster.steps_of(run_id) > 3)
    cluster("scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: not cluster.jobs())
    assert cluster.status(run_id) == "FINISHED"
    assert "restart 1" in cluster("slurm-log", run_id)


def test_a_job_gives_way_and_goes_on_later(cluster: Cluster) -> None:
    write_profile(cluster.project, partition="low")
    launched = cluster("slurm-launch", *TRAIN)
    run_id = launched.split()[1]
    wait_until(lambda: cluster.steps_of(run_id) > 3)
    cluster("sbatch", "--partition=main", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    wait_until(lambda: not cluster.jobs())
    assert cluster.status(run_id) == "FINISHED"
    log = cluster("slurm-log", run_id)
    assert "Interrupted. To go on" in log
    assert "restart 1" in log


def test_where_going_back_is_forbidden_a_job_submits_itself_again_up_to_its_limit(cluster: Cluster) -> None:
    write_profile(cluster.project, options={"no-requeue": None})
    arguments = ("--entry-point", "train", "--arguments", "architecture=mlp,duration='9 epochs'")
    launched = cluster("slurm-launch", *arguments, "--max-restarts", "1")
    run_id, job = launched.split()[1], launched.split("job ")[1].split()[0]
    record = cluster.runs / "jobs" / run_id / "0" / "jobs"
    wait_until(lambda: cluster.steps_of(run_id) > 3)
    cluster("scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: len(record.read_text().split()) == 2)
    first, second = record.read_text().split()
    assert first == job
    before = cluster.steps_of(run_id)
    wait_until(lambda: cluster.steps_of(run_id) > before)

    # That was as often as it may.
    cluster("scancel", "--batch", "--signal=USR1", second)
    wait_until(lambda: not cluster.jobs())
    log = cluster("slurm-log", run_id)
    assert "restart 1" in log
    assert log.endswith("The limit of 1 restarts is reached: launch it again to go on.\n")
    assert "1: 1 interrupted" in cluster("slurm-status", second)
    cluster("slurm-launch", "--run-id", run_id)
    wait_until(lambda: not cluster.jobs())
    assert cluster.status(run_id) == "FINISHED"


def test_what_slurm_refuses_leaves_nothing_half_submitted(cluster: Cluster) -> None:
    write_profile(cluster.project)
    limited = cluster("slurm-launch", *TRAIN, "--time", "10m", "--signal-before", "10m", check=False)
    assert limited.startswith("slurm-launch: --time 10m leaves nothing after --signal-before 10m: ")
    write_profile(cluster.project, partition="nowhere")
    refused = cluster("slurm-launch", "--entry-point", "descend", check=False)
    assert (
        "login refuses: sbatch: error: Batch job submission failed: Invalid partition name specified. 0 of" in refused
    )
    run_id = refused.split()[1]
    assert f"0 of 1 jobs are submitted; the rest follow by: slurm-launch --run-id {run_id}" in refused
    assert cluster.jobs() == {}
    assert list((cluster.runs / "jobs" / run_id).iterdir()) == []

    # The login node dies in the middle of it.
    half = cluster.runs / "jobs" / run_id / "0"
    half.mkdir()
    (half / "credentials").touch()
    os.utime(half / "credentials", times=(0, 0))

    # Slurm takes the job, but nobody is told; and somebody else has asked before, and is told after.
    write_profile(cluster.project, options={"hold": None})
    with cluster.where(sbatch=LOST_ANSWER, squeue=LATE_ANSWER), ThreadPoolExecutor() as threads:
        status = threads.submit(cluster, "slurm-status")
        wait_until((cluster.folder / "instead" / "asked").exists)
        launched = cluster("slurm-launch", "--run-id", run_id)
        (cluster.folder / "instead" / "told").touch()
        status.result()
    (job,) = cluster.jobs()
    assert f"job         {job} on login\n" in launched
    assert (half.with_name("1") / "jobs").read_text() == f"{job}\n"
    assert (half.with_name("1") / "credentials").exists()
    assert not (half / "credentials").exists()
    cluster("scontrol", "release", job)
    wait_until(lambda: not cluster.jobs())
    assert cluster.status(run_id) == "FINISHED"


def test_in_a_container_a_run_goes_on_before_its_limit_of_time_and_a_study_shares_what_it_learns(
    cluster: Cluster,
) -> None:
    variables = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", **apptainer.install(cluster.folder)}
    paths = {"runs": str(cluster.runs)}
    write_profile(cluster.project, container=apptainer.IMAGE, paths=paths, variables=variables, options={"hold": None})
    limits = ("--time", "2m", "--signal-before", "1m")
    words = ("--entry-point", "descend", "--arguments", "steps=75,seconds=1")
    run_id = cluster("slurm-launch", *words, *limits).split()[1]
    study = {
        "entry-point": "descend",
        "arguments": {"seconds": 3, "rate_": {"least": 0.0, "most": 1.0}},
        "search": "bayesian",
        "trials": 3,
        "minimise": "validation/loss",
        "parallel": 2,
    }
    (cluster.project.folder / "session.yaml").write_text(json.dumps(study))
    session = cluster("slurm-launch", "--session", "session.yaml").split()[1]

    # What is edited afterwards is not what is executed.
    program = cluster.project.folder / "my_research" / "descend.py"
    program.write_text("raise SystemExit('edited after it was sealed')\n")
    cluster("scontrol", "release", ",".join({job.partition("_")[0] for job in cluster.jobs()}))
    wait_until(lambda: not cluster.jobs())
    program.write_text(DESCEND)

    log = cluster("slurm-log", run_id)
    assert cluster.status(run_id) == "FINISHED", log
    assert "restart 1" in log
    assert "Slurm takes no restart" not in log
    surroundings = json.loads((cluster.runs / run_id / "environment.json").read_text())
    assert surroundings["image"] == apptainer.IMAGE
    assert_that_two_trials_at_a_time_learnt_from_each_other(cluster, session)


def assert_that_two_trials_at_a_time_learnt_from_each_other(cluster: Cluster, session: str) -> None:
    assert cluster("slurm-status", session).startswith("3: 3 finished\n")
    runs = cluster.trials(session)
    assert sorted(runs) == [0, 1, 2]
    assert [cluster.status(run_id) for run_id in (session, *runs.values())] == ["FINISHED"] * 4
    times = [
        cluster.query("select start_time, end_time from runs where run_uuid = ?", run_id)[0] for run_id in runs.values()
    ]
    (first, second, third) = sorted((int(begin), int(end)) for begin, end in times)
    assert second[0] < first[1]
    assert third[0] >= min(first[1], second[1])
    rates = [
        json.loads((cluster.runs / run_id / "envelope.json").read_text())["arguments"]["rate"]
        for run_id in runs.values()
    ]
    assert len(set(rates)) == 3
    known = (cluster.runs / session / "search.journal").read_text()
    assert all(repr((rate - 0.5) ** 2) in known for rate in rates)


def test_of_a_session_that_does_not_fit_into_the_queue_the_rest_follows(cluster: Cluster) -> None:
    write_profile(cluster.project, options={"hold": None})
    write_session(cluster.project, **{"learning-rate_": RATES})
    with cluster.where(sbatch=FULL_QUEUE):
        refused = cluster("slurm-launch", "--session", "session.yaml", "--parallel", "2", check=False)
    session = refused.split()[1]
    assert (
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits). 1 of 2 jobs are "
        f"submitted; the rest follow by: slurm-launch --run-id {session}" in refused
    )
    assert len(cluster.jobs()) == 5
    assert [path.name for path in (cluster.runs / "jobs" / session).iterdir()] == ["0+0"]
    launched = cluster("slurm-launch", "--run-id", session)
    assert "trials 5-7" in launched
    assert "trials 0-4" not in launched
    assert len(cluster.jobs()) == 8
    # Two at a time are two of the whole session: one array waits for the other.
    waits = dict(line.split() for line in cluster("squeue", "--noheader", "--format=%F %E").splitlines())
    first, second = sorted(waits, key=int)
    assert waits == {first: "(null)", second: f"afterany:{first}_*(unfulfilled)"}
    cluster("slurm-cancel", session)
    assert cluster.jobs() == {}


def test_the_tutorial_is_true(cluster: Cluster) -> None:
    page = (TEMPLATE / "docs" / "slurm.md").read_text(encoding="utf-8")
    places = {
        "login.example.org": "login",
        "/shared/my-research/.venv": str(ENVIRONMENT),
        "/shared/my-research/runs": str(cluster.runs),
    }
    for place, own in places.items():
        page = page.replace(place, own)
    page = page.replace(
        "  variables:\n", "  variables:\n    MLFLOW_DISABLE_TELEMETRY: 'true'\n    SECONDS_PER_STEP: '0.1'\n"
    )
    shown, identifier = "", ""
    for kind, text in re.findall(r"```(yaml|sh)\n(.*?)```", page, re.DOTALL):
        if kind == "yaml":
            path = cluster.project.folder / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        for line in text.splitlines():
            shown = cluster(*shlex.split(re.sub(r"\bID\b", identifier, line)))
            # The log names runs too.
            launched = re.search(r"^(?:run|session) +([0-9a-f]{32}) ", shown, re.MULTILINE)
            if launched and line.startswith("slurm-launch"):
                identifier = launched[1]
    write_profile(cluster.project)
    assert shown.startswith("3: 3 finished")


def test_a_line_that_breaks_off_or_is_refused_is_one_sentence(cluster: Cluster) -> None:
    write_session(cluster.project, **{"learning-rate_": RATES})
    before = sorted(cluster.runs.glob("*"))
    reached = cluster.folder / "reached"
    held = subprocess.Popen(
        [ENVIRONMENT / "bin" / "python", "-c", HOLD, reached],
        env=environment() | cluster.variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(reached.exists)
    cluster.sshd("drop")
    assert "the connection to login broke off" in held.communicate()[1]
    cluster.sshd("stop")
    refused = cluster("slurm-launch", "--session", "session.yaml", check=False)
    assert "Connection refused" in refused
    assert refused.count("\n") == 1
    assert sorted(cluster.runs.glob("*")) == before
