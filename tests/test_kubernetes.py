"""Launching on Kubernetes: the official client before a small part of its API, and the pod in a real container."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import HOSTILE, quote, type_command
from images import Store
from project import TOOLS, Project, run
from services.kubernetes_api import KubernetesApi, Refusal
from services.tracking_server import TrackingServer, serving

CANARY = "canary-of-the-bucket"
CLUSTERS = """
group:
  scheduler: kubernetes
  namespace: my-group
  container: {image}
  resources: {{cpus: 1, memory: 2G, max-restarts: 3}}
"""
TRAIN = ("--entry-point", "train", "--arguments", "architecture=mlp,duration=1 epoch")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with serving(tmp_path_factory.mktemp("tracking")) as server:
        yield server


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    api = KubernetesApi("my-group")
    with api.serving():
        yield api


class User:
    """Somebody who launches a project on a cluster."""

    def __init__(self, project: Project, api: KubernetesApi, tracking: TrackingServer) -> None:
        self.project = project
        self.profile("registry.example.org/my-research@sha256:0")
        configuration = project.folder.parent / "kubeconfig"
        api.write_configuration(configuration)
        self.variables = {
            "MLFLOW_TRACKING_URI": tracking.address,
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "KUBECONFIG": str(configuration),
        }

    def profile(self, image: str) -> None:
        (self.project.folder / "deploy" / "clusters.yaml").write_text(CLUSTERS.format(image=image))

    def __call__(self, command: str, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Type a command, which is to end with an exit code."""
        done = type_command(self.project, command, *words, code=code, variables=self.variables | variables)
        assert CANARY not in done.stdout + done.stderr
        return done


@pytest.fixture
def user(fresh: Project, api: KubernetesApi, tracking: TrackingServer) -> User:
    return User(fresh, api, tracking)


def validate(folder: Path, *manifests: Mapping[str, Any]) -> None:
    """Hold manifests to the schema of Kubernetes."""
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    run(TOOLS / "kubernetes-validate", "--strict", "--quiet", file, folder=folder)


def test_a_session_is_submitted_once_and_watched_and_stopped(user: User, api: KubernetesApi, tmp_path: Path) -> None:
    words = ("--entry-point", "train", "--argument-sets", "seed=1,2,3", "--parallel", "2")
    printed = user("kubernetes-launch", *words).stdout
    session = re.search(r"^session +([0-9a-f]{32}) ", printed, flags=re.MULTILINE)
    assert session
    (job,), (secret,) = api.find("jobs"), api.find("secrets")
    name = job["metadata"]["name"]
    assert f"job         {name} in my-group\n" in printed
    validate(tmp_path, *({key: value for key, value in one.items() if key != "status"} for one in (secret, job)))
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimitPerIndex"]) == (3, 2, 3)
    assert secret["stringData"]["AWS_SECRET_ACCESS_KEY"] == CANARY
    assert secret["stringData"]["MLFLOW_TRACKING_URI"] == user.variables["MLFLOW_TRACKING_URI"]
    assert CANARY not in json.dumps(job)
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]

    # The same again does not run again.
    again = user("kubernetes-launch", "--run-id", session[1]).stdout
    assert "Nothing is left to submit" in again
    assert [one["metadata"]["uid"] for one in api.find("jobs")] == [job["metadata"]["uid"]]

    api.add_pod(name, 0, phase="Failed", exit_code=75, log="first\n")
    running = api.add_pod(name, 0, phase="Running", log="second\n")
    api.add_pod(name, 1, phase="Pending")
    count, *table = user("kubernetes-status").stdout.splitlines()
    assert count == "3: 2 Pending, 1 Running"
    assert [line.split() for line in table] == [
        ["unit", "job", "pod", "restarts", "arguments"],
        [f"{session[1]}/0", name, "Running", "1", "seed=1"],
        [f"{session[1]}/1", name, "Pending", "0", "seed=2"],
        [f"{session[1]}/2", name, "Pending", "(without", "a", "pod)", "0", "seed=3"],
    ]
    assert "Running" in user("kubernetes-status", f"{session[1]}/0").stdout
    log = user("kubernetes-log", f"{session[1]}/0").stdout
    assert re.sub(r"==> .*\n", "", log) == "first\nsecond\n"
    waiting = user("kubernetes-log", f"{session[1]}/1", code=2).stderr
    assert "has printed nothing yet" in waiting

    # Who follows sees what is printed later, also by pods that have not begun, until the Job has ended.
    with ThreadPoolExecutor() as threads:
        following = threads.submit(user, "kubernetes-log", f"{session[1]}/0", "--follow")
        api.await_requests("GET pods", 1)
        api.logs[running] += "more\n"
        api.add_pod(name, 0, phase="Running", log="third\n")
        api.await_requests("GET pods", 2)
        api.end_job(name)
        assert re.sub(r"==> .*\n", "", following.result().stdout) == "first\nsecond\nmore\nthird\n"
    del api.objects["jobs", name]["status"]["conditions"]

    one = user("kubernetes-stop", f"{session[1]}/0", code=2).stderr
    assert one.startswith("kubernetes-stop: Kubernetes ends a Job as a whole")
    assert user("kubernetes-stop", session[1]).stdout == f"{name} is asked for a checkpoint and an end.\n"
    assert api.find("jobs") == api.find("secrets") == []
    user("kubernetes-launch", "--run-id", session[1])
    assert [job["metadata"]["name"] == name for job in api.find("jobs")] == [False]


