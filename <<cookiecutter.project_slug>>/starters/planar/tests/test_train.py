import pytest

from << cookiecutter.package_name >>.train import train

from .project import Project


@pytest.mark.parametrize(("distribution", "least", "most"), [("diagonal", 0.95, 1.0), ("xor", 0.2, 0.6)])
def test_straight_lines_part_what_they_can(project: Project, distribution: str, least: float, most: float) -> None:
    from labkit.training.duration import Duration

    run, long = project.make_run(), Duration(20, "epochs")
    train(run, data=distribution, architecture="linear", learning_rate=0.1, duration=long, validation_every=long)
    assert least <= run.history["validation/accuracy"][1][-1] <= most
