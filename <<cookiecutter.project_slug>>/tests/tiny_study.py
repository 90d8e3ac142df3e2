"""A study that learns nothing, but says which code it is and in which surroundings it was executed."""

from pathlib import Path
from typing import Any

from labkit.environment import Environment
from labkit.launch import sealing
from labkit.launch.launcher import read_request
from labkit.tracking.run import Run, open_run
from tests.repository import write

TRAIN = '''"""Train nothing."""

import os
import sys
import time
from pathlib import Path

from labkit.data.footprint import identify_data
from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run
from tiny.model import FACTOR


@entry_point
def train(
    run: Run,
    *,
    rate: float = 0.5,
    steps: int = 3,
    label: str = "",
    seconds: float = 0.0,
    api_key: str = "",
) -> None:
    """Record numbers.

    :param rate: The size of a step.
    :param steps: How many.
    :param label: Any text; "fail" fails, and the path of data makes them those of the run.
    :param seconds: How long it takes, unless it has been interrupted before.
    :param api_key: A secret.
    """
    if label.startswith("/"):
        run.log_footprint(identify_data(Path(label)))
    for step in range(1, steps + 1):
        run.log_metrics({"train/loss": FACTOR * rate / step + run.seed}, step=step)
    marker = run.folder / "executed"
    seconds = 0.0 if marker.exists() else seconds
    marker.write_text(f"{Path(__file__).parents[1]}\\n{FACTOR}\\n{rate}\\n{api_key}\\n{label}")
    time.sleep(seconds)
    if label == "fail":
        raise RuntimeError("as asked for")


if __name__ == "__main__":
    sys.exit(train.main())
'''

DESCEND = '''"""Walk down a parabola."""

import math
import sys
import time

from labkit.tracking.entry_point import entry_point
from labkit.tracking.run import Run


@entry_point
def descend(run: Run, *, rate: float = 0.25, steps: int = 3, seconds: float = 0.0, label: str = "") -> None:
    """Record how far there is to go.

    :param rate: The size of a step.
    :param steps: How many.
    :param seconds: How long each takes.
    :param label: "fail" fails, and "nan" records no number.
    """
    if label == "fail":
        raise RuntimeError("as asked for")
    place = 1.0
    for step in range(1, steps + 1):
        place -= rate * 2 * place
        run.log_metrics({"validation/loss": math.nan if label == "nan" else place**2}, step=step)
        print(f"step {step} at rate {rate}")
        time.sleep(seconds)


if __name__ == "__main__":
    sys.exit(descend.main())
'''

FILES = {
    "MLproject": """name: tiny
entry_points:
  train:
    command: python -m tiny.train
  descend:
    command: python -m tiny.descend
  absent:
    command: python -m tiny.absent
  helper:
    command: python -m tiny.model
  script:
    command: bash train.sh
""",
    ".gitignore": "/runs/\n/mlruns/\n/mlflow.db*\n__pycache__/\n",
    "tiny/__init__.py": "",
    "tiny/model.py": "FACTOR = 10.0\n",
    "tiny/train.py": TRAIN,
    "tiny/descend.py": DESCEND,
}


def write_study(folder: Path) -> None:
    """Write the study's files."""
    write(folder, FILES)


def seal(environment: Environment, arguments: str = "", **options: Any) -> Run:
    """Seal a run of `train`, or a session, as a launcher does."""
    request = read_request({"entry_point": "train", "arguments": arguments, **options})
    return open_run(environment, sealing.seal(request, environment).identifier)
