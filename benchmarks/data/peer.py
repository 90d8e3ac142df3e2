"""The peers that the generated project does not depend on: installed beside it, and each run in a process of its own.

Their requirements contradict the project's (other versions of boto3, of MLflow), so that they cannot share a process
with it. What takes long and is the same for both, PyTorch, is taken from the project's environment.
"""

import json
import site
import subprocess
import sys
import venv
from pathlib import Path

import torch

from benchmarks.data import peer_program
from benchmarks.data.measurement import Seconds, Variant

PACKAGES = ("litdata", "s3fs", "sfu-torch-lib", "webdataset")
# It does not say so, but its newer versions cannot be read by Python 3.11.
LIMITS = ("sfu-torch-lib<0.0.50; python_version < '3.12'",)
TEMPLATE = Path(__file__).resolve().parent.parent.parent
FOLDER = TEMPLATE / "build" / "peers"


def install_peers() -> Path | None:
    """Install the peers if they are not installed yet.

    :return: Their Python; none if they cannot be had, which is said.
    """
    python = FOLDER / "bin" / "python"
    requirements = "\n".join(
        (*PACKAGES, *LIMITS, f"torch=={torch.__version__}", sys.version, site.getsitepackages()[0])
    )
    installed = FOLDER / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements:
        print("Installing the peers: " + ", ".join(PACKAGES), flush=True)
        venv.create(FOLDER, clear=True, with_pip=True)
        (packages,) = FOLDER.glob("lib/python*/site-packages")
        (packages / "project.pth").write_text(site.getsitepackages()[0])
        constraint = FOLDER / "constraint.txt"
        constraint.write_text(f"torch=={torch.__version__}\n")
        command = [python, "-m", "pip", "install", "--quiet", "--constraint", constraint, *PACKAGES, *LIMITS]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"Without {', '.join(PACKAGES)}: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
            return None
        # Made for PyTorch with CUDA, it breaks the import of whoever tries it; no peer here needs it.
        remove = [python, "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"]
        subprocess.run(remove, check=True, capture_output=True)
        installed.write_text(requirements)
    show = [python, "-m", "pip", "--disable-pip-version-check", "list", "--format", "freeze"]
    versions = subprocess.run(show, check=True, capture_output=True, text=True).stdout.split()
    print("Peers: " + ", ".join(each for each in versions if each.partition("==")[0] in PACKAGES), flush=True)
    return python


def peer_variant(python: Path, function: str, **arguments: str | int | float) -> Variant:
    """Return what runs a function of :mod:`benchmarks.data.peer_program` in a fresh process of the peers' Python."""
    command = [python, "-m", peer_program.__name__, function, json.dumps(arguments)]

    def run() -> Seconds:
        done = subprocess.run(command, cwd=TEMPLATE, check=True, stdout=subprocess.PIPE, text=True)
        return float(done.stdout.split()[-1])

    return run
