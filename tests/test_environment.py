"""What `make init` does for a project, in all weathers: with a small lock, and an index of packages of our own."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parent.parent / "<<cookiecutter.project_slug>>"

PYPROJECT = """
[project]
name = "demo-study"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["torch (==9.9.9)", "torchmetrics (==9.9.9)"]

[project.scripts]
train = "demo_study:train"

[tool.poetry]
packages = [{ include = "demo_study" }]

[tool.poetry.group.dev.dependencies]
checker-stand-in = "==1.0"

[tool.poetry.group.server]
optional = true

[tool.poetry.group.server.dependencies]
server-stand-in = "==1.0"

[build-system]
requires = ["poetry-core>=2.1,<3.0"]
build-backend = "poetry.core.masonry.api"
"""

# Name, version, group, and the locked package that it requires.
LOCKED = [
    ("checker-stand-in", "1.0", "dev", None),
    ("nvidia-stand-in", "1.0", "main", None),
    ("server-stand-in", "1.0", "server", None),
    ("torch", "9.9.9", "main", "nvidia-stand-in"),
    ("torchmetrics", "9.9.9", "main", "torch"),
]

WITHOUT_CUDA = {"checker-stand-in": "1.0", "demo-study": "0.1.0", "torch": "9.9.9+cpu", "torchmetrics": "9.9.9"}
AS_LOCKED = WITHOUT_CUDA | {"nvidia-stand-in": "1.0", "torch": "9.9.9"}


def write_wheel(index: Path, name: str, version: str) -> str:
    """Add a package to an index, a folder in the form of PEP 503; return the wheel's hash."""
    module = name.replace("-", "_")
    information = f"{module}-{version}.dist-info"
    path = index / name / f"{module}-{version}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {
        f"{module}.py": "",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{information}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    links = (f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in sorted(path.parent.glob("*.whl")))
    (path.parent / "index.html").write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Project:
    """A generated project with a small lock, and the indices that hold its packages."""

    path: Path
    index: Path
    cpu_index: Path

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """Name the project's own index as a user does, in pip's settings; keep uv off the network."""
        outer = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
        pip = {"PIP_INDEX_URL": self.index.as_uri(), "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
        return outer | pip | {"UV_OFFLINE": "1"} | variables

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments], cwd=self.path, env=self.environment(variables), capture_output=True, text=True, check=False
        )

    def installed(self) -> dict[str, str]:
        (folder,) = self.path.glob(".venv/lib/python3*/site-packages")
        return {package.name: package.version for package in distributions(path=[str(folder)])}

    def write_lock(self, names: Sequence[str] = ()) -> None:
        """Lock the named packages, by default all."""
        packages = list[str]()
        for name, version, group, required in LOCKED:
            wheel = self.index / name / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            lines = [
                "[[package]]",
                f'name = "{name}"\nversion = "{version}"\ndescription = ""\noptional = {str(group == "server").lower()}',
                f'python-versions = "*"\ngroups = ["{group}"]',
                f'files = [{{file = "{wheel.name}", hash = "sha256:{digest}"}}]',
                f'[package.dependencies]\n{required} = "*"' if required else "",
            ]
            if not names or name in names:
                packages.append("\n".join(lines))
        poetry = "import sys; from poetry.factory import Factory; print(Factory().create_poetry(sys.argv[1]).locker._get_content_hash())"
        content = subprocess.run(
            [self.path / ".tools" / "bin" / "python", "-c", poetry, self.path], capture_output=True, text=True, check=True
        ).stdout.strip()
        metadata = f'[metadata]\nlock-version = "2.1"\npython-versions = ">=3.11,<3.14"\ncontent-hash = "{content}"\n'
        (self.path / "poetry.lock").write_text("\n\n".join([*packages, metadata]))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its name, in which the tools are set up once."""
    path = tmp_path_factory.mktemp("environment") / "my project"
    path.mkdir()
    shutil.copytree(TEMPLATE / "make", path / "make")
    (path / "pyproject.toml").write_text(PYPROJECT)
    (path / ".python-version").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    subprocess.run([sys.executable, "make/environment.py", "poetry", "--version"], cwd=path, check=True)
    return path


@pytest.fixture
def project(folder: Path, tmp_path: Path) -> Iterator[Project]:
    index, cpu_index = tmp_path / "index", tmp_path / "cpu index"
    for name, version, _, _ in LOCKED:
        write_wheel(index, name, version)
    write_wheel(cpu_index, "torch", "9.9.9+cpu")
    shutil.copy(TEMPLATE / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "demo_study").mkdir(exist_ok=True)
    (folder / "demo_study" / "__init__.py").write_text("import sys\n\ndef train():\n    print(sys.argv[1:])\n")
    project = Project(folder, index, cpu_index)
    project.write_lock()
    yield project
    shutil.rmtree(folder / ".venv", ignore_errors=True)


def assert_success(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr


def test_init_installs_exactly_what_is_locked(project: Project) -> None:
    assert_success(project.make("init"))
    assert project.installed() == AS_LOCKED


def test_the_commands_of_the_project_take_their_arguments_from_ARGS(project: Project) -> None:
    assert_success(project.make("init"))
    result = project.make("train", "ARGS=--note 'two words' -x 1")
    assert result.stdout == "['--note', 'two words', '-x', '1']\n"


def test_an_environment_without_cuda_holds_no_cuda_package(project: Project) -> None:
    assert_success(project.make("init", "TORCH=cpu", f"TORCH_INDEX={project.cpu_index.as_uri()}"))
    assert project.installed() == WITHOUT_CUDA


def test_the_build_of_pytorch_can_be_changed_and_changed_back(project: Project) -> None:
    cpu = ["TORCH=cpu", f"TORCH_INDEX={project.cpu_index.as_uri()}"]
    held = list[dict[str, str]]()
    for choice in [cpu, ["TORCH=cuda"], cpu]:
        assert_success(project.make("init", *choice))
        held.append(project.installed())
    assert held == [WITHOUT_CUDA, AS_LOCKED, WITHOUT_CUDA]


def test_a_choice_is_kept_and_what_is_no_longer_locked_goes(project: Project) -> None:
    assert_success(project.make("init", "TORCH=cpu", f"TORCH_INDEX={project.cpu_index.as_uri()}"))
    project.write_lock(["torch", "torchmetrics", "nvidia-stand-in"])
    assert_success(project.make("init"))
    assert project.installed() == {name: WITHOUT_CUDA[name] for name in ("demo-study", "torch", "torchmetrics")}


def test_the_cpu_build_is_taken_from_the_usual_index_where_that_has_it(project: Project) -> None:
    write_wheel(project.index, "torch", "9.9.9+cpu")
    assert_success(project.make("init", "TORCH=cpu"))
    assert project.installed() == WITHOUT_CUDA


def test_continuous_integration_takes_the_cpu_build_where_there_is_one(project: Project) -> None:
    result = project.make("init", CI="true", TORCH_INDEX=project.cpu_index.as_uri())
    assert_success(result)
    assert project.installed() == WITHOUT_CUDA


def test_continuous_integration_takes_what_is_locked_where_there_is_no_cpu_build(project: Project) -> None:
    result = project.make("init", CI="true")
    assert_success(result)
    assert "No CPU build of torch 9.9.9" in result.stdout
    assert project.installed() == AS_LOCKED


def test_a_missing_cpu_build_is_one_sentence_that_says_what_to_do(project: Project) -> None:
    result = project.make("init", "TORCH=cpu")
    assert result.returncode != 0
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("No CPU build")]
    assert "make init TORCH=cpu TORCH_INDEX=..." in sentence
    assert "make init TORCH=cuda" in sentence
    assert_success(project.make("init", f"TORCH_INDEX={project.cpu_index.as_uri()}"))
    assert project.installed() == WITHOUT_CUDA


def test_optional_groups_come_on_demand(project: Project) -> None:
    assert_success(project.make("init", "WITH=server"))
    assert project.installed() == AS_LOCKED | {"server-stand-in": "1.0"}


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("TORCH=gpu", "TORCH=gpu is not a build of PyTorch; choose TORCH=cuda, TORCH=cpu or TORCH=auto"),
        ("WITH=servers", "WITH=servers: pyproject.toml has only the groups dev, server"),
        ("PYTHON=true", "PYTHON=true is not a Python 3.11 to 3.13 with its venv module"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(project: Project, choice: str, sentence: str) -> None:
    result = project.make("init", choice)
    assert result.returncode != 0
    assert sentence in result.stderr.splitlines()
    assert not (project.path / ".venv").exists()


def test_a_package_that_is_not_the_locked_one_is_refused(project: Project) -> None:
    lock = project.path / "poetry.lock"
    locked = lock.read_text()
    digest = hashlib.sha256((project.index / "torchmetrics" / "torchmetrics-9.9.9-py3-none-any.whl").read_bytes()).hexdigest()
    lock.write_text(locked.replace(digest, "0" * 64))
    result = project.make("init")
    assert result.returncode != 0
    assert "git checkout poetry.lock" in result.stderr
    assert "torchmetrics" not in project.installed()
    lock.write_text(locked)
    assert_success(project.make("init"))
    assert project.installed() == AS_LOCKED


def test_a_lock_that_does_not_fit_names_the_command_that_repairs_it(project: Project) -> None:
    (project.path / "pyproject.toml").write_text(PYPROJECT.replace('"torchmetrics (==9.9.9)"', '"torchmetrics (>=9)"'))
    result = project.make("init")
    assert result.returncode != 0
    assert "make lock" in result.stderr


def test_a_missing_lock_names_the_command_that_restores_it(project: Project) -> None:
    (project.path / "poetry.lock").unlink()
    result = project.make("init")
    assert result.returncode != 0
    assert "There is no poetry.lock. Restore it with: git checkout poetry.lock" in result.stderr.splitlines()


def kill_when(project: Project, happened: Callable[[], bool]) -> None:
    """Kill `make init` and all its children the moment that something has happened."""
    with subprocess.Popen(
        ["make", "init"], cwd=project.path, env=project.environment({}), start_new_session=True, stdout=subprocess.DEVNULL
    ) as process:
        while not happened() and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("file", [".venv/pyvenv.cfg", ".venv/stamp.json", ".venv/lib/*/site-packages/torch.py"])
def test_what_was_interrupted_is_done_again(project: Project, file: str) -> None:
    kill_when(project, lambda: any(project.path.glob(file)))
    result = project.make("init")
    assert_success(result)
    assert "The environment is ready" in result.stdout
    assert project.installed() == AS_LOCKED
    assert_success(subprocess.run([project.path / ".venv/bin/python", "-c", "import torch"], capture_output=True, text=True))


def test_nothing_is_done_twice(project: Project) -> None:
    assert_success(project.make("init"))
    before = {path: path.lstat().st_mtime_ns for path in project.path.rglob("*")}
    shutil.rmtree(project.index)
    result = project.make("init")
    assert_success(result)
    assert result.stdout == "The environment is complete (PyTorch as locked)\n"
    assert {path: path.lstat().st_mtime_ns for path in project.path.rglob("*")} == before


def test_install_brings_the_environment_back_to_the_lock(project: Project) -> None:
    assert_success(project.make("init"))
    (folder,) = project.path.glob(".venv/lib/python3*/site-packages")
    shutil.rmtree(folder / "torchmetrics-9.9.9.dist-info")
    (folder / "stray-1.0.dist-info").mkdir()
    (folder / "stray-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n")
    (folder / "stray-1.0.dist-info" / "RECORD").write_text("stray-1.0.dist-info/METADATA,,\nstray-1.0.dist-info/RECORD,,\n")
    assert_success(project.make("install"))
    assert project.installed() == AS_LOCKED


def test_build_makes_a_wheel_of_the_packages(project: Project) -> None:
    assert_success(project.make("build"))
    with zipfile.ZipFile(project.path / "dist" / "demo_study-0.1.0-py3-none-any.whl") as wheel:
        assert "demo_study/__init__.py" in wheel.namelist()


@pytest.mark.parametrize("target", ["train", "evaluate", "format", "lint", "type-check", "test"])
def test_a_target_without_environment_says_how_to_get_one(project: Project, target: str) -> None:
    result = project.make(target)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == "There is no environment yet. Set it up with: make init"


def test_help_lists_the_targets_without_a_terminal(project: Project) -> None:
    result = project.make("help")
    assert_success(result)
    targets = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"help", "init", "install", "lock", "update", "add", "build", "clean", "format", "lint", "type-check", "test"} <= targets


class TestPython:
    """Which Python `make/python.sh` finds."""

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = "3.12" if version == "3.11" else "3.11"
    interpreter = Path(sys.base_prefix) / "bin" / f"python{version}"

    @pytest.fixture
    def commands(self, tmp_path: Path) -> Path:
        """A folder with the shell's commands and no Python, to stand for the path of a machine."""
        folder = tmp_path / "commands"
        folder.mkdir()
        for command in ("bash", "dirname", "env", "head", "ln", "mkdir", "sed"):
            found = shutil.which(command)
            assert found is not None
            (folder / command).symlink_to(found)
        return folder

    @pytest.fixture
    def find(self, tmp_path: Path, commands: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
        path = tmp_path / "my project"
        shutil.copytree(TEMPLATE / "make", path / "make")
        (path / "pyproject.toml").write_text(PYPROJECT)

        def find(version: str) -> subprocess.CompletedProcess[str]:
            (path / ".python-version").write_text(f"{version}\n")
            environment = {"PATH": str(commands), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv")}
            return subprocess.run([path / "make/python.sh"], env=environment, capture_output=True, text=True, check=False)

        return find

    def test_none_is_one_sentence(self, find: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
        result = find("3.11")
        assert (result.returncode, result.stdout) == (1, "")
        assert len(result.stderr.splitlines()) == 1
        assert "Install Python 3.11" in result.stderr

    def test_the_one_on_the_path_of_the_right_version_is_taken(
        self, find: Callable[[str], subprocess.CompletedProcess[str]], commands: Path
    ) -> None:
        (commands / "python3").symlink_to(self.interpreter)
        result = find(self.version)
        assert (result.returncode, result.stderr) == (0, "")
        assert Path(result.stdout.strip()).resolve() == self.interpreter.resolve()

    def test_another_allowed_version_takes_its_place_and_says_so(
        self, find: Callable[[str], subprocess.CompletedProcess[str]], commands: Path
    ) -> None:
        (commands / "python3").symlink_to(self.interpreter)
        result = find(self.other)
        assert result.returncode == 0
        assert result.stderr == f"Python {self.other} is not installed; Python {self.version} takes its place\n"
        assert Path(result.stdout.strip()).resolve() == self.interpreter.resolve()

    def test_the_newest_patch_in_pyenv_is_taken(
        self, find: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        for patch in ("2", "10", "9", "12rc1"):
            (tmp_path / f"pyenv/versions/{self.version}.{patch}/bin").mkdir(parents=True)
            (tmp_path / f"pyenv/versions/{self.version}.{patch}/bin/python").symlink_to(self.interpreter)
        result = find(self.version)
        assert result.stdout == f"{tmp_path}/pyenv/versions/{self.version}.10/bin/python\n"

    def test_pyenv_installs_what_is_missing(
        self, find: Callable[[str], subprocess.CompletedProcess[str]], commands: Path, tmp_path: Path
    ) -> None:
        root = tmp_path / "pyenv"
        (commands / "pyenv").write_text(
            f"""#!{shutil.which("bash")}
            set -eu
            if [[ $1 == root ]]; then echo "{root}"; exit; fi
            [[ $* == "install --skip-existing {self.version}" ]]
            mkdir -p "{root}/versions/{self.version}.1/bin"
            ln -s "{self.interpreter}" "{root}/versions/{self.version}.1/bin/python"
            """
        )
        (commands / "pyenv").chmod(0o755)
        result = find(self.version)
        assert result.stdout == f"{root}/versions/{self.version}.1/bin/python\n"

    def test_a_version_that_the_project_does_not_run_on_is_refused(
        self, find: Callable[[str], subprocess.CompletedProcess[str]]
    ) -> None:
        result = find("3.14")
        assert result.returncode == 1
        assert result.stderr == "The file .python-version asks for Python 3.14, but pyproject.toml allows 3.11 to 3.13\n"
