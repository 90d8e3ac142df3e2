"""Handing runs and sessions to Kubernetes: `kubernetes-launch --help`."""

import secrets
from typing import Final, cast

from labkit.command import EXIT_DONE, UnavailableError, UsageError
from labkit.environment import Environment
from labkit.launch.cluster import KubernetesCluster, Resources, find_cluster
from labkit.launch.kubernetes.job import DEFAULTS, TEMPLATE, Job, make_manifests, show_manifests
from labkit.launch.kubernetes.namespace import Namespace
from labkit.launch.launcher import Request, launcher, resource_options, unit_option
from labkit.launch.sealing import Sealed, find_hash, seal
from labkit.launch.session import Session, read_session
from labkit.launch.surroundings import find_variables
from labkit.launch.work import Work

HASH_OF_A_DRY_RUN: Final = "0" * 64


@launcher(unit_option, resource_options)
def kubernetes_launch(request: Request) -> int:
    """Hand runs to Kubernetes, a session as one Job; each executes the code that it was sealed with.

    The image has what the lock names; the code is fetched from the tracking store. What is under way or has finished is
    not submitted again. Examples: kubernetes-launch --entry-point train --gpus 1, kubernetes-launch --session
    sessions/learning-rate.yaml --parallel 4, kubernetes-launch --run-id 4f0c12
    """
    environment = Environment.read()
    named = read_session(request.file, request.options).cluster if request.file else None
    cluster = find_profile(request.options.get("cluster") or named, environment)
    image = find_image(cluster, environment)
    require_reachable(environment)
    namespace = None if request.dry_run else Namespace(cluster)
    work = namespace.find_work() if namespace else []  # before anything is sealed

    def check(session: Session) -> None:
        resources = session.resources.over(cluster.resources).over(DEFAULTS)
        resources.require_time_to_work()
        require_shared_runs(session, resources, cluster)

    sealed = seal(request, environment, check=check, for_other_machines=True)
    sha256 = HASH_OF_A_DRY_RUN if request.dry_run else find_hash(sealed, environment)
    jobs = plan_jobs(sealed, cluster, work, image=image, sha256=sha256)
    variables = find_variables(environment)
    manifests = [make_manifests(environment.project_path / TEMPLATE, job, variables) for job in jobs]
    if namespace is None:
        print("\n".join(f"---\n{show_manifests(one)}" for one in manifests), end="")
        return EXIT_DONE
    kind = "run" if sealed.trials is None else "session"
    print(f"{kind:<12}{sealed.identifier} ({sealed.name}, experiment {sealed.experiment_name})", flush=True)
    for number, (job, one) in enumerate(zip(jobs, manifests, strict=True)):
        try:
            namespace.submit(one)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error} {number} of {len(jobs)} jobs are submitted; the rest follow by: "
                f"kubernetes-launch --run-id {sealed.identifier}"
            ) from error
        print(f"{'job':<12}{job.name} in {namespace.name}", flush=True)
    if not jobs:
        print("Nothing is left to submit: what has not finished is under way, see `kubernetes-status`.")
    return EXIT_DONE


def plan_jobs(sealed: Sealed, cluster: KubernetesCluster, work: list[Work], *, image: str, sha256: str) -> list[Job]:
    """Decide what is to be submitted.

    :param sealed: What is to be executed.
    :param cluster: The profile of the cluster.
    :param work: What there is in the namespace.
    :param image: The image to execute in.
    :param sha256: The hash of the code.
    :return: The jobs, none for what is under way; one for each trial where machines share it.
    """
    resources = sealed.session.resources.over(cluster.resources)
    active = [job for job in work if job.is_active and job.launch == sealed.identifier]
    groups: list[tuple[int, ...] | None]
    if sealed.trials is None:
        groups = [] if active else [None]
    else:
        under_way = {trial for job in active for trial in job.trials or ()}
        left = tuple(sorted(set(sealed.trials) - under_way))
        groups = [(trial,) for trial in left] if (resources.nodes or 1) > 1 else [left] if left else []
    return [
        Job(
            launch=sealed.identifier,
            # Never one that was there before: whatever was launched, and however often.
            name=f"labkit-{sealed.identifier[:16].lower()}-{secrets.token_hex(4)}",
            trials=trials,
            parallel=sealed.session.parallel,
            cluster=cluster,
            resources=resources,
            image=image,
            sha256=sha256,
        )
        for trials in groups
    ]


def find_profile(name: str | None, environment: Environment) -> KubernetesCluster:
    """Find the profile of a cluster.

    :param name: Its name; by default, the first that is one of Kubernetes.
    :param environment: Says in which project.
    :return: The profile.
    """
    return cast("KubernetesCluster", find_cluster(environment.project_path, name, "kubernetes"))


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


def require_reachable(environment: Environment) -> None:
    """Make sure that the tracking store is not a file of this machine.

    :param environment: Names the store.
    :raises UsageError: If it is.
    """
    if environment.mlflow_tracking_uri.startswith("sqlite:"):
        raise UsageError(
            "the runs are recorded in a file of this machine, which no pod can reach: name the address of a server in "
            "MLFLOW_TRACKING_URI."
        )
