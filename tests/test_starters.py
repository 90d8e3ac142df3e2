"""A project begins with the study that was chosen, and nothing is left of the others."""

import re
from pathlib import Path

import pytest
from project import TEMPLATE, Project, copy_template, render

STARTERS = Path("<<cookiecutter.project_slug>>", "starters")
NAMES = sorted(folder.name for folder in (TEMPLATE / STARTERS).glob("*/"))
# As it comes, from the first step to the end of its recipe; in one process, since each imports torch for seconds.
PROGRAM = """
import sys

from my_research.evaluate import evaluate
from my_research.recipe import recipe
from my_research.train import train

sys.exit(train.main(["--seed", "0"]) or evaluate.main([]) or recipe.main([]))
"""


def texts(project: Project) -> dict[str, str]:
    """Return the text of each file, but for the record of the answers."""
    return {str(file): project.read(file) for file in project.files() if file.name != ".labkit.json"}


def read_score(name: str) -> tuple[str, float]:
    """Return a metric of a starter, and its value on the test set, as the page of starters states them."""
    page = (TEMPLATE / "docs" / "starters.md").read_text(encoding="utf-8")
    ((metric, value),) = re.findall(rf"^\| `{name}` \|.*\|.*\| (\w+) (\d\.\d+)\b.*\|.*\|$", page, flags=re.MULTILINE)
    return metric, float(value)


def test_a_new_starter_is_a_new_folder_and_nothing_else(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "labkit")
    before = render(tmp_path / "before", {}, template=template)
    for name in ("idea", "other-idea"):
        folder = template / STARTERS / name
        (folder / "<<cookiecutter.package_name>>").mkdir(parents=True)
        (folder / "<<cookiecutter.package_name>>" / "model.py").write_text(
            f'"""{name} of << cookiecutter.project_slug >>."""\n', encoding="utf-8"
        )
    (template / STARTERS / "idea" / "tests").mkdir()
    (template / STARTERS / "idea" / "tests" / "test_idea.py").write_text('"""New."""\n', encoding="utf-8")
    (template / STARTERS / "idea" / "tests" / "test_data.py").touch()

    default = render(tmp_path / "default", {}, template=template)
    chosen = render(tmp_path / "chosen", {"starter": "idea"}, template=template)

    assert texts(default) == texts(before)
    expected = texts(before) | {
        "my_research/model.py": '"""idea of my-research."""\n',
        "tests/test_idea.py": '"""New."""\n',
    }
    del expected["tests/test_data.py"]  # an empty file takes it away
    assert texts(chosen) == expected
    for project in (default, chosen):
        assert not (project.folder / "starters").exists()
        assert project.git("status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_starter_passes_its_own_checks_and_reaches_the_score_that_the_page_says(tmp_path: Path, name: str) -> None:
    project = render(tmp_path, {"starter": name})
    project.adopt_environment()

    project.run("make lint")
    project.run('make type-check ARGS="my_research $(echo tests/*.py)"')
    # They train it and evaluate it. Those of the bench and of the operator are the same in every project.
    project.run('make test ARGS="tests --ignore tests/labkit --ignore tests/test_operators.py"')
    (project.folder / "all.py").write_text(PROGRAM, encoding="utf-8")
    done = project.run(".venv/bin/python all.py", check=False, OMP_NUM_THREADS="1")
    (project.folder / "all.py").unlink()

    assert done.returncode == 0, done.stdout + done.stderr
    metric, score = read_score(name)
    (reached,) = re.findall(rf"^test/{metric} +([\d.]+)$", done.stdout, flags=re.MULTILINE)
    assert float(reached) == pytest.approx(score, rel=0.04)
    (last,) = re.findall(r"^(\d+)/\1 ", done.stdout, flags=re.MULTILINE)
    assert len(re.findall(r"^\d+ .* up to date ", done.stdout, flags=re.MULTILINE)) == int(last)
    assert project.git("status", "--porcelain") == ""
