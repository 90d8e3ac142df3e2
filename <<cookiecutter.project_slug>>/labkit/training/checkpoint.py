"""Checkpoints from which training goes on as if nothing had happened.

``last.ckpt`` is the newest and ``previous.ckpt`` the one before it; ``best.ckpt`` has the best score. Each file is
complete or not there: it is written aside, flushed to the disk and renamed. PyTorch's file format is a ZIP archive,
which has room for a comment at its end: there stands the SHA-256 of all bytes before it.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import torch
from torch import nn

from labkit.command import UsageError

FOLDER: Final = "checkpoints"
LAST: Final = "last"
PREVIOUS: Final = "previous"
BEST: Final = "best"

Name = Literal["last", "previous", "best"]

DIGEST_SIZE: Final = 32
BYTES_AT_ONCE: Final = 2**20
NAMES_TO_SHOW: Final = 5


def path_of(run_folder: Path, name: Name) -> Path:
    """Return the path of a run's checkpoint, there or not."""
    return run_folder / FOLDER / f"{name}.ckpt"


def write(checkpoint: dict[str, Any], path: Path, *, previous: Path | None = None) -> None:
    """Write a checkpoint so that, whatever happens, the path holds a complete one: this or the one before.

    :param checkpoint: Tensors and plain data.
    :param path: The file.
    :param previous: Names the one before afterwards.
    :raises OSError: If the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        with temporary.open("w+b") as file:
            _save(checkpoint, file)
            _append_digest(file)
            file.flush()
            os.fsync(file.fileno())
        if previous and path.exists():
            link(path, previous)
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
        with path.open("rb") as file:
            return _compute_digest(file, path.stat().st_size - DIGEST_SIZE) == file.read()
    except OSError:
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
            instead = "going on from the one before" if name == LAST else "beginning anew"
            print(f"The checkpoint {path} is damaged: {instead}.", file=sys.stderr)
    return None


class Fit(NamedTuple):
    """How the weights of a checkpoint fit a module; names as in ``module.state_dict()``."""

    fitting: dict[str, Any]
    """What the module can be given."""
    missing: list[str]
    """What the module has and the checkpoint lacks, or has in another shape."""
    unused: list[str]
    """What the checkpoint has and the module lacks."""


def load_weights(module: nn.Module, path: Path) -> int:
    """Give a module the weights of a checkpoint, all of them.

    :param module: The task that was trained, or one with the same weights.
    :param path: The checkpoint.
    :return: The optimiser steps that made the weights.
    :raises UsageError: If the file is damaged, or its weights are not those of the module.
    """
    checkpoint = read(path)
    module.load_state_dict(demand_fit(module, checkpoint["state_dict"], f"the checkpoint {path}").fitting)
    return checkpoint["global_step"]


def demand_fit(
    module: nn.Module,
    weights: Mapping[str, Any],
    origin: str,
    *,
    may_be_missing: Iterable[str] = (),
    may_be_unused: Iterable[str] = (),
) -> Fit:
    """Make sure that weights are those of a module.

    :param module: The module.
    :param weights: Tensors by name.
    :param origin: Where they come from, as the beginning of a sentence.
    :param may_be_missing: Patterns such as ``model.head.*``: the weights that the module may keep where there are none
        of their shape.
    :param may_be_unused: Patterns: the weights that may be left out where the module has no place for them.
    :return: How they fit.
    :raises UsageError: If something else is missing, left over or of another shape, or nothing fits.
    """
    here, there = _shapes(module.state_dict()), _shapes(weights)
    missing = [name for name in here if (name, here[name]) not in there.items()]
    unused = [name for name in there if name not in here]
    refused = _without(missing, may_be_missing)
    faults = {
        "it lacks": [repr(name) for name in refused if name not in there],
        "it has in another shape": [
            f"{name!r} ({_show(there[name])}, not {_show(here[name])})" for name in refused if name in there
        ],
        "the model lacks": [repr(name) for name in _without(unused, may_be_unused)],
    }
    if reasons := [f"{fault} {_list(names)}" for fault, names in faults.items() if names]:
        raise UsageError(f"{origin} is of another architecture: {'; '.join(reasons)}.")
    fitting = {name: value for name, value in weights.items() if name in here.keys() - set(missing)}
    if not fitting:
        raise UsageError(f"{origin} is of another architecture: no weight of it fits the model.")
    return Fit(fitting, missing, unused)


def _save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # of which torch says only that it was at another place of the file
            raise error.__context__ from None
        raise


def _append_digest(file: BinaryIO) -> None:
    """Make the digest of a ZIP archive its comment, whose length is the archive's last field."""
    file.seek(-2, os.SEEK_END)
    file.write(DIGEST_SIZE.to_bytes(2, "little"))
    file.write(_compute_digest(file, file.tell()))


def _compute_digest(file: BinaryIO, length: int) -> bytes:
    """Return the SHA-256 of the first bytes of a file, and leave the file there."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (data := file.read(min(length, BYTES_AT_ONCE))):
        digest.update(data)
        length -= len(data)
    return digest.digest()


def _shapes(weights: Mapping[str, Any]) -> dict[str, torch.Size | None]:
    return {name: getattr(value, "shape", None) for name, value in weights.items()}


def _without(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that fit no pattern."""
    patterns = list(patterns)
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def _show(shape: torch.Size | None) -> str:
    return "no tensor" if shape is None else str(tuple(shape))


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_TO_SHOW} more" if len(names) > NAMES_TO_SHOW else ""
    return ", ".join(names[:NAMES_TO_SHOW]) + more
