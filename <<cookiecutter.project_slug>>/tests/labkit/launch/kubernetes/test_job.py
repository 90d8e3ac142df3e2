import inspect
import json
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from labkit.launch import bootstrap
from labkit.launch.bootstrap import PORT
from labkit.launch.cluster import KubernetesCluster, Paths, Resources
from labkit.launch.kubernetes.job import (
    TEMPLATE,
    Job,
    describe_resources,
    make_manifests,
    render_job,
    show_manifests,
)
from labkit.launch.numbers import find_spans, read_spans
from tests.project import ROOT

LAUNCH = "0123456789abcdef0123456789abcdef"
GOLDEN = Path(__file__).parent / "golden"
IMAGE = "registry.example.org/my-group/my-research@sha256:0"


def make_job(**fields: Any) -> Job:
    fields = {"cluster": KubernetesCluster(), "resources": Resources(), **fields}
    return Job(launch=LAUNCH, name="labkit-0123-ab", image=IMAGE, sha256="f" * 64, **fields)


def read_order(job: Job) -> dict[str, Any]:
    """Return what the container of a job is told."""
    (container,) = render_job(ROOT / TEMPLATE, job)["spec"]["template"]["spec"]["containers"]
    return json.loads(container["command"][-1])


GOLDEN_JOBS = {
    "session": make_job(
        trials=(0, 1, 2, 5),
        parallel=2,
        cluster=KubernetesCluster(
            paths=Paths(data=PurePosixPath("/data")), volumes={"/data": "our-data"}, variables={"NOTE": "it's odd"}
        ),
        resources=Resources(gpus=1, cpus=4, memory="16G", time="1d", max_restarts=3),
    ),
    "nodes": make_job(resources=Resources(nodes=2, tasks_per_node=4, gpus=4)),
}


