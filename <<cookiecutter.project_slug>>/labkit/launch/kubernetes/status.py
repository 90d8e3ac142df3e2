"""Where Jobs of Kubernetes and their runs stand: `kubernetes-status --help`."""

from collections.abc import Iterator, Sequence
from typing import Final

from labkit.command import command
from labkit.environment import Environment
from labkit.launch.kubernetes.launch import open_namespace
from labkit.launch.kubernetes.namespace import Pod
from labkit.launch.overview import Job, choose, collect, show, show_ranking
from labkit.launch.work import Choice, Work, choose_work, find_single_units

PENDING: Final = "Pending"
RUNNING: Final = "Running"


@command
def kubernetes_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where Jobs and their runs stand: in Kubernetes' words and in those of the runs.

    Examples: kubernetes-status, kubernetes-status 4f0c12, kubernetes-status 4f0c12/3

    :param target: The id of a session or a run, or its beginning; of a trial SESSION/NUMBER or the id of its run; or a
        Job's name; by default all Jobs.
    :param cluster: A profile in deploy/clusters.yaml; the first of Kubernetes by default.
    """
    environment = Environment.read()
    namespace = open_namespace(cluster, environment)
    work = namespace.find_work()
    whole = [Choice(job=job) for job in work]
    choices = whole if target is None else choose_work(environment, target, work, "kubernetes-status")
    jobs = choose(pair for choice in choices for pair in describe(choice.job, namespace.find_pods(choice.job.name)))
    rows = collect(environment, dict.fromkeys(choice.job.launch for choice in choices), jobs)
    if single := find_single_units(choices):
        rows = [row for row in rows if row.unit in single]
    ranking = "" if target is None or single else show_ranking(environment, rows)
    print(show(rows, "pod") + ranking if rows else f"There is nothing of Labkit's in {namespace.name}.")


def describe(work: Work, pods: Sequence[Pod]) -> Iterator[tuple[str, Job]]:
    """Say what Kubernetes has of each unit of a Job; pure.

    :param work: The Job.
    :param pods: Its pods, the oldest first.
    :return: Units and what Kubernetes says of them; of a Job that has ended, only those that have a pod.
    """
    # Of the machines that share a run, the first one speaks for all.
    indices = range(len(work.trials or (0,)))
    attempts = {index: [pod for pod in pods if pod.index == index] for index in indices}
    for index, own in attempts.items():
        if own:
            word, _, detail = own[-1].phase.partition(" ")
            is_active = word in {PENDING, RUNNING}
            yield (
                work.unit(index),
                Job(
                    name=work.name,
                    word=word,
                    detail=detail,
                    restarts=len(own) - 1,
                    is_active=is_active,
                    is_waiting=word == PENDING,
                ),
            )
        elif work.is_active:
            yield work.unit(index), Job(name=work.name, word=PENDING, detail="(without a pod)", is_waiting=True)
