"""What the documentation shows is what happens."""

import re
from pathlib import Path

import pytest
from project import ENVIRONMENT, TEMPLATE, copy_template, run

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
