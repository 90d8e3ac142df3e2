"""What there is of Labkit's Jobs in a namespace of Kubernetes."""

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from labkit.command import UnavailableError, UsageError
from labkit.launch.cluster import KubernetesCluster
from labkit.launch.kubernetes.job import LAUNCH, TRIALS
from labkit.launch.numbers import read_spans

if TYPE_CHECKING:
    from kubernetes.client import V1Job, V1Pod

MANAGED: Final = "app.kubernetes.io/managed-by=labkit"
INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, kw_only=True)
class Work:
    """A Job.

    :ivar name: Its name.
    :ivar launch: The run or session that it executes.
    :ivar trials: The numbers of its trials by the index of the pod; None for a run.
    :ivar is_active: Whether something of it is left to do.
    """

    name: str
    launch: str
    trials: tuple[int, ...] | None
    is_active: bool

    def unit(self, index: int) -> str:
        """Return what the pod of an index executes."""
        if self.trials is None:
            return self.launch
        return f"{self.launch}/{self.trials[index if len(self.trials) > 1 else 0]}"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """An attempt of a Job to execute one unit.

    :ivar name: Its name.
    :ivar job: The name of its Job.
    :ivar index: Its number in the Job.
    :ivar phase: Kubernetes' word for where it stands, and why.
    :ivar started: When it was made, as text that sorts.
    :ivar has_printed: Whether there is a log.
    """

    name: str
    job: str
    index: int
    phase: str
    started: str
    has_printed: bool


class Namespace:
    """A namespace, by the official client and the user's own ``kubeconfig``."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        """Find the way to it.

        :param cluster: Its profile.
        :raises UsageError: If there is no such context.
        """
        import kubernetes

        try:
            self._client = kubernetes.config.new_client_from_config(context=cluster.context)
        except kubernetes.config.ConfigException as error:
            raise UsageError(
                f"kubectl is not set up for the context '{cluster.context or 'current'}': "
                f"{str(error).rstrip('.')}; see `kubectl config get-contexts`."
            ) from None
        self.name = cluster.namespace
        self._batch = kubernetes.client.BatchV1Api(self._client)
        self._core = kubernetes.client.CoreV1Api(self._client)

    def submit(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Create what a Job needs and the Job, or nothing of it.

        What belongs to the Job goes with it.

        :param manifests: The Job is the last of them.
        :raises UnavailableError: If the cluster refuses, or does not answer.
        """
        *others, job = manifests
        name = job["metadata"]["name"]
        made: list[str] = []
        with explained(self.name):
            try:
                for manifest in others:
                    self._create(manifest)
                    made.append(manifest["kind"])
                created: V1Job = self._batch.create_namespaced_job(self.name, dict(job))
            except BaseException:
                for kind in made:
                    self._delete(kind, name)
                raise
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": created.metadata.uid}
            for kind in made:
                self._patch(kind, name, {"metadata": {"ownerReferences": [owner]}})

    def find_work(self, launch: str | None = None) -> list[Work]:
        """List Jobs, the oldest first.

        :param launch: The run or session; by default all.
        :return: The Jobs.
        """
        selector = MANAGED + (f",{LAUNCH}={launch}" if launch else "")
        with explained(self.name):
            jobs: list[V1Job] = self._batch.list_namespaced_job(self.name, label_selector=selector).items
        return [_read_job(job) for job in sorted(jobs, key=lambda job: str(job.metadata.creation_timestamp))]

    def find_pods(self, job: str) -> list[Pod]:
        """List the pods of a Job, the oldest first.

        :param job: Its name.
        :return: The pods.
        """
        with explained(self.name):
            pods: list[V1Pod] = self._core.list_namespaced_pod(self.name, label_selector=f"job-name={job}").items
        return sorted((_read_pod(pod, job) for pod in pods), key=lambda pod: (pod.index, pod.started))

    def read_log(self, pod: str, *, follow: bool) -> Iterator[str]:
        """Yield what a pod has printed, as it comes.

        :param pod: Its name.
        :param follow: Whether to go on until it has ended.
        :return: Pieces of text.
        """
        with explained(self.name):
            answer = self._core.read_namespaced_pod_log(pod, self.name, follow=follow, _preload_content=False)
            for piece in answer.stream(decode_content=True):
                yield piece.decode(errors="replace")

    def delete(self, job: str) -> None:
        """Delete a Job, whose pods are asked for a checkpoint and an end; its Secret goes with it.

        :param job: Its name.
        """
        with explained(self.name):
            self._batch.delete_namespaced_job(job, self.name, propagation_policy="Foreground")

    def _create(self, manifest: Mapping[str, Any]) -> None:
        body = dict(manifest)
        if manifest["kind"] == "Secret":
            self._core.create_namespaced_secret(self.name, body)
        else:
            self._core.create_namespaced_service(self.name, body)

    def _patch(self, kind: str, name: str, body: dict[str, Any]) -> None:
        if kind == "Secret":
            self._core.patch_namespaced_secret(name, self.name, body)
        else:
            self._core.patch_namespaced_service(name, self.name, body)

    def _delete(self, kind: str, name: str) -> None:
        if kind == "Secret":
            self._core.delete_namespaced_secret(name, self.name)
        else:
            self._core.delete_namespaced_service(name, self.name)


@contextlib.contextmanager
def explained(namespace: str) -> Generator[None]:
    """Say in one sentence what the cluster has against a request.

    :param namespace: The namespace.
    :return: A context to ask in.
    """
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        match error.status:
            case 401:
                raise UnavailableError("the cluster does not know you: log in, and try `kubectl get jobs`.") from None
            case _:
                raise UnavailableError(f"the namespace {namespace} refuses: {_find_message(error)}.") from None
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        raise UnavailableError(f"the cluster does not answer ({reason}): see `kubectl cluster-info`.") from None


def _find_message(error: Any) -> str:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(error.body)["message"]).rstrip(".")
    return str(error.reason)


def _read_job(job: "V1Job") -> Work:
    conditions = job.status.conditions if job.status else None
    ended = any(
        condition.type in {"Complete", "Failed"} and condition.status == "True" for condition in conditions or ()
    )
    annotations: Mapping[str, str] = job.metadata.annotations or {}
    return Work(
        name=job.metadata.name,
        launch=job.metadata.labels[LAUNCH],
        trials=read_spans(annotations.get(TRIALS)),
        is_active=not ended and job.metadata.deletion_timestamp is None,
    )


def _read_pod(pod: "V1Pod", job: str) -> Pod:
    statuses = pod.status.container_statuses or []
    state = statuses[0].state if statuses else None
    reason = pod.status.reason or ""
    if state and state.terminated and state.terminated.exit_code:
        reason = reason or f"exit code {state.terminated.exit_code}"
    elif state and state.waiting:
        reason = reason or state.waiting.reason or ""
    else:
        for condition in pod.status.conditions or ():
            if condition.status == "False" and condition.message and pod.status.phase == "Pending":
                reason = reason or condition.message
    return Pod(
        name=pod.metadata.name,
        job=job,
        index=int((pod.metadata.annotations or {}).get(INDEX, "0")),
        phase=f"{pod.status.phase} ({reason})" if reason else pod.status.phase,
        started=str(pod.metadata.creation_timestamp),
        has_printed=bool(state and (state.running or state.terminated)),
    )
