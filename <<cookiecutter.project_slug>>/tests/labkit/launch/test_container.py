from pathlib import PurePosixPath

import pytest

from labkit.command import UsageError
from labkit.launch.cluster import ApptainerHost, Cluster, Paths
from labkit.launch.container import enter, find_variables, require_place, write_image

FOLDER = PurePosixPath("/data/my runs/jobs/1")
ENVIRONMENT = PurePosixPath("/opt/my env")


def test_a_container_sees_the_folders_of_the_profile_and_is_entered_where_the_job_is() -> None:
    paths = Paths(runs=PurePosixPath("/data/my runs"), data=PurePosixPath("/data"))
    cluster = ApptainerHost(container="training.sif", paths=paths)
    binds = ["--bind", str(FOLDER), "--bind", "/project", "--bind", "/data/my runs", "--bind", "/data"]
    entered = ["apptainer", "exec", "--nv", *binds, "--pwd", str(FOLDER), "training.sif", "python"]
    assert enter(cluster, FOLDER, PurePosixPath("/project"), gpus=2) == entered
    assert "--nv" not in enter(cluster, FOLDER, gpus=None)


def test_an_environment_takes_the_place_of_a_container() -> None:
    cluster = Cluster(paths=Paths(environment=ENVIRONMENT))
    assert enter(cluster, FOLDER, gpus=2) == ["/opt/my env/bin/python"]
    require_place(cluster)
    with pytest.raises(UsageError, match=r"names neither a container nor paths\.environment: give it one\.$"):
        require_place(Cluster())


@pytest.mark.parametrize(
    ("image", "written"),
    [
        ("/images/it.sif", "/images/it.sif"),
        ("it.sif", "it.sif"),
        ("/images/a-folder", "/images/a-folder"),
        ("oras://ghcr.io/it", "oras://ghcr.io/it"),
        ("ghcr.io/group/it@sha256:4f0c12", "docker://ghcr.io/group/it@sha256:4f0c12"),
    ],
)
def test_an_image_is_a_file_or_in_a_registry(image: str, written: str) -> None:
    assert write_image(image) == written


def test_a_run_is_told_its_image() -> None:
    cluster = Cluster(container="it.sif", variables={"NOTE": "a"}, paths=Paths(runs=FOLDER))
    assert list(find_variables(cluster).items()) == [
        ("NOTE", "a"),
        ("RUNS_PATH", str(FOLDER)),
        ("TRAINING_IMAGE", "it.sif"),
    ]
    assert find_variables(Cluster()) == {}
