"""What recording costs: five metrics of every step, without a logger, by Lightning's MLFlowLogger and by Labkit.

Run by `make benchmark NAME=tracking`. Each training is a process of its own, the same module and the same batches; the
variants are repeated in turn, and the best time of each counts, so that what else the machine does weighs little. Where
it does much, the second ratio tells more: that of the processor time of the thread that trains, which knows neither
other programs nor waiting. Only the logger differs, until the last two rows: those compare Labkit's trainer with
itself, checkpoints off and on.

Entries are counted in the store's own database, after `sync-runs` where the store was away: missing is what a step
recorded and the database lacks, doubled what it has more than once.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

TEMPLATE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TEMPLATE / "tests"))

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

METRICS = 5
CLASSES = 10
BATCH_SIZE = 64
STEPS_TO_WARM_UP = 50
SECONDS_AWAY = 20
SECONDS_OF_DELAY = 0.1
MIDDLE = "in the middle"

Kind = Literal["none", "mlflow", "labkit", "labkit-trainer", "labkit-trainer-checkpoints"]


@dataclass(frozen=True)
class Measurement:
    """What one training took, and what became of its metrics."""

    seconds: float
    processor_seconds: float
    longest: float
    missing: int
    doubled: int
    exit_code: int


class Clock:
    """Times steps, and says when the middle is reached."""

    def __init__(self, steps: int) -> None:
        self.times: list[float] = []
        self.processor_times: list[float] = []
        self.steps = steps

    def callback(self) -> Any:
        from lightning.pytorch import Callback

        clock = self

        class Timing(Callback):
            def on_train_batch_end(self, *_: Any, **__: Any) -> None:
                clock.times.append(time.perf_counter())
                clock.processor_times.append(time.thread_time())
                if len(clock.times) == clock.steps // 2:
                    print(MIDDLE, file=sys.__stdout__, flush=True)

        return Timing()

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[STEPS_TO_WARM_UP]

    @property
    def processor_seconds(self) -> float:
        return self.processor_times[-1] - self.processor_times[STEPS_TO_WARM_UP]

    @property
    def longest(self) -> float:
        times = self.times[STEPS_TO_WARM_UP:]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


def load_digits() -> Any:
    import torch
    from sklearn.datasets import load_digits
    from torch.utils.data import TensorDataset

    images, classes = load_digits(return_X_y=True)
    return TensorDataset(torch.from_numpy(images).float() / 16, torch.from_numpy(classes).long())


def make_mlp() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))


def train_lightning(clock: Clock, logger: "Logger | bool") -> None:
    """Train by Lightning alone, with five metrics of each step."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor
    from torch.nn import functional
    from torch.utils.data import DataLoader

    class Bare(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_mlp()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            loss = functional.cross_entropy(self.model(batch[0]), batch[1])
            self.log_dict({f"train/metric-{number}": loss * number for number in range(METRICS)})
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    trainer = Trainer(
        max_steps=clock.steps,
        max_epochs=-1,
        callbacks=[clock.callback()],
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Bare(), DataLoader(load_digits(), BATCH_SIZE, shuffle=True))


def train_labkit(clock: Clock, run: Any, *, checkpoints: bool) -> None:
    """Train by Labkit's trainer, with a checkpoint every 50 steps or none before the end."""
    from labkit.data.loading import Loader
    from labkit.training.duration import Duration, Interval
    from labkit.training.tasks import Classification
    from labkit.training.trainer import fit
    from torch.optim import AdamW

    data = load_digits()
    fit(
        Classification(make_mlp(), classes=CLASSES, optimizer=partial(AdamW, lr=1e-3)),
        run,
        Loader(data, batch_size=BATCH_SIZE, seed=1, shuffle=True),
        Loader(data, batch_size=512, seed=1),
        duration=Duration(clock.steps, "steps"),
        validation_every=Duration(10**6, "epochs"),
        checkpoint_every=Duration(50, "steps") if checkpoints else Interval(1000, "minutes"),
        callbacks=[clock.callback()],
        accelerator="cpu",
    )


def train(kind: Kind, steps: int) -> None:
    """Train once in this process, and print what it took."""
    warnings.filterwarnings("ignore")
    import torch
    from labkit.environment import Environment

    torch.manual_seed(0)
    clock = Clock(steps)
    run_id, code = "", 0
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "none":
            train_lightning(clock, logger=False)
        elif kind == "mlflow":
            from lightning.pytorch.loggers import MLFlowLogger

            uri = Environment.read().mlflow_tracking_uri
            logger = MLFlowLogger("benchmark", tracking_uri=uri)
            run_id = logger.run_id or ""
            train_lightning(clock, logger)
        else:
            from labkit.tracking.attempt import attempt
            from labkit.tracking.logger import RunLogger
            from labkit.tracking.run import Envelope, create_run

            envelope = Envelope(entry_point="train", arguments={}, seed=1)
            run = create_run(Environment.read(), envelope, experiment_name="benchmark")
            run_id = run.identifier
            with attempt(run) as outcome:
                if kind == "labkit":
                    train_lightning(clock, RunLogger(run))
                else:
                    train_labkit(clock, run, checkpoints=kind == "labkit-trainer-checkpoints")
            code = outcome.exit_code
    times = {"seconds": clock.seconds, "processor_seconds": clock.processor_seconds, "longest": clock.longest}
    print(json.dumps({**times, "run_id": run_id, "exit_code": code}))


def measure(
    kind: Kind,
    steps: int,
    folder: Path,
    *,
    uri: str,
    database: Path,
    in_the_middle: Callable[[], None] | None = None,
) -> Measurement:
    """Train once in a process of its own.

    :param kind: What trains and records.
    :param steps: The steps.
    :param folder: Where runs are kept.
    :param uri: The tracking store.
    :param database: The store's database.
    :param in_the_middle: What happens to the store when half of the steps are done.
    """
    variables = {**os.environ, "MLFLOW_TRACKING_URI": uri, "RUNS_PATH": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--kind", kind, "--steps", str(steps)]
    lines: list[str] = []
    with (folder / "errors.txt").open("w+") as errors:
        with subprocess.Popen(
            words, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child:
            for line in child.stdout or ():
                lines.append(line)
                if line.strip() == MIDDLE and in_the_middle:
                    threading.Thread(target=in_the_middle).start()
        if child.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read())
    result = json.loads(lines[-1])
    if in_the_middle:
        while not _answers(uri):
            time.sleep(0.5)
        synchronise(folder, variables)
    missing, doubled = count(database, result["run_id"], steps) if kind in {"mlflow", "labkit"} else (0, 0)
    return Measurement(
        seconds=result["seconds"],
        processor_seconds=result["processor_seconds"],
        longest=result["longest"],
        missing=missing,
        doubled=doubled,
        exit_code=result["exit_code"],
    )


def synchronise(folder: Path, variables: dict[str, str]) -> None:
    program = "import sys; from labkit.tracking.synchronisation import sync_runs; sys.exit(sync_runs.main([]))"
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=variables, check=True, capture_output=True)


def _answers(uri: str) -> bool:
    from services.tracking_server import OPENER

    try:
        with OPENER.open(f"{uri}/health", timeout=5):
            return True
    except OSError:
        return False


def count(database: Path, run_id: str, steps: int) -> tuple[int, int]:
    """Count the entries of the five metrics that the database lacks, and those that it has more than once."""
    question = "select key, step from metrics where run_uuid = ? and key like 'train/metric-%'"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        entries = Counter(connection.execute(question, (run_id,)).fetchall())
    return METRICS * steps - len(entries), entries.total() - len(entries)


def show(
    name: str, steps: int, baseline: list[Measurement] | None, results: list[Measurement], *, of: str = "no logger"
) -> None:
    best = min(result.seconds for result in results)
    ratio = ""
    if baseline:
        speed = min(result.seconds for result in baseline) / best
        processor_times = [min(result.processor_seconds for result in each) for each in (baseline, results)]
        ratio = f"{speed:5.2f} of {of}, {processor_times[0] / processor_times[1]:5.2f} by processor time"
    longest = 1000 * min(result.longest for result in results)
    missing = max(result.missing for result in results)
    doubled = max(result.doubled for result in results)
    print(
        f"  {name:<46}{(steps - STEPS_TO_WARM_UP) / best:7.0f} steps/s  {longest:7.1f} ms longest step"
        f"  {missing:6d} missing {doubled:3d} doubled   {ratio}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "outage", "checkpoints"], help="one part of the measurement")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        train(options.kind, options.steps)
        return

    from services.tracking_server import TrackingServer

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "MLproject").touch()
        server = TrackingServer(folder / "server")
        server.start()
        try:
            if options.only in {None, "speed"}:
                compare_loggers(folder, server, options.steps, options.repetitions)
            if options.only in {None, "outage"}:
                compare_outages(folder, server, options.steps)
            if options.only in {None, "checkpoints"}:
                compare_checkpoints(folder, server, options.steps, options.repetitions)
        finally:
            server.kill()


def compare_loggers(folder: Path, server: Any, steps: int, repetitions: int) -> None:
    """Compare the loggers while all is well."""
    file = folder / "mlflow.db"
    remote = folder / "server" / "mlflow.db"
    stores = {"SQLite": (f"sqlite:///{file}", file), "HTTP": (server.address, remote)}
    variants: dict[str, Callable[[], Measurement]] = {
        "no logger": lambda: measure("none", steps, folder, uri=f"sqlite:///{file}", database=file)
    }
    for store, (uri, database) in stores.items():
        kinds: dict[str, Kind] = {"Lightning's MLFlowLogger": "mlflow", "Labkit": "labkit"}
        for logger, kind in kinds.items():
            variants[f"{logger}, {store}"] = partial(measure, kind, steps, folder, uri=uri, database=database)
    results: dict[str, list[Measurement]] = {variant: [] for variant in variants}
    for _ in range(repetitions):
        for variant, run in variants.items():
            results[variant].append(run())
    baseline = results["no logger"]
    print(f"\n{METRICS} metrics of each of {steps} steps")
    for variant, measurements in results.items():
        show(variant, steps, baseline, measurements)


def compare_outages(folder: Path, server: Any, steps: int) -> None:
    """Measure Labkit while the server is killed in the middle."""
    database = folder / "server" / "mlflow.db"

    def measure_here(kind: Kind, steps: int, in_the_middle: Callable[[], None] | None = None) -> Measurement:
        return measure(kind, steps, folder, uri=server.address, database=database, in_the_middle=in_the_middle)

    calm = measure_here("none", steps)
    # Long enough for the server to come back while there is still something to record.
    many = int(3 * SECONDS_AWAY * (steps - STEPS_TO_WARM_UP) / calm.seconds)

    def leave_for_a_while() -> None:
        server.kill()
        time.sleep(SECONDS_AWAY)
        server.start()

    print(f"\nThe server is killed in the middle, and back {SECONDS_AWAY} s later; {many} steps")
    baseline = measure_here("none", many)
    show("no logger", many, None, [baseline])
    show("Labkit", many, [baseline], [measure_here("labkit", many, leave_for_a_while)])

    def leave() -> None:
        server.kill()
        time.sleep(SECONDS_AWAY)  # the training is over by then
        server.start()

    print(f"\nThe server is killed in the middle, and started long after the end; {steps} steps")
    show("no logger", steps, None, [calm])
    show("Labkit", steps, [calm], [measure_here("labkit", steps, leave)])


def compare_checkpoints(folder: Path, server: Any, steps: int, repetitions: int) -> None:
    """Measure what checkpoints cost that go to a slow store."""
    from services.line import lay_line

    database = folder / "server" / "mlflow.db"
    print(f"\nA checkpoint every 50 steps, to a store that takes {SECONDS_OF_DELAY * 1000:.0f} ms for a request")
    with lay_line(server.port) as line:
        line.seconds_of_delay = SECONDS_OF_DELAY
        without: list[Measurement] = []
        with_checkpoints: list[Measurement] = []
        for _ in range(repetitions):
            without.append(measure("labkit-trainer", steps, folder, uri=line.address, database=database))
            with_checkpoints.append(
                measure("labkit-trainer-checkpoints", steps, folder, uri=line.address, database=database)
            )
    show("Labkit's trainer, no checkpoints", steps, None, without)
    show("Labkit's trainer, checkpoints", steps, without, with_checkpoints, of="no checkpoints")


if __name__ == "__main__":
    main()
