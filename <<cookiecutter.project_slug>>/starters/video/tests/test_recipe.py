import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project


def test_what_there_is_to_know_is_between_frames(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    printed = capsys.readouterr().out
    assert "holds: nearest frame/accuracy is 0." in printed
    assert "holds: nearest shift/accuracy is 0." in printed
    assert project.runs
