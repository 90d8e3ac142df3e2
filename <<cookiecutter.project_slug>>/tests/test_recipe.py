import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project


def test_the_data_and_the_baseline_are_as_they_should_be(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "explore data"]) == 0
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    assert "holds: nearest mean/accuracy is 0.911111" in capsys.readouterr().out
    assert project.runs
