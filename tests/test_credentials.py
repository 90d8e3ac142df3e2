"""Credentials, with a real keychain, direnv and ansible-vault."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from console import check_page
from project import TEMPLATE, USER, Project, run

KEYRING = TEMPLATE / "tests" / "services" / "keyring.sh"
CANARY = "correct horse battery"


@pytest.fixture(autouse=True)
def _services() -> None:
    """Fail or skip where there is no keychain or direnv."""
    if not all(shutil.which(program) for program in ("dbus-run-session", "gnome-keyring-daemon", "direnv")):
        reason = "no keychain or direnv: apt-get install dbus gnome-keyring direnv"
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def variables(fresh: Project, home: Path) -> dict[str, str]:
    """The environment of a user at work in a project."""
    fresh.adopt_environment()
    path = f"{fresh.folder}/.venv/bin:{os.environ['PATH']}"
    others = {"XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "", "XDG_CACHE_HOME": "", "DBUS_SESSION_BUS_ADDRESS": ""}
    return {**USER, **others, "HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"}


def find_canary(folder: Path) -> list[Path]:
    """Find the files that hold the password of the page."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if CANARY.encode() in path.read_bytes()]


def test_the_page_is_true_and_leaves_the_password_nowhere(
    fresh: Project, home: Path, variables: dict[str, str]
) -> None:
    keychain = home / "keychain"
    page = TEMPLATE / "docs" / "credentials.md"
    assert CANARY in page.read_text(encoding="utf-8")
    check_page(page, folder=fresh.folder, variables=variables | {"DIRENV_LOG_FORMAT": ""}, within=(KEYRING, keychain))
    assert (keychain / "keyrings").is_dir()
    assert find_canary(home) == find_canary(fresh.folder) == []
    assert "credentials.yaml" in fresh.git("ls-files")


def test_direnv_loads_what_it_can_and_says_what_is_missing(
    fresh: Project, home: Path, variables: dict[str, str]
) -> None:
    variables["CREDENTIALS_KEY_FILE"] = str(home / "key")

    def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run("bash", "-c", line, folder=fresh.folder, variables=variables | more)

    shell("credentials set SLACK_URL <<< shared; credentials set SLACK_USER <<< shared")
    shell("echo 'export SLACK_USER=ada' > .envrc.private; direnv allow")
    line = "direnv exec . bash -c 'echo \"$SLACK_USER $SLACK_URL $DATA_PATH\"'"
    assert shell(line).stdout == f"ada shared {fresh.folder}/data\n"
    assert shell(line, SLACK_URL="given").stdout == f"ada given {fresh.folder}/data\n"

    (home / "key").unlink()
    without_key = shell(line)
    assert without_key.stdout == f"ada  {fresh.folder}/data\n"
    assert "credentials: the key my-research-" in without_key.stderr


def test_where_no_keychain_answers_the_sentence_names_what_takes_its_place(
    fresh: Project, variables: dict[str, str]
) -> None:
    words = ("bash", "-c", "credentials set SLACK_URL <<< value")
    done = run(*words, folder=fresh.folder, variables=variables, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("credentials: there is no keychain on this machine: name a file for the key")
    assert not (fresh.folder / "credentials.yaml").exists()