def test_what_is_refused_leaves_nothing_behind_and_is_completed_by_launching_again(
    user: User, api: KubernetesApi
) -> None:
    api.refused["jobs"] = Refusal(403, "Forbidden", "exceeded quota: jobs.")
    refused = user("kubernetes-launch", *TRAIN, code=1)
    (identifier,) = re.findall(r"^run +([0-9a-f]{32}) ", refused.stdout, flags=re.MULTILINE)
    assert refused.stderr == (
        "kubernetes-launch: the namespace my-group refuses: exceeded quota: jobs. "
        f"0 of 1 jobs are submitted; the rest follow by: kubernetes-launch --run-id {identifier}\n"
    )
    assert api.find("secrets") == []
    api.refused.clear()

    # Whatever is refused or not answered, though it was done, leaves nothing that would wait for ever.
    for request in ("POST jobs", "POST secrets"):
        api.unanswered = {request}
        broken_off = user("kubernetes-launch", "--run-id", identifier, code=1).stderr
        assert broken_off.startswith("kubernetes-launch: the cluster does not answer (")
        assert f"0 of 1 jobs are submitted; the rest follow by: kubernetes-launch --run-id {identifier}" in broken_off
        assert api.find("jobs") == api.find("secrets") == []
    api.unanswered.clear()
    user("kubernetes-launch", "--run-id", identifier)
    (job,), (secret,) = api.find("jobs"), api.find("secrets")
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]


def test_a_dry_run_shows_what_would_be_sent_and_asks_nobody(user: User, api: KubernetesApi, tmp_path: Path) -> None:
    printed = user("kubernetes-launch", *TRAIN, "--dry-run").stdout
    assert api.requests == []
    job, secret = yaml.safe_load_all(printed.partition("---\n")[2])
    assert set(secret["stringData"].values()) == {"[secret]"}
    validate(tmp_path, secret, job)


