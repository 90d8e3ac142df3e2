"""What `make init` does for a project, in all weathers: with a small lock, and an index of packages of our own."""

import functools
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
from package_index import write_wheel
from project import TEMPLATE, Project, environment, run

SOURCE = TEMPLATE / "<<cookiecutter.project_slug>>"

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


@dataclass(frozen=True)
class SmallProject:
    """A project with a small lock, and the indices that hold its packages."""

    path: Path
    index: Path
    cpu_index: Path

    @property
    def variables(self) -> dict[str, str]:
        """Name the project's own index as a user does, in pip's settings; keep uv off the network."""
        pip = {"PIP_INDEX_URL": self.index.as_uri(), "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
        return pip | {"UV_OFFLINE": "1", "PYTHON": sys.executable, "CI": ""}

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run("make", *arguments, folder=self.path, variables=self.variables | variables, check=False)

    def init_as_locked(self) -> None:
        """Install all that is locked; but for the first time, by copying what that made."""
        own, kept = self.path / ".venv", self.path.with_name("kept")
        if not kept.exists():
            assert_success(self.make("init"))
            shutil.copytree(own, kept, symlinks=True)
        elif not own.exists():
            shutil.copytree(kept, own, symlinks=True)

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
                f'name = "{name}"\nversion = "{version}"\ngroups = ["{group}"]',
                f'description = ""\npython-versions = "*"\noptional = {str(group == "server").lower()}',
                f'files = [{{file = "{wheel.name}", hash = "sha256:{digest}"}}]',
                f'[package.dependencies]\n{required} = "*"' if required else "",
            ]
            if not names or name in names:
                packages.append("\n".join(lines))
        content = find_content_hash(self.path)
        metadata = f'[metadata]\nlock-version = "2.1"\npython-versions = ">=3.11,<3.14"\ncontent-hash = "{content}"\n'
        (self.path / "poetry.lock").write_text("\n\n".join([*packages, metadata]))


