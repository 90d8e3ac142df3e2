"""`USE_DOCKER=1`: every target of make in a real container of the development image."""

import os
import re
from pathlib import Path

import pytest
from images import Store
from project import Project, run


@pytest.fixture(scope="module")
def record(imaged: Project, store: Store) -> str:
    """What a project knows of its development image."""
    store.make(imaged, "development-image")
    return imaged.read("docker/development-image.yaml")


@pytest.fixture
def project(fresh: Project, record: str) -> Project:
    """A project with a development image, and without an environment of its own."""
    (fresh.folder / "docker" / "development-image.yaml").write_text(record)
    return fresh


def make(project: Project, store: Store, target: str, *, check: bool = True, **variables: str) -> tuple[str, str]:
    """Run a target in the development image; return what it prints on standard output and standard error."""
    settings = {**store.settings, "ENGINE": "podman", "USE_DOCKER": "1", **variables}
    done = run("make", target, folder=project.folder, variables=settings, check=check)
    assert check == (done.returncode == 0)
    return done.stdout, done.stderr


def test_targets_run_in_the_image_on_the_project_itself(project: Project, store: Store) -> None:
    make(project, store, "train", ARGS="--architecture mlp --duration '1 epoch'")
    (run_folder,) = (project.folder / "runs").iterdir()
    assert run_folder.stat().st_uid == os.getuid()
    digest = re.search(r'digest: "(.+)"', project.read("docker/development-image.yaml"))
    assert digest
    assert digest[1] in (run_folder / "environment.json").read_text()
    assert "test/accuracy" in make(project, store, "evaluate")[0]
    assert "passed" in make(project, store, "test", ARGS="tests/test_model.py")[0]
    (project.folder / "my_research" / "model.py").write_text("import   os\n")
    make(project, store, "format")
    assert project.read("my_research/model.py") == ""
    assert "The environment is that of the development image" in make(project, store, "init")[0]
    # Nothing of the image's environments is left behind in the project.
    assert not list((project.folder / ".venv").iterdir())
    assert not list((project.folder / ".tools").iterdir())


def test_variables_arrive_as_they_are_and_the_project_sees_no_other_folder(
    project: Project, store: Store, tmp_path: Path
) -> None:
    show = """printf '%s|' "$$ODD" "$$DATA_PATH" "$${CREDENTIALS_KEY_FILE:-}"; ls $$DATA_PATH; ls $$ELSEWHERE"""
    (project.folder / "Makefile").write_text(f"{project.read('Makefile')}\nshow:\n\t@{show}\n")
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data, elsewhere):
        folder.mkdir()
        (folder / "file").touch()
    odd = 'it\'s "odd" $(touch executed) `touch executed` ümläut\nsecond line'
    variables = {
        "ODD": odd,
        "DATA_PATH": str(data),
        "ELSEWHERE": str(elsewhere),
        "CREDENTIALS_KEY_FILE": "/private/key",
    }
    printed, error = make(project, store, "show", check=False, **variables)
    assert printed == f"{odd}|{data}||file\n"
    assert f"cannot access '{elsewhere}'" in error
    assert not (project.folder / "executed").exists()


def test_an_image_of_another_lock_is_refused_with_the_command_that_mends_it(project: Project, store: Store) -> None:
    (project.folder / "poetry.lock").write_text(project.read("poetry.lock") + "\n")
    _, error = make(project, store, "lint", check=False)
    assert error.splitlines()[0] == (
        "The development image was built from another poetry.lock. Build it anew with: make development-image"
    )


def test_a_missing_image_and_a_missing_engine_are_one_sentence(fresh: Project) -> None:
    missing = run("make", "lint", folder=fresh.folder, variables={"USE_DOCKER": "1"}, check=False)
    assert missing.returncode != 0
    assert missing.stderr.splitlines()[0] == (
        "There is no development image yet. Build it with: make development-image"
    )
    (fresh.folder / "docker" / "development-image.yaml").write_text('digest: "localhost/x@sha256:0"\n')
    settings = {"USE_DOCKER": "1", "ENGINE": "no-such-engine"}
    missing = run("make", "lint", folder=fresh.folder, variables=settings, check=False)
    assert missing.returncode != 0
    assert missing.stderr.splitlines()[0] == (
        "USE_DOCKER=1 needs docker or podman, and neither answers. "
        "Install one, for example with: sudo apt-get install podman"
    )


def test_no_value_of_a_variable_is_on_the_command_line_of_the_engine(fresh: Project, tmp_path: Path) -> None:
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\n[ "$1" = info ] || printf "%s\\n" "$@"\n')
    engine.chmod(0o755)
    (fresh.folder / "docker" / "development-image.yaml").write_text('digest: "localhost/x@sha256:0"\n')
    settings = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "SSH_AUTH_SOCK": "/canary",
    }
    words = run("make/container.sh", "-c", "true", folder=fresh.folder, variables=settings).stdout.splitlines()
    assert "AWS_SECRET_ACCESS_KEY" in words
    assert "SSH_AUTH_SOCK" not in words
    assert not [word for word in words if "canary" in word]
