"""Where a run comes from: all that must be known to tell why two runs differ."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from labkit.environment import Environment
from labkit.secret import Masker
from labkit.tracking.run import Run
from labkit.tracking.source import ARCHIVE, DIFFERENCE, PRIVATE, Source, capture_source, is_unpacked

FILE_NAME: Final = "environment.json"
OTHER_SOURCE_TAG: Final = "labkit.other_source"
"""On a run that went on with other code than it was sealed with: that code's hash."""
LOCK: Final = "poetry.lock"
SECONDS_FOR_THE_DRIVER: Final = 10.0
TEXTS_TO_SHOW: Final = 3
SHORTEST_SECRET_IN_CODE: Final = 12
"""Characters; a shorter one may be a word of the code by chance, as `password` is."""
SQLITE: Final = "sqlite:///"

Surroundings = dict[str, Any]
"""What a run executes in, as ``environment.json`` has it."""

NO_CAUSE: Final = frozenset({"command_line", "host"})
"""What is recorded for people to read, and does not tell why two runs differ."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a run comes from."""

    source: Source
    surroundings: Surroundings

    @property
    def tags(self) -> dict[str, str]:
        """The short facts, as tags for a run."""
        source, surroundings = self.source, self.surroundings
        gpus = [gpu["name"] for gpu in surroundings["gpus"]]
        tags = {
            "labkit.commit": source.commit or "none",
            "mlflow.source.git.commit": source.commit,
            "labkit.branch": source.branch,
            "mlflow.source.git.branch": source.branch,
            "mlflow.source.git.repoURL": source.remote,
            "labkit.dirty": str(source.is_dirty).lower() if source.repository else None,
            "labkit.source": source.sha256,
            "labkit.python": surroundings["python"],
            "labkit.host": surroundings["host"],
            "labkit.gpus": ", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)),
            "labkit.image": surroundings["image"],
        }
        return {name: value for name, value in tags.items() if value}


def capture(
    environment: Environment, folder: Path, command_line: Sequence[str], *, secrets: Iterable[str] = ()
) -> Provenance:
    """Keep the code as it is, and describe what it is about to be executed in.

    :param environment: Says where the project is, and what in it is no code.
    :param folder: Receives ``source.tar.gz``, ``environment.json`` and, if tracked files were changed,
        ``difference.patch``.
    :param command_line: The words with which the run was asked for.
    :param secrets: What must not be in the files, beside what the environment knows as secret.
    :return: What the files hold, in short.
    """
    masker = Masker([*environment.secrets(), *secrets])
    with _GpuQuery() as query:
        uri = environment.mlflow_tracking_uri
        apart = [
            environment.runs_path,
            environment.data_path,
            environment.data_ephemeral_path,
            Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None,
        ]
        source = capture_source(
            environment.project_path,
            folder,
            apart=[path for path in apart if path],
            secrets=[form for form in masker.forms if len(form) >= SHORTEST_SECRET_IN_CODE],
        )
        # Needed next, and meanwhile the driver may answer, which takes as long where it has to wake the GPUs.
        importlib.import_module("mlflow")
        surroundings = _describe_surroundings(environment, masker.mask_words(command_line), query)
    write_surroundings(surroundings, folder)
    return Provenance(source=source, surroundings=surroundings)


