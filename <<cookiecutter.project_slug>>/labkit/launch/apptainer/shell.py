"""A shell in the container on a machine without a scheduler: `apptainer-shell --help`."""

import os
import shlex

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.cluster import ApptainerHost
from labkit.launch.container import write_image, write_options
from labkit.launch.site import find_machine


@command
def apptainer_shell(*, cluster: str | None = None) -> None:
    """Open a shell in the container, with the folders that runs see. Examples: apptainer-shell --cluster workstation.

    :param cluster: A profile in deploy/clusters.yaml; the first without a scheduler by default.
    """
    _, profile = find_machine(cluster, Environment.read(), ApptainerHost)
    if profile.image is None:
        raise UsageError("the profile of the host names no container: give it one.")
    options = write_options(profile, gpus=profile.resources.gpus)
    words = ["apptainer", "shell", *options, write_image(profile.image)]
    if profile.host:
        words = ["ssh", "-t", "--", profile.host, f"exec {shlex.join(words)}"]
    try:
        os.execvp(words[0], words)  # noqa: S606  the shell takes the place of this process
    except FileNotFoundError:
        raise UsageError(f"{words[0]} is missing: install it with your system's packages.") from None
