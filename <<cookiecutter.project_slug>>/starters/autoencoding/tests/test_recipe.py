import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project


def test_the_baseline_is_as_it_should_be(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    assert "holds: principal components/loss is 0.0" in capsys.readouterr().out
    assert project.runs