@pytest.mark.parametrize(
    ("words", "variables", "code", "sentence"),
    [
        ((), {"KUBECONFIG": "/dev/null"}, 2, "kubectl is not set up for the context 'current': "),
        (
            (),
            {"MLFLOW_TRACKING_URI": ""},
            2,
            "the runs are recorded in a file of this machine, which no pod can reach: ",
        ),
        (("--time", "10m", "--signal-before", "10m"), {}, 2, "--time 10m leaves nothing after --signal-before 10m: "),
        (("--nodes", "2"), {}, 2, "--nodes needs a folder of runs that all pods share: "),
        (("--cluster", "other"), {}, 2, "there is no profile 'other' of the scheduler kubernetes in "),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_is_sealed(
    user: User, words: tuple[str, ...], variables: dict[str, str], code: int, sentence: str
) -> None:
    done = user("kubernetes-launch", *TRAIN, *words, code=code, **variables)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kubernetes-launch: {sentence}")
    assert not (user.project.folder / "runs").exists()


def test_who_is_not_known_or_finds_no_server_is_told_so(user: User, api: KubernetesApi) -> None:
    api.change_token()
    assert "the cluster does not know you: log in" in user("kubernetes-status", code=1).stderr
    configuration = Path(user.variables["KUBECONFIG"])
    configuration.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:9", configuration.read_text()))
    assert "kubernetes-status: the cluster does not answer (" in user("kubernetes-status", code=1).stderr


def test_the_pod_runs_the_code_that_was_sealed_though_the_image_has_none(
    user: User, api: KubernetesApi, store: Store, imaged: Project, tracking: TrackingServer
) -> None:
    folder = user.project.folder.parent
    user.profile(yaml.safe_load(imaged.read("docker/training-image.yaml"))["digest"])
    sets = ("--argument-sets", "seed=1,2,architecture=mlp,duration=1 epoch")
    user("kubernetes-launch", "--entry-point", "train", *sets, "--arguments", f"may-be-missing=[{quote(HOSTILE)}]")
    (user.project.folder / "my_research" / "train.py").write_text("raise SystemExit('edited after it was sealed')\n")
    (job,), (secret,) = api.find("jobs"), api.find("secrets")
    name = job["metadata"]["name"]

    # What Kubernetes does for the second trial: it makes a pod of the template, and tells it its number.
    spec = job["spec"]["template"]["spec"]
    spec["containers"][0]["env"].append({"name": "JOB_COMPLETION_INDEX", "value": "1"})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial"}, "spec": spec}
    file = folder / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    # Podman 4.3 refuses the Secret objects that it makes itself: it reads the values of a secret as JSON.
    values = {key: base64.b64encode(value.encode()).decode() for key, value in secret["stringData"].items()}
    (folder / "secret.json").write_text(json.dumps(values))
    store.podman("secret", "create", secret["metadata"]["name"], folder / "secret.json")
    store.podman("play", "kube", "--network=host", file)
    try:
        code = store.podman("wait", "trial-run").stdout.strip()
        log = store.podman("logs", "trial-run")
        assert code == "0", log.stdout + log.stderr
        assert "/executed" not in store.podman("diff", "trial-run").stdout
        processes = store.podman("inspect", "trial-run").stdout
        assert CANARY not in json.dumps(json.loads(processes)[0]["Config"]["Cmd"])
    finally:
        store.podman("play", "kube", "--down", file, check=False)
        store.podman("secret", "rm", secret["metadata"]["name"], check=False)
    finished = user("kubernetes-status", job["metadata"]["labels"]["labkit/launch"]).stdout
    assert name in finished
    states = {
        tags["labkit.trial"]: tags["labkit.state"]
        for tags in map(tracking.read_tags, _find_runs(tracking))
        if "labkit.trial" in tags
    }
    assert states == {f"{job['metadata']['labels']['labkit/launch']}/1": "finished"}
    envelopes = [json.loads(path.read_text()) for path in tracking.folder.glob("artifacts/*/*/artifacts/envelope.json")]
    assert [HOSTILE] in [envelope["arguments"].get("may_be_missing") for envelope in envelopes]


def _find_runs(tracking: TrackingServer) -> list[str]:
    return [path.parent.name for path in tracking.folder.glob("artifacts/*/*/artifacts")]
