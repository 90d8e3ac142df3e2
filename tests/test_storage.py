"""The project's own tests of storage, against a production S3 server."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from combination import COMBINATIONS
from project import ENVIRONMENT, TEMPLATE, render, run

S3 = TEMPLATE / "tests" / "services" / "s3.sh"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of a Ceph gateway's clients."""
    if not all(shutil.which(program) for program in ("ceph-mon", "ceph-osd", "radosgw", "openssl")):
        reason = "no Ceph gateway: apt-get install ceph-mon ceph-osd ceph-common radosgw openssl"
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("s3")
    lines = run(S3, "start", folder, folder=folder).stdout.splitlines()
    yield dict(line.removeprefix("export ").split("=", 1) for line in lines)
    run(S3, "stop", folder, folder=folder)


def test_the_data_tests_of_a_fresh_project_pass_even_the_slow_ones(s3: dict[str, str], tmp_path: Path) -> None:
    project = render(tmp_path, COMBINATIONS["default"])
    variables = {name: value for name, value in s3.items() if name != "S3_ENDPOINT_URL"}
    variables |= {"LABKIT_TEST_S3_URL": s3["S3_ENDPOINT_URL"], "LABKIT_REQUIRE_SERVICES": "1"}
    tests = ("tests/labkit/data/storage", "tests/labkit/data/test_pipeline.py", "-m", "slow or not slow", "-n", "2")
    run(ENVIRONMENT / "bin" / "python", "-m", "pytest", *tests, folder=project.folder, variables=variables)


def test_a_fresh_project_prepares_data_and_trains_from_the_bucket(s3: dict[str, str], tmp_path: Path) -> None:
    project = render(tmp_path, COMBINATIONS["default"])
    variables = {**s3, "DATA_PATH": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*words: str) -> str:
        return run(ENVIRONMENT / "bin" / "python", *words, folder=project.folder, variables=variables).stdout

    client = "from labkit.data.storage.bucket import make_client; from labkit.environment import Environment"
    python("-c", f"{client}; make_client(Environment.read()).create_bucket(Bucket='study')")
    python("-m", "my_research.prepare", "--fold-by", "writer", "--folder", "digits", "--push", "s3://study/digits")
    (path,) = project.folder.glob("runs/*/footprint.json")
    root = json.loads(path.read_bytes())["root"]
    shutil.rmtree(project.folder / "digits")

    words = ("-m", "my_research.train", "--data", "s3://study/digits", "--architecture", "mlp", "--duration", "1 epoch")
    python(*words, "--expect", root)
    assert "test/accuracy" in python("-m", "my_research.evaluate")
    assert {json.loads(path.read_bytes())["root"] for path in project.folder.glob("runs/*/footprint.json")} == {root}
