"""What there is of Labkit's jobs on a cluster: in Slurm's queue, and in the folder of jobs beside it.

That folder lies on a file system that all nodes share. Each launch has a folder in it, and each of its jobs one in
that, named like the job. A job that is in the queue or has left a record has been submitted; nothing else counts.
"""

import secrets
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from labkit.launch.site import Site
from labkit.launch.slurm.job import CREDENTIALS, JOBS, STOPPED, Job
from labkit.launch.slurm.name import Name
from labkit.launch.slurm.queue import LIST_JOBS, Entry, read_max_array_size, read_queue

FOLDER_OF_JOBS: Final = "jobs"
"""The folder of all jobs, in that of all runs."""
LOOK = """
queue=$({list_jobs}) || exit
configuration=$(scontrol show config) || exit
printf '%s\\n' "$queue" {mark}
grep '^MaxArraySize' <<<"$configuration"
echo {mark}
cd -- {folder} 2>/dev/null || exit 0
{sweep}
grep -H . -- */*/{jobs} 2>/dev/null || exit 0
"""
SWEEP = """
active=$(squeue --me --noheader --format=%j) || exit
for file in */*/{credentials}; do
  name=${{file%/*}}
  if [[ -e $name/{jobs} ]] && ! grep -qxF -- "$name" <<<"$active"; then rm -f -- "$file"; fi
done
"""
"""What was written for jobs that are no more, however they ended, is removed."""
SUBMIT = """
umask 077
folder={folder}
mkdir -p -- {launch} && mkdir -- "$folder" "$folder"/output "$folder"/ended || exit
refuse() {{
  rm -rf -- "$folder"
  exit 1
}}
head -c {length} >"$folder"/job.sh
cat >"$folder"/{credentials}
if [[ $(cat "$folder"/job.sh "$folder"/{credentials} | wc -c) != {length_of_all} ]]; then refuse; fi
sbatch --parsable "$folder"/job.sh >"$folder"/{jobs}.new || refuse
sed 's/;.*//' "$folder"/{jobs}.new >"$folder"/{jobs} && rm "$folder"/{jobs}.new
cat "$folder"/{jobs}
"""

END = """
cd -- {folder} && xargs touch -- || exit
end() {{
  local attempt errors
  for attempt in 1 2 3 4 5; do
    errors=$(scancel "$@" 2>&1 | grep -v 'Invalid job id\\|already complet')
    [[ -n $errors ]] || return 0
    [[ $errors == *'try again later'* ]] || break
    sleep 1
  done
  printf '%s\\n' "$errors" >&2
  return 1
}}
waiting=({waiting}) running=({running})
((${{#waiting[@]}} == 0)) || end "${{waiting[@]}}" || exit
((${{#running[@]}} == 0)) || end {options} "${{running[@]}}"
"""
"""What has ended in the meantime is no fault; what Slurm is just moving is waited for."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What there is of Labkit's jobs.

    :ivar entries: What Slurm's queue has, also of jobs that have ended a while ago.
    :ivar records: The names of all jobs that were submitted, by Slurm's numbers of them.
    :ivar max_array_size: How many tasks an array job may have.
    """

    entries: tuple[Entry, ...] = ()
    records: Mapping[str, Name] = field(default_factory=dict)
    max_array_size: int = 1001

    @property
    def names(self) -> set[Name]:
        """The names of all jobs that were submitted."""
        return {*self.records.values(), *(entry.name for entry in self.entries)}

    def next_part(self, launch: str) -> int:
        """Return a number that no job of a launch has had."""
        return max((name.part for name in self.names if name.launch == launch), default=-1) + 1


def look(site: Site) -> View:
    """See what there is, and remove the credentials of jobs that are no more.

    :param site: Where Slurm's commands are given.
    :return: What there is.
    :raises UnavailableError: If the host or Slurm's controller does not answer.
    """
    mark = secrets.token_hex(16)
    sweep = SWEEP.format(credentials=CREDENTIALS, jobs=JOBS)
    script = LOOK.format(list_jobs=LIST_JOBS, mark=mark, folder=site.quoted_folder, sweep=sweep, jobs=JOBS)
    queue, configuration, records = site.host.require(script).split(f"{mark}\n")
    return View(
        entries=tuple(read_queue(queue)),
        records=read_records(records),
        max_array_size=read_max_array_size(configuration),
    )


def read_records(text: str) -> dict[str, Name]:
    """Read the records of jobs.

    :param text: Lines such as ``rates-1/0+1000/jobs:12``.
    :return: The names of jobs by Slurm's numbers of them.
    """
    records: dict[str, Name] = {}
    for line in text.splitlines():
        path, _, number = line.rpartition(":")
        if name := Name.parse(path.removesuffix(f"/{JOBS}")):
            records[number] = name
    return records


def submit(site: Site, job: Job, script: str, credentials: str) -> str:
    """Submit a job; it is in Slurm's queue afterwards, or there is nothing of it.

    :param site: Where Slurm's commands are given.
    :param job: The job.
    :param script: Its script.
    :param credentials: Lines of shell that only the job may read.
    :return: Slurm's number of it.
    :raises UnavailableError: If Slurm refuses it, or the host does not answer.
    """
    text = script + credentials
    commands = SUBMIT.format(
        launch=shlex.quote(str(job.own_folder.parent)),
        folder=shlex.quote(str(job.own_folder)),
        length=len(script.encode()),
        length_of_all=len(text.encode()),
        credentials=CREDENTIALS,
        jobs=JOBS,
    )
    return site.host.require(commands, text=text).strip()


def stop(site: Site, entries: Collection[Entry]) -> None:
    """Take jobs out of the queue, and ask those that run for a checkpoint and an end.

    :param site: Where Slurm's commands are given.
    :param entries: The jobs.
    :raises UnavailableError: If Slurm refuses, or the host does not answer.
    """
    _end(site, entries, "--batch --signal=USR1")


def cancel(site: Site, entries: Collection[Entry]) -> None:
    """Take jobs out of the queue, and end those that run: with TERM, and soon with KILL.

    :param site: Where Slurm's commands are given.
    :param entries: The jobs.
    :raises UnavailableError: If Slurm refuses, or the host does not answer.
    """
    _end(site, entries, "")


def _end(site: Site, entries: Collection[Entry], options: str) -> None:
    """Keep jobs from going back into the queue, then say to Slurm what is to become of those that run."""
    marks = "".join(f"{entry.name}/{STOPPED}.{entry.task}\n" for entry in entries)
    waiting = " ".join(entry.job_id for entry in entries if entry.is_waiting)
    running = " ".join(entry.job_id for entry in entries if not entry.is_waiting)
    site.host.require(
        END.format(folder=site.quoted_folder, waiting=waiting, running=running, options=options), text=marks
    )
