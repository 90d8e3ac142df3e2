"""Launching on a machine without a scheduler: real processes, under a real tmux; there is a double of Apptainer."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import HOSTILE, quote, type_command
from project import TEMPLATE, TOOLS, Project, run
from services import apptainer
from services.command_line import watching_command_lines
from services.tracking_server import serving

CLUSTERS = "workstation: {scheduler: apptainer, container: training.sif}\n"
CANARY = "canary-of-a-machine's-bucket"
SSHD = TEMPLATE / "tests" / "services" / "sshd.sh"
TRAIN = ("--entry-point", "train", "--argument-sets", "seed=1,2,3,architecture=mlp,duration=1 epoch")
OUTPUT = "runs/.apptainer/*/output/0.txt"
SECONDS = 240


class User:
    """Somebody who launches a project on this machine, and waits for what becomes of it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder.parent
        (project.folder / "deploy" / "clusters.yaml").write_text(CLUSTERS)
        self.calls = self.folder / "calls"
        self.variables = {
            **apptainer.install(self.folder),
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "TMUX_TMPDIR": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }

    def __call__(self, command: str, *words: str, code: int = 0) -> str:
        """Type a command; return what it prints."""
        done = type_command(self.project, command, *words, code=code, variables=self.variables)
        assert CANARY not in done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def launch(self, *words: str) -> str:
        """Launch; return the id of the run or session."""
        (identifier,) = re.findall(r"^(?:run|session) +(\w+) ", self("apptainer-launch", *words), flags=re.MULTILINE)
        return identifier

    def await_count(self, identifier: str, count: str) -> str:
        """Wait until the runs of a launch stand where they should; return what its status prints."""
        end = time.monotonic() + SECONDS
        while not (printed := self("apptainer-status", identifier)).startswith(f"{count}\n"):
            assert time.monotonic() < end, printed + self("apptainer-log", identifier)
            time.sleep(2)
        return printed

    def await_training(self, jobs: int) -> None:
        """Wait until all of so many jobs have trained for an epoch."""
        end = time.monotonic() + SECONDS
        while [("epoch" in path.read_text()) for path in self.project.folder.glob(OUTPUT)] != [True] * jobs:
            assert time.monotonic() < end
            time.sleep(0.5)


@pytest.fixture
def user(fresh: Project) -> Iterator[User]:
    if not shutil.which("tmux"):
        reason = "no tmux: apt-get install tmux"
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    user = User(fresh)
    yield user
    run("tmux", "kill-server", folder=fresh.folder, variables=user.variables, check=False)


