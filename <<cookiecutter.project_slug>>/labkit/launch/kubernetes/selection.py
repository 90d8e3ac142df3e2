"""Which Jobs a user means: by the id of a session, a run or a trial, or by the Job's name."""

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.command import UsageError
from labkit.launch.kubernetes.namespace import Namespace, Pod, Work


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A Job, or one trial of it.

    :ivar job: The Job.
    :ivar index: The pod's number; None for all.
    """

    job: Work
    index: int | None = None

    def select(self, pods: Sequence[Pod]) -> list[Pod]:
        """Return those of a Job's pods that are meant."""
        return [pod for pod in pods if self.index in {None, pod.index}]


def find_choices(namespace: Namespace, target: str) -> list[Choice]:
    """Find the Jobs that a user means.

    :param namespace: Where they are.
    :param target: The id of a session or a run, or the beginning of it; SESSION/NUMBER for a trial; or a Job's name.
    :return: The Jobs, the oldest first.
    :raises UsageError: If there are none.
    """
    choices = choose(namespace.find_work(), target)
    if not choices:
        raise UsageError(f"there is no Job of '{target}' in {namespace.name}: `kubernetes-status` lists what there is.")
    return choices


def choose(work: Sequence[Work], target: str) -> list[Choice]:
    """Choose Jobs; pure.

    :param work: All of them.
    :param target: As for :func:`find_choices`.
    :return: Those that are meant.
    """
    launch, _, number = target.partition("/")
    if not number:
        return [Choice(job=job) for job in work if target == job.name or job.launch.startswith(launch)]
    found = [job for job in work if job.launch.startswith(launch) and number.isdecimal()]
    return [
        Choice(job=job, index=job.trials.index(int(number)))
        for job in found
        if job.trials and int(number) in job.trials
    ]
