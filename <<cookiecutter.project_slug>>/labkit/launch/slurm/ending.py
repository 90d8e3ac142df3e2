"""Ending jobs of Slurm: `slurm-stop --help`, `slurm-cancel --help`."""

from collections.abc import Callable, Collection

from labkit.command import command
from labkit.environment import Environment
from labkit.launch.site import Site
from labkit.launch.slurm.controller import cancel, look, stop
from labkit.launch.slurm.launch import open_site
from labkit.launch.slurm.queue import Entry
from labkit.launch.slurm.selection import find_jobs, select


@command
def slurm_stop(target: str, *, cluster: str | None = None) -> None:
    """Ask jobs for a checkpoint and an end; those that wait are taken out of the queue.

    They go on by slurm-launch --run-id. Examples: slurm-stop 4f0c12, slurm-stop 4f0c12/3

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or
        Slurm's number of a job or task.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    waiting, running = _end(target, cluster, stop)
    print(f"{running} asked for a checkpoint and an end, {waiting} taken out of the queue.")


@command
def slurm_cancel(target: str, *, cluster: str | None = None) -> None:
    """End jobs; what they have done since their newest checkpoint may be lost. Examples: slurm-cancel 4f0c12.

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or
        Slurm's number of a job or task.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    waiting, running = _end(target, cluster, cancel)
    print(f"{running} ended, {waiting} taken out of the queue.")


def _end(target: str, cluster: str | None, end: Callable[[Site, Collection[Entry]], None]) -> tuple[int, int]:
    """End jobs, and count those that wait and those that run."""
    environment = Environment.read()
    site = open_site(cluster, environment)
    view = look(site)
    entries = [entry for entry in select(find_jobs(environment, target, view), view) if entry.is_active]
    if entries:
        end(site, entries)
        look(site)  # the credentials of what is no more go with it
    waiting = sum(entry.is_waiting for entry in entries)
    return waiting, len(entries) - waiting