@functools.cache
def find_content_hash(folder: Path) -> str:
    """Return what Poetry knows by that a lock fits PYPROJECT."""
    poetry = "from poetry.factory import Factory\nprint(Factory().create_poetry().locker._get_content_hash())"
    return run(folder / ".tools/bin/python", "-c", poetry, folder=folder).stdout.strip()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set the tools up once, in a folder with a space in its name."""
    path = tmp_path_factory.mktemp("environment") / "my project"
    path.mkdir()
    shutil.copytree(SOURCE / "make", path / "make")
    (path / "pyproject.toml").write_text(PYPROJECT)
    (path / ".python-version").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    run(sys.executable, "make/environment.py", "tools", folder=path)
    return path


@pytest.fixture
def small(folder: Path, tmp_path: Path) -> Iterator[SmallProject]:
    index, cpu_index = tmp_path / "index", tmp_path / "cpu index"
    for name, version, _, _ in LOCKED:
        write_wheel(index, name, version)
    write_wheel(cpu_index, "torch", "9.9.9+cpu")
    shutil.copy(SOURCE / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "demo_study").mkdir(exist_ok=True)
    (folder / "demo_study" / "__init__.py").write_text("import sys\n\ndef train():\n    print(sys.argv[1:])\n")
    small = SmallProject(folder, index, cpu_index)
    small.write_lock()
    yield small
    shutil.rmtree(folder / ".venv", ignore_errors=True)


def assert_success(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr


def test_init_installs_exactly_what_is_locked(small: SmallProject) -> None:
    small.init_as_locked()
    assert small.installed() == AS_LOCKED


def test_a_command_gets_its_arguments_as_they_were_written(small: SmallProject) -> None:
    small.init_as_locked()
    result = small.make("train", "ARGS=--note 'two words' -x 1")
    assert result.stdout == "['--note', 'two words', '-x', '1']\n"


def test_the_build_of_pytorch_can_be_changed_and_changed_back(small: SmallProject) -> None:
    small.init_as_locked()
    assert_success(small.make("init", "TORCH=cpu", f"TORCH_INDEX={small.cpu_index.as_uri()}"))
    assert small.installed() == WITHOUT_CUDA
    assert_success(small.make("init", "TORCH=cuda"))
    assert small.installed() == AS_LOCKED


def test_a_choice_is_kept_and_what_is_no_longer_locked_goes(small: SmallProject) -> None:
    assert_success(small.make("init", "TORCH=cpu", f"TORCH_INDEX={small.cpu_index.as_uri()}"))
    assert small.installed() == WITHOUT_CUDA
    small.write_lock(["torch", "torchmetrics", "nvidia-stand-in"])
    assert_success(small.make("init"))
    assert small.installed() == {name: WITHOUT_CUDA[name] for name in ("demo-study", "torch", "torchmetrics")}


def test_the_cpu_build_is_taken_from_the_usual_index_where_that_has_it(small: SmallProject) -> None:
    write_wheel(small.index, "torch", "9.9.9+cpu")
    assert_success(small.make("init", "TORCH=cpu"))
    assert small.installed() == WITHOUT_CUDA


def test_continuous_integration_takes_the_cpu_build_where_there_is_one(small: SmallProject) -> None:
    result = small.make("init", CI="true", TORCH_INDEX=small.cpu_index.as_uri())
    assert_success(result)
    assert small.installed() == WITHOUT_CUDA


def test_continuous_integration_takes_what_is_locked_where_there_is_no_cpu_build(small: SmallProject) -> None:
    result = small.make("init", CI="true")
    assert_success(result)
    assert "No CPU build of torch 9.9.9" in result.stdout
    assert small.installed() == AS_LOCKED


def test_a_missing_cpu_build_is_one_sentence_that_says_what_to_do(small: SmallProject) -> None:
    result = small.make("init", "TORCH=cpu")
    assert result.returncode != 0
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("No CPU build")]
    assert "make init TORCH=cpu TORCH_INDEX=..." in sentence
    assert "make init TORCH=cuda" in sentence
    assert_success(small.make("init", f"TORCH_INDEX={small.cpu_index.as_uri()}"))
    assert small.installed() == WITHOUT_CUDA


def test_optional_groups_come_on_demand(small: SmallProject) -> None:
    small.init_as_locked()
    assert_success(small.make("init", "WITH=server"))
    assert small.installed() == AS_LOCKED | {"server-stand-in": "1.0"}


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("TORCH=gpu", "TORCH=gpu is not a build of PyTorch; choose TORCH=cuda, TORCH=cpu or TORCH=auto"),
        ("WITH=servers", "WITH=servers: pyproject.toml has only the groups dev, server"),
        ("PYTHON=true", "PYTHON=true is not a Python 3.11 to 3.13 with its venv module"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(small: SmallProject, choice: str, sentence: str) -> None:
    result = small.make("init", choice)
    assert result.returncode != 0
    assert sentence in result.stderr.splitlines()
    assert not (small.path / ".venv").exists()


def test_a_package_that_is_not_the_locked_one_is_refused(small: SmallProject) -> None:
    lock = small.path / "poetry.lock"
    locked = lock.read_text()
    digest = hashlib.sha256(
        (small.index / "torchmetrics" / "torchmetrics-9.9.9-py3-none-any.whl").read_bytes()
    ).hexdigest()
    lock.write_text(locked.replace(digest, "0" * 64))
    result = small.make("init")
    assert result.returncode != 0
    assert "git checkout poetry.lock" in result.stderr
    assert "torchmetrics" not in small.installed()
    lock.write_text(locked)
    assert_success(small.make("init"))
    assert small.installed() == AS_LOCKED


def test_a_lock_that_does_not_fit_names_the_command_that_repairs_it(small: SmallProject) -> None:
    (small.path / "pyproject.toml").write_text(PYPROJECT.replace('"torchmetrics (==9.9.9)"', '"torchmetrics (>=9)"'))
    result = small.make("init")
    assert result.returncode != 0
    assert "make lock" in result.stderr


def test_a_missing_lock_names_the_command_that_restores_it(small: SmallProject) -> None:
    (small.path / "poetry.lock").unlink()
    result = small.make("init")
    assert result.returncode != 0
    assert "There is no poetry.lock. Restore it with: git checkout poetry.lock" in result.stderr.splitlines()


def kill_when(small: SmallProject, happened: Callable[[], bool]) -> None:
    """Kill `make init` and all its children the moment that something has happened."""
    with subprocess.Popen(
        ["make", "init"],
        cwd=small.path,
        env=environment() | small.variables,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    ) as process:
        while not happened() and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("file", [".venv/pyvenv.cfg", ".venv/stamp.json", ".venv/lib/*/site-packages/torch.py"])
def test_what_was_interrupted_is_done_again(small: SmallProject, file: str) -> None:
    kill_when(small, lambda: any(small.path.glob(file)))
    result = small.make("init")
    assert_success(result)
    assert "The environment is ready" in result.stdout
    assert small.installed() == AS_LOCKED
    run(small.path / ".venv/bin/python", "-c", "import torch", folder=small.path)


def test_nothing_is_done_twice(small: SmallProject) -> None:
    small.init_as_locked()
    before = {path: path.lstat().st_mtime_ns for path in small.path.rglob("*")}
    shutil.rmtree(small.index)
    result = small.make("init")
    assert_success(result)
    assert result.stdout == "The environment is complete (PyTorch as locked)\n"
    assert {path: path.lstat().st_mtime_ns for path in small.path.rglob("*")} == before


def test_install_brings_the_environment_back_to_the_lock(small: SmallProject) -> None:
    small.init_as_locked()
    (folder,) = small.path.glob(".venv/lib/python3*/site-packages")
    shutil.rmtree(folder / "torchmetrics-9.9.9.dist-info")
    (folder / "stray-1.0.dist-info").mkdir()
    (folder / "stray-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n")
    (folder / "stray-1.0.dist-info" / "RECORD").write_text(
        "stray-1.0.dist-info/METADATA,,\nstray-1.0.dist-info/RECORD,,\n"
    )
    assert_success(small.make("install"))
    assert small.installed() == AS_LOCKED


def test_build_makes_a_wheel_of_the_packages(small: SmallProject) -> None:
    assert_success(small.make("build"))
    with zipfile.ZipFile(small.path / "dist" / "demo_study-0.1.0-py3-none-any.whl") as wheel:
        assert "demo_study/__init__.py" in wheel.namelist()


@pytest.mark.parametrize("target", ["train", "evaluate", "format", "lint", "type-check", "test"])
def test_a_target_without_environment_says_how_to_get_one(small: SmallProject, target: str) -> None:
    result = small.make(target)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == "There is no environment yet. Set it up with: make init"


def test_help_lists_the_targets_without_a_terminal(small: SmallProject) -> None:
    result = small.make("help")
    assert_success(result)
    targets = {line.split()[0] for line in result.stdout.splitlines()}
    assert {
        "help",
        "init",
        "install",
        "lock",
        "update",
        "add",
        "build",
        "clean",
        "format",
        "lint",
        "type-check",
        "test",
    } <= targets


class TestDirenv:
    """What `.envrc` does, by direnv itself."""

    @pytest.fixture
    def show(self, fresh: Project, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
        """Return a function that prints variables as they are inside the project."""
        if shutil.which("direnv") is None:
            pytest.skip("direnv is not installed")

        def show(*names: str, **variables: str) -> subprocess.CompletedProcess[str]:
            own = {"XDG_DATA_HOME": str(tmp_path / "allowed")} | variables
            for envrc in (fresh.folder / ".envrc", fresh.folder.parent / ".envrc"):
                if envrc.exists():
                    run("direnv", "allow", envrc, folder=fresh.folder, variables=own)
            return run("direnv", "exec", ".", "printenv", *names, folder=fresh.folder, variables=own, check=False)

        return show

    def test_it_works_without_an_environment_and_says_how_to_get_one(
        self, fresh: Project, show: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        result = show("DATA_PATH", DATA_PATH="")
        assert result.stdout == f"{fresh.folder}/data\n"
        assert "There is no environment yet. Set it up with: make init" in result.stderr

    def test_it_activates_the_environment(
        self, fresh: Project, show: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", ".venv", folder=fresh.folder)
        result = show("VIRTUAL_ENV", "PATH")
        active, path = result.stdout.splitlines()
        assert active == f"{fresh.folder}/.venv"
        assert path.startswith(f"{fresh.folder}/.venv/bin:")

    def test_what_is_private_comes_before_what_the_group_says_and_that_before_the_default(
        self, fresh: Project, show: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        (fresh.folder.parent / ".envrc").write_text("export DATA_PATH=/group SLACK_USER=group\n")
        (fresh.folder / ".envrc.private").write_text("export SLACK_USER=ada\n")
        assert show("DATA_PATH", "SLACK_USER").stdout == "/group\nada\n"
        assert fresh.run("git status --porcelain").stdout == ""


class TestPython:
    """Which Python `make/python.sh` finds."""

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = "3.12" if version == "3.11" else "3.11"
    interpreter = Path(sys.base_prefix) / "bin" / f"python{version}"

    @pytest.fixture
    def commands(self, tmp_path: Path) -> Path:
        """Make a folder with the shell's commands and no Python, to stand for the path of a machine."""
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
        shutil.copytree(SOURCE / "make", path / "make")
        (path / "pyproject.toml").write_text(PYPROJECT)

        def find(version: str) -> subprocess.CompletedProcess[str]:
            (path / ".python-version").write_text(f"{version}\n")
            variables = {"PATH": str(commands), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv")}
            return run(path / "make/python.sh", folder=path, variables=variables, check=False)

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
        assert (
            result.stderr == "The file .python-version asks for Python 3.14, but pyproject.toml allows 3.11 to 3.13\n"
        )
