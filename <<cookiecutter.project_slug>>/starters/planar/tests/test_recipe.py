import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project


def test_neighbours_tell_what_means_do_not(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    assert "holds: nearest neighbour/accuracy is 1, " in capsys.readouterr().out
    assert project.runs