def test_a_session_is_executed_from_sealed_code_and_not_twice(user: User) -> None:
    with watching_command_lines() as command_lines:
        session = user.launch(*TRAIN, "--arguments", f"may-be-missing=[{quote(HOSTILE)}]", "--parallel", "2")
        (user.project.folder / "my_research" / "train.py").write_text("raise SystemExit('edited after sealing')\n")
        assert "labkit-" in run("tmux", "ls", folder=user.folder, variables=user.variables).stdout
        log = user("apptainer-log", f"{session}/1", "--follow")
        printed = user.await_count(session, "3: 3 finished")
    assert re.search(rf"{session}/1 .* ended \(0\) .* 17 +validation/loss \S+ +seed=2$", printed, re.MULTILINE)
    assert log.count("=== 1, restart 0") == 1
    assert "validation/accuracy" in log
    assert "Nothing is left" in user("apptainer-launch", "--run-id", session)

    # What a user typed is what arrived, and nothing else was executed.
    envelopes = list((user.project.folder / "runs").glob("*/envelope.json"))
    arguments = [json.loads(path.read_text())["arguments"] for path in envelopes]
    assert [found["may_be_missing"] for found in arguments if "may_be_missing" in found] == [[HOSTILE]] * 3
    assert list(user.folder.rglob("executed")) == []

    # What is secret is on no command line and in no file that is left.
    assert any("bootstrap.py" in line for line in command_lines)
    assert not [line for line in command_lines if CANARY in line]
    (folder,) = (user.project.folder / "runs" / ".apptainer").iterdir()
    assert not (folder / "credentials").exists()
    files = [path for path in user.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert not (folder / "pid").exists()


def test_a_run_that_is_stopped_writes_a_checkpoint_and_goes_on_when_launched_again(user: User) -> None:
    words = ("--entry-point", "train", "--arguments", "architecture=mlp,duration=400 epochs,seed=1")
    identifier = user.launch(*words)
    user.await_training(1)
    assert "Nothing is left to submit" in user("apptainer-launch", "--run-id", identifier)  # it is under way
    assert user("apptainer-stop", identifier) == "1 asked for a checkpoint and an end.\n"
    user.await_count(identifier, "1: 1 interrupted")
    assert (user.project.folder / "runs" / identifier / "checkpoints" / "last.ckpt").exists()
    user.launch("--run-id", identifier)
    user.await_training(2)
    user("apptainer-stop", identifier)
    user.await_count(identifier, "1: 1 interrupted")


def test_another_machine_executes_without_tmux_and_without_the_connection(
    user: User, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("a")
    settings = (f"PATH={user.variables['PATH']}", f"APPTAINER_CALLS={user.calls}")
    run(SSHD, "start", folder / "sshd", *settings, folder=folder)
    with (folder / "sshd" / "home" / ".bash_profile").open("a") as profile:
        profile.write(f'{settings[0]}\ncommand() {{ [[ $2 != tmux ]] && builtin command "$@"; }}\n')
    host = {"scheduler": "apptainer", "host": "login", "container": apptainer.IMAGE}
    runs = folder / "runs"
    runs.mkdir()
    clusters = {"there": {**host, "paths": {"runs": str(runs)}, "variables": {"OMP_NUM_THREADS": "1"}}}
    (user.project.folder / "deploy" / "clusters.yaml").write_text(json.dumps(clusters))
    user.variables["PATH"] = f"{folder}/sshd/bin:{user.variables['PATH']}"
    try:
        with serving(folder / "tracking") as server:
            user.variables["MLFLOW_TRACKING_URI"] = server.address
            words = ("--entry-point", "train", "--arguments", "architecture=mlp,duration=1 epoch")
            identifier = user.launch(*words)
            run(SSHD, "drop", folder / "sshd", folder=folder)
            assert "validation/accuracy" in user("apptainer-log", identifier, "--follow")
            assert user("apptainer-status", identifier).startswith("1: 1 finished\n")
        assert run("tmux", "ls", folder=user.folder, variables=user.variables, check=False).returncode == 1
        user("apptainer-shell")
        *_, shell = user.calls.read_text().splitlines()
        assert shell == f"shell --bind {runs} {apptainer.IMAGE}"
    finally:
        run(SSHD, "stop", folder / "sshd", folder=folder)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--gpus", "2", "--devices", "0"),
            "2 idle GPUs are needed, and there are 1: name them with --devices, or wait.",
        ),
        (("--devices", "a"), "--devices has 'a': give the numbers of accelerators, such as 0,1."),
        (("--nodes", "2"), "a machine without a scheduler is one machine: leave out --nodes."),
    ],
)
def test_what_cannot_be_is_one_sentence(user: User, words: tuple[str, ...], sentence: str) -> None:
    assert user("apptainer-launch", *TRAIN, *words, code=2) == f"apptainer-launch: {sentence}\n"
    assert not (user.project.folder / "runs").exists()


def test_a_dry_run_prints_a_script_that_shellcheck_likes(user: User, tmp_path: Path) -> None:

    printed = user("apptainer-launch", *TRAIN, "--gpus", "1", "--devices", "0,3", "--dry-run")
    script = tmp_path / "job.sh"
    script.write_text(printed[printed.index("#!/usr/bin/env bash") :])
    run(TOOLS / "shellcheck", script, folder=tmp_path)
    assert re.findall(r"^work (\S+) &$", script.read_text(), flags=re.MULTILINE) == ["0", "3"]
    assert "apptainer exec --nv --bind" in script.read_text()
    assert not user.calls.exists()
