"""What there is of Labkit's jobs on a machine without a scheduler: a folder for each, and the processes in it."""

import inspect
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from labkit.launch import bootstrap
from labkit.launch.apptainer.job import Job
from labkit.launch.host import Host
from labkit.launch.numbers import read_spans
from labkit.launch.site import Site
from labkit.launch.work import Choice, Work

FOLDER_OF_JOBS: Final = ".apptainer"
START: Final = """
umask 077
mkdir -p -- {parent} && mkdir -- {folder} && cd -- {folder} && mkdir output running ended || exit
refuse() {{
  rm -rf -- {folder}
  exit 1
}}
echo 0 >next
head -c {script} >job.sh
head -c {bootstrap} >bootstrap.py
head -c {record} >record
cat >credentials
[[ $(wc -c <credentials) == {credentials} ]] || refuse
if command -v tmux >/dev/null; then
  tmux new-session -d -s {session} bash job.sh || refuse
else
  nohup setsid bash job.sh >log 2>&1 </dev/null &
fi
for _ in {{1..600}}; do
  if [[ ! -e credentials ]]; then exit 0; fi # which the job removes when it begins
  sleep 0.05
done
echo "job.sh does not start" >&2
refuse
"""
LOOK: Final = """
cd -- {folder} 2>/dev/null || exit 0
ls -tr -- */record 2>/dev/null | while IFS=/ read -r job _; do
  alive=over
  if [[ -e $job/pid ]] && kill -0 "$(<"$job/pid")" 2>/dev/null; then alive=active; fi
  printf 'job\\t%s\\t%s\\t%s\\n' "$job" "$alive" "$(<"$job/record")"
  for file in "$job"/running/*; do [[ ! -e $file ]] || printf 'running\\t%s\\t\\n' "${{file##*/}}"; done
  for file in "$job"/ended/*; do [[ ! -e $file ]] || printf 'ended\\t%s\\t%s\\n' "${{file##*/}}" "$(<"$file")"; done
done
"""
STOP: Final = """
cd -- {folder} || exit
touch -- {marks}
for file in {running}; do
  if [[ -e $file ]]; then kill -USR1 "$(<"$file")" 2>/dev/null || true; fi
done
"""
GPUS: Final = "nvidia-smi --query-gpu=index,memory.used --format=csv,noheader,nounits"
MOST_MEBIBYTES_OF_IDLE: Final = 100
"""A driver keeps some memory for itself."""


@dataclass(frozen=True, kw_only=True)
class Process(Work):
    """A job on the host, which is active while its process is there.

    :ivar lanes: The accelerators of those units that are executed at the same time.
    :ivar running: Which of its units are executed, by their places.
    :ivar ended: With which exit codes those have ended that have.
    """

    lanes: tuple[str, ...] = ()
    running: list[int] = field(default_factory=list[int])
    ended: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def accelerators(self) -> set[int]:
        """The numbers of the accelerators that are its own as long as it is active."""
        return {int(number) for lane in self.lanes for number in lane.split(",") if number} if self.is_active else set()

    def word(self, place: int) -> str:
        """Say where a unit stands."""
        if place in self.ended:
            return f"ended ({self.ended[place]})"
        if not self.is_active:
            return "lost" if place in self.running else "not started"
        return "running" if place in self.running else "waiting"


def start(site: Site, job: Job, script: str, credentials: str) -> None:
    """Start a job, under tmux where there is one; it goes on without the connection.

    :param site: Where.
    :param job: The job.
    :param script: Its script.
    :param credentials: Lines of shell that only the job may read.
    """
    program = inspect.getsource(bootstrap)
    record = job.record
    commands = START.format(
        parent=shlex.quote(str(job.folder)),
        folder=shlex.quote(str(job.own_folder)),
        session=shlex.quote(f"labkit-{job.name}"),
        script=len(script.encode()),
        bootstrap=len(program.encode()),
        record=len(record.encode()),
        credentials=len(credentials.encode()),
    )
    site.host.require(commands, text=script + program + record + credentials)


def look(site: Site) -> list[Process]:
    """See what there is.

    :param site: Where.
    :return: The jobs, the oldest first.
    """
    return read_work(site.host.require(LOOK.format(folder=site.quoted_folder)))


def read_work(text: str) -> list[Process]:
    """Read what :data:`LOOK` prints; pure.

    :param text: A line for each job, then one for each of its units that has begun.
    :return: The jobs.
    """
    work: list[Process] = []
    for line in text.splitlines():
        kind, name, value, *further = line.split("\t")
        match kind:
            case "job":
                record = json.loads(further[0])
                work.append(
                    Process(
                        name=name,
                        launch=record["launch"],
                        trials=read_spans(json.dumps(record["trials"])),
                        lanes=tuple(record["lanes"]),
                        is_active=value == "active",
                    )
                )
            case "running":
                work[-1].running.append(int(name))
            case _:
                work[-1].ended[int(name)] = int(value)
    return work


def stop(site: Site, choices: Iterable[Choice[Process]]) -> None:
    """Ask units of jobs for a checkpoint and an end; those that wait are not begun.

    :param site: Where.
    :param choices: The jobs, or single trials of them.
    """
    names = {shlex.quote(choice.job.name): "*" if choice.place is None else choice.place for choice in choices}
    marks = [f"{name}/stopped" + ("" if place == "*" else f".{place}") for name, place in names.items()]
    site.host.require(
        STOP.format(
            folder=site.quoted_folder,
            marks=" ".join(marks),
            running=" ".join(f"{name}/running/{place}" for name, place in names.items()),
        )
    )


def find_idle(host: Host) -> list[int]:
    """Find the accelerators of a host that nobody uses.

    :param host: The host.
    :return: Their numbers.
    """
    return read_idle(host.require(GPUS))


def read_idle(text: str) -> list[int]:
    """Read what ``nvidia-smi`` says; pure.

    :param text: Lines of number and used memory.
    :return: The numbers of those that are idle.
    """
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    return [int(number) for number, used in rows if int(used) <= MOST_MEBIBYTES_OF_IDLE]