def record_circumstances(run: Run, environment: Environment, command_line: Sequence[str]) -> None:
    """Keep what a later attempt executes, and in what, where either is not as it was when the run was sealed.

    ``environment.json`` is then that of this attempt, and the one before is kept as ``environment-1.json``.

    :param run: The run that is continued.
    :param environment: Says where the code is that is about to be executed.
    :param command_line: The words with which the attempt was asked for.
    """
    source = run.envelope.source
    if source is None:
        return
    command_line = run.masker.mask_words(command_line)
    sealed = run.folder / FILE_NAME
    if not sealed.exists():
        run.download(FILE_NAME, sealed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if is_unpacked(source, environment.project_path):
            write_surroundings(describe_surroundings(environment, command_line), folder)
        else:
            current = capture(environment, folder, command_line, secrets=run.masker.forms).source
            if current.sha256 != source.sha256:
                kept = _keep_beside(run, folder / ARCHIVE)
                if (folder / DIFFERENCE).exists():
                    _keep_beside(run, folder / DIFFERENCE)
                run.log_tags({OTHER_SOURCE_TAG: current.sha256})
                print(
                    f"The code is not what the run was sealed with: it goes on with this code, kept as {kept.name}. "
                    f"To go on with its own: local-launch {run.identifier}",
                    file=sys.stderr,
                )
        old, new = (json.loads(path.read_bytes()) for path in (sealed, folder / FILE_NAME))
        if compare_surroundings(old, new):
            _keep_beside(run, sealed)
            run.log_artifact(write_surroundings(new, run.folder))


def describe_surroundings(environment: Environment, command_line: Sequence[str]) -> Surroundings:
    """Describe what this process executes in.

    :param environment: Says where the project is.
    :param command_line: The words with which the run was asked for.
    :return: What ``environment.json`` holds.
    """
    with _GpuQuery() as query:
        return _describe_surroundings(environment, Masker(environment.secrets()).mask_words(command_line), query)


def write_surroundings(surroundings: Surroundings, folder: Path) -> Path:
    """Write ``environment.json``.

    :param surroundings: What it holds.
    :param folder: Receives it.
    :return: Its path.
    """
    path = folder / FILE_NAME
    path.write_text(json.dumps(surroundings, indent=2), encoding="utf-8")
    return path


def compare_surroundings(old: Surroundings, new: Surroundings) -> list[tuple[str, str, str]]:
    """Find what could be the cause if two runs of the same code differ.

    :param old: What the one executed in.
    :param new: What the other executed in.
    :return: What differs: its name, and what it was for each; of packages, each that differs.
    """
    differences: list[tuple[str, str, str]] = []
    for name in sorted((old.keys() | new.keys()) - NO_CAUSE):
        values = old.get(name), new.get(name)
        if values[0] == values[1]:
            continue
        if all(isinstance(value, dict) for value in values):
            before, after = cast("tuple[dict[str, Any], dict[str, Any]]", values)
            differences += [
                (f"{name}: {key}", _show(before.get(key)), _show(after.get(key)))
                for key in sorted(before.keys() | after.keys())
                if before.get(key) != after.get(key)
            ]
        else:
            differences.append((name, _show(values[0]), _show(values[1])))
    return differences


def describe_gaps(source: Source) -> str | None:
    """Say in one sentence what of the code was not kept as it is.

    :param source: The code that was kept.
    :return: The sentence, or None where nothing unexpected is missing.
    """
    gaps = [f"{name!r} ({reason})" for name, reason in sorted(source.left_out.items()) if reason != PRIVATE]
    gaps += [f"a secret in {name!r}" for name in source.masked]
    if not gaps:
        return None
    return (
        f"The run's own copy of the code lacks {_list_first(gaps)}: "
        "let git ignore what is data, and read secrets from the environment."
    )


def describe_changes(source: Source) -> str:
    """Say how the code differs from its commit.

    :param source: The code.
    :return: A phrase that fits into a sentence.
    """
    if not source.repository:
        return "the project is in no git repository"
    if source.commit is None:
        return "the repository has no commit yet"
    changes = [repr(name) for name in (*source.changed, *source.untracked)]
    return f"the working tree differs from the commit {source.commit[:8]} in {_list_first(changes)}"


def _keep_beside(run: Run, file: Path) -> Path:
    """Keep a file with the run under the next free number: ``source-1.tar.gz``."""
    stem, _, ending = file.name.partition(".")
    number = 1 + sum(1 for _ in run.folder.glob(f"{stem}-*.{ending}"))
    path = run.folder / f"{stem}-{number}.{ending}"
    shutil.copyfile(file, path)
    run.log_artifact(path)
    return path


def _describe_surroundings(environment: Environment, command_line: list[str], query: "_GpuQuery") -> Surroundings:
    lock = environment.project_path / LOCK
    return {
        "command_line": command_line,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "processor": _find_processor(),
        "cores": _count_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "image": environment.training_image,
        "variables": dict(environment.variables_of_numerics),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "packages": _list_packages(),
        **query.answer(),
    }


def _list_packages() -> dict[str, str]:
    """List the installed packages; of each one's metadata only the head is read, which takes a fifth of the time."""
    packages: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        head = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "").partition("\n\n")[0]
        fields = dict(re.findall(r"^(Name|Version): *(.+?) *$", head, re.MULTILINE))
        if fields.keys() == {"Name", "Version"}:
            packages.setdefault(fields["Name"], fields["Version"])  # the first on the path is the one imported
    return dict(sorted(packages.items(), key=lambda item: item[0].lower()))


def _find_processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _count_cores() -> int:
    """Count the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _GpuQuery:
    """Asks the driver for the GPUs, which can take a second, while this process does something else."""

    def __init__(self) -> None:
        program = shutil.which("nvidia-smi")
        self._process = (
            subprocess.Popen(
                [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if program
            else None
        )

    def __enter__(self) -> "_GpuQuery":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def answer(self) -> Surroundings:
        """Wait for the answer; a driver that does not give one has no GPUs to offer."""
        nothing: Surroundings = {"gpus": [], "gpu_driver": None}
        if self._process is None:
            return nothing
        try:
            text, _ = self._process.communicate(timeout=SECONDS_FOR_THE_DRIVER)
        except subprocess.TimeoutExpired:
            return nothing
        rows = [[value.strip() for value in line.split(",")] for line in text.splitlines() if line.count(",") == 2]  # noqa: PLR2004
        if self._process.returncode or not rows:
            return nothing
        return {
            "gpus": [{"name": name, "memory_mebibytes": memory} for name, memory, _ in rows],
            "gpu_driver": rows[0][2],
        }


def _show(value: object) -> str:
    return "none" if value in (None, [], {}) else value if isinstance(value, str) else json.dumps(value)


def _list_first(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - TEXTS_TO_SHOW} more" if len(texts) > TEXTS_TO_SHOW else ""
    return ", ".join(texts[:TEXTS_TO_SHOW]) + more
