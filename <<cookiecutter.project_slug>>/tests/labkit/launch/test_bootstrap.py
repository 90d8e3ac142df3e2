"""What an image executes that has no project in it."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from labkit.launch import bootstrap

PROGRAM = """
import os, sys
from pathlib import Path
Path(os.environ["RANK"]).write_text(" ".join([os.environ["WORLD_SIZE"], *sys.argv[1:]]))
sys.exit(75)
"""
SHARE = "import json, sys; from bootstrap import share; share('aa11/3', json.loads(sys.argv[1]), rank=0)"


@contextlib.contextmanager
def taking(port: int) -> Generator[None]:
    """Have a port be taken, if not by others then by us."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.mark.parametrize(
    ("trials", "index", "unit"),
    [(None, 0, "aa11"), (None, 1, "aa11"), ([[0, 1], [4, 4]], 2, "aa11/4"), ([[4, 4]], 1, "aa11/4")],
)
def test_the_index_of_a_pod_says_what_it_executes(trials: list[list[int]] | None, index: int, unit: str) -> None:
    assert bootstrap.find_unit({"launch": "aa11", "trials": trials}, index) == unit


@pytest.mark.slow
def test_processes_that_share_a_run_end_with_its_exit_code_and_need_no_port_of_their_own(tmp_path: Path) -> None:
    package = tmp_path / "labkit" / "launch"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "local.py").write_text(PROGRAM, encoding="utf-8")
    shutil.copy(bootstrap.__file__, tmp_path)
    order = json.dumps({"nodes": 1, "processes": 2})
    with taking(bootstrap.PORT):
        done = subprocess.run([sys.executable, "-c", SHARE, order], cwd=tmp_path, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 75, done.stderr
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2 aa11/3"] * 2
