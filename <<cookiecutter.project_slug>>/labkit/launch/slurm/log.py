"""Reading what jobs of Slurm print: `slurm-log --help`."""

import time
from typing import Final

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.slurm.controller import find_site, look
from labkit.launch.slurm.launch import find_profile
from labkit.launch.slurm.output import read_output
from labkit.launch.slurm.selection import find_jobs_of, select

SECONDS_BETWEEN_LOOKS: Final = 2.0


@command
def slurm_log(target: str, *, follow: bool = False, cluster: str | None = None) -> None:
    """Print what jobs have printed, over all their restarts.

    Examples: slurm-log 4f0c12/3 --follow, slurm-log 1234_7

    :param target: The id of a session or a run, SESSION/NUMBER for a trial, or Slurm's number of a job or task.
    :param follow: Whether to go on until the jobs have ended.
    :param cluster: A profile in deploy/clusters.yaml; the first of Slurm by default.
    """
    environment = Environment.read()
    site = find_site(find_profile(cluster, environment), environment)
    view = look(site)
    choices = find_jobs_of(environment, target, view)
    sizes: dict[str, int] = {}
    shown = None
    while True:
        is_over = not any(entry.is_active for entry in select(choices, view))
        for file, size, text in read_output(site, choices, sizes):
            if file != shown:
                print(f"==> {file}")
            sizes[file], shown = size, file
            print(text, end="", flush=True)
        if is_over or not follow:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
        view = look(site)
    if not sizes:
        raise UsageError(f"'{target}' has printed nothing yet: it waits in the queue, see `slurm-status {target}`.")
