"""Where jobs on a machine without a scheduler stand: `apptainer-status --help`."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.apptainer.controller import Site, Work, find_site, look
from labkit.launch.apptainer.launch import find_profile
from labkit.launch.overview import Job, choose, collect, show


@command
def apptainer_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where jobs and their runs stand, a line for each run or trial.

    Examples: apptainer-status, apptainer-status 4f0c12, apptainer-status 4f0c12/3

    :param target: The id of a session or a run, SESSION/NUMBER for a trial, or a job's name; by default all jobs whose
        process is there.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)
    launch, slash, number = (target or "").partition("/")
    work = find_work(site, launch) if target else [job for job in look(site) if job.is_active]
    jobs = choose(pair for job in work for pair in describe(job))
    rows = collect(Environment.read(), dict.fromkeys(job.launch for job in work), jobs)
    rows = [row for row in rows if not slash or row.unit.partition("/")[2] == number]
    print(show(rows, "process") if rows else f"There is nothing of Labkit's under way on {site.host}.")


def describe(work: Work) -> Iterator[tuple[str, Job]]:
    """Say what the machine has of each unit of a job; pure.

    :param work: The job.
    :return: Units and what there is of them.
    """
    for place in range(work.size):
        is_active = work.is_active and place not in work.ended
        is_waiting = is_active and place not in work.running
        yield (
            work.unit(place),
            Job(name=work.name, word=work.word(place), is_active=is_active, is_waiting=is_waiting),
        )


def open_site(cluster: str | None) -> Site:
    """Find out where the jobs of a profile are.

    :param cluster: Its name; the first without a scheduler by default.
    :return: The place.
    """
    environment = Environment.read()
    return find_site(find_profile(cluster, environment), PurePosixPath(environment.runs_path))


def find_work(site: Site, target: str) -> list[Work]:
    """Find the jobs that a user means.

    :param site: Where they are.
    :param target: The id of a session or a run, or the beginning of it, or a job's name.
    :return: The jobs.
    :raises UsageError: If there are none.
    """
    found = [job for job in look(site) if job.name == target or job.launch.startswith(target)]
    if not found:
        raise UsageError(f"there is no job of '{target}' on {site.host}: `apptainer-status` lists what there is.")
    return found
