"""Ending Jobs of Kubernetes: `kubernetes-stop --help`."""

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.kubernetes.launch import open_namespace
from labkit.launch.work import choose_work


@command
def kubernetes_stop(target: str, *, cluster: str | None = None) -> None:
    """Delete Jobs, whose pods are asked for a checkpoint and an end first; their Secrets go with them.

    They go on by kubernetes-launch --run-id. Examples: kubernetes-stop 4f0c12

    :param target: The id of a session or a run, or its beginning; a trial, SESSION/NUMBER or the id of its run, where
        it has a Job of its own; or a Job's name.
    :param cluster: A profile in deploy/clusters.yaml; the first of Kubernetes by default.
    """
    environment = Environment.read()
    namespace = open_namespace(cluster, environment)
    choices = choose_work(environment, target, namespace.find_work(), "kubernetes-status")
    if not all(choice.is_whole for choice in choices):
        raise UsageError(
            "Kubernetes ends a Job as a whole: give the id of the session, and launch again what is to go on."
        )
    for choice in choices:
        namespace.delete(choice.job.name)
        print(f"{choice.job.name} is asked for a checkpoint and an end.")
