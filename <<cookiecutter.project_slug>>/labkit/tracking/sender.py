"""The process that brings what a run appends to its spool to the tracking store.

It competes for no interpreter lock with the training, outlives it, and may be slow, fail, hang or come back later
without the training noticing. What it has sent is kept beside the spool, so that another sender goes on where this one
ended; sending the same metrics twice does no harm, since a store keeps one value of a name, step and time.

Run as ``python -m labkit.tracking.sender FOLDER``.
"""

import importlib
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from labkit.environment import Environment
from labkit.secret import MaskedStream, Masker
from labkit.tracking.carrier import Carrier, report
from labkit.tracking.contact import describe
from labkit.tracking.lane import Lane, Record
from labkit.tracking.run import connect
from labkit.tracking.state import ATTEMPT_TAG, RUN_LOCK, State, conclude, read_state, tell
from labkit.tracking.upload import FOLDER, GrowingFiles, frozen

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

LOG: Final = "sender.log"
SENDER_LOCK: Final = "sender.lock"
SECONDS_BETWEEN_LOOKS: Final = 0.1
SECONDS_OF_PATIENCE: Final = 10.0
"""Once the run has ended, what has failed for so long waits for `sync-runs`."""
SECONDS_FOR_A_REQUEST: Final = 10.0
"""Once the run has ended, a request that takes longer is taken for one that hangs."""
SECONDS_FOR_A_FILE: Final = 600.0
LARGEST_STEP: Final = 2**63 - 1
ENDS: Final = tuple(state for state in State if state is not State.RUNNING)
PRIORITY: Final = 10
"""The training comes first."""

EXIT_SENT: Final = 0
EXIT_LEFT: Final = 1
EXIT_REFUSED: Final = 3
"""All was sent but what the store refuses, which stands in the log."""


