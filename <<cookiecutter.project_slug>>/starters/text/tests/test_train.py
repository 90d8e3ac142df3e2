import pytest

from << cookiecutter.package_name >>.train import train

from .project import Project

HEAVY = {"torch", "lightning", "mlflow", "numpy", "matplotlib", "sklearn", "tensorboard"}


@pytest.mark.parametrize("name", ["prepare", "train", "recipe"])
def test_help_answers_without_what_takes_long_to_import(project: Project, name: str) -> None:
    module = train.__module__.replace("train", name)
    done = project.execute("-X", "importtime", "-m", module, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name} ")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "labkit" in imported
    assert imported & HEAVY == set()
