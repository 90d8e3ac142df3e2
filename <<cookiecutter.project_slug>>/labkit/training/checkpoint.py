"""Checkpoints from which training goes on as if nothing had happened.

``last.ckpt`` is the newest and ``previous.ckpt`` the one before it; ``best.ckpt`` has the best score. Each file is
complete or not there: it is written aside, flushed to the disk and renamed. PyTorch's file format is a ZIP archive that
carries a checksum of every record.
"""

import os
import sys
import zipfile
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from labkit.command import UsageError

FOLDER: Final = "checkpoints"
LAST: Final = "last"
PREVIOUS: Final = "previous"
BEST: Final = "best"

Name = Literal["last", "previous", "best"]


def path_of(run_folder: Path, name: Name) -> Path:
    """Return the path of a run's checkpoint, there or not."""
    return run_folder / FOLDER / f"{name}.ckpt"


def write(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that, whatever happens, the path holds a complete one: this or the one before.

    :param checkpoint: Tensors and plain data.
    :param path: The file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def link(path: Path, other: Path) -> None:
    """Let a second path name the file that a first one names now, in one moment.

    :param path: A file.
    :param other: The other path, in the same folder.
    """
    temporary = other.with_suffix(".link")
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(path)
    temporary.replace(other)


def is_complete(path: Path) -> bool:
    """Tell whether a file is a checkpoint of which no byte is missing or wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return False


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    :param path: The file.
    :return: Its content, on the CPU.
    :raises UsageError: If the file is damaged.
    """
    if not is_complete(path):
        raise UsageError(f"the checkpoint {path} is damaged or cut short: use another one, or an earlier run's.")
    return torch.load(path, map_location="cpu", weights_only=True)


def find_newest(run_folder: Path) -> Path | None:
    """Find the newest complete checkpoint to go on from; say so where a newer one is damaged.

    :param run_folder: The run's folder.
    :return: Its path, or None where training begins.
    """
    for name in (LAST, PREVIOUS):
        path = path_of(run_folder, name)
        if path.exists():
            if is_complete(path):
                return path
            print(f"The checkpoint {path} is damaged: going on from the one before.", file=sys.stderr)
    return None


def load_weights(module: nn.Module, path: Path) -> int:
    """Give a module the weights of a checkpoint, all of them.

    :param module: The task that was trained, or one with the same weights.
    :param path: The checkpoint.
    :return: The optimiser steps that made the weights.
    :raises UsageError: If the file is damaged, or its weights are not those of the module.
    """
    checkpoint = read(path)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise UsageError(f"the checkpoint {path} is of another architecture: {error}") from None
    return checkpoint["global_step"]
