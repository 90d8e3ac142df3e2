"""The entry points of a project, as its ``MLproject`` names them."""

import importlib
import shlex
import sys
from pathlib import Path
from typing import Any, Final

from labkit.command import UsageError
from labkit.launch.record import read_yaml
from labkit.tracking.entry_point import EntryPoint

MLPROJECT: Final = "MLproject"


def read_command(project: Path, entry_point: str) -> list[str]:
    """Read how an entry point is executed.

    :param project: The folder with the file ``MLproject``.
    :param entry_point: Its name there.
    :return: The words of its command.
    :raises UsageError: If it is not there.
    """
    path = project / MLPROJECT
    if not path.exists():
        raise UsageError(f"there is no file {path}: call this in a project's folder.")
    content = read_yaml(path)
    try:
        entry_points: dict[str, dict[str, str]] = content.get("entry_points") or {}
        commands = {name: shlex.split(entry["command"]) for name, entry in entry_points.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the file {path} does not list entry points with their commands: {error}.") from error
    if not commands.get(entry_point):
        known = ", ".join(f"'{name}'" for name in commands) or "none"
        raise UsageError(f"there is no entry point '{entry_point}' in {path}, but {known}.")
    return commands[entry_point]


def find_entry_point(project: Path, entry_point: str) -> EntryPoint[Any]:
    """Find the function behind an entry point, without what it needs to be executed.

    :param project: The folder with the file ``MLproject``.
    :param entry_point: Its name there.
    :return: The function.
    :raises UsageError: If there is none.
    """
    match read_command(project, entry_point):
        case ["python" | "python3", "-m", module]:
            pass
        case other:
            raise UsageError(
                f"the entry point '{entry_point}' in {project / MLPROJECT} is '{shlex.join(other)}': "
                "only one of the form 'python -m package.module' can be sealed."
            )
    # A command's own folder comes first for Python, not the one in which it was called.
    if sys.path[0] != str(project):
        sys.path.insert(0, str(project))
    name = entry_point.replace("-", "_")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"there is no module '{module}' in {project}, which {MLPROJECT} names.") from None
    if not isinstance(found, EntryPoint):
        raise UsageError(f"the module '{module}' has no entry point '{name}': mark the function with @entry_point.")
    return found
