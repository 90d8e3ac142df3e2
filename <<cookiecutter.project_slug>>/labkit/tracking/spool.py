"""A durable, append-only file of all that a run has to say to the tracking store.

The process that trains only ever appends to it; :mod:`labkit.tracking.sender` reads it and talks to the store. Each
line is one JSON object:

- ``{"metrics": {name: value}, "step": step, "time": milliseconds}``
- ``{"artifact": path, "folder": folder in the store}``, the path relative to the run's folder
- ``{"tags": {name: text}}``
- ``{"state": state, "time": milliseconds}``
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

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
                    self._latest.update(dict.fromkeys(metrics, record["step"]))
        self._file: BinaryIO = self.path.open("ab", buffering=0)
        self._file.truncate(end_of_records)

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the spool."""
        self.close()

    def append_metrics(self, rows: Iterable[tuple[Mapping[str, float], int, int]]) -> None:
        """Append metrics; a value for a step that is there already, as after a resumption, is left out.

        :param rows: Metrics by name, their step, and the time in milliseconds since 1970.
        """
        lines: list[str] = []
        for metrics, step, time in rows:
            new = {name: value for name, value in metrics.items() if step > self._latest.get(name, -1)}
            if new:
                self._latest.update(dict.fromkeys(new, step))
                lines.append(json.dumps({"metrics": new, "step": step, "time": time}) + "\n")
        if lines:
            self._write("".join(lines))

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one record of another kind than metrics."""
        self._write(json.dumps(record) + "\n")

    def flush(self) -> None:
        """Wait until the disk has it all."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[self._file.write(data) :]


def read_records(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the complete records of a spool.

    :param path: The spool's file.
    :param offset: The byte to begin at, the end of an earlier record.
    :return: For each record the byte at which it ends, and the record.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield offset, json.loads(line)


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
