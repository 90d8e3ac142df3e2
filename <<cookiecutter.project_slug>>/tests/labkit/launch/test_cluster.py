from pathlib import Path, PurePosixPath

import pytest
import yaml

from labkit.command import UsageError
from labkit.launch.cluster import (
    ApptainerHost,
    Cluster,
    KubernetesCluster,
    Resources,
    SlurmCluster,
    find_cluster,
    parse_clusters,
)
from labkit.launch.duration import parse_duration

PROFILES = """
ours:
  scheduler: slurm
  host: me@login.example.org
  account: group
  modules: [cuda/13.0]
  options: {qos: high, exclusive: null}
  paths: {runs: /scratch/runs, data-ephemeral: /tmp}
  variables: {OMP_NUM_THREADS: "4"}
  resources: {gpus: 1, memory: 16G, signal-before: 10m}
other: {scheduler: slurm}
pods: {scheduler: kubernetes, namespace: group}
"""


def write_profiles(project: Path, text: str) -> None:
    (project / "deploy").mkdir()
    (project / "deploy" / "clusters.yaml").write_text(text)


def test_a_profile_says_where_and_with_what(tmp_path: Path) -> None:
    write_profiles(tmp_path, PROFILES)
    _, cluster = find_cluster(tmp_path, "ours", SlurmCluster)
    assert (cluster.host, cluster.account, cluster.modules) == ("me@login.example.org", "group", ("cuda/13.0",))
    assert cluster.options == {"qos": "high", "exclusive": None}
    assert cluster.paths.runs == PurePosixPath("/scratch/runs")
    assert cluster.paths.variables == {"RUNS_PATH": "/scratch/runs", "DATA_EPHEMERAL_PATH": "/tmp"}
    assert cluster.variables == {"OMP_NUM_THREADS": "4"}
    assert cluster.image is None


def test_the_first_profile_of_the_scheduler_is_the_default(tmp_path: Path) -> None:
    write_profiles(tmp_path, PROFILES)
    name, cluster = find_cluster(tmp_path, None, KubernetesCluster)
    assert (name, cluster.namespace, cluster.shared_memory) == ("pods", "group", "8G")


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("absent", SlurmCluster, "there is no profile 'absent' of the scheduler slurm in {}, but 'ours', 'other'."),
        ("pods", SlurmCluster, "there is no profile 'pods' of the scheduler slurm in {}, but 'ours', 'other'."),
        (None, ApptainerHost, "there is no profile of the scheduler apptainer in {}, but none."),
    ],
)
def test_a_profile_that_is_not_there_is_refused(
    tmp_path: Path, name: str | None, kind: type[Cluster], sentence: str
) -> None:
    write_profiles(tmp_path, PROFILES)
    with pytest.raises(UsageError) as error:
        find_cluster(tmp_path, name, kind)
    assert str(error.value) == sentence.format(tmp_path / "deploy" / "clusters.yaml")


def test_what_the_user_says_counts_more_than_the_profile() -> None:
    assert Resources(gpus=0, time="1h").over(Resources(gpus=2, cpus=8)) == Resources(gpus=0, cpus=8, time="1h")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: {scheduler: slurm, hots: x}", "there is no key 'a.hots'."),
        ("a: {host: x}", "the key 'a.scheduler' is missing."),
        ("a: {scheduler: pbs}", "a.scheduler is 'pbs': write 'slurm', 'apptainer', 'kubernetes'."),
        (
            "a: {scheduler: slurm, resources: {gpus: -1}}",
            "a.resources.gpus is -1: input should be greater than or equal",
        ),
        ("a: {scheduler: slurm, resources: {memory: 16 GB}}", "a.resources.memory is '16 GB': string should match"),
    ],
)
def test_what_is_wrong_in_a_profile_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_clusters(yaml.safe_load(text), "clusters.yaml")
    assert str(error.value).startswith(f"clusters.yaml: {sentence}")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("4h", 14400), ("1d12h", 129600)])
def test_a_span_of_time_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "10", "4:00:00", "1h2d", "-1h"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no span of time"):
        parse_duration(text)


def test_a_limit_that_leaves_no_time_to_work_is_refused() -> None:
    Resources(time="11m", signal_before="10m").require_time_to_work()
    with pytest.raises(UsageError, match=r"^--time 10m leaves nothing after --signal-before 10m: "):
        Resources(time="10m", signal_before="10m").require_time_to_work()
