"""Downloads from a Ceph gateway on this machine, or from the server that S3_ENDPOINT_URL and AWS_* name.

Labkit's time includes the connection, the listing, the verification of every byte, the locks and writing to the disk
for good; of the others, only the one that says so verifies and syncs. With TMPDIR=/dev/shm the disk's own speed is left
out. No time includes the start of a Python interpreter or its imports.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.data.storage import Storage
from labkit.data.storage.bucket import make_client
from labkit.environment import Environment

from benchmarks.data.measurement import SECONDS, Report, Seconds, Target, Variant, timed
from benchmarks.data.peer import TEMPLATE, peer_variant

GATEWAY = TEMPLATE / "tests" / "services" / "s3.sh"
SMALL_SIZE = 50_000
PARALLEL = 16


def measure_downloads(report: Report, peers: Path | None, folder: Path, scale: float) -> None:
    """Measure one object of 512 MB, and 2,000 of 50 KB.

    :param report: Prints what comes of it.
    :param peers: The peers' Python.
    :param folder: Where to put them; each download has a folder of its own there.
    :param scale: A part of the full size.
    """
    with (
        _serving() as environment,
        contextlib.closing(make_client(environment)) as client,
        _temporary_bucket(client) as bucket,
    ):
        downloads = _Downloads(environment, bucket, peers, folder)
        downloads.measure_large(report, client, max(16, int(512 * scale)))
        downloads.measure_small(report, client, max(20, int(2000 * scale)))


class _Downloads:
    def __init__(self, environment: Environment, bucket: str, peers: Path | None, scratch: Path) -> None:
        self._environment = environment
        self._bucket = bucket
        self._peers = peers
        self._scratch = scratch

    def measure_large(self, report: Report, client: Any, mebibytes: int) -> None:
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            for _ in range(mebibytes):
                file.write(os.urandom(1 << 20))
            file.seek(0)
            client.upload_fileobj(file, self._bucket, "large.bin")

        def get_with_boto3(folder: Path) -> None:
            with contextlib.closing(make_client(self._environment)) as own:
                own.download_file(self._bucket, "large.bin", str(folder / "large.bin"))

        def get_for_good(folder: Path) -> None:
            file = folder / "large.bin"
            self._curl("large.bin", "-o", str(file))
            subprocess.run(("sync", file), check=True)
            subprocess.run(("md5sum", file), check=True, capture_output=True)

        variants = {
            "curl": self._into_folder(timed(lambda folder: self._curl("large.bin", "-o", f"{folder}/large.bin"))),
            "curl, then sync and md5sum": self._into_folder(timed(get_for_good)),
            "boto3": self._into_folder(timed(get_with_boto3)),
            "Labkit": self._into_folder(timed(lambda folder: self._localize("large.bin", folder))),
            **self._peer_variants("large.bin"),
        }
        report.compare(
            f"One object of {mebibytes} MiB",
            variants,
            SECONDS,
            reference="curl",
            targets={"Labkit": Target(1.15, "curl")},
        )

    def measure_small(self, report: Report, client: Any, count: int) -> None:
        names = [f"{number:05}.bin" for number in range(count)]

        def put(name: str) -> None:
            client.put_object(Bucket=self._bucket, Key=f"small/{name}", Body=os.urandom(SMALL_SIZE))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, names))

        def get_with_boto3(folder: Path) -> None:
            with contextlib.closing(make_client(self._environment)) as own, ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(lambda name: own.download_file(self._bucket, f"small/{name}", str(folder / name)), names))

        pattern = f"small/[00000-{count - 1:05}].bin"
        together = ("--parallel", "--parallel-max", str(PARALLEL))
        variants = {
            "curl": self._into_folder(timed(lambda folder: self._curl(pattern, "-o", f"{folder}/#1.bin"))),
            f"curl, {PARALLEL} at a time": self._into_folder(
                timed(lambda folder: self._curl(pattern, *together, "-o", f"{folder}/#1.bin"))
            ),
            f"boto3, {PARALLEL} threads": self._into_folder(timed(get_with_boto3)),
            "Labkit": self._into_folder(timed(lambda folder: self._localize("small", folder))),
            **self._peer_variants("small"),
        }
        report.compare(
            f"{count:,} objects of {SMALL_SIZE // 1000} KB",
            variants,
            SECONDS,
            reference="curl",
            targets={"Labkit": Target(1.3, "curl")},
            once={"sfu-torch-lib", f"boto3, {PARALLEL} threads"},
        )

    def _into_folder(self, download: Callable[[Path], Seconds]) -> Variant:
        """Return what downloads into a new folder, and begins when the disk is at rest."""

        def run() -> Seconds:
            os.sync()
            folder = Path(tempfile.mkdtemp(dir=self._scratch))
            try:
                return download(folder)
            finally:
                shutil.rmtree(folder)

        return run

    def _localize(self, key: str, folder: Path) -> None:
        with Storage(replace(self._environment, data_path=folder, data_ephemeral_path=None)) as storage:
            storage.localize(f"s3://{self._bucket}/{key}")

    def _curl(self, path: str, *options: str) -> None:
        environment = self._environment
        command = [
            *("curl", "--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3"),
            *("--user", f"{environment.aws_access_key_id}:{environment.aws_secret_access_key}"),
            *("--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"),
            *options,
            f"{environment.s3_endpoint_url}/{self._bucket}/{path}",
        ]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def _peer_variants(self, key: str) -> dict[str, Variant]:
        if not self._peers:
            return {}
        peers, uri = self._peers, f"s3://{self._bucket}/{key}"
        functions = {"s3fs": "s3fs_get", "sfu-torch-lib": "sfu_localize"}
        return {
            name: self._into_folder(
                lambda folder, function=function: peer_variant(peers, function, uri=uri, folder=str(folder))()
            )
            for name, function in functions.items()
        }


@contextlib.contextmanager
def _serving() -> Generator[Environment]:
    """Use the server that the environment names, or start one."""
    environment = Environment.read()
    if environment.s3_endpoint_url:
        yield environment
        return
    with tempfile.TemporaryDirectory() as folder:
        # Its standard error is not captured: the servers, which stay, have it open.
        started = subprocess.run([GATEWAY, "start", folder], check=True, stdout=subprocess.PIPE, text=True)
        variables = dict(line.removeprefix("export ").split("=", 1) for line in started.stdout.splitlines())
        os.environ |= variables
        try:
            yield Environment.read(variables)
        finally:
            subprocess.run([GATEWAY, "stop", folder], check=True)


@contextlib.contextmanager
def _temporary_bucket(client: Any) -> Generator[str]:
    name = f"benchmark-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
            if keys:
                client.delete_objects(Bucket=name, Delete={"Objects": keys})
        client.delete_bucket(Bucket=name)
