"""A project begins with the study that was chosen, and nothing is left of the others."""

from pathlib import Path

import pytest
from project import TEMPLATE, Project, copy_template, render

STARTERS = Path("<<cookiecutter.project_slug>>", "starters")
NAMES = sorted(folder.name for folder in (TEMPLATE / STARTERS).glob("*/"))


def texts(project: Project) -> dict[str, str]:
    """Return the text of each file, but for the record of the answers."""
    return {str(file): project.read(file) for file in project.files() if file.name != ".labkit.json"}


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

    default = render(tmp_path / "default", {}, template=template)
    chosen = render(tmp_path / "chosen", {"starter": "idea"}, template=template)

    assert texts(default) == texts(before)
    assert texts(chosen) == texts(before) | {
        "my_research/model.py": '"""idea of my-research."""\n',
        "tests/test_idea.py": '"""New."""\n',
    }
    for project in (default, chosen):
        assert not (project.folder / "starters").exists()
        assert project.git("status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_starter_passes_its_own_checks(tmp_path: Path, name: str) -> None:
    project = render(tmp_path, {"starter": name})
    project.adopt_environment()

    project.run("make lint")
    project.run('make type-check ARGS="my_research $(echo tests/*.py)"')
    # They train it and evaluate it. Those of the bench and of the operator are the same in every project.
    project.run('make test ARGS="tests --ignore tests/labkit --ignore tests/test_operators.py"')

    assert project.git("status", "--porcelain") == ""
