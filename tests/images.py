"""Images for the tests: one store that all processes of a test run share, since an image takes minutes to build."""

import ast
import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from project import ENVIRONMENT, TEMPLATE, Project, run

SERVICE = TEMPLATE / "tests" / "services" / "containers.sh"
PROGRAMS = ("buildah", "mmdebstrap", "podman", "runc")
BASE = "localhost/base:latest"
PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-pip", "python3-venv")


@dataclass(frozen=True)
class Store:
    """Images and containers in a folder, and a Debian among them to build on."""

    folder: Path
    settings: Mapping[str, str]

    def make(
        self, project: Project, target: str, *, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a target of a project's Makefile on this store; one at a time, or all would build the same.

        :param project: The project.
        :param target: The target.
        :param check: Whether a failure fails the test.
        :param variables: Environment variables to set.
        """
        chosen = {"TORCH": "cpu", "BASE_IMAGE": BASE, "ENGINE": "podman", "IMAGE_OPTIONS": self.options}
        with locked(self.folder / "builds"):
            return run(
                *("make", target),
                folder=project.folder,
                variables={**self.settings, **chosen, **variables},
                check=check,
            )

    def podman(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman on this store."""
        return run("podman", *arguments, folder=self.folder, variables=self.settings, check=check)

    @property
    def options(self) -> str:
        """What a build needs to reach packages as this machine does: its network, and folders that pip looks into."""
        listed = run(
            ENVIRONMENT.with_name(".tools") / "bin" / "python", "-m", "pip", "config", "list", folder=self.folder
        )
        words = " ".join(ast.literal_eval(line.partition("=")[2]) for line in listed.stdout.splitlines()).split()
        places = {word.removeprefix("file://").removesuffix("/simple") for word in words}
        volumes = [f"--volume={place}:{place}:ro" for place in sorted(places) if Path(place).is_dir()]
        return " ".join(["--isolation=chroot", "--network=host", *volumes])


def why_not() -> str | None:
    """Say in a sentence why there can be no images on this machine."""
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        packages = "buildah catatonit conmon mmdebstrap netavark podman runc"
        return f"no {', '.join(missing)}: apt-get install --no-install-recommends {packages}"
    return "only root can make images here" if os.geteuid() else None


@contextlib.contextmanager
def share_store(folder: Path) -> Generator[Store]:
    """Give the store in a folder; whoever comes first makes it, and whoever leaves last removes it."""
    folder.mkdir(exist_ok=True)
    with folder.with_suffix(".used").open("w") as used:
        with locked(folder.with_suffix(".lock")):
            lines = run(SERVICE, "start", folder, folder=folder).stdout.splitlines()
            store = Store(folder, dict(line.removeprefix("export ").split("=", 1) for line in lines))
            if store.podman("image", "exists", BASE, check=False).returncode:
                run(SERVICE, "base", folder, BASE, *PACKAGES, folder=folder)
            fcntl.flock(used, fcntl.LOCK_SH)
        try:
            yield store
        finally:
            with locked(folder.with_suffix(".lock")), contextlib.suppress(BlockingIOError):
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
                run(SERVICE, "stop", folder, folder=folder)


@contextlib.contextmanager
def locked(file: Path) -> Generator[None]:
    """Be the only process that holds a file."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
