"""What there is of Labkit's Jobs in a namespace of Kubernetes."""

import contextlib
import json
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from labkit.command import UnavailableError, UsageError
from labkit.launch.cluster import KubernetesCluster
from labkit.launch.kubernetes.job import LAUNCH, TRIALS
from labkit.launch.numbers import read_spans
from labkit.launch.work import Work

MANAGED: Final = "app.kubernetes.io/managed-by=labkit"
INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """An attempt of a Job to execute one unit.

    :ivar name: Its name.
    :ivar job: The name of its Job.
    :ivar index: Its number in the Job.
    :ivar phase: Kubernetes' word for where it stands, and why.
    :ivar started: When it was made, as text that sorts.
    :ivar has_printed: Whether there is a log.
    :ivar has_ended: Whether the log is complete.
    """

    name: str
    job: str
    index: int
    phase: str
    started: str
    has_printed: bool
    has_ended: bool = False


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
        """Create a Job and what its pods wait for, or nothing of it.

        The Job comes first: all else is its own from the beginning, and goes with it.

        :param manifests: The Job is the first of them.
        :raises UnavailableError: If the cluster refuses, or does not answer.
        """
        from kubernetes.client import V1Job

        job, *others = manifests
        name = job["metadata"]["name"]
        with explained(self.name):
            try:
                created: Any = self._batch.create_namespaced_job(self.name, V1Job.model_validate(job))
                owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": created.metadata.uid}
                for manifest in others:
                    self._create({**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}})
            except BaseException:
                self._take_back(name)
                raise

    def find_work(self, launch: str | None = None) -> list[Work]:
        """List Jobs, the oldest first.

        :param launch: The run or session; by default all.
        :return: The Jobs.
        """
        selector = MANAGED + (f",{LAUNCH}={launch}" if launch else "")
        with explained(self.name):
            jobs = self._list(self._batch.list_namespaced_job(self.name, label_selector=selector))
        return [_read_job(job) for job in sorted(jobs, key=lambda job: job["metadata"]["creationTimestamp"])]

    def find_pods(self, job: str) -> list[Pod]:
        """List the pods of a Job, the oldest first.

        :param job: Its name.
        :return: The pods.
        """
        with explained(self.name):
            pods = self._list(self._core.list_namespaced_pod(self.name, label_selector=f"job-name={job}"))
        return sorted((_read_pod(pod, job) for pod in pods), key=lambda pod: (pod.index, pod.started))

    def read_log(self, pod: str) -> str:
        """Return what a pod has printed until now.

        :param pod: Its name.
        :return: The text.
        """
        with explained(self.name):
            answer: Any = self._core.read_namespaced_pod_log(pod, self.name, _preload_content=False)
            return answer.data.decode(errors="replace")

    def delete(self, job: str) -> None:
        """Delete a Job, whose pods are asked for a checkpoint and an end; its Secret goes with it.

        :param job: Its name.
        """
        with explained(self.name):
            self._batch.delete_namespaced_job(job, self.name, propagation_policy="Foreground")

    def _list(self, answer: Any) -> list[dict[str, Any]]:
        """Write what the client has made of an answer as plain data again."""
        plain: Any = self._client.sanitize_for_serialization(answer)
        return plain["items"]

    def _create(self, manifest: Mapping[str, Any]) -> None:
        from kubernetes.client import V1Secret, V1Service

        if manifest["kind"] == "Secret":
            self._core.create_namespaced_secret(self.name, V1Secret.model_validate(manifest))
        else:
            self._core.create_namespaced_service(self.name, V1Service.model_validate(manifest))

    def _take_back(self, job: str) -> None:
        """Delete a Job that may have been made; no other one has ever had its name."""
        import urllib3
        from kubernetes.client import ApiException

        try:
            self._batch.delete_namespaced_job(job, self.name, propagation_policy="Foreground")
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            if getattr(error, "status", None) != HTTPStatus.NOT_FOUND:
                print(f"Something may be left: see `kubectl delete job {job} -n {self.name}`.", file=sys.stderr)


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


def _read_job(job: Mapping[str, Any]) -> Work:
    metadata: Mapping[str, Any] = job["metadata"]
    conditions: Sequence[Mapping[str, str]] = job.get("status", {}).get("conditions") or ()
    ended = any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions)
    return Work(
        name=metadata["name"],
        launch=metadata["labels"][LAUNCH],
        trials=read_spans(metadata.get("annotations", {}).get(TRIALS)),
        is_active=not ended and "deletionTimestamp" not in metadata,
    )


def _read_pod(pod: Mapping[str, Any], job: str) -> Pod:
    metadata: Mapping[str, Any] = pod["metadata"]
    status: Mapping[str, Any] = pod.get("status", {})
    phase: str = status.get("phase", "Unknown")
    containers: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ()
    state: Mapping[str, Any] = containers[0].get("state", {}) if containers else {}
    reason = status.get("reason") or _find_reason(status, state)
    return Pod(
        name=metadata["name"],
        job=job,
        index=int(metadata.get("annotations", {}).get(INDEX, "0")),
        phase=f"{phase} ({reason})" if reason else phase,
        started=metadata.get("creationTimestamp", ""),
        has_printed="running" in state or "terminated" in state,
        has_ended="terminated" in state,
    )


def _find_reason(status: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Find out why a pod failed, or why it waits."""
    if code := state.get("terminated", {}).get("exitCode"):
        return f"exit code {code}"
    if "waiting" in state:
        return state["waiting"].get("reason", "")
    unmet = (one for one in status.get("conditions") or () if one["status"] == "False" and one.get("message"))
    return next(unmet, {}).get("message", "") if status.get("phase") == "Pending" else ""
