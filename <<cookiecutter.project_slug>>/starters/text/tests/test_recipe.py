import pytest

from << cookiecutter.package_name >>.recipe import recipe

from .project import Project


def test_words_alone_tell_much(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--step", "evaluate baseline"]) == 0
    assert "holds: naive Bayes/accuracy is 0." in capsys.readouterr().out
    assert project.runs
