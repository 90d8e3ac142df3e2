"""The names of jobs: they tell what a job executes, so that Slurm's queue alone says what is under way."""

import re
from dataclasses import dataclass
from typing import Final, Self

PATTERN: Final = re.compile(r"(?P<launch>\w[\w.-]*)/(?P<part>\d+)(?:\+(?P<offset>\d+))?")


@dataclass(frozen=True, kw_only=True)
class Name:
    """The name of a job, and of its folder in that of all jobs.

    :ivar launch: The id of the session or run that it belongs to.
    :ivar part: Which of the launch's jobs it is.
    :ivar offset: For trials of a session, what is to be added to a task's number to have the trial's.
    """

    launch: str
    part: int
    offset: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a name.

        :param text: The text.
        :return: The name, None where it is not one that Labkit gives.
        """
        found = PATTERN.fullmatch(text)
        if not found:
            return None
        offset = None if found["offset"] is None else int(found["offset"])
        return cls(launch=found["launch"], part=int(found["part"]), offset=offset)

    def __str__(self) -> str:
        """Write the name, such as ``rates-1/0+1000``."""
        return f"{self.launch}/{self.part}" + ("" if self.offset is None else f"+{self.offset}")

    def unit(self, task: int) -> str:
        """Return what a task executes: a run's id or ``SESSION/NUMBER``."""
        return self.launch if self.offset is None else f"{self.launch}/{self.offset + task}"
