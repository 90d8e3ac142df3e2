"""Reading what pods print: `kubernetes-log --help`."""

from collections.abc import Mapping

from labkit.command import UsageError, command
from labkit.environment import Environment
from labkit.launch.kubernetes.launch import open_namespace
from labkit.launch.output import Piece, print_pieces
from labkit.launch.work import choose_work


@command
def kubernetes_log(target: str, *, follow: bool = False, cluster: str | None = None) -> None:
    """Print what pods have printed, over all their restarts. Examples: kubernetes-log 4f0c12/3 --follow.

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        Job's name.
    :param follow: Whether to go on until the Job has ended, over all restarts.
    :param cluster: A profile in deploy/clusters.yaml; the first of Kubernetes by default.
    """
    environment = Environment.read()
    namespace = open_namespace(cluster, environment)
    complete: set[str] = set()

    def read(already: Mapping[str, int]) -> tuple[list[Piece], bool]:
        choices = choose_work(environment, target, namespace.find_work(), "kubernetes-status")
        pods = [pod for choice in choices for pod in namespace.find_pods(choice.job.name) if choice.includes(pod.index)]
        pieces: list[Piece] = []
        for pod in pods:
            if pod.has_printed and pod.name not in complete:
                text = namespace.read_log(pod.name)
                pieces.append((pod.name, len(text), text[already.get(pod.name, 0) :]))
            if pod.has_ended:
                complete.add(pod.name)
        # The Jobs were asked for first: what had ended by then has printed all.
        return [piece for piece in pieces if piece[2]], not any(choice.job.is_active for choice in choices)

    if not print_pieces(read, follow=follow):
        raise UsageError(f"'{target}' has printed nothing yet: see `kubernetes-status {target}`.")
