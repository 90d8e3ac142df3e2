"""A training without a model: records five metrics a step, then a file, and ends as it is told to.

Run as ``python recorded_study.py STEPS SECONDS_PER_STEP [RUN_ID]``. The first line that it prints is the run's id.
While there is a file `wait` in the working directory, it stops in the middle.
"""

# It runs in a project's environment, which this repository has not.
# pyright: reportMissingImports=false

import math
import sys
import time
from pathlib import Path

from labkit.command import UnavailableError, report_error
from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Envelope, create_run, open_run


def main(steps: int, seconds_per_step: float, run_id: str | None = None) -> int:
    environment = Environment.read()
    if run_id:
        run = open_run(environment, run_id)
    else:
        envelope = Envelope(entry_point="record", arguments={"steps": steps}, seed=0)
        run = create_run(environment, envelope, experiment_name="recorded")
    print(run.identifier, flush=True)
    with attempt(run) as outcome:
        for step in range(steps):
            values = (step / 7, math.sin(step), 1 / (step + 1), float(step), -step / 3)
            run.log_metrics({f"train/metric-{number}": value for number, value in enumerate(values)}, step)
            time.sleep(seconds_per_step)
            while step == steps // 2 and Path("wait").exists():
                time.sleep(0.01)
        print("all steps are done", flush=True)
        path = run.folder / "result.txt"
        path.write_text(f"{steps} steps")
        run.log_artifact(path, "results")
    return outcome.exit_code


if __name__ == "__main__":
    try:
        code = main(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])
    except UnavailableError as error:
        code = report_error("record", error)
    sys.exit(code)
