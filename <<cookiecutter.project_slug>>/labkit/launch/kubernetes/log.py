"""Reading what pods print: `kubernetes-log --help`."""

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.kubernetes.launch import open_namespace
from labkit.launch.work import choose_work


@command
def kubernetes_log(target: str, *, follow: bool = False, cluster: str | None = None) -> None:
    """Print what pods have printed, over all their restarts. Examples: kubernetes-log 4f0c12/3 --follow.

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        Job's name.
    :param follow: Whether to go on until what runs has ended.
    :param cluster: A profile in deploy/clusters.yaml; the first of Kubernetes by default.
    """
    environment = Environment.read()
    namespace = open_namespace(cluster, environment)
    choices = choose_work(environment, target, namespace.find_work(), "kubernetes-status")
    pods = [pod for choice in choices for pod in namespace.find_pods(choice.job.name) if choice.includes(pod.index)]
    printed = [pod for pod in pods if pod.has_printed]
    if not printed:
        raise UsageError(f"'{target}' has printed nothing yet: see `kubernetes-status {target}`.")
    for pod in printed:
        if len(printed) > 1:
            print(f"==> {pod.name}")
        for text in namespace.read_log(pod.name, follow=follow):
            print(text, end="", flush=True)