class Sender:
    """Brings one run's spool to the store, until the run's process has ended and all is sent.

    :ivar refusals: How much could not be sent, and never will.
    :ivar has_sent_all: Whether all else was sent.
    """

    def __init__(self, folder: Path, environment: Environment) -> None:
        """Prepare to send; nothing is done or asked yet.

        :param folder: The run's folder, named by the run's id.
        :param environment: Says which store.
        """
        self.folder = folder
        self.refusals = 0
        self.has_sent_all = False
        self._identifier = folder.name
        self._environment = environment
        self._connecting = threading.Lock()
        self._telling = threading.Lock()
        self._ended_at: float | None = None
        self._uploaded: dict[tuple[Path, str], tuple[int, int]] = {}
        self.entries = Lane(folder, "metrics", weigh_entry, self._send_entries)
        self.files = Lane(folder, "files", weigh_file, self._send_files, largest_batch=math.inf)
        self.ends = Lane(folder, "states", weigh_end, self._send_end, largest_batch=math.inf)
        self.growing = GrowingFiles(folder, self._upload)
        # Each sender looks after all parts: what of one is sent already, that one's own lanes know.
        parts = Lane(folder, "parts", weigh_part, self._begin_parts, is_durable=False)
        self._parts: dict[str, _Part] = {}
        events = Lane(folder, "tensorboard", weigh_metrics, self._write_events, is_durable=False)
        self._carriers = [
            Carrier(lane.name, lane.advance, seconds_for_a_try=seconds)
            for lane, seconds in (
                (self.entries, SECONDS_FOR_A_REQUEST),
                (self.files, SECONDS_FOR_A_FILE),
                (events, SECONDS_FOR_A_FILE),
                (parts, SECONDS_FOR_A_REQUEST),
            )
        ]
        self._carriers.append(Carrier("logs", self._send_logs, seconds_for_a_try=SECONDS_FOR_A_FILE))
        self._last_carrier = Carrier("states", self.ends.advance, seconds_for_a_try=SECONDS_FOR_A_REQUEST)

    @property
    def errors(self) -> dict[str, Exception]:
        """Why the last tries failed, by what they were to send."""
        carriers = [*self._carriers, self._last_carrier]
        return {carrier.name: carrier.error for carrier in carriers if carrier.error}

    @property
    def has_all(self) -> bool:
        """Whether nothing waits to be sent, as far as is known without asking the store."""
        lanes_are_empty = all(lane.is_empty for lane in (self.entries, self.files, self.ends))
        return lanes_are_empty and not self.growing.find_changed("logs/*", "tensorboard/*")

    def send_all(self) -> bool:
        """Send until the run's process has ended and nothing is left, or the store has been out of reach for too long.

        :return: Whether everything was sent.
        """
        for leftover in ("tensorboard", FOLDER):
            shutil.rmtree(self.folder / leftover, ignore_errors=True)
        self._last_carrier.gate.clear()
        carriers = [*self._carriers, self._last_carrier]
        for carrier in carriers:
            carrier.start()
        while not self._is_over():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        ended_at = self._ended_at or math.inf
        for carrier in carriers:
            carrier.abandon()
        self.refusals += sum(part.refusals for part in self._parts.values())
        has_sent_parts = all(part.has_sent_all for part in self._parts.values())
        self.has_sent_all = has_sent_parts and all(carrier.is_done_since(ended_at) for carrier in carriers)
        return self.has_sent_all

    def _is_over(self) -> bool:
        self._look_at_run()
        ended_at = self._ended_at
        if ended_at is None:
            return False

        def is_settled(carrier: Carrier) -> bool:
            return carrier.is_done_since(ended_at) or carrier.is_hopeless_since(ended_at, SECONDS_OF_PATIENCE)

        entries = self._carriers[0]
        if is_settled(entries) and not entries.is_done_since(ended_at):
            # The store is away. That files have their own, which is not, is the exception.
            return time.monotonic() - ended_at > SECONDS_FOR_A_REQUEST or all(map(is_settled, self._carriers))
        if not all(map(is_settled, self._carriers)) or any(part.is_alive() for part in self._parts.values()):
            return False
        # How the run ended comes last, so that whoever waits for it finds the rest there.
        self._last_carrier.gate.set()
        return is_settled(self._last_carrier)

    def _look_at_run(self) -> None:
        """Find out whether a process works on the run; if none does any more, let the spool say how it ended."""
        try:
            if self._ended_at is None:
                conclude(self.folder)
            else:
                with FileLock(self.folder / RUN_LOCK, timeout=0):
                    pass
        except Timeout:
            self._ended_at = None
            self._last_carrier.gate.clear()
            return
        except OSError as error:
            report(f"states: {describe(error)}")
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            for carrier in self._carriers:
                carrier.hurry()

    @property
    def _store(self) -> "MlflowClient":
        with self._connecting:
            return connect(self._environment)

    def _send_entries(self, batch: list[Record]) -> int:
        from mlflow.entities import Metric, RunTag

        metrics: list[Metric] = []
        tags: dict[str, RunTag] = {}
        is_running = False
        for record in batch:
            match record:
                case {"metrics": dict() as values, "step": int() as step, "time": int() as milliseconds} if abs(
                    step
                ) <= LARGEST_STEP and all(isinstance(value, float | int) for value in values.values()):
                    metrics += [Metric(name, float(value), milliseconds, step) for name, value in values.items()]
                case {"tags": dict() as texts}:
                    tags |= {name: RunTag(name, _encodable(str(text))) for name, text in texts.items()}
                case {"state": State.RUNNING}:
                    is_running = True
                case _:
                    self._refuse(f"a record of an unknown kind: {record}")
        if is_running:
            with self._telling:
                # Told of a run that has ended since, it would be the last thing that the store hears.
                if read_state(self.folder) is State.RUNNING:
                    if attempt := tags.get(ATTEMPT_TAG):  # known first: an older one must not be taken for the newest
                        self._store.set_tag(self._identifier, ATTEMPT_TAG, attempt.value)
                    tell(self._store, self._identifier, State.RUNNING, 0)
        self._log([*metrics, *tags.values()])
        return len(metrics) + len(tags)

    def _log(self, entries: "Sequence[Metric | RunTag]") -> None:
        """Send entries together, or, where something among them is refused, apart, so that only that is left out."""
        from mlflow.entities import Metric, RunTag
        from mlflow.exceptions import MlflowException

        metrics = [entry for entry in entries if isinstance(entry, Metric)]
        tags = [entry for entry in entries if isinstance(entry, RunTag)]
        try:
            self._store.log_batch(self._identifier, metrics, tags=tags)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            self._require_active_run(error)
            if len(entries) == 1:
                self._refuse(f"{entries[0]}: {describe(error)}")
                return
            middle = len(entries) // 2
            self._log(entries[:middle])
            self._log(entries[middle:])

    def _require_active_run(self, refusal: Exception) -> None:
        """Make sure that it is the entry that is refused: to a run that was deleted, the store refuses everything."""
        if self._store.get_run(self._identifier).info.lifecycle_stage != "active":
            raise RuntimeError(f"the run {self._identifier} is deleted in the store") from refusal

    def _refuse(self, message: str) -> None:
        self.refusals += 1
        report(f"refused, and left out: {message}")

    def _send_files(self, batch: list[Record]) -> int:
        sent = 0
        errors: list[Exception] = []
        # Of a file that was recorded several times, only what it is now is sent.
        for name, folder in dict.fromkeys((str(record["artifact"]), str(record.get("folder", ""))) for record in batch):
            path = self.folder / name
            try:
                sent += self._send_path(path, folder)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return sent

    def _send_path(self, path: Path, folder: str) -> int:
        if not path.exists():
            self._refuse(f"the file {path}, which is gone")
            return 0
        if path.is_dir():
            self._store.log_artifacts(self._identifier, str(path), folder or None)
            return 1
        with frozen(path, self.folder) as held:
            version = held.stat().st_mtime_ns, held.stat().st_size
            if self._uploaded.get((path, folder)) == version:  # by an earlier try, in which another file failed
                return 0
            self._upload(held, folder)
            self._uploaded[path, folder] = version
            return 1

    def _upload(self, path: Path, folder: str) -> None:
        self._store.log_artifact(self._identifier, str(path), folder or None)

    def _begin_parts(self, batch: list[Record]) -> int:
        for identifier in (str(record["part"]) for record in batch):
            if identifier not in self._parts and self.folder.with_name(identifier).is_dir():
                self._parts[identifier] = _Part(self.folder.with_name(identifier), self._environment)
                self._parts[identifier].start()
        return len(batch)

    def _send_logs(self) -> int:
        if self._ended_at is None:
            return self.growing.advance("logs/*", is_last=False)
        return self.growing.advance("logs/*", "tensorboard/*", is_last=True)

    def _write_events(self, batch: list[Record]) -> int:
        from labkit.tracking.event_file import FILE_NAME, append_events

        append_events(
            self.folder / "tensorboard" / FILE_NAME,
            ((record["metrics"], record["step"], record["time"]) for record in batch),
        )
        return len(batch)

    def _send_end(self, batch: list[Record]) -> int:
        newest = batch[-1]
        if newest["state"] == State.RUNNING:
            return 0
        with self._telling:
            tell(self._store, self._identifier, State(newest["state"]), newest["time"])
        return 1


