"""Set up the environment of this project from its lock.

Two environments stand in the project's folder: `.tools` holds Poetry and uv, `.venv` the packages of `poetry.lock`.
Each carries a stamp that is written last, so that nothing is done twice and what was interrupted is done again. Only
the standard library is used, since this runs before anything is installed.
"""

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = PROJECT / ".tools"
ENVIRONMENT = PROJECT / ".venv"
STAMP = "stamp.json"
IMAGE = "the development image"

CUDA_PACKAGE = re.compile(r"torch|triton|(cuda|nvidia)-.+")
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


class SetupError(Exception):
    """A failure that its message explains, together with the command that repairs it."""


@dataclass(frozen=True)
class Requirement:
    """One package of the lock.

    :param name: Its normalized name.
    :param version: Its version.
    :param text: Its lines in the format of pip's requirements files, with markers and hashes.
    """

    name: str
    version: str
    text: str


def normalize(name: str) -> str:
    """Write a package's name in the one form in which names are compared (PEP 503).

    :param name: The name as its author writes it.
    :return: The name in lower case, with single hyphens.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirements(text: str) -> list[Requirement]:
    """Read a locked requirements file.

    :param text: Its text, such as Poetry exports it.
    :return: Its requirements, in order.
    :raises SetupError: A line is no package of an exact version.
    """
    requirements = list[Requirement]()
    for block in re.split(r"\n(?!\s)", re.sub(r"(?m)^#.*\n", "", text).strip()):
        match = REQUIREMENT.match(block)
        if match is None:
            message = f"The lock holds {block.splitlines()[0]!r}; only packages of an exact version can be installed"
            raise SetupError(message)
        requirements.append(Requirement(normalize(match["name"]), match["version"], block + "\n"))
    return requirements


def choose_torch(requested: str, recorded: str | None, *, platform: str, is_automated: bool) -> str:
    """Choose the build of PyTorch.

    :param requested: What the user asks for: `cpu`, `cuda`, `auto`, or empty.
    :param recorded: What the environment holds already, if there is one.
    :param platform: The operating system, as in `sys.platform`.
    :param is_automated: Whether this runs in continuous integration, where no GPU is expected.
    :return: `cpu`, `cuda` (the build as locked), or `auto`.
    :raises SetupError: The request is none of them.
    """
    if requested not in {"", "cpu", "cuda", "auto"}:
        message = f"TORCH={requested} is not a build of PyTorch; choose TORCH=cuda, TORCH=cpu or TORCH=auto"
        raise SetupError(message)
    if platform == "darwin":
        return "cuda"  # There is one build for macOS; it holds no CUDA.
    return requested or recorded or ("auto" if is_automated else "cuda")


def run(*command: str | Path, stdout: int | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command in the project's folder.

    :param command: The program and its arguments.
    :param stdout: Where its standard output goes; by default, where ours goes.
    :param environment: Variables to set beside those of this process.
    :return: Its standard output, if captured by `subprocess.PIPE`.
    :raises subprocess.CalledProcessError: It failed.
    """
    # An environment that happens to be active is none of Poetry's business here.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "CONDA_"))}
    return subprocess.run(
        command, cwd=PROJECT, env=variables | (environment or {}), stdout=stdout, text=True, check=True
    ).stdout


def run_poetry(*arguments: str, stdout: int | None = None) -> str:
    """Run Poetry on the project's environment.

    :param arguments: Poetry's arguments.
    :param stdout: As for `run`.
    :return: Its standard output, if captured.
    :raises subprocess.CalledProcessError: It failed.
    """
    poetry = os.environ.get("POETRY") or TOOLS / "bin" / "poetry"
    return run(poetry, *arguments, stdout=stdout, environment={"VIRTUAL_ENV": str(ENVIRONMENT)})


