"""A fresh project passes its own checks."""

import os
from pathlib import Path

from combination import COMBINATIONS
from project import ENVIRONMENT, TEMPLATE, Project, render, run


def test_the_style_is_right_under_every_name(project: Project) -> None:
    run(ENVIRONMENT / "bin" / "ruff", "check", folder=project.folder)
    run(ENVIRONMENT / "bin" / "ruff", "format", "--check", folder=project.folder)


def test_a_project_of_hostile_answers_passes_its_own_checks(tmp_path: Path) -> None:
    project = render(tmp_path, COMBINATIONS["quotes"])  # the default one passes them as the README says
    project.adopt_environment()

    project.run("make lint type-check")

    assert project.git("status", "--porcelain") == ""


def find_isolation() -> str:
    """Return what cuts a command off from every network, or nothing where this machine does not allow it."""
    isolation = ("unshare", "--net", "--map-root-user")
    is_allowed = run(*isolation, "true", folder=TEMPLATE, check=False).returncode == 0
    assert is_allowed or not os.environ.get("LABKIT_REQUIRE_SERVICES")
    return " ".join(isolation) if is_allowed else ""


def test_another_architecture_touches_one_file_and_a_study_needs_no_network(tmp_path: Path) -> None:
    project = render(tmp_path, COMBINATIONS["default"])
    project.adopt_environment()
    model = project.folder / "my_research" / "model.py"
    text = model.read_text()
    for old, new in {
        'Literal["mlp", "cnn"]': 'Literal["mlp", "cnn", "linear"]',
        '"cnn": cnn}': '"cnn": cnn, "linear": linear}',
        "\n\nARCHITECTURES": """

def linear(shape: Sequence[int], classes: int) -> "nn.Module":
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


ARCHITECTURES""",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    model.write_text(text)

    isolation = find_isolation()
    project.run(f"{isolation} make train ARGS='--architecture linear --duration \"2 steps\"'")
    project.run(f"{isolation} make evaluate")


def test_what_is_slow_holds_too(tmp_path: Path) -> None:
    project = render(tmp_path, COMBINATIONS["default"])
    project.adopt_environment()

    project.run("make test ARGS='-m slow -n 2'")
