"""Sending what is left of runs whose store was out of reach: `sync-runs`."""

import contextlib
import sys
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from labkit.command import EXIT_DONE, EXIT_FAILED, UnavailableError, UsageError, command
from labkit.environment import Environment
from labkit.secret import Masker
from labkit.tracking.contact import describe
from labkit.tracking.relocation import catch_up
from labkit.tracking.run import open_run
from labkit.tracking.sender import Sender, send
from labkit.tracking.spool import FILE_NAME
from labkit.tracking.state import RUN_LOCK, conclude

SECONDS_TO_WAIT_FOR_A_SENDER: Final = 30.0


@command
def sync_runs(*run_ids: str) -> int:
    """Send what has not reached the tracking store yet.

    Examples: ``sync-runs``, ``sync-runs 4f0c12``.

    :param run_ids: Runs to send; none: all that are kept on this machine.
    :return: 0 if the store has all, 1 if something is left.
    """
    environment = Environment.read()
    folders = [find_folder(environment, run_id) for run_id in run_ids] or find_folders(environment)
    has_all = [synchronise(folder, environment) for folder in folders]
    if not all(has_all):
        store = Masker(environment.secrets()).mask(environment.mlflow_tracking_uri)
        print(
            f"Of {has_all.count(False)} of {len(folders)} runs something is left: {store} has to answer, and to know "
            "the run; then repeat `sync-runs`.",
            file=sys.stderr,
        )
        return EXIT_FAILED
    print(f"{len(folders)} runs: nothing is left to send.")
    return EXIT_DONE


def find_folders(environment: Environment) -> list[Path]:
    """Find the folders of all runs that have something to say, the oldest first."""
    spools = environment.runs_path.glob(f"*/{FILE_NAME}")
    return [spool.parent for spool in sorted(spools, key=lambda path: path.stat().st_mtime)]


def find_folder(environment: Environment, run_id: str) -> Path:
    """Find the folder of a run.

    :param environment: Says where runs are kept.
    :param run_id: The run's id.
    :return: Its folder.
    :raises UsageError: If there is none on this machine.
    """
    folder = environment.runs_path / run_id
    if not folder.is_dir() or folder.parent != environment.runs_path:
        raise UsageError(f"there is no run '{run_id}' in {environment.runs_path}: give the id that `train` printed.")
    return folder


def synchronise(folder: Path, environment: Environment) -> bool:
    """Send what is left of one run, and print what that was.

    :param folder: The run's folder.
    :param environment: Says which store.
    :return: Whether nothing is left, or whoever executes the run sees to it.
    """
    if is_held(folder / RUN_LOCK):
        print(f"{folder.name}  is being executed, and sent meanwhile")
        return True
    conclude(folder)
    if Sender(folder, environment).has_all:
        return True
    try:
        _catch_up(folder, environment)
        sender = send(folder, environment, SECONDS_TO_WAIT_FOR_A_SENDER)
    except Timeout:
        print(f"{folder.name}  is being sent by another process")
        return False
    entries, files = sender.entries.sent, sender.files.sent + sender.growing.sent
    print(f"{folder.name}  {entries} metrics and tags and {files} files were sent")
    if sender.refusals:
        print(f"{folder.name}  {sender.refusals} entries were left out, see above", file=sys.stderr)
    for name, error in sender.errors.items():
        print(f"{folder.name}  {name} are left: {describe(error)}", file=sys.stderr)
    return sender.has_sent_all


def _catch_up(folder: Path, environment: Environment) -> None:
    """Fetch what a run recorded elsewhere, so that nothing older is sent over it; where that cannot be, nothing is."""
    with contextlib.suppress(UsageError, UnavailableError):
        run = open_run(environment, folder.name)
        with FileLock(folder / RUN_LOCK, timeout=0):
            catch_up(run)


def is_held(path: Path) -> bool:
    """Tell whether a process holds a lock."""
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
