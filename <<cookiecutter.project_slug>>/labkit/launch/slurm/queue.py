"""What Slurm says of its jobs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from labkit.launch.slurm.name import Name

SEPARATOR: Final = "|"
FIELDS: Final = ("JobArrayID", "JobID", "State", "RestartCnt", "TimeUsed", "Reason", "Name")
LIST_JOBS: Final = (
    f"squeue --me --array --states=all --noheader --Format='{','.join(f'{field}:{SEPARATOR}' for field in FIELDS)}'"
)
WAITING: Final = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
ENDED: Final = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
        *("REVOKED", "TIMEOUT"),
    }
)
MAX_ARRAY_SIZE: Final = re.compile(r"^MaxArraySize\s*=\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A task of an array job, or a job without tasks, as Slurm's queue has it.

    :ivar job_id: As a user gives it to Slurm's commands, such as ``12_3``.
    :ivar number: Slurm's own number of it; of two, that of the newer job is greater.
    :ivar name: The job's name.
    :ivar task: Its number in the array; 0 for a job without tasks.
    :ivar state: Slurm's word.
    :ivar restarts: How often it was put back into the queue.
    :ivar time: For how long it has been running, as Slurm writes it.
    :ivar reason: Why it waits, in Slurm's word.
    """

    job_id: str
    number: int
    name: Name
    task: int
    state: str
    restarts: int
    time: str
    reason: str

    @property
    def unit(self) -> str:
        """What it executes: a run's id or ``SESSION/NUMBER``."""
        return self.name.unit(self.task)

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in ENDED

    @property
    def is_waiting(self) -> bool:
        """Whether it waits."""
        return self.state in WAITING


def read_queue(text: str) -> list[Entry]:
    """Read what ``LIST_JOBS`` prints.

    :param text: Lines about all jobs of the user, of which some may not be ours.
    :return: Ours.
    """
    return [entry for line in text.splitlines() if (entry := _read_entry(line))]


def choose(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Choose for each unit the job that says where it stands.

    :param entries: Of a unit perhaps several, where it was submitted again.
    :return: By unit, one that is active where there is one, else the newest.
    """
    return {entry.unit: entry for entry in sorted(entries, key=lambda entry: (entry.is_active, entry.number))}


def read_max_array_size(text: str) -> int:
    """Read how many tasks an array job may have.

    :param text: What ``scontrol show config`` prints.
    :return: ``MaxArraySize``, or Slurm's own default where it is not said.
    """
    found = MAX_ARRAY_SIZE.search(text)
    return int(found[1]) if found else 1001


def _read_entry(line: str) -> Entry | None:
    """Read a line, None where it is of a job that Labkit did not submit."""
    words = [word.strip() for word in line.split(SEPARATOR)]
    if len(words) < len(FIELDS):
        return None
    job_id, number, state, restarts, time, reason, name = words[: len(FIELDS)]
    parsed, task = Name.parse(name), job_id.partition("_")[2]
    if parsed is None or (parsed.offset is None) != (not task) or not (task or "0").isdecimal():
        return None
    return Entry(
        job_id=job_id,
        number=int(number),
        name=parsed,
        task=int(task or 0),
        state=state,
        restarts=int(restarts),
        time=time,
        reason="" if reason == "None" else reason,
    )