@pytest.mark.parametrize("name", GOLDEN_JOBS)
def test_manifests_are_what_they_were(name: str) -> None:
    manifests = make_manifests(ROOT / TEMPLATE, GOLDEN_JOBS[name], {"AWS_SECRET_ACCESS_KEY": "canary"})
    (container,) = manifests[0]["spec"]["template"]["spec"]["containers"]
    program = inspect.getsource(bootstrap)
    container["command"] = [
        "the bootstrap" if word.strip() == program.strip() else word for word in container["command"]
    ]
    assert show_manifests(manifests) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_a_session_is_one_job_with_a_pod_for_each_trial() -> None:
    job = make_job(trials=(0, 1, 2, 5), parallel=2, resources=Resources(max_restarts=7))
    spec = render_job(ROOT / TEMPLATE, job)["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 2)
    assert spec["backoffLimitPerIndex"] == 7
    assert read_order(job)["trials"] == [[0, 2], [5, 5]]
    # One that fails does not end the others.
    assert spec["podFailurePolicy"]["rules"][-1]["action"] == "FailIndex"


def test_only_what_was_interrupted_begins_again() -> None:
    rules = render_job(ROOT / TEMPLATE, make_job())["spec"]["podFailurePolicy"]["rules"]
    described = [(rule["action"], rule.get("onExitCodes", {}).get("operator")) for rule in rules]
    assert described == [("Ignore", None), ("Count", "In"), ("FailJob", "NotIn")]
    assert rules[1]["onExitCodes"]["values"] == rules[2]["onExitCodes"]["values"] == [75]


@pytest.mark.parametrize("trials", [None, (3,)])
def test_machines_share_a_run_through_torchrun_and_find_each_other_by_name(trials: tuple[int, ...] | None) -> None:
    job = make_job(trials=trials, resources=Resources(nodes=2, tasks_per_node=4, gpus=4, cpus=2, memory="16G"))
    manifest, _, service = make_manifests(ROOT / TEMPLATE, job, {})
    spec, pod = manifest["spec"], manifest["spec"]["template"]["spec"]
    assert (spec["completions"], spec["parallelism"]) == (2, 2)
    assert spec["podFailurePolicy"]["rules"][-1]["action"] == "FailJob"
    assert pod["subdomain"] == service["metadata"]["name"] == job.name
    assert service["spec"]["ports"] == [{"name": "torchrun", "port": PORT}]
    order = read_order(job)
    assert order["address"] == "labkit-0123-ab-0.labkit-0123-ab"
    assert (order["nodes"], order["processes"]) == (2, 4)
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4"}


def test_quantities_are_texts_in_units_of_kubernetes() -> None:
    assert describe_resources(Resources()) == {"cpu": "1"}
    assert describe_resources(Resources(cpus=2, memory="512M", gpus=0)) == {"cpu": "2", "memory": "512Mi"}


def test_what_a_profile_says_is_in_the_pod() -> None:
    note = 'it\'s "odd": $(x) `y` {{ z }}\nline'
    path = PurePosixPath
    cluster = KubernetesCluster(
        paths=Paths(data=path("/data"), data_ephemeral=path("/scratch"), runs=path("/data/runs")),
        volumes={"/data": "our-data"},
        variables={"NOTE": note},
        shared_memory="2G",
    )
    job = make_job(cluster=cluster, resources=Resources(time="1d12h", signal_before="90s"))
    pod = render_job(ROOT / TEMPLATE, job)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        "DATA_EPHEMERAL_PATH": "/scratch",
        "DATA_PATH": "/data",
        "JOB_ID": job.name,
        "NOTE": note,
        "RUNS_PATH": "/data/runs",
        "TRAINING_IMAGE": IMAGE,
    }
    assert pod["terminationGracePeriodSeconds"] == 90
    limited = ["timeout", "--preserve-status", "--signal=TERM", "--kill-after=90", str(36 * 3600 - 90)]
    assert container["command"][: len(limited) + 2] == [*limited, "python", "-c"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    assert {path: volumes[name] for path, name in mounts.items()} == {
        "/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
        "/scratch": {"emptyDir": {}},
        "/data": {"persistentVolumeClaim": {"claimName": "our-data"}},
    }


def test_secrets_are_in_a_secret_alone_and_are_not_shown() -> None:
    job, secret = make_manifests(ROOT / TEMPLATE, make_job(), {"AWS_SECRET_ACCESS_KEY": "canary", "NOTE": "a\nb"})
    assert secret["stringData"] == {"AWS_SECRET_ACCESS_KEY": "canary", "NOTE": "a\nb"}
    assert "canary" not in json.dumps(job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    shown = show_manifests([job, secret])
    assert "canary" not in shown
    first, second = yaml.safe_load_all(shown)
    assert first == job
    assert second["stringData"] == {"AWS_SECRET_ACCESS_KEY": "[secret]", "NOTE": "[secret]"}


def test_the_official_client_takes_the_manifest_as_it_is() -> None:
    from kubernetes.client import V1Job

    manifest = render_job(ROOT / TEMPLATE, make_job(trials=(0, 1), resources=Resources(gpus=1, memory="1G", time="1h")))
    assert V1Job.model_validate(manifest).model_dump(by_alias=True, exclude_none=True) == manifest


def test_the_numbers_of_trials_survive_being_written_in_short() -> None:
    for numbers in [(), (0,), (3,), (0, 1, 2), (0, 2, 3, 9), tuple(range(10_000))]:
        assert read_spans(json.dumps(find_spans(numbers))) == numbers
    assert find_spans(tuple(range(10_000))) == [(0, 9_999)]
    assert read_spans(None) is read_spans("null") is None


def test_the_bootstrap_needs_nothing_of_the_project(tmp_path: Path) -> None:
    (container,) = render_job(ROOT / TEMPLATE, make_job())["spec"]["template"]["spec"]["containers"]
    program = container["command"][2].replace("main(json", "print(json")
    without_project = f"import sys; sys.modules['labkit'] = None\n{program}"  # an import of it would fail
    words = [sys.executable, "-I", "-c", without_project, '{"a": 1}']
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "{'a': 1}\n"