@functools.cache
def pip_index() -> dict[str, str]:
    """Find the package index named in pip's own settings.

    :return: The variable that tells uv; nothing where the user set one for uv, or none at all.
    """
    if {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE"} & set(os.environ):
        return {}
    settings = run(TOOLS / "bin" / "python", "-m", "pip", "config", "list", stdout=subprocess.PIPE)
    found = dict(re.findall(r"^(.+)\.index-url='(.+)'$", settings, flags=re.MULTILINE))
    index = found.get(":env:") or found.get("install") or found.get("global")
    return {"UV_DEFAULT_INDEX": index} if index else {}


def run_uv(*arguments: str | Path) -> None:
    """Run uv's `pip` command with the package index of pip's own settings, which uv does not read by itself.

    :param arguments: Its arguments.
    :raises subprocess.CalledProcessError: It failed.
    """
    run(TOOLS / "bin" / "uv", "pip", *arguments, environment=pip_index())


def read_stamp(folder: Path) -> dict[str, str]:
    """Read what is known about an environment.

    :param folder: The environment.
    :return: `key`, the hash of all it was made from (empty while it is incomplete), `torch`, its build, and `base`, its
        Python and place; nothing where there is no environment.
    """
    try:
        return json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def write_stamp(folder: Path, stamp: dict[str, str]) -> None:
    """Write what is known about an environment, at once or not at all.

    :param folder: The environment.
    :param stamp: As `read_stamp` returns it.
    """
    temporary = folder / f"{STAMP}.new"
    temporary.write_text(json.dumps(stamp))
    temporary.replace(folder / STAMP)


def fingerprint(files: Iterable[Path], *values: str) -> str:
    """Hash all that an environment is made from: also this program, the version of Python and the folder.

    :param files: The files that say what it holds.
    :param values: The choices that do.
    :return: The hash, in hexadecimal digits.
    """
    contents = [path.read_bytes().hex() for path in [Path(__file__), *files]]
    return hashlib.sha256(json.dumps([contents, values, sys.version_info[:2], str(PROJECT)]).encode()).hexdigest()


def set_up_tools() -> None:
    """Install Poetry and uv into an environment of their own.

    :raises SetupError: They could not be installed.
    """
    lock = PROJECT / "make" / "tools.txt"
    key = fingerprint([lock])
    if read_stamp(TOOLS).get("key") == key:
        return
    print("Setting up the tools", flush=True)
    python = TOOLS / "bin" / "python"
    uv_lock = TOOLS / "uv.txt"
    try:
        run(sys.executable, "-m", "venv", "--clear", TOOLS)
        uv_lock.write_text(next(tool.text for tool in parse_requirements(lock.read_text()) if tool.name == "uv"))
        options = ["--no-deps", "--require-hashes", "--requirement"]
        run(python, "-m", "pip", "install", "-qq", *options, uv_lock)
        run_uv("install", "--quiet", f"--python={python}", *options, lock)
    except subprocess.CalledProcessError as error:
        message = "The tools could not be installed (see above); once the cause is gone, repeat: make init"
        raise SetupError(message) from error
    write_stamp(TOOLS, {"key": key})


def choose_groups(project: dict[str, Any], optional_groups: Sequence[str]) -> list[str]:
    """Choose the groups of dependencies to install beside the main one.

    :param project: What pyproject.toml says.
    :param optional_groups: Optional groups that the user asks for; all others are always installed.
    :return: Their names, sorted.
    :raises SetupError: There is no such group.
    """
    groups: dict[str, dict[str, Any]] = project.get("tool", {}).get("poetry", {}).get("group", {})
    plain: dict[str, object] = project.get("dependency-groups", {})
    if unknown := set(optional_groups) - {*groups, *plain}:
        message = f"WITH={' '.join(sorted(unknown))}: pyproject.toml has only the groups {', '.join(sorted(groups))}"
        raise SetupError(message)
    optional = {name for name, group in groups.items() if group.get("optional", False)}
    return sorted({*groups, *plain} - optional | set(optional_groups))


def export_lock(optional_groups: Sequence[str]) -> list[Requirement]:
    """Read the lock.

    :param optional_groups: As for `choose_groups`.
    :return: The requirements of the chosen groups.
    :raises SetupError: There is no lock for this pyproject.toml.
    """
    groups = choose_groups(tomllib.loads((PROJECT / "pyproject.toml").read_text()), optional_groups)
    try:
        text = run_poetry("export", *(f"--with={group}" for group in groups), stdout=subprocess.PIPE)
    except subprocess.CalledProcessError as error:
        message = (
            "poetry.lock cannot be read (see above); where it does not fit pyproject.toml, repair it with: make lock"
        )
        raise SetupError(message) from error
    return parse_requirements(text)


def installed_packages() -> dict[str, str]:
    """List what the environment holds.

    :return: The version of each package, by its normalized name.
    """
    (folder,) = ENVIRONMENT.glob("lib/python3*/site-packages")
    return {normalize(package.name): package.version for package in distributions(path=[str(folder)])}


def install_cpu_torch(version: str) -> bool:
    """Install PyTorch's CPU build: from where pip finds it, else from where uv knows it to be.

    It is the one package whose hash is not in the lock, which holds the build with CUDA.

    :param version: The locked version.
    :return: Whether it was found.
    """
    build = f"torch=={version}+cpu"
    print(f"Installing {build}", flush=True)
    python = f"--python={ENVIRONMENT / 'bin' / 'python'}"
    index = os.environ.get("TORCH_INDEX")
    options = [f"--index-url={index}"] if index else []
    try:
        run(TOOLS / "bin" / "python", "-m", "pip", python, "install", "-qq", "--no-deps", *options, build)
    except subprocess.CalledProcessError:
        try:
            run_uv("install", "--quiet", python, "--no-deps", "--torch-backend=cpu", build)
        except subprocess.CalledProcessError:
            return False
    return True


def install_torch(build: str, version: str) -> str:
    """Install PyTorch where it is not to come from the lock.

    :param build: `cpu`, `cuda` or `auto`.
    :param version: The locked version.
    :return: The build that the environment is to hold, `cpu` or `cuda`.
    :raises SetupError: The CPU build was asked for and is nowhere to be found.
    """
    if build == "cuda" or installed_packages().get("torch") == f"{version}+cpu" or install_cpu_torch(version):
        return "cuda" if build == "cuda" else "cpu"
    missing = f"No CPU build of torch {version} for Python {sys.version_info.major}.{sys.version_info.minor} was found"
    if build == "auto":
        print(f"{missing}; installing the build with CUDA")
        return "cuda"
    message = (
        f"{missing}. Name the address of an index that holds it, make init TORCH=cpu TORCH_INDEX=..., "
        "or take the build with CUDA: make init TORCH=cuda"
    )
    raise SetupError(message)


def install_project(python: str) -> None:
    """Install the project itself, in place, so that a change of its code takes effect at once.

    Its build backend makes the wheel (PEP 660), and uv installs it; the commands that `poetry install` writes do not
    start where the path of the project has a space in it.

    :param python: The option that names the environment.
    :raises subprocess.CalledProcessError: It could not be built.
    """
    build = "from poetry.core.masonry.api import build_editable; print(build_editable('.tools'))"
    name = run(TOOLS / "bin" / "python", "-c", build, stdout=subprocess.PIPE).splitlines()[-1]
    wheel = TOOLS / name
    run_uv("install", "--quiet", python, "--no-deps", "--reinstall", wheel)
    wheel.unlink()


def install_packages(requirements: Sequence[Requirement]) -> None:
    """Make the environment hold the given packages, checked by their hashes, beside its own PyTorch, and nothing else.

    :param requirements: The packages.
    :raises SetupError: A package could not be installed, or is not the one that was locked.
    """
    locked = {requirement.name for requirement in requirements}
    installed = installed_packages()
    superfluous = set(installed) - locked - {"torch"}
    if "torch" in locked and "+" in installed.get("torch", ""):
        superfluous.add("torch")  # To uv, the CPU build is as good as the locked one: it has the same version.
    python = f"--python={ENVIRONMENT / 'bin' / 'python'}"
    file = ENVIRONMENT / "requirements.txt"
    file.write_text("".join(requirement.text for requirement in requirements))
    try:
        if superfluous:
            run_uv("uninstall", "--quiet", python, *sorted(superfluous))
        print(f"Installing {len(requirements)} packages", flush=True)
        options = [] if sys.stderr.isatty() else ["--quiet"]
        options += ["--no-deps", "--require-hashes", "--compile-bytecode"]
        run_uv("install", *options, python, "--requirement", file)
        install_project(python)
    except subprocess.CalledProcessError as error:
        message = (
            "The packages could not be installed (see above). Where a hash does not match, restore the lock: "
            "git checkout poetry.lock. Otherwise, once the cause is gone, repeat: make init"
        )
        raise SetupError(message) from error


def install(*, is_forced: bool) -> None:
    """Install the locked environment.

    :param is_forced: Whether to look at every package also where the environment is known to be complete.
    :raises SetupError: It could not be installed.
    """
    stamp = read_stamp(ENVIRONMENT)
    optional_groups = os.environ.get("WITH", "").split()
    requested = os.environ.get("TORCH", "")
    if stamp.get("base") == IMAGE:
        if optional_groups:
            message = f"WITH={' '.join(optional_groups)}: the development image holds no optional groups"
            raise SetupError(message)
        print(f"The environment is that of {IMAGE}")
        return
    build = choose_torch(requested, stamp.get("torch"), platform=sys.platform, is_automated=bool(os.environ.get("CI")))
    files = [PROJECT / "pyproject.toml", PROJECT / "poetry.lock"]
    if not files[1].exists():
        message = "There is no poetry.lock. Restore it with: git checkout poetry.lock"
        raise SetupError(message)
    key = fingerprint(files, *sorted(optional_groups))
    base = f"Python {sys.version_info.major}.{sys.version_info.minor} in {PROJECT}"
    if not is_forced and stamp.get("key") == key and build in {stamp["torch"], "auto"}:
        print(f"The environment is complete ({describe(stamp['torch'])})")
        return
    requirements = export_lock(optional_groups)
    if not stamp.get("key") or not (ENVIRONMENT / "bin" / "python").exists() or stamp["base"] != base:
        run(sys.executable, "-m", "venv", "--clear", "--without-pip", ENVIRONMENT)
    write_stamp(ENVIRONMENT, {"key": "", "torch": build, "base": base})
    version = next((requirement.version for requirement in requirements if requirement.name == "torch"), None)
    if version:
        build = install_torch(build, version)
    if build == "cpu":
        requirements = [requirement for requirement in requirements if not CUDA_PACKAGE.fullmatch(requirement.name)]
    install_packages(requirements)
    write_stamp(ENVIRONMENT, {"key": key, "torch": build, "base": base})
    print(f"The environment is ready ({describe(build)})")


def describe(build: str) -> str:
    """Name a build of PyTorch in words.

    :param build: `cpu` or `cuda`.
    :return: The words.
    """
    return "PyTorch for CPU" if build == "cpu" else "PyTorch as locked"


def main(arguments: Sequence[str]) -> int:
    """Run one command: `init`, `install` (looks at every package again), `tools` (no more than those), or `poetry`.

    :param arguments: The command's name and arguments.
    :return: The exit code.
    """
    try:
        set_up_tools()
        match list(arguments):
            case ["tools"]:
                pass
            case ["init"]:
                install(is_forced=False)
            case ["install"]:
                install(is_forced=True)
            case ["poetry", *poetry_arguments]:
                run_poetry(*poetry_arguments)
            case _:
                print("Usage: environment.py init | install | tools | poetry ARGUMENTS", file=sys.stderr)
                return 2
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print("Interrupted. Continue with: make init", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
