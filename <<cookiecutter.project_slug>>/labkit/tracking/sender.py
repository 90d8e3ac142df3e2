"""The process that brings what a run appends to its spool to the tracking store.

It competes for no interpreter lock with the training, outlives it, and may be slow, fail, hang or come back later
without the training noticing. What it has sent is kept beside the spool, so that another sender goes on where this one
ended; sending the same metrics twice does no harm, since a store keeps one value of a name, step and time.

Run as ``python -m labkit.tracking.sender FOLDER``.
"""

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from labkit.environment import Environment
from labkit.tracking.run import LIMIT_OF_BATCH, STATE_TAG, connect
from labkit.tracking.spool import FILE_NAME, read_records
from labkit.tracking.state import State

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

SENDER_LOCK: Final = "sender.lock"
RUN_LOCK: Final = "run.lock"
METRICS_PER_BATCH: Final = 1000
SECONDS_BETWEEN_LOOKS: Final = 0.2
SECONDS_BETWEEN_TRIES: Final = (0.5, 1, 2, 5, 10)
SECONDS_AFTER_THE_END: Final = 60.0
"""How long a sender goes on trying once the run's process has ended."""

Record = dict[str, Any]


class Lane:
    """One kind of record's way from the spool to the store, with its own place in the spool.

    Files have a lane of their own, so that a large checkpoint does not hold up the metrics.
    """

    def __init__(self, folder: Path, name: str, wanted: Iterable[str], send: Callable[[list[Record]], None]) -> None:
        """Prepare a lane.

        :param folder: The run's folder.
        :param name: The lane's name, part of the name of the file that holds its place.
        :param wanted: The keys by which this lane's records are known.
        :param send: Brings records to the store, or raises.
        """
        self.spool = folder / FILE_NAME
        self.place = folder / f"spool.{name}"
        self.wanted = frozenset(wanted)
        self.send = send
        self.offset = int(self.place.read_text()) if self.place.exists() else 0

    def advance(self) -> bool:
        """Send what is new, at most one batch of it, or one record that is larger.

        :return: Whether there was anything.
        """
        batch: list[Record] = []
        size = 0
        end = self.offset
        if not self.spool.exists() or self.spool.stat().st_size == end:
            return False
        for position, record in read_records(self.spool, self.offset):
            relevant = not self.wanted.isdisjoint(record)
            weight = len(record.get("metrics", ())) or 1
            if relevant and batch and size + weight > METRICS_PER_BATCH:
                break
            end = position
            if relevant:
                size += weight
                batch.append(record)
        if end == self.offset:
            return False
        if batch:
            self.send(batch)
        self.offset = end
        temporary = self.place.with_suffix(".part")
        temporary.write_text(str(end))
        temporary.replace(self.place)
        return True

    @property
    def has_all(self) -> bool:
        """Whether the whole spool has been sent."""
        return not self.spool.exists() or self.offset >= self.spool.stat().st_size


