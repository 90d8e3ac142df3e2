"""What an engine is told when an image is built, and what is said where there is none that can."""

import json
from pathlib import Path

import pytest
from project import ENVIRONMENT, Project, run

# An engine that builds nothing: it writes down how it was called, and answers as docker does.
ENGINE = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$CALLS"
printf -- '--\\n' >> "$CALLS"
for word in "$@"; do
    case $word in
        --iidfile=*) printf 'sha256:%064d' 1 > "${word#*=}" ;;
        --secret=*) cat "${word#*src=}" >> "$SECRETS"; stat --format=%a "${word#*src=}" >> "$MODES" ;;
    esac
done
case $1 in
    version | info) printf '%s\\n' "$MESSAGE" >&2; exit "$CODE" ;;
    image) printf '["registry.example.org/my-group/my-research@sha256:%064d"]\\n' 2 ;;
esac
"""
ENGINES = {"docker", "podman", "buildah"}


@pytest.fixture
def project(fresh: Project) -> Project:
    fresh.adopt_tools()
    return fresh


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """The programs of this machine, but for those that make images."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for place in ("/bin", "/usr/bin"):
        for program in Path(place).iterdir():
            if program.name not in ENGINES and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder


def build(project: Project, commands: Path, *, check: bool = True, **variables: str) -> tuple[str, list[list[str]]]:
    """Build the training image; return what was said, and how the engine was called."""
    calls = commands.parent / "calls"
    calls.write_text("")
    fixed = {"CALLS": str(calls), "SECRETS": str(commands.parent / "secrets"), "MODES": str(commands.parent / "modes")}
    others = {"PATH": str(commands), "PYTHON": str(ENVIRONMENT / "bin" / "python"), "CODE": "0", "MESSAGE": ""}
    done = run("make", "training-image", folder=project.folder, variables=fixed | others | variables, check=check)
    assert check == (done.returncode == 0)
    words = [call.splitlines() for call in calls.read_text().split("--\n")[:-1]]
    return done.stderr if not check else done.stdout, words


def install(commands: Path, *names: str) -> None:
    for name in names:
        (commands / name).write_text(ENGINE)
        (commands / name).chmod(0o755)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "There is no docker, podman or buildah. Install it, for example with: sudo apt-get install podman"),
        ({"ENGINE": "podman"}, "podman is not installed. Install it, for example with: sudo apt-get install podman"),
        ({"ENGINE": "kaniko"}, "ENGINE=kaniko is none of docker, podman, buildah"),
        ({"TORCH": "rocm"}, "TORCH=rocm is not a build of PyTorch for an image; choose TORCH=cuda or TORCH=cpu"),
        (
            {"PUSH": "1"},
            "PUSH=1 needs a registry: name it in .envrc, default DOCKER_URL registry.example.org/my-group",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(
    project: Project, commands: Path, variables: dict[str, str], sentence: str
) -> None:
    said, _ = build(project, commands, check=False, **variables)
    assert said.splitlines()[0] == sentence


def test_an_engine_that_does_not_answer_says_why(project: Project, commands: Path) -> None:
    install(commands, "docker")
    said, _ = build(project, commands, check=False, CODE="1", MESSAGE="Cannot connect to the Docker daemon.")
    assert said.splitlines()[0] == "docker does not answer: Cannot connect to the Docker daemon."


def test_the_first_engine_that_is_there_builds(project: Project, commands: Path) -> None:
    install(commands, "podman", "buildah")
    _, calls = build(project, commands, DOCKER_URL="registry.example.org/my-group/")
    assert [call[:2] for call in calls] == [["info"], ["build", calls[1][1]], ["image", "inspect"]]


def test_an_image_for_another_machine_is_built_and_pushed_under_a_name_that_says_all_of_it(
    project: Project, commands: Path
) -> None:
    install(commands, "docker")
    variables = {"DOCKER_URL": "registry.example.org/my-group", "PLATFORM": "linux/arm64", "PUSH": "1"}
    said, calls = build(project, commands, check=True, **variables, IMAGE_OPTIONS="--label 'a b'")
    tag, digest = said.splitlines()[-2:]
    name = "registry.example.org/my-group/my-research"
    assert digest == f"{name}@sha256:{2:064}"
    assert f'digest: "{digest}"\n' in project.read("docker/training-image.yaml")
    (_, built, pushed, _) = calls
    assert built[:2] == ["build", built[1]]
    assert {"--platform=linux/arm64", f"--tag={tag}", f"--tag={name}:latest", "--label", "a b"} < set(built)
    assert "--target=training" in built
    assert pushed == ["push", tag]
    _, calls = build(project, commands, check=True, **variables | {"PLATFORM": "linux/amd64"})
    assert f"--tag={tag}" not in calls[1]


def test_what_pip_is_told_is_a_secret_of_the_build_and_on_no_command_line(project: Project, commands: Path) -> None:
    install(commands, "docker")
    index = {"PIP_INDEX_URL": "https://ada:canary-of-pip@packages.example.org/simple", "PIP_CONFIG_FILE": "/dev/null"}
    netrc = commands.parent / "netrc"
    netrc.write_text("machine packages.example.org login ada password canary-of-netrc\n")
    said, calls = build(
        project, commands, check=True, **index, NETRC=str(netrc), TORCH_INDEX="https://ada:canary-of-torch@example.org"
    )
    assert "canary" not in json.dumps(calls) + said
    secrets = (commands.parent / "secrets").read_text()
    assert "index-url = https://ada:canary-of-pip@packages.example.org/simple\n" in secrets
    assert "index-url = https://ada:canary-of-torch@example.org\n" in secrets
    assert "canary-of-netrc" in secrets
    assert set((commands.parent / "modes").read_text().split()[:2]) == {"600"}
    assert "canary" not in "".join(path.read_text() for path in (project.folder / "docker").iterdir())


def test_what_the_engine_is_shown_is_the_lock_and_nothing_else(project: Project, commands: Path) -> None:
    install(commands, "docker")
    keep = commands / "docker"
    keep.write_text(ENGINE + 'if [[ $1 == build ]]; then cp -r "${!#}" "$CALLS.context"; fi\n')
    build(project, commands, TORCH="cpu")
    context = commands.parent / "calls.context"
    assert sorted(path.name for path in context.iterdir()) == ["packages.txt", "torch.txt", "training.Dockerfile"]
    assert (context / "torch.txt").read_text() == "torch==2.13.0+cpu\n"
    packages = {line.partition("==")[0] for line in (context / "packages.txt").read_text().splitlines()}
    assert "lightning" in packages
    assert not {"torch", "triton", "nvidia-cublas", "pytest"} & packages
