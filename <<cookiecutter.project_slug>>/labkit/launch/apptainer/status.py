"""Where jobs on a machine without a scheduler stand: `apptainer-status --help`."""

from pathlib import PurePosixPath

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.apptainer.controller import Site, Work, find_site, look
from labkit.launch.apptainer.launch import find_profile


@command
def apptainer_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where jobs stand, a line for each run or trial. Examples: apptainer-status, apptainer-status 4f0c12.

    :param target: The id of a session or a run, or a job's name; by default all jobs whose process is there.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)
    work = [job for job in look(site) if job.is_active] if target is None else find_work(site, target)
    if not work:
        print(f"There is nothing of Labkit's under way on {site.host}.")
    for job in work:
        for place in range(job.size):
            print(f"{job.unit(place)}  {job.name}  {job.word(place)}")


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