class Sender:
    """Brings one run's spool to the store, until the run's process has ended and all is sent."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        """Prepare to send.

        :param folder: The run's folder, named by the run's id.
        :param environment: Says which store.
        """
        self.folder = folder
        self.identifier = folder.name
        self.store = connect(environment)
        self.run_has_ended = threading.Event()
        self.last_progress = time.monotonic()
        # Event files are written anew by each sender: they can only be appended to by the writer that began them.
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        (folder / "spool.tensorboard").unlink(missing_ok=True)
        self.lanes = [
            Lane(folder, "metrics", ("metrics", "tags"), self._send_metrics),
            Lane(folder, "files", ("artifact",), self._send_files),
            Lane(folder, "tensorboard", ("metrics",), self._write_events),
        ]
        self.states = Lane(folder, "states", ("state",), self._send_state)
        self._events: EventFileWriter | None = None

    def send_all(self) -> bool:
        """Send until the run's process has ended and nothing is left, or the store has been out of reach for too long.

        :return: Whether everything was sent.
        """
        threads = [threading.Thread(target=self._carry, args=(lane,)) for lane in self.lanes]
        for thread in threads:
            thread.start()
        while not self._run_ended():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self.last_progress = time.monotonic()
        self.run_has_ended.set()
        for thread in threads:
            thread.join()
        return all(lane.has_all for lane in self.lanes) and self._finish()

    def _run_ended(self) -> bool:
        try:
            with FileLock(self.folder / RUN_LOCK, timeout=0):
                return True
        except Timeout:
            return False

    def _carry(self, lane: Lane) -> None:
        failures = 0
        while True:
            ended = self.run_has_ended.is_set()
            try:
                moved = lane.advance()
            except Exception as error:
                wait = SECONDS_BETWEEN_TRIES[min(failures, len(SECONDS_BETWEEN_TRIES) - 1)]
                failures += 1
                if failures == 1:
                    print(f"{lane.place.name}: {error}", file=sys.stderr, flush=True)
                if ended and time.monotonic() - self.last_progress > SECONDS_AFTER_THE_END:
                    return
                self.run_has_ended.wait(wait) if not ended else time.sleep(wait)
                continue
            if moved:
                failures, self.last_progress = 0, time.monotonic()
            elif ended:
                return
            else:
                self.run_has_ended.wait(SECONDS_BETWEEN_LOOKS)

    def _finish(self) -> bool:
        """Tell the store how the run's process ended, unless another process continues the run by now."""
        try:
            with FileLock(self.folder / RUN_LOCK, timeout=0):
                if (self.folder / "tensorboard").exists():
                    self.store.log_artifacts(self.identifier, str(self.folder / "tensorboard"), "tensorboard")
                while self.states.advance():
                    pass
        except Timeout:
            return True
        except Exception as error:
            print(f"{self.states.place.name}: {error}", file=sys.stderr, flush=True)
            return False
        return True

    def _send_metrics(self, batch: list[Record]) -> None:
        from mlflow.entities import Metric, RunTag

        metrics = [
            Metric(name, value, record["time"], record["step"])
            for record in batch
            for name, value in record.get("metrics", {}).items()
        ]
        latest = {name: text for record in batch for name, text in record.get("tags", {}).items()}
        tags = [RunTag(*tag) for tag in latest.items()]
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self.store.log_batch(self.identifier, metrics=metrics[start : start + METRICS_PER_BATCH])
        for start in range(0, len(tags), LIMIT_OF_BATCH):
            self.store.log_batch(self.identifier, tags=tags[start : start + LIMIT_OF_BATCH])

    def _send_files(self, batch: list[Record]) -> None:
        for name, folder in {record["artifact"]: record["folder"] for record in batch}.items():
            path = self.folder / name
            if path.is_dir():
                self.store.log_artifacts(self.identifier, str(path), folder or None)
            elif path.exists():
                self.store.log_artifact(self.identifier, str(path), folder or None)

    def _write_events(self, batch: list[Record]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._events is None:
            self._events = EventFileWriter(str(self.folder / "tensorboard"))
        for record in batch:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in record["metrics"].items()]
            summary = Summary(value=values)
            self._events.add_event(Event(wall_time=record["time"] / 1000, step=record["step"], summary=summary))
        self._events.flush()

    def _send_state(self, batch: list[Record]) -> None:
        state, time_of_end = State(batch[-1]["state"]), batch[-1]["time"]
        if state.is_final:
            self.store.set_terminated(self.identifier, state.mlflow_status, time_of_end)
        else:
            self.store.update_run(self.identifier, state.mlflow_status)
        self.store.set_tag(self.identifier, STATE_TAG, state)


def main() -> int:
    """Send the spool of the run whose folder the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is meant for the training
    folder = Path(sys.argv[1])
    with FileLock(folder / SENDER_LOCK):
        return 0 if Sender(folder, Environment.read()).send_all() else 1


if __name__ == "__main__":
    sys.exit(main())
