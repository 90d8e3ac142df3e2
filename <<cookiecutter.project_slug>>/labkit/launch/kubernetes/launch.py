"""Handing runs and sessions to Kubernetes: `kubernetes-launch --help`."""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.cluster import KubernetesCluster, Resources, find_cluster
from labkit.launch.handover import Order, hand_over
from labkit.launch.kubernetes.job import DEFAULTS, TEMPLATE, Job, make_manifests, show_manifests
from labkit.launch.kubernetes.namespace import Namespace
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.session import Session
from labkit.launch.surroundings import find_file_of_store, refuse_file_of_store


@launcher(unit_option, resource_options)
def kubernetes_launch(request: Request) -> int:
    """Hand runs to Kubernetes, a session as one Job; each executes the code that it was sealed with.

    The image has what the lock names; the code is fetched from the tracking store. What is under way or has finished is
    not submitted again. Examples: kubernetes-launch --entry-point train --gpus 1, kubernetes-launch --session
    sessions/learning-rate.yaml --parallel 4, kubernetes-launch --run-id 4f0c12
    """
    return hand_over(request, Environment.read(), Jobs.connect)


@dataclass(frozen=True)
class Jobs:
    """The Jobs of a namespace, to hand runs over to.

    :ivar name: The name of the cluster's profile.
    :ivar profile: The profile.
    :ivar image: The image to execute in.
    :ivar template: The manifest of every Job, to be filled in.
    """

    name: str
    profile: KubernetesCluster
    image: str
    template: Path

    @classmethod
    def connect(cls, name: str | None, environment: Environment) -> Self:
        """Find the Jobs of a cluster's namespace.

        :param name: The name of its profile; the first of Kubernetes by default.
        :param environment: Says in which project, which image was built last, and which store there is.
        :return: The Jobs.
        :raises UsageError: If there is no such cluster, no image, or no store that pods reach.
        """
        name, profile = find_cluster(environment.project_path, name, KubernetesCluster)
        image = find_image(profile, environment)
        if find_file_of_store(environment):
            raise refuse_file_of_store("no pod can reach")
        return cls(name, profile, image, environment.project_path / TEMPLATE)

    @cached_property
    def namespace(self) -> Namespace:
        """The namespace."""
        return Namespace(self.profile)

    def find_under_way(self) -> Collection[str]:
        """Find the units of Jobs that have not ended."""
        active = [job for job in self.namespace.find_work() if job.is_active]
        return {job.unit(place) for job in active for place in range(job.size)}

    def plan(self, order: Order) -> list[Job]:
        """Make one Job of an order, or one for each trial where machines share it."""
        return plan_jobs(order, self.profile, self.image)

    def show(self, job: Job, variables: Mapping[str, str]) -> str:
        """Write out the manifests of a Job."""
        return f"---\n{show_manifests(make_manifests(self.template, job, variables))}"

    def submit(self, jobs: Sequence[Job], variables: Mapping[str, str]) -> Iterator[str]:
        """Create Jobs."""
        for job in jobs:
            self.namespace.submit(make_manifests(self.template, job, variables))
            yield f"{job.name} in {self.namespace.name}"


def plan_jobs(order: Order, cluster: KubernetesCluster, image: str) -> list[Job]:
    """Decide what is to be submitted.

    :param order: What is to be executed.
    :param cluster: The profile of the cluster.
    :param image: The image to execute in.
    :return: The jobs; one for each trial where machines share it.
    :raises UsageError: If there is no time to work, or pods would not see files that they need of each other.
    """
    order.resources.over(DEFAULTS).require_time_to_work()
    require_shared_runs(order.session, order.resources, cluster)
    is_shared = (order.resources.nodes or 1) > 1 and order.trials is not None
    groups = [(trial,) for trial in order.trials or ()] if is_shared else [order.trials]
    return [
        Job(
            launch=order.launch,
            # Never one that was there before: whatever was launched, and however often.
            name=f"labkit-{order.launch[:16].lower()}-{secrets.token_hex(4)}",
            trials=trials,
            parallel=order.session.parallel,
            cluster=cluster,
            resources=order.resources,
            image=image,
            sha256=order.sha256,
        )
        for trials in groups
    ]


def open_namespace(name: str | None, environment: Environment) -> Namespace:
    """Find the namespace of a cluster.

    :param name: The name of its profile; the first of Kubernetes by default.
    :param environment: Says in which project.
    :return: The namespace.
    """
    _, profile = find_cluster(environment.project_path, name, KubernetesCluster)
    return Namespace(profile)


def find_image(cluster: KubernetesCluster, environment: Environment) -> str:
    """Find the image to execute in.

    :param cluster: May name one.
    :param environment: Else names the one that was built last.
    :return: Its name.
    :raises UsageError: If neither does.
    """
    image = cluster.image or environment.training_image
    if image is None:
        raise UsageError(
            "there is no image to execute runs in: build and push it with `make training-image PUSH=1`, which "
            "TRAINING_IMAGE then names, or name one as `container` in deploy/clusters.yaml."
        )
    return image


def require_shared_runs(session: Session, resources: Resources, cluster: KubernetesCluster) -> None:
    """Make sure that pods which depend on one another's files see them.

    :param session: Trials of it may learn from each other, by a file in the folder of the runs.
    :param resources: Machines may share a run, and so its checkpoints.
    :param cluster: The profile of the cluster.
    :raises UsageError: If they would see nothing of each other.
    """
    depends = {
        "--search bayesian": session.search == "bayesian",
        "--prune": session.prune,
        "--nodes": (resources.nodes or 1) > 1,
    }
    runs = cluster.paths.runs
    if runs and any(runs.is_relative_to(volume) for volume in cluster.volumes):
        return
    if reason := next((option for option, is_asked_for in depends.items() if is_asked_for), None):
        raise UsageError(
            f"{reason} needs a folder of runs that all pods share: name one in `volumes` of the profile as paths.runs."
        )
