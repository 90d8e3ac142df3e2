"""A durable, append-only file of all that a run has to say to the tracking store.

The process that trains only ever appends to it; :mod:`labkit.tracking.sender` reads it and talks to the store. Each
line is one JSON object:

- ``{"metrics": {name: value}, "step": step, "time": milliseconds}``
- ``{"artifact": path, "folder": folder in the store}``, the path relative to the run's folder
- ``{"tags": {name: text}}``
- ``{"state": state, "time": milliseconds}``
- ``{"part": run id}``, a run that is part of this one, whose spool is to be sent too
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from labkit.tracking.patient_file import PatientFile

FILE_NAME: Final = "spool.jsonl"


class Spool:
    """The writing end of a run's spool."""

    def __init__(self, folder: Path) -> None:
        """Open the spool of a run, and forget a line that an earlier process died in the middle of.

        :param folder: The run's folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        self._latest: dict[str, int] = {}
        end_of_records = 0
        if self.path.exists():
            for end_of_records, record in read_records(self.path):  # noqa: B007
                if metrics := record.get("metrics"):
                    self._note_steps(metrics, record["step"])
        self._earlier = dict(self._latest)
        self._file = PatientFile(self.path)
        self._file.truncate(end_of_records)

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the spool."""
        self.close()

    def append_metrics(self, rows: Iterable[tuple[Mapping[str, float], int, int]]) -> None:
        """Append metrics, one value of each for a step.

        Once more the newest step is left out, and so is what an earlier process recorded before this one went on from a
        checkpoint.

        :param rows: Metrics by name, their step, and the time in milliseconds since 1970.
        """
        lines: list[str] = []
        latest = self._latest
        for metrics, step, time in rows:
            new = {
                name: float(value)
                for name, value in metrics.items()
                if step > latest.get(name, -1) or self._is_new(name, step)
            }
            if new:
                self._note_steps(new, step)
                lines.append(json.dumps({"metrics": new, "step": step, "time": time}) + "\n")
        if lines:
            self._write("".join(lines))

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one record of another kind than metrics."""
        self._write(json.dumps(record) + "\n")

    def flush(self) -> None:
        """Wait until the disk has it all.

        :raises OSError: If it cannot: the disk is full, or fails.
        """
        self._file.drain()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file.

        :raises OSError: If the disk cannot take all of it.
        """
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def _is_new(self, name: str, step: int) -> bool:
        """Tell whether a step that is not the largest of a metric is one that this process goes back to."""
        return self._earlier.get(name, -1) < step < self._latest.get(name, -1)

    def _note_steps(self, metrics: Mapping[str, float], step: int) -> None:
        for name in metrics:
            if step > self._latest.get(name, -1):
                self._latest[name] = step

    def _write(self, text: str) -> None:
        was_waiting = self._file.is_waiting
        self._file.write(text.encode())
        if self._file.is_waiting and not was_waiting:
            print(f"The disk is full: {self.path} waits in memory until there is room.", file=sys.stderr)


def read_records(path: Path, offset: int = 0, containing: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the complete records of a spool.

    :param path: The spool's file.
    :param offset: The byte to begin at, the end of an earlier record.
    :param containing: Only records in whose text this occurs; the others cost no time.
    :return: For each record the byte at which it ends, and the record; of a damaged line ``{"damaged": text}``.
    """
    word = containing.encode()
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            if word not in line:
                continue
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            yield offset, record if isinstance(record, dict) else {"damaged": line.decode(errors="replace").strip()}


def read_history(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Read the metrics of a spool.

    :param path: The spool's file.
    :return: For each metric its steps and its values, in the order in which they were recorded.
    """
    history: dict[str, tuple[list[int], list[float]]] = {}
    for _, record in read_records(path):
        for name, value in record.get("metrics", {}).items():
            steps, values = history.setdefault(name, ([], []))
            steps.append(record["step"])
            values.append(value)
    return history