class _Part(threading.Thread):
    """Sends a run that is part of another one."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.environment = environment
        self.refusals = 0
        self.has_sent_all = False

    def run(self) -> None:
        sender = send(self.folder, self.environment)
        self.refusals, self.has_sent_all = sender.refusals, sender.has_sent_all


def weigh_entry(record: Record) -> int:
    """Count what the store's tables take: metrics, tags, that the run is executed, and what nobody knows."""
    match record:
        case {"artifact": _} | {"part": _}:
            return 0
        case {"state": state} if state in ENDS:
            return 0
        case {"metrics": dict() as metrics}:
            return max(len(metrics), 1)
        case _:
            return 1


def weigh_metrics(record: Record) -> int:
    """Count the metrics of a record."""
    match record:
        case {"metrics": dict() as metrics, "step": int() as step, "time": int()} if abs(step) <= LARGEST_STEP:
            return len(metrics) if all(isinstance(value, float | int) for value in metrics.values()) else 0
        case _:
            return 0


def weigh_file(record: Record) -> int:
    """Count a file or folder."""
    return int("artifact" in record)


def weigh_part(record: Record) -> int:
    """Count a run that is part of this one."""
    return int("part" in record)


def weigh_end(record: Record) -> int:
    """Count a state; also that of being executed, after which no earlier end counts."""
    return int(record.get("state") in (State.RUNNING, *ENDS))


def send(folder: Path, environment: Environment, seconds_to_wait: float = -1) -> Sender:
    """Send what a run has to say, as the only process that does so.

    :param folder: The run's folder.
    :param environment: Says which store.
    :param seconds_to_wait: How long to wait for another process that sends it; for ever by default.
    :return: The sender, with what became of it.
    :raises filelock.Timeout: If the other process goes on for longer.
    """
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)  # a carrier tries again, and knows that it does
    if environment.mlflow_tracking_uri.startswith("sqlite:"):
        # Before the first try: where cores are busy, this takes longer than a try that does not hang.
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    with FileLock(folder / SENDER_LOCK, timeout=seconds_to_wait):
        sender = Sender(folder, environment)
        sender.send_all()
    return sender


def _encodable(text: str) -> str:
    """Return a text without the halves of characters that names of files may hold and no store takes."""
    return text.encode(errors="replace").decode()


def serve(folder: Path, environment: Environment) -> int:
    """Be the process that sends a run's spool.

    :param folder: The run's folder.
    :param environment: Says which store.
    :return: The exit code.
    """
    # What ends the training, a Ctrl-C or the scheduler, still gives this process the time for the last words.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(PRIORITY)
    sys.stderr = MaskedStream(Masker(environment.secrets()), sys.stderr)
    sender = send(folder, environment)
    if not sender.has_sent_all:
        return EXIT_LEFT
    return EXIT_REFUSED if sender.refusals else EXIT_SENT


def main() -> int:
    """Send the spool of the run whose folder the command line names."""
    return serve(Path(sys.argv[1]), Environment.read())


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # without waiting for a request that hangs
