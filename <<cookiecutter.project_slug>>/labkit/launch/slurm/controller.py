"""What there is of Labkit's jobs on a cluster: in Slurm's queue, and in the folder of jobs beside it.

That folder lies on a file system that all nodes share. Each launch has a folder in it, and each of its jobs one in
that, named like the job. A job that is in the queue or has left a record has been submitted; nothing else counts.
"""

import inspect
import secrets
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from labkit.launch import bootstrap
from labkit.launch.site import Site
from labkit.launch.slurm.job import BOOTSTRAP, CREDENTIALS, JOBS, STOPPED, Job
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
cd -- {folder} 2>/dev/null || {{ echo {mark} && exit; }}
{sweep}
ls -d -- */*/ 2>/dev/null
echo {mark}
grep -H . -- */*/{jobs} 2>/dev/null || exit 0
"""
SWEEP = """
written=$(
  for file in */*/{credentials}; do [[ ! -e ${{file%/*}}/{jobs} ]] || echo "$file"; done
  find . -mindepth 3 -maxdepth 3 -name {credentials} -mmin +{minutes} -printf '%P\\n'
)
active=$(squeue --me --noheader --format=%j/{credentials}) || exit
printf %s "$written" | grep -vxF -f <(echo "$active") | xargs -r -d '\\n' rm -f --
"""
"""What was written for jobs that are no more, however they ended, is removed.

It is collected before Slurm is asked, who does not know of what is submitted later.
"""
MINUTES_OF_A_SUBMISSION: Final = 60
"""What has not become a job after so long was broken off."""
SUBMIT = """
umask 077
folder={folder}
mkdir -p -- {launch} && mkdir -- "$folder" "$folder"/output "$folder"/ended || exit
refuse() {{
  rm -rf -- "$folder"
  exit 1
}}
head -c {script} >"$folder"/job.sh && head -c {program} >"$folder"/{bootstrap} && cat >"$folder"/{credentials} || refuse
if [[ $(wc -c <"$folder"/{credentials}) != {length} ]]; then refuse; fi
if ! number=$(sbatch --parsable {options} "$folder"/job.sh); then
  # Slurm may have taken it, and the answer was lost; where it does not tell, all is left as it is.
  number=$(squeue --me --states=all --noheader --format=%F --name={name}) || exit
  [[ -n $number ]] || refuse
fi
grep -m 1 -o '^[0-9]*' <<<"$number" >"$folder"/{jobs}.new && mv "$folder"/{jobs}.new "$folder"/{jobs}
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
    :ivar folders: The names that have been given, also those of which no job came.
    :ivar max_array_size: How many tasks an array job may have.
    """

    entries: tuple[Entry, ...] = ()
    records: Mapping[str, Name] = field(default_factory=dict)
    folders: frozenset[Name] = frozenset()
    max_array_size: int = 1001

    @property
    def names(self) -> set[Name]:
        """The names of all jobs that were submitted."""
        return {*self.records.values(), *(entry.name for entry in self.entries)}

    def next_part(self, launch: str) -> int:
        """Return a number that no job of a launch has had."""
        names = self.names | self.folders
        return max((name.part for name in names if name.launch == launch), default=-1) + 1


def look(site: Site) -> View:
    """See what there is, and remove the credentials of jobs that are no more.

    :param site: Where Slurm's commands are given.
    :return: What there is.
    :raises UnavailableError: If the host or Slurm's controller does not answer.
    """
    mark = secrets.token_hex(16)
    sweep = SWEEP.format(credentials=CREDENTIALS, jobs=JOBS, minutes=MINUTES_OF_A_SUBMISSION)
    script = LOOK.format(list_jobs=LIST_JOBS, mark=mark, folder=site.quoted_folder, sweep=sweep, jobs=JOBS)
    queue, configuration, folders, records = site.host.require(script).split(f"{mark}\n")
    return View(
        entries=tuple(read_queue(queue)),
        records=read_records(records),
        folders=frozenset(filter(None, (Name.parse(line.rstrip("/")) for line in folders.splitlines()))),
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


def find_others(launch: str, view: View) -> list[str]:
    """Find what is under way of a launch.

    :param launch: The id of the run or session.
    :param view: What there is.
    :return: Slurm's numbers of the jobs.
    """
    active = (entry for entry in view.entries if entry.is_active and entry.name.launch == launch)
    return list(dict.fromkeys(entry.job_id.partition("_")[0] for entry in active))


def submit(site: Site, job: Job, script: str, credentials: str, after: Collection[str] = ()) -> str:
    """Submit a job; it is in Slurm's queue afterwards, or there is nothing of it.

    :param site: Where Slurm's commands are given.
    :param job: The job.
    :param script: Its script.
    :param credentials: Lines of shell that only the job may read.
    :param after: Slurm's numbers of the jobs that have to end before this one begins.
    :return: Slurm's number of it.
    :raises UnavailableError: If Slurm refuses it, or the host does not answer.
    """
    program = inspect.getsource(bootstrap)
    commands = SUBMIT.format(
        launch=shlex.quote(str(job.own_folder.parent)),
        folder=shlex.quote(str(job.own_folder)),
        name=shlex.quote(str(job.name)),
        script=len(script.encode()),
        program=len(program.encode()),
        length=len(credentials.encode()),
        options=f"--dependency=afterany:{':'.join(after)}" if after else "",
        bootstrap=BOOTSTRAP,
        credentials=CREDENTIALS,
        jobs=JOBS,
    )
    return site.host.require(commands, text=script + program + credentials).strip()


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
