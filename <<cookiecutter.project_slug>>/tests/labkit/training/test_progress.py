import contextlib
import os
import pty
import subprocess
import sys

import pytest

from tests.project import ROOT, Project


def read_all(descriptor: int) -> str:
    """Read what a terminal shows until nothing writes to it any more."""
    shown = b""
    with contextlib.suppress(OSError):  # so says a terminal that its other end is closed
        while some := os.read(descriptor, 2**16):
            shown += some
    os.close(descriptor)
    return shown.decode()


@pytest.mark.slow
def test_on_a_terminal_too_the_log_has_what_was_printed_and_secrets_are_masked(project: Project) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.labkit.training.noisy_study", "--duration", "2 epochs", "--workers", "0"],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SOME_TOKEN": "validation", "TERM": "xterm"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    shown = read_all(terminal)
    assert process.wait() == 0, shown
    (log,) = project.path.glob("runs/*/logs/attempt-1.txt")
    lines = [line for line in log.read_text().splitlines() if line.startswith("epoch ")]
    assert [line[: line.index("  [secret]/accuracy")] for line in lines] == ["epoch 1  step 7", "epoch 2  step 14"]
    assert all(line in shown for line in lines)
    assert "14/14" in shown  # the bar
    assert "validation" not in shown.partition("run      ")[0]  # before the summary
