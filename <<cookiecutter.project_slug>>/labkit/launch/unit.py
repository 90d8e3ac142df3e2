"""One word for what an executor is handed: a run, or a trial of a session."""

import re
from dataclasses import dataclass
from typing import Final

from labkit.command import UsageError

PATTERN: Final = re.compile(r"([0-9A-Za-z_-]+)(?:/(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class Unit:
    """What is executed as a whole.

    :ivar identifier: The id of a run or of a session.
    :ivar index: The number of a trial in that session; None for a run.
    """

    identifier: str
    index: int | None = None

    def __str__(self) -> str:
        """Return the word that :func:`parse_unit` reads."""
        return self.identifier if self.index is None else f"{self.identifier}/{self.index}"


def parse_unit(text: str) -> Unit:
    """Read a unit.

    :param text: The id of a run, or ``SESSION/INDEX``.
    :return: The unit.
    :raises UsageError: If it is neither.
    """
    match = PATTERN.fullmatch(text)
    if not match:
        raise UsageError(f"{text!r} is neither the id of a run nor SESSION/NUMBER, a trial of a session.")
    return Unit(match[1], int(match[2]) if match[2] else None)
