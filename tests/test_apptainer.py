"""Launching on a machine without a scheduler: real processes, under a real tmux.

Apptainer itself is in few distributions: a double of it takes the same command line, and executes it outside of any
container.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import type_command
from project import ENVIRONMENT, TOOLS, Project, run

# A symbolic link would not do: Python looks for its packages beside the name that it was called by.
PYTHON = f'#!/bin/sh\nexec {ENVIRONMENT}/bin/python "$@"\n'
APPTAINER = """\
#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$APPTAINER_CALLS"
[[ $1 == exec ]] || exit 64
shift
while [[ $1 == --* ]]; do
  case $1 in
    --bind) [[ -d $2 ]] || { echo "no folder $2" >&2; exit 255; }; shift 2 ;;
    --pwd) cd "$2" || exit 255; shift 2 ;;
    --nv) shift ;;
    *) exit 64 ;;
  esac
done
[[ $1 == training.sif ]] || exit 255
shift
exec "$@"
"""
CLUSTERS = "workstation: {scheduler: apptainer, container: training.sif}\n"
CANARY = "canary-of-the-bucket"
TRAIN = ("--entry-point", "train", "--argument-sets", "seed=1,2,3,architecture=mlp,duration=1 epoch")
OUTPUT = "runs/.apptainer/*/output/0.txt"
SECONDS = 240


class User:
    """Somebody who launches a project on this machine, and waits for what becomes of it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder.parent
        programs = self.folder / "programs"
        programs.mkdir()
        for name, text in {"apptainer": APPTAINER, "python": PYTHON}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (project.folder / "deploy" / "clusters.yaml").write_text(CLUSTERS)
        self.calls = self.folder / "calls"
        self.variables = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "APPTAINER_CALLS": str(self.calls),
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
    session = user.launch(*TRAIN, "--parallel", "2")
    (user.project.folder / "my_research" / "train.py").write_text("raise SystemExit('edited after it was sealed')\n")
    assert "labkit-" in run("tmux", "ls", folder=user.folder, variables=user.variables).stdout
    log = user("apptainer-log", f"{session}/1", "--follow")
    printed = user.await_count(session, "3: 3 finished")
    assert re.search(rf"{session}/1 .* ended \(0\) .* 17 +validation/loss \S+ +seed=2$", printed, re.MULTILINE)
    assert log.count("=== 1, restart 0") == 1
    assert "validation/accuracy" in log
    assert "Nothing is left" in user("apptainer-launch", "--run-id", session)

    # What is secret is on no command line and in no file that is left.
    assert CANARY not in user.calls.read_text()
    (folder,) = (user.project.folder / "runs" / ".apptainer").iterdir()
    assert not (folder / "credentials").exists()
    assert not [path for path in folder.rglob("*") if path.is_file() and CANARY in path.read_text()]
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
