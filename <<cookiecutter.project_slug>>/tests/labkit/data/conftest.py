"""Real servers for the tests."""

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from labkit.data.storage import Storage
from labkit.data.storage.bucket import make_client
from labkit.environment import Environment
from tests.labkit.data.service import Bucket, Line, S3Server, lack

HOW_TO_GET_A_SERVER = (
    "no S3 server: install rclone 1.65 or newer (https://rclone.org/install), or name a server in LABKIT_TEST_S3_URL, "
    "with its credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server: the named one, or rclone on a folder."""
    if url := os.environ.get("LABKIT_TEST_S3_URL"):
        yield S3Server(url, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    rclone = shutil.which("rclone")
    if rclone is None:
        lack(HOW_TO_GET_A_SERVER)
    folder = tmp_path_factory.mktemp("rclone")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = S3Server(f"http://127.0.0.1:{port}", secrets.token_hex(8), secrets.token_hex(16))
    (folder / "data").mkdir()
    (folder / "rclone.conf").touch()
    options = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{server.access_key},{server.secret_key}"]
    options += ["--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache")]
    options += ["--vfs-cache-mode", "full", "--dir-cache-time", "0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([rclone, "serve", "s3", str(folder / "data"), *options], stdout=log, stderr=log)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def environment(s3_server: S3Server, tmp_path: Path) -> Environment:
    """The server, and a shared cache."""
    return replace(
        Environment.read({}, tmp_path),
        s3_endpoint_url=s3_server.url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        data_path=tmp_path / "shared",
    )


@pytest.fixture
def bucket(environment: Environment) -> Iterator[Bucket]:
    """An empty bucket, which is gone after the test."""
    client = make_client(environment)
    name = f"labkit-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    bucket = Bucket(name, client)
    yield bucket
    while keys := bucket.list_keys():
        client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
    client.delete_bucket(Bucket=name)
    client.close()


@pytest.fixture
def storage(environment: Environment) -> Iterator[Storage]:
    """The server's data through the shared cache."""
    with Storage(environment) as storage:
        yield storage


@pytest.fixture
def make_storage(environment: Environment) -> Iterator[Callable[..., Storage]]:
    """Make storages with other settings."""
    made: list[Storage] = []

    def make(**changes: Any) -> Storage:
        made.append(Storage(replace(environment, **changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def line(s3_server: S3Server) -> Iterator[Line]:
    """A line to the S3 server."""
    url = urlsplit(s3_server.url)
    line = Line((str(url.hostname), int(url.port or 80)))
    thread = threading.Thread(target=line.serve, daemon=True)
    thread.start()
    yield line
    line.listener.shutdown(socket.SHUT_RDWR)
    line.listener.close()
    thread.join()
