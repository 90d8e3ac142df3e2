"""Reading what jobs on a machine without a scheduler print: `apptainer-log --help`."""

from labkit.command import UsageError, command
from labkit.launch.apptainer.status import find_work, open_site
from labkit.launch.output import print_output


@command
def apptainer_log(target: str, *, follow: bool = False, cluster: str | None = None) -> None:
    """Print what runs have printed, over all their restarts. Examples: apptainer-log 4f0c12/3 --follow.

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        job's name.
    :param follow: Whether to go on until the jobs have ended.
    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    site = open_site(cluster)

    def find() -> tuple[list[str], bool]:
        chosen = [(choice.job, place) for choice in find_work(site, target) for place in choice.places]
        is_over = not any(job.is_active and place not in job.ended for job, place in chosen)
        return [f"{job.name}/output/{place}.txt" for job, place in chosen], is_over

    if not print_output(site.host, site.folder, find, follow=follow):
        raise UsageError(f"'{target}' has printed nothing yet: see `apptainer-status {target}`.")
