"""Ending jobs on a machine without a scheduler: `apptainer-stop --help`."""

from labkit.command import command
from labkit.launch.apptainer.controller import stop
from labkit.launch.apptainer.status import find_work, open_site


@command
def apptainer_stop(target: str, *, cluster: str | None = None) -> None:
    """Ask runs for a checkpoint and an end; those that wait are not begun. They go on by apptainer-launch --run-id.

    Examples: apptainer-stop 4f0c12, apptainer-stop 4f0c12/3

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        job's name.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)
    choices = [choice for choice in find_work(site, target) if choice.job.is_active]
    if choices:
        stop(site, choices)
    running = sum(place in choice.job.running for choice in choices for place in choice.places)
    print(f"{running} asked for a checkpoint and an end.")
