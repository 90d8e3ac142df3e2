"""Processes that compete for the same data, and are killed at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.environment import Environment
from tests.labkit.data.service import Bucket
from tests.labkit.data.storage import localizing_process
from tests.labkit.data.storage.localizing_process import make_content

ROUNDS = 50
PROCESSES = 4
OBJECT_SIZE = 48 << 20
NAMES = [f"{number:02}.bin" for number in range(20)]


class Process:
    """A process that localizes and checks."""

    def __init__(self, number: int, target: Path, environment: Environment) -> None:
        self.output = target.with_name(f"output-{number}")
        self.errors = target.with_name(f"errors-{number}")
        node = target.with_name(f"node-{number % 2}")
        self._command = [sys.executable, localizing_process.__file__, target, node]
        self._variables = os.environ | {
            "DATA_PATH": str(environment.data_path),
            "S3_ENDPOINT_URL": str(environment.s3_endpoint_url),
            "AWS_ACCESS_KEY_ID": str(environment.aws_access_key_id),
            "AWS_SECRET_ACCESS_KEY": str(environment.aws_secret_access_key),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.start()

    def start(self) -> None:
        """Start, for the first time or again."""
        with self.output.open("ab") as output, self.errors.open("ab") as errors:
            self._process = subprocess.Popen(self._command, env=self._variables, stdout=output, stderr=errors)

    def kill(self) -> None:
        """Kill it, if it has not found anything wrong."""
        assert self._process.poll() is None, self.errors.read_text()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """End it, however it fared."""
        self._process.kill()
        self._process.wait()

    def await_round(self, number: int) -> None:
        """Return when it has found everything right in a round."""
        while str(number) not in self.output.read_text().split():
            assert self._process.poll() is None, self.errors.read_text()
            time.sleep(0.05)


def put_round(bucket: Bucket, target: Path, number: int) -> None:
    """Replace the object, put a new directory, and name both."""
    bucket.put("object", make_content("object", number, os.urandom(OBJECT_SIZE)))
    for name in NAMES:
        bucket.put(f"directory-{number}/{name}", make_content(name, number, os.urandom(300_000)))
    named = {
        "round": number,
        "object": bucket.uri("object"),
        "directory": bucket.uri(f"directory-{number}"),
        "names": NAMES,
    }
    new = target.with_suffix(".new")
    new.write_text(json.dumps(named))
    new.replace(target)


def is_interrupted(folder: Path) -> bool:
    """Tell whether something is unfinished now."""
    return any(folder.glob("*/*/*.unfinished"))


@pytest.mark.slow
def test_fifty_rounds_of_kills_never_yield_a_wrong_byte(
    environment: Environment, bucket: Bucket, tmp_path: Path
) -> None:
    """Four processes on two nodes share a cache; in most rounds some are killed while something is unfinished."""
    target = tmp_path / "target.json"
    put_round(bucket, target, 0)
    processes = [Process(number, target, environment) for number in range(PROCESSES)]
    chance = random.Random(0)
    interrupted = 0
    try:
        for number in range(1, ROUNDS + 1):
            put_round(bucket, target, number)
            deadline = time.monotonic() + 10
            while not is_interrupted(tmp_path) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.4))
            interrupted += is_interrupted(tmp_path)
            victims = chance.sample(processes, chance.choice([1, 1, 2, PROCESSES]))
            for process in victims:
                process.kill()
            for process in victims:
                process.start()
            if number % 10 == 0:
                for process in processes:
                    process.await_round(number)
        assert [process.errors.read_text() for process in processes] == [""] * PROCESSES
    finally:
        for process in processes:
            process.end()
    assert interrupted >= ROUNDS // 2
