"""A tracking store with something in it, for tests of pages: recorded_store.py FOLDER; for measurements: FOLDER RUNS.

For tests, runs are Labkit's own, with figures, logs, code and a recipe, and the process stays to record more: it
evaluates each line that it is given. For measurements, runs are written into the database at once, as thousands of them
would take an hour otherwise.
"""

# It runs in a project's environment, which this repository has not.
# pyright: reportMissingImports=false

import io
import json
import math
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HOSTILE = "<script>alert('name')</script> <img src=x onerror=alert(2)> \"quoted\" ünï 數"
ACCURACY = "validation/accuracy"
STEPS = 50
RATES = ("0.1", "0.03", "0.01", "0.003")
WIDTHS = ("16", "32", "64")
SEEDS = 5


def accuracy_of(rate: str, width: str, seed: int, step: int) -> float:
    """Return a number that looks like a result: known beforehand, and none like the other."""
    best = 0.6 + 0.1 * int(width) / 64 + 0.05 * -math.log10(float(rate)) + 0.004 * seed
    return best * (1 - math.exp(-step / 12))


def describe(number: int) -> tuple[str, str, int]:
    """Return rate, width and seed of a run by its number."""
    configuration, seed = divmod(number, SEEDS)
    width, rate = divmod(configuration % (len(RATES) * len(WIDTHS)), len(RATES))
    return RATES[rate], WIDTHS[width], seed + SEEDS * (configuration // (len(RATES) * len(WIDTHS)))


class Recorder:
    """Makes runs that are Labkit's own."""

    def __init__(self, folder: Path) -> None:
        from labkit.environment import Environment
        from labkit.tracking.run import connect

        (folder / "MLproject").touch()
        self.folder = folder
        self.environment = Environment.read({}, folder)
        self.store = connect(self.environment)
        self.picture = draw()

    def record(
        self,
        name: str,
        *,
        seed: int = 0,
        metrics: Mapping[str, list[float]] | None = None,
        tags: Mapping[str, str] | None = None,
        state: str = "finished",
        entry_point: str = "train",
        **arguments: Any,
    ) -> Any:
        from labkit.tracking.provenance import capture
        from labkit.tracking.run import Envelope, create_run
        from mlflow.entities import Metric

        with tempfile.TemporaryDirectory() as kept:
            provenance = capture(self.environment, Path(kept), [entry_point, "--name", name])
            run = create_run(
                self.environment,
                Envelope(entry_point=entry_point, arguments=arguments, seed=seed, source=provenance.source),
                experiment_name="digits",
                run_name=name,
                tags={**provenance.tags, **(tags or {})},
                files=[Path(kept) / "source.tar.gz", Path(kept) / "environment.json"],
            )
        for metric, values in (metrics or {}).items():
            entries = [Metric(metric, value, 1000 * step, step) for step, value in enumerate(values, start=1)]
            self.store.log_batch(run.identifier, metrics=entries)
        self.store.set_tag(run.identifier, "labkit.state", state)
        if state == "finished":
            self.store.set_terminated(run.identifier, "FINISHED")
        else:
            self.store.update_run(run.identifier, "RUNNING")
        return run

    def illustrate(self, run: Any) -> None:
        """Keep a figure, drawn at two steps, and a log with a run."""
        figures, logs = run.folder / "figures", run.folder / "logs"
        figures.mkdir()
        logs.mkdir()
        for step in (10, 20):
            (figures / f"confusion-validation-{step:06d}.png").write_bytes(self.picture)
        (logs / "attempt-1.txt").write_text(f"epoch 1\n{HOSTILE}\nepoch 2\n", encoding="utf-8")
        self.store.log_artifact(run.identifier, str(figures / "confusion-validation-000010.png"), "figures")

    def stand(self, run_id: str, recipe: str, steps: list[dict[str, Any]]) -> None:
        """Keep with the run of a recipe how its steps stand."""
        path = self.environment.runs_path / run_id / "recipe.json"
        path.write_text(json.dumps({"recipe": recipe, "steps": steps}), encoding="utf-8")
        self.store.log_artifact(run_id, str(path))


def draw() -> bytes:
    """Draw a figure, as PNG."""
    import numpy as np
    from labkit.report.figures import plot_confusion

    buffer = io.BytesIO()
    plot_confusion(np.array([[9, 1], [2, 8]])).savefig(buffer, dpi=80)
    return buffer.getvalue()


def record_demonstration(recorder: Recorder) -> dict[str, str]:
    """Record runs of two sessions over seeds, two that differ in their code, one that is hostile, and a recipe.

    :return: Ids by what the runs are for.
    """
    ids: dict[str, str] = {}
    for number in range(12):
        rate, width, seed = ("0.1", "0.01")[number // 3 % 2], ("16", "64")[number // 6], number % 3
        (recorder.folder / "model.py").write_text(f"WIDTH = {16 if number < 6 else 32}\n", encoding="utf-8")
        curve = [accuracy_of(rate, width, seed, step) for step in range(1, STEPS + 1)]
        run = recorder.record(
            f"rate-{rate}-width-{width}-seed-{seed}",
            seed=seed,
            metrics={ACCURACY: curve, "validation/loss": [1 - value for value in curve]},
            tags={"labkit.session": "rates-1" if number < 6 else "rates-2"},
            learning_rate=rate,
            width=width,
        )
        ids["first" if number == 0 else "last"] = run.identifier
        recorder.illustrate(run)
    # What failed with the seed of a run that has finished: no mean takes it in.
    recorder.record("again", seed=2, metrics={ACCURACY: [0.1]}, state="failed", learning_rate="0.01", width="64")
    hostile = recorder.record(
        HOSTILE, seed=9, metrics={ACCURACY: [0.2, 0.3]}, learning_rate="0.1", width="16", note=HOSTILE
    )
    ids["hostile"] = hostile.identifier
    ids |= record_recipe(recorder)
    return ids


def record_recipe(recorder: Recorder) -> dict[str, str]:
    """Record how a recipe stands, as `recipe` leaves it: one step of the user's own, one stale, one that failed."""
    steps: list[dict[str, Any]] = []
    names = ["explore data", "evaluate baseline", "my own check", "overfit", "tune"]
    states = ["up to date", "up to date", "failed", "stale", "not run"]
    tags = {"labkit.recipe": "digits"}
    recipe = recorder.record("recipe", entry_point="recipe", tags={**tags, "labkit.recipe.role": "recipe"})
    for position, (name, state) in enumerate(zip(names, states, strict=True)):
        holds = state != "failed"
        verdict = {
            "check": f"{ACCURACY} at least 0.9",
            "value": 0.95 if holds else 0.5,
            "threshold": 0.9,
            "holds": holds,
            "reason": f"{ACCURACY} is {'0.95, at least' if holds else '0.5, less than'} 0.9",
        }
        run = None
        if state != "not run":
            role = {**tags, "labkit.recipe.role": "step", "labkit.step": name, "mlflow.parentRunId": recipe.identifier}
            run = recorder.record(name, entry_point="recipe", tags=role)
        steps.append(
            {
                "name": name,
                "position": position,
                "state": state,
                "reasons": ["function my_research.model.cnn changed", HOSTILE] if state == "stale" else [],
                "run_id": run.identifier if run else None,
                "outcome": None if run is None else "passed" if holds else "failed",
                "verdicts": [verdict] if run else [],
            }
        )
    recorder.stand(recipe.identifier, "digits", steps)
    return {"recipe": recipe.identifier, "step": str(steps[2]["run_id"])}


def record_many(folder: Path, count: int) -> None:
    """Write runs into the database: 2 metrics of 50 steps, 6 parameters, 8 tags each."""
    from labkit.environment import Environment
    from labkit.tracking.run import connect

    (folder / "MLproject").touch()
    environment = Environment.read({}, folder)
    store = connect(environment)
    location = (folder / "mlruns" / "digits").as_uri()
    experiment = store.create_experiment("digits", artifact_location=location)
    path = environment.mlflow_tracking_uri.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        for number in range(count):
            identifier = f"{number:032x}"
            rate, width, seed = describe(number)
            start = 1_700_000_000_000 + 60_000 * number
            database.execute(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
                " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
                " VALUES (?, ?, 'LOCAL', '', '', 'me', 'FINISHED', ?, ?, '', 'active', ?, ?)",
                (identifier, f"run-{number}", start, start + 45_000, f"{location}/{identifier}/artifacts", experiment),
            )
            parameters = {"seed": seed, "learning_rate": rate, "width": width, "batch_size": 64, "depth": 3, "fold": 0}
            database.executemany(
                "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                [(name, str(value), identifier) for name, value in parameters.items()],
            )
            tags = {
                "mlflow.runName": f"run-{number}",
                "labkit.state": "finished",
                "labkit.entry_point": "train",
                "labkit.session": f"session-{number // 500}",
                "labkit.source": "5f" * 32,
                "labkit.commit": "c0" * 20,
                "labkit.host": "node-1",
                "labkit.footprint": "da" * 32,
            }
            database.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(name, value, identifier) for name, value in tags.items()],
            )
            curve = [accuracy_of(rate, width, seed, step) for step in range(1, STEPS + 1)]
            for metric, values in ((ACCURACY, curve), ("validation/loss", [1 - value for value in curve])):
                database.executemany(
                    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
                    [(metric, value, start + step, identifier, step) for step, value in enumerate(values, start=1)],
                )
                database.execute(
                    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
                    " VALUES (?, ?, ?, ?, 0, ?)",
                    (metric, values[-1], start + STEPS, STEPS, identifier),
                )


def answer(recorder: Recorder) -> None:
    """Evaluate expressions, in which ``recorder`` is at hand, a line of JSON each, and print the values likewise."""
    for line in sys.stdin:
        value = eval(json.loads(line), {**globals(), "recorder": recorder})  # noqa: S307  the tests' own
        print(json.dumps(value), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        record_many(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        own = Recorder(Path(sys.argv[1]))
        print(json.dumps(record_demonstration(own)), flush=True)
        answer(own)
