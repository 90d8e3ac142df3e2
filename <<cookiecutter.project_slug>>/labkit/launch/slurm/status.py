"""Where jobs of Slurm and their runs stand: `slurm-status --help`."""

from labkit.command import command
from labkit.environment import Environment
from labkit.launch.overview import Job, collect, show, show_ranking
from labkit.launch.slurm.controller import look
from labkit.launch.slurm.launch import open_site
from labkit.launch.slurm.queue import Entry, choose
from labkit.launch.slurm.selection import find_jobs, select


@command
def slurm_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where jobs and their runs stand: in Slurm's words and in those of the runs.

    Examples: slurm-status, slurm-status 4f0c12, slurm-status 4f0c12/3

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or
        Slurm's number of a job or task; by default, all that Slurm's queue has.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    environment = Environment.read()
    site = open_site(cluster, environment)
    view = look(site)
    choices = [] if target is None else find_jobs(environment, target, view)
    entries = choose(view.entries if target is None else select(choices, view))
    launches = {choice.name.launch for choice in choices} | {entry.name.launch for entry in entries.values()}
    rows = collect(environment, sorted(launches), {unit: describe(entry) for unit, entry in entries.items()})
    if single := {choice.name.unit(choice.task) for choice in choices if choice.task is not None}:
        rows = [row for row in rows if row.unit in single]
    ranking = "" if target is None or single else show_ranking(environment, rows)
    print(show(rows, "Slurm") + ranking if rows else f"There is nothing of Labkit's in the queue of {site.host}.")


def describe(entry: Entry) -> Job:
    """Say what Slurm's queue has of a unit; pure.

    :param entry: What it has.
    :return: The same.
    """
    return Job(
        name=entry.job_id,
        word=entry.state,
        detail=f"({entry.reason})" if entry.reason else entry.time,
        restarts=entry.restarts,
        is_active=entry.is_active,
        is_waiting=entry.is_waiting,
    )
