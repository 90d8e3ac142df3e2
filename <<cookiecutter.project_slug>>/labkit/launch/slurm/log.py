"""Reading what jobs of Slurm print: `slurm-log --help`."""

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.output import print_output
from labkit.launch.slurm.controller import look
from labkit.launch.slurm.job import OUTPUT
from labkit.launch.slurm.launch import open_site
from labkit.launch.slurm.selection import find_jobs, select


@command
def slurm_log(target: str, *, follow: bool = False, cluster: str | None = None) -> None:
    """Print what jobs have printed, over all their restarts.

    Examples: slurm-log 4f0c12/3 --follow, slurm-log 1234_7

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or
        Slurm's number of a job or task.
    :param follow: Whether to go on until the jobs have ended.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    environment = Environment.read()
    site = open_site(cluster, environment)
    choices = find_jobs(environment, target, look(site))
    tasks = {choice: "*" if choice.task is None else str(choice.task) for choice in choices}
    files = [f"{choice.name}/{OUTPUT}/{task}.txt" for choice, task in tasks.items()]

    def find() -> tuple[list[str], bool]:
        return files, not any(entry.is_active for entry in select(choices, look(site)))

    if not print_output(site.host, site.folder, find, follow=follow):
        raise UsageError(f"'{target}' has printed nothing yet: it waits in the queue, see `slurm-status {target}`.")
