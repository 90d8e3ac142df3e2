"""A Job of Kubernetes as plain data, and the manifests that Kubernetes executes for it; pure."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from labkit.launch import bootstrap
from labkit.launch.cluster import KubernetesCluster, Resources
from labkit.launch.duration import parse_duration
from labkit.launch.numbers import find_spans
from labkit.launch.render import render
from labkit.secret import MASK

TEMPLATE: Final = Path("deploy", "kubernetes.yaml.j2")
LAUNCH: Final = "labkit/launch"
"""The label with the id of the run or session."""
TRIALS: Final = "labkit/trials"
"""The annotation with the first and last numbers of the trials, by the index of the pod."""
DEFAULTS: Final = Resources(nodes=1, tasks_per_node=1, gpus=0, cpus=1, signal_before="2m", max_restarts=100)
"""What a pod gets where nobody says; of the rest, what the namespace gives by itself."""
RUNS: Final = PurePosixPath("/tmp/runs")  # noqa: S108  a place in a container of its own
"""Where a run keeps its files where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that is submitted at once: a run, or trials of a session.

    :ivar launch: The id of the run or session.
    :ivar name: Its name in the namespace, which no other one has had.
    :ivar trials: The numbers of the trials, sorted, one where machines share it; None for a run.
    :ivar parallel: How many pods may run at the same time.
    :ivar cluster: The profile of the cluster.
    :ivar resources: What each pod gets.
    :ivar image: The image to execute in.
    :ivar sha256: The hash of the code.
    """

    launch: str
    name: str
    trials: tuple[int, ...] | None = None
    parallel: int | None = None
    cluster: KubernetesCluster
    resources: Resources
    image: str
    sha256: str

    @property
    def labels(self) -> dict[str, str]:
        """What all that belongs to it can be found by."""
        return {"app.kubernetes.io/managed-by": "labkit", LAUNCH: self.launch}


def render_job(template: Path, job: Job) -> dict[str, Any]:
    """Write the manifest of a job.

    :param template: ``deploy/kubernetes.yaml.j2``.
    :param job: The job.
    :return: The manifest; no argument of a run stands in it, and no secret.
    """
    resources = job.resources.over(DEFAULTS)
    nodes, processes = resources.nodes or 1, resources.tasks_per_node or 1
    is_session = job.trials is not None and nodes == 1
    pods = len(job.trials or ()) if is_session else nodes
    seconds_to_end = int(parse_duration(resources.signal_before or ""))
    spans = None if job.trials is None else find_spans(job.trials)
    paths = job.cluster.paths.model_copy(update={"runs": job.cluster.paths.runs or RUNS})
    order = {
        "launch": job.launch,
        "sha256": job.sha256,
        "trials": spans,
        "nodes": nodes,
        "processes": processes,
        **({"address": f"{job.name}-0.{job.name}"} if nodes > 1 else {}),
    }
    variables = {**job.cluster.variables, **paths.variables, "JOB_ID": job.name, "TRAINING_IMAGE": job.image}
    text = render(
        template,
        name=job.name,
        labels=job.labels,
        annotations={TRIALS: json.dumps(spans)},
        completions=pods,
        parallelism=min(pods, job.parallel or pods) if is_session else pods,
        max_restarts=resources.max_restarts,
        is_session=is_session,
        nodes=nodes,
        seconds=int(parse_duration(resources.time)) - seconds_to_end if resources.time else None,
        seconds_to_end=seconds_to_end,
        image=job.image,
        bootstrap=inspect.getsource(bootstrap),
        order=order,
        variables=dict(sorted(variables.items())),
        resources=describe_resources(resources),
        shared_memory=f"{job.cluster.shared_memory}i",
        empty=[path for path in map(str, (paths.runs, paths.data_ephemeral)) if _is_empty(path, job.cluster.volumes)],
        volumes=dict(sorted(job.cluster.volumes.items())),
    )
    return yaml.safe_load(text)


def describe_resources(resources: Resources) -> dict[str, str]:
    """Write what a pod gets as quantities of Kubernetes.

    :param resources: What is asked for; of memory, ``16G`` are 16 GiB, as for Slurm.
    :return: The quantities by name.
    """
    quantities = {"cpu": str((resources.cpus or 1) * (resources.tasks_per_node or 1))}
    if resources.memory:
        quantities["memory"] = f"{resources.memory}i"
    if resources.gpus:
        quantities["nvidia.com/gpu"] = str(resources.gpus)
    return quantities


def make_service(job: Job) -> dict[str, Any]:
    """Write the manifest of what gives the machines that share a run names by which they find each other.

    :param job: The job.
    :return: The manifest.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": job.name, "labels": job.labels},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": job.name},
            "ports": [{"name": "torchrun", "port": bootstrap.PORT}],
        },
    }


def make_secret(job: Job, variables: Mapping[str, str]) -> dict[str, Any]:
    """Write the manifest of what the pods must know and nobody else.

    :param job: The job.
    :param variables: The variables of their environment.
    :return: The manifest.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": job.name, "labels": job.labels},
        "immutable": True,
        "type": "Opaque",
        "stringData": dict(sorted(variables.items())),
    }


def make_manifests(template: Path, job: Job, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Write all manifests of a job, in the order in which they are to be created.

    :param template: ``deploy/kubernetes.yaml.j2``.
    :param job: The job.
    :param variables: What the pods must know and nobody else.
    :return: The Job, its Secret, and its Service where several machines share a run.
    """
    service = [make_service(job)] if (job.resources.nodes or 1) > 1 else []
    return [render_job(template, job), make_secret(job, variables), *service]


def show_manifests(manifests: list[dict[str, Any]]) -> str:
    """Write manifests for a reader, without the values of secrets.

    :param manifests: The manifests.
    :return: YAML, of several documents.
    """
    shown = [
        {**manifest, "stringData": dict.fromkeys(manifest["stringData"], MASK)}
        if "stringData" in manifest
        else manifest
        for manifest in manifests
    ]
    return yaml.dump_all(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _is_empty(path: str, volumes: Mapping[str, str]) -> bool:
    """Tell whether a path is in no volume, and so needs room of its own."""
    return path != "None" and not any(PurePosixPath(path).is_relative_to(volume) for volume in volumes)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as these lines, and names nothing by anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  all are written out
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
