"""What the documentation shows is what happens."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ENVIRONMENT, TEMPLATE, copy_template, render, run

BENCH = TEMPLATE / "<<cookiecutter.project_slug>>"
# PyTorch for the CPU, and both cores for the tests.
VARIABLES = {"CI": "true", "PYTEST_ADDOPTS": "--numprocesses=2"}
PAGES = [page for page in sorted((TEMPLATE / "docs").glob("*.md")) if ">>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_are_true(page: Path, tmp_path: Path) -> None:
    variables = {"PYTHONPATH": str(BENCH), "TMPDIR": str(tmp_path)}
    run(ENVIRONMENT / "bin" / "python", "-m", "doctest", page, folder=tmp_path, variables=variables)


def test_the_first_ten_minutes_go_as_the_readme_says(tmp_path: Path) -> None:
    _, _, rest = (TEMPLATE / "README.md").read_text(encoding="utf-8").partition("\n## The first ten minutes\n")
    chapter, _, _ = rest.partition("\n## ")
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", chapter, flags=re.MULTILINE | re.DOTALL)
    assert [block.split()[:2] for block in blocks] == [
        ["make", "project"],
        ["cd", "../my-research"],
        ["make", "train"],
        ["make", "format"],
    ]
    template = tmp_path / "labkit"
    template.mkdir()

    # As on a terminal: one command after the other, in the folder that the ones before led to.
    done = run("bash", "-euc", "".join(blocks), folder=copy_template(template), variables=VARIABLES)

    assert re.search(r"^test/accuracy +0\.9[5-9]", done.stdout, flags=re.MULTILINE), done.stdout
    assert run("git", "status", "--porcelain", folder=tmp_path / "my-research").stdout == ""


def test_the_table_of_tasks_names_tests_that_there_are() -> None:
    page = (TEMPLATE / "docs" / "tasks.md").read_text(encoding="utf-8")
    tests = "".join(file.read_text(encoding="utf-8") for file in (BENCH / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)(?:\[.*\])?`", page)
    assert len(named) > 20
    assert set(named) - set(re.findall(r"^def (test_\w+)", tests, flags=re.MULTILINE)) == set()
    exported = re.findall(
        r'^    "(\w+)",$', (BENCH / "labkit/training/tasks/__init__.py").read_text(), flags=re.MULTILINE
    )
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(exported)


def list_tests(path: Path) -> Iterator[str]:
    """List the tests of a file as pytest names them, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef():
                yield node.name
            case ast.ClassDef():
                yield from (f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))
            case _:
                pass


def test_what_others_get_wrong_has_tests_that_there_are() -> None:
    page = (TEMPLATE / "docs" / "peers.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| (?!---|what goes wrong|the wish)", line)]
    named = {row: re.findall(r"`([\w/]+\.py)::([\w:]+)`", row) for row in rows}
    assert len(named) > 80
    assert [row for row, tests in named.items() if not tests] == []
    for file, test in sorted({pair for tests in named.values() for pair in tests}):
        path = (TEMPLATE if file.startswith("tests/") else BENCH / "tests" / "labkit") / file
        assert test in list_tests(path), path


def test_a_study_goes_from_supervised_to_contrastive_by_one_line(tmp_path: Path) -> None:
    _, _, chapter = (TEMPLATE / "docs" / "tasks.md").read_text(encoding="utf-8").partition("\n## From supervised to ")
    (change,) = re.findall(r"^```diff\n-(.*)\n\+(.*)\n```$", chapter, flags=re.MULTILINE)
    contrast, back = re.findall(r"^```bash\n(.*?)^```", chapter, flags=re.MULTILINE | re.DOTALL)
    project = render(tmp_path, {})
    project.adopt_environment()
    study = project.folder / "my_research" / "train.py"
    supervised = study.read_text(encoding="utf-8")
    assert supervised.count(change[0]) == 1

    study.write_text(supervised.replace(*change), encoding="utf-8")
    done = project.run(f"source .venv/bin/activate; {contrast}")
    assert float(re.findall(r"^test/precision_at_1 +(.*)$", done.stdout, flags=re.MULTILINE)[0]) > 0.8
    assert float(re.findall(r"^test/map +(.*)$", done.stdout, flags=re.MULTILINE)[0]) > 0.5

    study.write_text(supervised, encoding="utf-8")
    run_id = re.findall(r"^run +(\w+)", done.stdout, flags=re.MULTILINE)[0]
    done = project.run(f"source .venv/bin/activate; {back.replace('RUN_ID', run_id)}")
    assert "Beginning with 8 weights" in done.stdout
    assert float(re.findall(r"^validation/accuracy +(.*)$", done.stdout, flags=re.MULTILINE)[0]) > 0.85


def test_the_plan_of_the_house_names_what_is_there() -> None:
    page = (TEMPLATE / "docs" / "architecture.md").read_text(encoding="utf-8")
    plan = {
        package: {room.strip() for room in rooms.split(",")}
        for package, rooms in re.findall(r"^\| \d \| `labkit\.(\w+)` \|.*\| (.*) \|$", page, flags=re.MULTILINE)
    }
    packages = {file.parent for file in (BENCH / "labkit").glob("*/__init__.py")}
    assert plan.keys() == {package.name for package in packages}
    for package in packages:
        modules = {path.stem for path in package.iterdir() if not path.name.startswith("_")}
        assert plan[package.name] - modules == set(), package.name
