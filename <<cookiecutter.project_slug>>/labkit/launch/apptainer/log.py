"""Reading what jobs on a machine without a scheduler print: `apptainer-log --help`."""

import shlex

from labkit.command import UsageError, command
from labkit.launch.apptainer.status import find_work, open_site


@command
def apptainer_log(target: str, *, cluster: str | None = None) -> None:
    """Print what runs have printed, over all their restarts. Examples: apptainer-log 4f0c12, apptainer-log 4f0c12/3.

    :param target: The id of a session or a run, or SESSION/NUMBER for a trial.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)
    launch, _, number = target.partition("/")
    files = [
        f"{job.name}/output/{place}.txt"
        for job in find_work(site, launch)
        for place in sorted([*job.running, *job.ended])
        if not number or job.unit(place) == f"{job.launch}/{number}"
    ]
    if not files:
        raise UsageError(f"'{target}' has printed nothing yet: see `apptainer-status {launch}`.")
    words = " ".join(map(shlex.quote, files))
    print(site.host.require(f"cd -- {shlex.quote(str(site.folder))} && cat -- {words}"), end="")
