"""Where jobs on a machine without a scheduler stand: `apptainer-status --help`."""

from collections.abc import Iterator

from labkit.command import command
from labkit.environment import Environment
from labkit.launch.apptainer.controller import FOLDER_OF_JOBS, Process, look
from labkit.launch.cluster import ApptainerHost
from labkit.launch.overview import Job, choose, collect, show, show_ranking
from labkit.launch.site import Site, find_machine, find_site
from labkit.launch.work import Choice, choose_work, find_single_units


@command
def apptainer_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where jobs and their runs stand, a line for each run or trial.

    Examples: apptainer-status, apptainer-status 4f0c12, apptainer-status 4f0c12/3

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        job's name; by default all jobs whose process is there.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    environment = Environment.read()
    site = open_site(cluster)
    choices = [Choice(job=job) for job in look(site) if job.is_active] if target is None else find_work(site, target)
    jobs = choose(pair for choice in choices for pair in describe(choice.job))
    rows = collect(environment, dict.fromkeys(choice.job.launch for choice in choices), jobs)
    if single := find_single_units(choices):
        rows = [row for row in rows if row.unit in single]
    ranking = "" if target is None or single else show_ranking(environment, rows)
    print(show(rows, "process") + ranking if rows else f"There is nothing of Labkit's under way on {site.host}.")


def describe(work: Process) -> Iterator[tuple[str, Job]]:
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
    _, profile = find_machine(cluster, Environment.read(), ApptainerHost)
    return find_site(profile, FOLDER_OF_JOBS)


def find_work(site: Site, target: str) -> list[Choice[Process]]:
    """Find the jobs that a user means.

    :param site: Where they are.
    :param target: As for :func:`labkit.launch.work.choose_work`.
    :return: The jobs.
    :raises UsageError: If there are none.
    """
    return choose_work(Environment.read(), target, look(site), "apptainer-status")
