import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project
from .test_train import HEAVY


def test_help_answers_without_what_takes_long_to_import(project: Project) -> None:
    done = project.execute("-X", "importtime", "-m", "<< cookiecutter.package_name >>.recipe", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: recipe ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "labkit" in imported
    assert imported & HEAVY == set()


def test_the_data_and_the_baseline_are_as_they_should_be(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "explore data"]) == 0
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    assert "holds: nearest mean/accuracy is 0.911111" in capsys.readouterr().out
    assert project.runs
