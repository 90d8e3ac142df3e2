"""Where Jobs of Kubernetes and their runs stand: `kubernetes-status --help`."""

from collections.abc import Sequence
from typing import Final

from labkit.command import command
from labkit.environment import Environment
from labkit.launch.kubernetes.launch import find_profile
from labkit.launch.kubernetes.namespace import Namespace, Pod, Work
from labkit.launch.kubernetes.selection import Choice, find_choices
from labkit.launch.standing import read_standings
from labkit.launch.trial import SealedSession
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect, open_run
from labkit.tracking.state import STATE_TAG

HEADINGS: Final = ("unit", "job", "pod", "restarts", "state")


@command
def kubernetes_status(target: str | None = None, *, cluster: str | None = None) -> None:
    """Show where Jobs and their runs stand: in Kubernetes' words and in those of the runs.

    Examples: kubernetes-status, kubernetes-status 4f0c12, kubernetes-status 4f0c12/3

    :param target: The id of a session or a run, SESSION/NUMBER for a trial, or a Job's name; by default all Jobs.
    :param cluster: A profile in deploy/clusters.yaml; the first of Kubernetes by default.
    """
    environment = Environment.read()
    namespace = Namespace(find_profile(cluster, environment))
    choices = [Choice(job=job) for job in namespace.find_work()] if target is None else find_choices(namespace, target)
    if not choices:
        print(f"There is nothing of Labkit's in {namespace.name}.")
        return
    rows: list[tuple[str, ...]] = []
    for choice in choices:
        states = find_states(environment, choice.job)
        rows += describe(choice.job, choice.select(namespace.find_pods(choice.job.name)), states)
    print(make_table(rows))


def describe(job: Work, pods: Sequence[Pod], states: dict[str, str]) -> list[tuple[str, ...]]:
    """Write rows of the table, one for each unit of a Job that has a pod; of those that wait, one for all.

    :param job: The Job.
    :param pods: Its pods, the oldest first.
    :param states: The states of runs, by unit.
    :return: The rows.
    """
    indices = sorted({pod.index for pod in pods})
    rows: list[tuple[str, ...]] = []
    for index in indices:
        attempts = [pod for pod in pods if pod.index == index]
        unit = job.unit(index)
        rows.append((unit, job.name, attempts[-1].phase, str(len(attempts) - 1), states.get(unit, "")))
    if waiting := len(job.trials or (0,)) - len(indices):
        rows.append((job.launch, job.name, f"{waiting} without a pod", "", ""))
    return rows


def make_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table.

    :param rows: Its cells, under :data:`HEADINGS`.
    :return: Lines, the columns under each other.
    """
    columns = list(zip(HEADINGS, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (HEADINGS, *rows))


@asks_the_store
def find_states(environment: Environment, job: Work) -> dict[str, str]:
    """Ask the store where runs stand.

    :param environment: Says which store.
    :param job: The Job that executes them.
    :return: The states by unit.
    """
    if job.trials is None:
        return {job.launch: connect(environment).get_run(job.launch).data.tags[STATE_TAG]}
    standings = read_standings(SealedSession(open_run(environment, job.launch)))
    return {f"{job.launch}/{standing.index}": standing.state for standing in standings if standing.state}
