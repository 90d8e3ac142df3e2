"""What is known about the samples of a data set before any is loaded: their names, and what can be told from them."""

import csv
import fnmatch
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from labkit.command import UsageError
from labkit.data.archive import open_archive
from labkit.data.image import class_of

BY_FOLDER: Final = "folder"
TABLES: Final = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Samples:
    """The samples of a data set in their order: files of a folder or an archive, or rows of a table."""

    source: Path
    names: list[str]
    columns: dict[str, list[str]] | None = None
    """Of a table: the values of each column."""

    def __len__(self) -> int:
        return len(self.names)

    def values(self, by: str) -> list[str]:
        """Return what each sample belongs to.

        :param by: Of a table, the name of a column. Of files, ``folder`` for the name of the folder a file lies in, or
            a regular expression that is searched for in its name, and of which the first group is the value.
        :return: A value for each sample.
        :raises UsageError: If there is no such column, or a file's name does not fit.
        """
        if self.columns is not None:
            if by not in self.columns:
                raise UsageError(f"The table {self.source} has no column '{by}'; it has {', '.join(self.columns)}.")
            return self.columns[by]
        if by == BY_FOLDER:
            return [class_of(name) for name in self.names]
        try:
            pattern = re.compile(by)
        except re.error as error:
            raise UsageError(f"The pattern '{by}' is no regular expression: {error}.") from error
        if not pattern.groups:
            raise UsageError(f"The pattern '{by}' has no group: put what is meant in brackets, as in 'patient-(\\d+)'.")
        matches = [pattern.search(name) for name in self.names]
        for name, match in zip(self.names, matches, strict=True):
            if match is None or match[1] is None:
                raise UsageError(f"The pattern '{by}' is not found in {name}: every sample needs a value.")
        return [match[1] for match in matches if match is not None]


def read_samples(source: Path, *, pattern: str | None = None, cache: Path | None = None) -> Samples:
    """Find the samples of a data set.

    :param source: A folder, a ZIP or TAR file, or a table with a line of column names, as ``.csv`` or ``.tsv``.
    :param pattern: Which files are samples, for example ``*.png``; all by default.
    :param cache: Where an archive's index may be kept.
    :return: The samples, in the order in which indices count them.
    :raises UsageError: If there are none.
    """
    if source.suffix.lower() in TABLES and source.is_file():
        return _read_table(source)
    with open_archive(source, cache=cache) as archive:
        names = [name for name in archive if pattern is None or fnmatch.fnmatchcase(name, pattern)]
    if not names:
        raise UsageError(f"There are no samples in {source}" + (f" that match '{pattern}'." if pattern else "."))
    return Samples(source, names)


def parse_times(texts: list[str]) -> list[float]:
    """Read times: numbers, or dates and times as ISO 8601 writes them; those without a time zone are in UTC.

    :param texts: The times, all of one kind.
    :return: Numbers that sort as the times do.
    :raises UsageError: If one cannot be read.
    """
    if all(re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", text) for text in texts):
        return [float(text) for text in texts]
    return [_parse_time(text) for text in texts]


def _parse_time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"The time '{text}' cannot be read: write it as 2026-01-31 or 2026-01-31T23:59:59Z."
        ) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _read_table(source: Path) -> Samples:
    with source.open(encoding="utf-8-sig", newline="") as file:
        try:
            header, *rows = csv.reader(file, delimiter=TABLES[source.suffix.lower()], strict=True)
        except (ValueError, csv.Error) as error:
            raise UsageError(f"The table {source} is unreadable ({error}): give it a line of column names.") from error
    if not rows or len(set(header)) < len(header):
        raise UsageError(f"The table {source} needs different names for its columns, and at least one row.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UsageError(
                f"Row {number} of the table {source} has {len(row)} values, and should have {len(header)}."
            )
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    return Samples(source, [str(number) for number in range(len(rows))], columns)
