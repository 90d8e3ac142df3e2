"""What a container executes that has no project in it: it fetches the code of a run, and opens the run there.

It is handed over as text. So it imports nothing of the project, only the standard library and what the image has:
MLflow and, where several processes share a run, torch.
"""

import gzip
import hashlib
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NoReturn

INTERRUPTED = 75
"""Run me again."""
PORT = 29500


def main(order: dict[str, Any], unit: str | None = None) -> NoReturn:
    """Open a unit from its own code; the exit code is that of the run.

    :param order: The run or session (``launch``), the hash of its code (``sha256``), first and last numbers of the
        trials by the index of the pod (``trials``; null for a run), and who shares the run: ``nodes``, ``processes`` on
        each of them, and of several nodes the first one's ``address``.
    :param unit: What to open; by default what the order and the index say.
    """
    index = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    unit = unit or find_unit(order, index)
    folder = fetch(order["launch"], order["sha256"])
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    if order["nodes"] * order["processes"] == 1:
        os.execv(sys.executable, [sys.executable, "-m", "labkit.launch.local", unit])  # noqa: S606  no shell is wanted
    share(unit, order, rank=index)


def find_unit(order: dict[str, Any], index: int) -> str:
    """Find what the pod of an index executes.

    :param order: As for :func:`main`.
    :param index: The index.
    :return: The run, or the trial of a session.
    """
    trials = [number for first, last in order["trials"] or () for number in range(first, last + 1)]
    if not trials:
        return str(order["launch"])
    return f"{order['launch']}/{trials[index if len(trials) > 1 else 0]}"  # machines that share one have an index too


def fetch(launch: str, sha256: str) -> Path:
    """Fetch and unpack code.

    :param launch: The run or session that keeps it.
    :param sha256: The hash that it was sealed with.
    :return: The folder that holds it.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    place = Path(tempfile.mkdtemp())
    try:
        archive = MlflowClient().download_artifacts(launch, "source.tar.gz", str(place))
    except (MlflowException, OSError) as error:
        print(f"The tracking store does not hand over the code of {launch}: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)  # the store may be back in a moment
    with gzip.open(archive) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            sys.exit(f"The code of {launch} in the tracking store is not what was sealed.")
    with tarfile.open(archive) as members:
        members.extractall(place / "source")  # noqa: S202  its hash is that of what was packed by labkit
    return place / "source"


def share(unit: str, order: dict[str, Any], rank: int) -> NoReturn:
    """Open a unit in several processes, which torchrun starts on each machine.

    :param unit: The run, or the trial of a session.
    :param order: As for :func:`main`.
    :param rank: The number of this machine.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    nodes, processes = order["nodes"], order["processes"]
    if nodes == 1:  # on a free port, since others may share the machine
        words = ["--standalone"]
    else:
        words = [f"--nnodes={nodes}", f"--node-rank={rank}"]
        words += [f"--master-addr={order['address']}", f"--master-port={PORT}"]
    try:
        run.main([*words, f"--nproc-per-node={processes}", "-m", "labkit.launch.local", unit])
    except ChildFailedError as error:  # torchrun's own exit code says nothing about the run's
        sys.exit(error.get_first_failure()[1].exitcode)
    except SignalException:  # which it has passed on, so that a checkpoint was written
        sys.exit(INTERRUPTED)
    sys.exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), *sys.argv[2:])
