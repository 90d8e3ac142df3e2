"""Ending jobs on a machine without a scheduler: `apptainer-stop --help`."""

from labkit.command import command
from labkit.launch.apptainer.controller import stop
from labkit.launch.apptainer.status import find_work, open_site


@command
def apptainer_stop(target: str, *, cluster: str | None = None) -> None:
    """Ask runs for a checkpoint and an end. They go on by apptainer-launch --run-id. Examples: apptainer-stop 4f0c12.

    :param target: The id of a session or a run, or a job's name.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)
    work = [job for job in find_work(site, target) if job.is_active]
    if work:
        stop(site, work)
    print(f"{sum(len(job.running) for job in work)} asked for a checkpoint and an end.")
