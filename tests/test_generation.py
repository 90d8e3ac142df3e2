"""From answers to a repository under git, by `make project` and by plain cookiecutter."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
import yaml
from combination import COMBINATIONS
from project import (
    TEMPLATE,
    TOOLS,
    USER,
    Project,
    cookiecutter_by,
    copy_template,
    environment,
    interpreter,
    render,
    run,
)


def test_a_project_begins_as_a_repository_with_the_bare_rendering(project: Project) -> None:
    answers = json.loads(project.read(".labkit.json"))["answers"]

    assert project.git("branch", "--format", "%(refname:short)") == "main\ntemplate"
    assert project.git("rev-parse", "main") == project.git("rev-parse", "template")
    assert project.git("rev-list", "--count", "main") == "1"
    assert project.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert project.git("status", "--porcelain", "--ignored") == ""
    assert project.git("config", "--local", "--list", "--name-only").count("user.") == 0
    assert project.git("log", "--format=%ae %ce") == f"{answers['author_email']} {answers['author_email']}"
    # git itself leaves out angle brackets, and punctuation at the ends.
    author = "".join(character for character in answers["author_name"] if character not in "<>")
    assert project.git("log", "--format=%an") in author


def test_the_commit_is_everything_that_was_rendered(project: Project) -> None:
    on_disk = {path.relative_to(project.folder) for path in project.folder.rglob("*") if path.is_file()}
    assert {path for path in on_disk if path.parts[0] != ".git"} == set(project.files())


def test_the_same_answers_give_the_same_project(tmp_path: Path) -> None:
    first, second = (render(tmp_path / name, COMBINATIONS["complete"]) for name in ("first", "second"))

    assert first.git("rev-parse", "HEAD^{tree}") == second.git("rev-parse", "HEAD^{tree}")


def test_nothing_of_the_users_own_git_decides_what_is_committed(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / "ignored").write_text(".envrc\n.python-version\n", encoding="utf-8")
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f"[core]\nhooksPath = {hooks}\nexcludesFile = {tmp_path / 'ignored'}\n[commit]\ngpgSign = true\n"
        "[user]\nname = Someone\nemail = someone@example.org\n",
        encoding="utf-8",
    )
    run(
        *(TOOLS / "python", TEMPLATE / "generate.py", "--no-input", "--output", "."),
        folder=tmp_path,
        variables={"GIT_CONFIG_GLOBAL": str(settings), "GIT_DIR": str(tmp_path / "other"), "HOME": str(tmp_path)},
    )

    project = Project(tmp_path / "my-research")
    assert project.git("log", "--format=%an %cn") == "Your Name Your Name"
    assert {Path(".envrc"), Path(".python-version")} <= set(project.files())
    assert not (tmp_path / "other").exists()


def test_without_git_it_says_so_and_generates_all_the_same(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()

    done = run(
        *(TOOLS / "python", TEMPLATE / "generate.py", "--no-input", "--output", tmp_path),
        folder=tmp_path,
        variables={"PATH": str(programs), "HOME": str(tmp_path)},
    )

    assert "git is missing" in done.stdout
    assert not (tmp_path / "my-research" / ".git").exists()
    assert json.loads((tmp_path / "my-research" / ".labkit.json").read_text(encoding="utf-8"))["version"] == ""


def test_make_project_takes_the_answers_of_a_file_where_it_cannot_ask(tmp_path: Path) -> None:
    answers = COMBINATIONS["complete"]
    config = tmp_path / "it's mine.yaml"
    config.write_text(yaml.safe_dump({"default_context": answers}), encoding="utf-8")
    output = tmp_path / "a 'folder'"

    done = run("make", "project", f"OUTPUT={output}", f"CONFIG={config}", folder=TEMPLATE)

    project = Project(output / answers["project_slug"])
    assert json.loads(project.read(".labkit.json"))["answers"] == answers
    assert f"cd {project.folder}" in done.stdout
    assert "make init" in done.stdout


def test_make_project_asks_on_a_terminal_and_again_where_an_answer_is_bad(tmp_path: Path) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Ada Lovelace\nemail = ada@example.org\n", encoding="utf-8")
    terminal, theirs = pty.openpty()
    asked = subprocess.Popen(
        [TOOLS / "python", TEMPLATE / "generate.py", "--output", tmp_path],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment() | {"GIT_CONFIG_GLOBAL": str(settings), "HOME": str(tmp_path), "TERM": "dumb"},
    )
    os.close(theirs)
    # All fourteen, then the package's name once more.
    answers = ["<< 7 * 7 >>", "seven", "class", "", "", "", "3", *[""] * 7, "seven"]
    os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
    screen = b""
    while True:
        try:
            screen += os.read(terminal, 4096)
        except OSError:
            break
    os.close(terminal)

    assert asked.wait() == 0
    assert b'package_name is "class", but that is a keyword of Python' in screen
    record = json.loads((tmp_path / "seven" / ".labkit.json").read_text(encoding="utf-8"))
    assert record["answers"] == {
        "project_name": "<< 7 * 7 >>",
        "project_slug": "seven",
        "package_name": "seven",
        "description": "A research project in deep learning.",
        "author_name": "Ada Lovelace",
        "author_email": "ada@example.org",
        "license": "Apache-2.0",
        "python_version": "3.11",
        "starter": "image-classification",
        **dict.fromkeys(("repository_url", "container_registry", "slurm_host", "kubernetes_namespace", "bucket"), ""),
    }


def test_plain_cookiecutter_generates_the_same_project(combination: str, project: Project, tmp_path: Path) -> None:
    answers = [f"{name}={value}" for name, value in COMBINATIONS[combination].items()]
    run(
        *(TOOLS / "cookiecutter", TEMPLATE, "--no-input", "--default-config", *answers),
        folder=tmp_path,
        variables={"HOME": str(tmp_path)},
    )

    (record,) = tmp_path.glob("*/.labkit.json")
    assert Project(record.parent).git("rev-parse", "HEAD^{tree}") == project.git("rev-parse", "HEAD^{tree}")
    assert not list(tmp_path.rglob("executed"))


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_hooks_run_on_every_python(tmp_path: Path, version: str) -> None:
    answers = [f"{name}={value}" for name, value in COMBINATIONS["quotes"].items()]

    run(
        *(*cookiecutter_by(interpreter(version)), TEMPLATE, "--no-input", "--default-config", *answers),
        folder=tmp_path,
        variables={"HOME": str(tmp_path)},
    )

    assert Project(tmp_path / "quotes").git("rev-list", "--count", "template") == "1"


def test_the_users_own_configuration_of_cookiecutter_is_proposed_where_it_fits(tmp_path: Path) -> None:
    mine = {"author_name": "Ada Lovelace", "license": "WTFPL", "full_name": "Ada", "python_version": 3.12}
    config = tmp_path / ".cookiecutterrc"
    config.write_text(yaml.safe_dump({"default_context": mine}), encoding="utf-8")

    run(
        *(TOOLS / "python", TEMPLATE / "generate.py", "--no-input", "--output", tmp_path),
        folder=tmp_path,
        variables={"COOKIECUTTER_CONFIG": str(config)},
    )

    answers = json.loads((tmp_path / "my-research" / ".labkit.json").read_text(encoding="utf-8"))["answers"]
    assert (answers["author_name"], answers["license"], answers["python_version"]) == ("Ada Lovelace", "MIT", "3.11")


@pytest.mark.parametrize(
    ("license_name", "first_line"),
    [
        ("MIT", "MIT License"),
        ("BSD-3-Clause", "BSD 3-Clause License"),
        ("Apache-2.0", "Apache License"),
        ("GPL-3.0-or-later", "GNU GENERAL PUBLIC LICENSE"),
        ("Proprietary", 'Copyright (c) {year} Ada <ada> & "Co". All rights reserved.'),
    ],
)
def test_the_license_is_the_one_that_was_chosen(tmp_path: Path, license_name: str, first_line: str) -> None:
    project = render(tmp_path, {"license": license_name, "author_name": 'Ada <ada> & "Co"'})

    year = json.loads(project.read(".labkit.json"))["year"]
    assert project.read("LICENSE").strip().split("\n")[0].strip() == first_line.format(year=year)


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("https://github.com/group/labkit.git", "https://github.com/group/labkit.git"),
        ("https://ada:secret@example.org:8443/labkit.git", "https://example.org:8443/labkit.git"),
        ("git@github.com:group/labkit.git", "git@github.com:group/labkit.git"),
        (None, "{template}"),
    ],
)
def test_a_project_remembers_its_template_and_version(tmp_path: Path, origin: str | None, address: str) -> None:
    template = copy_template(tmp_path / "labkit")
    if origin:
        run("git", "remote", "add", "origin", origin, folder=template)
    run("git", "tag", "--annotate", "v1.2", "--message", "v1.2", folder=template, variables=USER)

    record = json.loads(render(tmp_path, {}, template=template).read(".labkit.json"))

    assert record["template"] == address.format(template=template)
    assert record["version"] == "v1.2"
