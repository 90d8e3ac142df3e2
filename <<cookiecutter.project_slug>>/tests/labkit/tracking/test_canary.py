"""Canaries are put wherever a secret can be, and every output of a run is searched for them."""

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from labkit.secret import MASK
from tests.labkit.tracking.slack import accept, serve
from tests.project import ROOT, Project

pytestmark = pytest.mark.slow
STUDY = str(Path(__file__).with_name("talkative_study.py"))
VARIABLES = {
    "MLFLOW_TRACKING_PASSWORD": "finch-of-mlflow",
    "AWS_ACCESS_KEY_ID": "finch-of-aws-id",
    "AWS_SECRET_ACCESS_KEY": "/finch+of/aws",
    "AWS_SESSION_TOKEN": 'finch"of\\session',
    "PROXY_URL": "http://ada:finch-of-proxy@127.0.0.1:9",
    "HF_TOKEN": "finch-of-the-hub",
    "SERVICE_KEY": "finch-of-service-0815",
    "DATABASE_URL": "postgresql://ada:finch-of-database@127.0.0.1/base",
}
API_KEY = "finch-of-parameter"
PASSWORD = "wren"
REPOSITORY = "https://ada:finch-of-repository@127.0.0.1/x.git"
SHOWN = (
    *(MASK for name in VARIABLES if name != "DATABASE_URL"),
    f"postgresql://{MASK}@127.0.0.1/base",
    MASK,
    MASK,
    f"https://{MASK}@127.0.0.1/x.git",
)
"""What a log has instead of the variables, Slack's address, the key and the repository's address."""
ARGUMENTS = ("--api-key", API_KEY, "--password", PASSWORD, "--repository", REPOSITORY)


@pytest.fixture(autouse=True)
def _way_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def read_all(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file under a path, with those that are in archives."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if not file.is_file():
            continue
        data = file.read_bytes()
        yield str(file), data
        if file.name.endswith(".gz"):
            yield f"{file} unpacked", gzip.decompress(data)
        if tarfile.is_tarfile(io.BytesIO(data)):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    yield f"{file}: {member.name}", content.read() if content else b""


def plant(project: Project, canaries: str) -> None:
    """Make a repository whose tree differs from its commit by canaries, in files known to git, unknown and secret."""

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *words],
            cwd=project.path,
            check=True,
            capture_output=True,
        )

    (project.path / "tracked.py").write_text("clean = True\n")
    (project.path / ".gitignore").write_text("/mlflow.db*\n/mlruns/\n/runs/\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "begin")
    git("remote", "add", "origin", "https://ada:finch-of-remote@127.0.0.1/x.git")
    (project.path / "tracked.py").write_text(f"clean = '''{canaries}'''\n")
    (project.path / "untracked.py").write_text(f"'''{canaries}'''\n")
    (project.path / ".envrc.private").write_text("export ANYTHING=finch-of-envrc\n")
    (project.path / ".env").write_text("ANYTHING=finch-of-env\n")


def execute(project: Project, *words: str, end: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return project.execute(STUDY, "--experiment-name", "exp", *words, "--end", end, **variables)


def test_no_canary_is_in_any_output(project: Project) -> None:
    with serve(accept) as slack:
        variables = {**VARIABLES, "SLACK_URL": slack.url}
        spoken = " ".join([*variables.values(), API_KEY, REPOSITORY])
        plant(project, spoken)
        result = execute(
            project,
            *ARGUMENTS,
            *("--run-name", f"named {API_KEY}", "--note", f"note {variables['HF_TOKEN']}", "--variables", *variables),
            end="badly",
            **variables,
        )
    assert result.returncode == 1, result.stderr
    digest = hashlib.sha256(repr([API_KEY, PASSWORD, REPOSITORY]).encode()).hexdigest()
    assert f"digest {digest}\n" in result.stdout, "the study itself has not got its secrets"

    folder = project.path / "runs" / project.run.info.run_id
    outputs = {"output": result.stdout.encode(), "errors": result.stderr.encode()}
    outputs |= {f"message {number}": text.encode() for number, text in enumerate(slack.texts)}
    for name in ("mlflow.db", "mlruns", "runs"):
        outputs |= dict(read_all(project.path / name))
    assert len(slack.texts) == 2
    assert str(folder / "sender.log") in outputs
    assert str(folder / "logs" / "attempt-1.txt") in outputs

    archive = folder / "source.tar.gz"
    assert outputs[f"{archive}: tracked.py"].count(MASK.encode()) == len(SHOWN)
    assert outputs[f"{archive}: untracked.py"].count(MASK.encode()) == len(SHOWN)
    assert not {f"{archive}: .env", f"{archive}: .envrc.private"} & outputs.keys()

    slack_path = slack.url.partition(str(slack.server_port))[2]
    canaries = [b"finch", b"wren", slack_path.encode(), quote(slack.url, safe="").encode()]
    assert {name for name, data in outputs.items() for canary in canaries if canary in data} == set()

    log = (folder / "logs" / "attempt-1.txt").read_text()
    for form in ("whole {}", "{}", "{{'value': '{}'}}"):
        lines = [line for line in log.splitlines() if line in {form.format(value) for value in SHOWN}]
        assert lines == [form.format(value) for value in SHOWN]
    assert "\nlast words\n" in log
    run = project.run
    assert run.info.run_name == f"named {MASK}"
    assert run.data.tags["mlflow.note.content"] == f"note {MASK}"
    assert (run.data.params["api_key"], run.data.params["password"]) == (MASK, MASK)
    assert run.data.params["repository"] == f"https://{MASK}@127.0.0.1/x.git"


def test_a_run_with_secrets_goes_on_when_they_are_given_again(project: Project) -> None:
    first = execute(project, *ARGUMENTS, end="interrupted")
    assert first.returncode == 75
    run = project.run.info.run_id
    second = project.execute(STUDY, "--run-id", run, *ARGUMENTS)
    assert second.returncode == 75, second.stderr
    (digest,) = (line for line in first.stdout.splitlines() if line.startswith("digest "))
    assert f"{digest}\n" in second.stdout
    assert API_KEY not in second.stdout + second.stderr
    log = (project.path / "runs" / run / "logs" / "attempt-2.txt").read_text()
    assert f"whole {MASK}\n" in log
    assert "finch" not in log


def test_a_run_with_secrets_asks_for_them_by_name(project: Project) -> None:
    assert execute(project, *ARGUMENTS, end="interrupted").returncode == 75
    run = project.run.info.run_id
    result = project.execute(STUDY, "--run-id", run, "--api-key", API_KEY, "--repository", REPOSITORY)
    assert result.returncode == 2
    assert result.stderr == (
        f"train: --password was given a secret, which no run records: give it again to continue the run {run}.\n"
    )
    assert project.run.data.tags["labkit.state"] == "interrupted"


def test_a_secret_that_the_run_has_not_is_refused_and_not_shown(project: Project) -> None:
    assert execute(project, end="interrupted").returncode == 75
    run = project.run.info.run_id
    result = project.execute(STUDY, "--run-id", run, "--api-key", API_KEY)
    assert result.returncode == 2
    assert result.stderr == (
        f"train: --api-key is '{MASK}', but the run {run} has None: "
        "leave it out to continue the run, or leave out --run-id for a new one.\n"
    )
