"""The images of a project, built for real, and a run in one of them."""

import base64
import http.server
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from images import Store
from package_index import write_wheel
from project import ENVIRONMENT, Project


class PrivateIndex:
    """An index of packages on this machine that asks who comes for a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, directory=str(folder), **kwargs)

            def do_GET(self) -> None:
                if self.headers["Authorization"] == f"Basic {index.credentials}":
                    super().do_GET()
                else:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named so by its base
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.password = secrets.token_hex(16)
        self.credentials = base64.b64encode(f"builder:{self.password}".encode()).decode()

    @property
    def address(self) -> str:
        return f"http://builder:{self.password}@127.0.0.1:{self.server.server_port}"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PrivateIndex]:
    index = PrivateIndex(tmp_path / "index")
    thread = threading.Thread(target=index.server.serve_forever)
    thread.start()
    yield index
    index.server.shutdown()
    thread.join()
    index.server.server_close()


@pytest.fixture
def project(fresh: Project) -> Project:
    fresh.adopt_tools()
    return fresh


def find_facts(project: Project, target: str) -> dict[str, str]:
    return yaml.safe_load(project.read(f"docker/{target}-image.yaml"))


def find_in_layers(store: Store, texts: list[str], since: Path) -> set[str]:
    """Find which texts stand in the layers and descriptions of images that are no older than a file."""
    oldest = since.stat().st_ctime_ns
    found: set[str] = set()
    for path in (store.folder / "storage").rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_ctime_ns >= oldest:
            content = path.read_bytes()
            found |= {text for text in texts if text.encode() in content}
    return found


def test_a_run_executes_in_the_training_image_and_records_its_digest(store: Store, imaged: Project) -> None:
    facts = find_facts(imaged, "training")
    assert (facts["base"], facts["python"], facts["torch"]) == ("localhost/base:latest", "3.11", "cpu")
    (described,) = json.loads(store.podman("image", "inspect", facts["digest"]).stdout)
    assert described["Config"]["User"] == "10001"
    assert facts["digest"] == f"localhost/my-research@{described['Digest']}"
    assert facts["tag"] in described["RepoTags"]

    # By whoever is in the image, who may write nothing of the project.
    home = {"RUNS_PATH": "/home/researcher/runs", "MLFLOW_TRACKING_URI": "sqlite:////home/researcher/mlflow.db"}
    options = ["--rm", f"--volume={imaged.folder}:/project:ro", "--workdir=/project"]
    options += [f"--env={name}={value}" for name, value in home.items()]
    options += [f"--env=TRAINING_IMAGE={facts['digest']}"]
    program = (
        "id -u; python -m my_research.train --architecture mlp --duration '1 epoch' >&2;"
        "cat /home/researcher/runs/*/environment.json"
    )
    printed = store.podman("run", *options, facts["digest"], "bash", "-c", program).stdout
    user, _, record = printed.partition("\n")
    assert user == "10001"
    assert json.loads(record)["image"] == facts["digest"]


def test_the_password_of_a_private_index_is_used_and_is_in_no_layer(
    store: Store, project: Project, index: PrivateIndex, tmp_path: Path
) -> None:
    # A lock of two packages, which only that index has.
    digest = write_wheel(index.folder / "simple", "stand-in", "1.0")
    write_wheel(index.folder / "torch", "torch", "9.9.9+cpu")
    poetry = tmp_path / "poetry"
    poetry.write_text(f"#!/bin/sh\necho 'stand-in==1.0 --hash=sha256:{digest}'\necho 'torch==9.9.9 --hash=sha256:0'\n")
    poetry.chmod(0o755)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine packages.example.org login builder password {index.password}\n")
    private = {"PIP_INDEX_URL": f"{index.address}/simple", "TORCH_INDEX": f"{index.address}/torch", "NETRC": str(netrc)}
    of_this_machine = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "POETRY": str(poetry)}
    built = store.make(project, "training-image", check=True, **private, **of_this_machine)

    image = find_facts(project, "training")["digest"]
    store.podman("run", "--rm", image, "python", "-c", "import stand_in, torch")
    there = f"stand-in==1.0 --hash=sha256:{digest}"
    assert find_in_layers(store, [there, index.password, index.credentials], since=netrc) == {there}
    assert index.password not in built.stdout + built.stderr


def test_the_training_image_holds_the_locked_packages_and_no_code(store: Store, imaged: Project) -> None:
    image = find_facts(imaged, "training")["digest"]
    listing = "from importlib.metadata import distributions as all\nfor one in all(): print(one.name, one.version)"
    held = dict(
        line.split() for line in store.podman("run", "--rm", image, "python", "-c", listing).stdout.splitlines()
    )
    locked = imaged.run(".tools/bin/poetry export --without-hashes").stdout.splitlines()
    versions = dict(line.partition(";")[0].strip().split("==") for line in locked)
    cuda = {name for name in versions if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    elsewhere = {line.partition("==")[0] for line in locked if 'sys_platform == "win32"' in line}
    expected = {name.partition("[")[0].lower(): version for name, version in versions.items() if name not in cuda}
    expected["torch"] += "+cpu"
    assert {name.lower().replace("_", "-").replace(".", "-"): version for name, version in held.items()} == {
        name: version for name, version in expected.items() if name not in elsewhere
    }
    code = store.podman(
        "run", "--rm", "--user=0", image, "find", "/", "-xdev", "-name", "labkit*", "-o", "-name", "my_research*"
    )
    assert code.stdout == ""


def test_an_image_of_the_same_lock_is_the_same_and_has_the_same_name(
    store: Store, imaged: Project, project: Project
) -> None:
    (project.folder / "my_research" / "model.py").write_text("changed = True\n")
    built = store.make(project, "training-image")
    assert project.read("docker/training-image.yaml") == imaged.read("docker/training-image.yaml")
    facts = find_facts(project, "training")
    assert built.stdout.splitlines()[-2:] == [facts["tag"], facts["digest"]]
    assert project.git("status", "--porcelain").splitlines() == [
        " M my_research/model.py",
        "?? docker/training-image.yaml",
    ]


def test_buildah_builds_it_as_well(store: Store, project: Project) -> None:
    store.make(project, "training-image", ENGINE="buildah")
    facts = find_facts(project, "training")
    (described,) = json.loads(store.podman("image", "inspect", facts["tag"]).stdout)
    assert facts["digest"] == f"localhost/my-research@{described['Digest']}"


def test_a_base_image_with_another_python_is_refused(store: Store, project: Project) -> None:
    (project.folder / ".python-version").write_text("3.12\n")
    refused = store.make(project, "training-image", check=False, PYTHON=str(ENVIRONMENT / "bin" / "python"))
    assert refused.returncode != 0
    assert "The base image holds Python 3.11, but the project is for Python 3.12\n" in refused.stderr
    assert "\npodman could not build the image (see above)" in refused.stderr
    assert not (project.folder / "docker" / "training-image.yaml").exists()
