"""One process's work on a run: from taking hold of it to its last word, whatever happens in between."""

import contextlib
import faulthandler
import io
import os
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Final, TextIO

from filelock import FileLock, Timeout

from labkit.command import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_KILLED,
    UnavailableError,
    UsageError,
    report_error,
)
from labkit.secret import MaskedStream
from labkit.tracking.interruption import Interruption
from labkit.tracking.notification import Notifier
from labkit.tracking.patient_file import PatientFile
from labkit.tracking.relocation import catch_up
from labkit.tracking.run import Run, now
from labkit.tracking.sender import EXIT_REFUSED, EXIT_SENT, LOG
from labkit.tracking.spool import FILE_NAME
from labkit.tracking.state import ATTEMPT_TAG, RUN_LOCK, State, read_state

SECONDS_TO_WAIT_FOR_THE_RUN: Final = 15.0
"""The sender of an attempt before may hold the run for a moment, to say how that one ended."""
SECONDS_TO_WAIT_FOR_THE_SENDER: Final = 900.0
"""It gives up much sooner where the store does not answer; a large file may take this long."""
SECONDS_TO_WAIT_WHEN_INTERRUPTED: Final = 20.0
"""A scheduler allows little more between its signal and the end."""


class Outcome:
    """How an attempt ended; an exit code once it has."""

    exit_code: int = EXIT_DONE


@contextlib.contextmanager
def attempt(run: Run) -> Generator[Outcome]:
    """Work on a run; whatever ends the work is recorded as the run's state and does not leave this context.

    :param run: The run.
    :return: A context whose value knows the exit code afterwards.
    :raises UsageError: If another process works on the run, or has finished it.
    """
    outcome = Outcome()
    os.environ["LABKIT_RUN_ID"] = run.identifier  # processes that this one starts to share its work join the run
    with Notifier(run) as notifier, _recording(run, outcome, is_attempt=True):
        if read_state(run.folder) is State.FINISHED:  # since it was opened, by a process that was a little faster
            run.has_finished = True
            run.require_unfinished()
        number = _count_attempts(run) + 1
        run.log_tags({ATTEMPT_TAG: f"{number}-{uuid.uuid4().hex}"})
        run.spool.append({"state": State.RUNNING, "time": now()})
        notifier.tell_start()
        with _keep_logs(run, number) as log:
            state, reason = State.FINISHED, None
            try:
                with run.signals.installed():
                    yield outcome
            except Interruption as interruption:
                state = interruption.state
                outcome.exit_code = EXIT_INTERRUPTED if state is State.INTERRUPTED else EXIT_KILLED
                print(f"\n{state.capitalize()}. To go on: {run.command_to_go_on}", file=sys.stderr)
            except (UsageError, UnavailableError) as error:
                state, reason = State.FAILED, str(error)
                outcome.exit_code = report_error(run.envelope.entry_point, error)
            except BaseException as error:
                state, outcome.exit_code = State.FAILED, EXIT_FAILED
                reason = "".join(traceback.format_exception_only(error)).strip()
                text = run.masker.mask(traceback.format_exc())
                print(text, file=sys.stderr)
                with contextlib.suppress(OSError):  # of a full disk; the log has it too
                    path = log.with_name("traceback.txt")
                    path.write_text(text, encoding="utf-8")
                    run.log_artifact(path, "logs")
        run.spool.append({"state": state, "time": now()})
        notifier.tell_end(state, error=reason, log=log)


@contextlib.contextmanager
def assistance(run: Run) -> Generator[Outcome]:
    """Work on a run that another process leads and records.

    An interruption is agreed on by all of them, and the leading process says so; here it is no failure, for which a
    launcher would end the others. Without the leading process there is nothing to work on, and this one ends too.

    :param run: The run.
    :return: A context like that of :func:`attempt`.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    outcome = Outcome()
    with _mask_output(run):
        try:
            with contextlib.suppress(Interruption), run.signals.installed():
                yield outcome
        except (UsageError, UnavailableError):
            raise
        except Exception:
            outcome.exit_code = EXIT_FAILED
            traceback.print_exc()


def _end_with(parent: int) -> None:
    """End this process, whatever it waits for, once its parent is no more."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def partial_attempt(run: Run, whole: Run) -> Generator[None]:
    """Work on a run that is part of another one; what ends this work goes on to that one.

    The part needs no sender, no messages and no log of its own: it has those of the whole.

    :param run: The part; nobody has worked on it.
    :param whole: The run that this process works on in an :func:`attempt`, or a part of it.
    :return: A context.
    """
    run.signals = whole.signals
    with _hold(run):
        whole.spool.append({"part": run.identifier})
        run.spool.append({"state": State.RUNNING, "time": now()})
        state = State.FAILED
        try:
            yield
            state = State.FINISHED
        except Interruption as interruption:
            state = interruption.state
            raise
        finally:
            run.spool.append({"state": state, "time": now()})
            _close_spool(run)


@contextlib.contextmanager
def recording(run: Run) -> Generator[None]:
    """Add to a run from this process, without a say in how it ended.

    :param run: The run.
    :return: A context; when it is left, what was added is in the store, or waits in the run's folder for `sync-runs`.
    :raises UsageError: If another process works on the run.
    """
    with _recording(run, Outcome(), is_attempt=False):
        yield


@contextlib.contextmanager
def _recording(run: Run, outcome: Outcome, *, is_attempt: bool) -> Generator[None]:
    sender = None
    try:
        with _hold(run):
            if is_attempt or (run.folder / FILE_NAME).exists():
                catch_up(run)
            sender = _start_sender(run)
            try:
                yield
            finally:
                _close_spool(run)
    finally:
        if sender is not None:
            is_interrupted = outcome.exit_code == EXIT_INTERRUPTED
            seconds = SECONDS_TO_WAIT_WHEN_INTERRUPTED if is_interrupted else SECONDS_TO_WAIT_FOR_THE_SENDER
            _await_sender(sender, run, seconds)


def _close_spool(run: Run) -> None:
    try:
        run.spool.close()
    except OSError as error:
        raise UnavailableError(
            f"the last records of run {run.identifier} are lost, since {run.spool.path} could not be written "
            f"({error.strerror}): make room, and go on: {run.command_to_go_on}"
        ) from error


@contextlib.contextmanager
def _hold(run: Run) -> Generator[None]:
    try:
        with FileLock(run.folder / RUN_LOCK, timeout=SECONDS_TO_WAIT_FOR_THE_RUN):
            yield
    except Timeout:
        raise UsageError(
            f"the run {run.identifier} is being executed by another process: wait for it, or end it."
        ) from None


def _start_sender(run: Run) -> subprocess.Popen[bytes]:
    """Start the sender in a session of its own: it outlives this process, and no signal for this one reaches it."""
    if sender := run.begin_sending():
        return sender
    with (run.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "labkit.tracking.sender", str(run.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": run.environment.mlflow_tracking_uri,
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
        )


def _await_sender(sender: subprocess.Popen[bytes], run: Run, seconds: float) -> None:
    """Wait until the sender has sent what it can, and say so where that is not all."""
    code = None
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt, Interruption):
        code = sender.wait(seconds)
        if code < 0:  # it was killed, as where memory is short, and another one goes on where it ended
            code = _start_sender(run).wait(seconds)
    if code == EXIT_SENT:
        return
    where = f"run {run.identifier}"
    if code == EXIT_REFUSED:
        message = f"Part of {where} could not be sent, for the reasons in {run.folder / LOG}."
    else:
        message = (
            f"Not all of {where} has reached {run.masker.mask(run.environment.mlflow_tracking_uri)}: "
            f"it is kept in {run.folder} and sent by `sync-runs`."
        )
    print(message, file=sys.stderr)


def _count_attempts(run: Run) -> int:
    """Count the attempts so far, here or elsewhere."""
    elsewhere = int((run.stored_attempt or "0").partition("-")[0])
    return max(elsewhere, sum(1 for _ in (run.folder / "logs").glob("attempt-*.txt")))


@contextlib.contextmanager
def _keep_logs(run: Run, number: int) -> Generator[Path]:
    """Write what this process prints to ``logs/attempt-N.txt`` as well."""
    folder = run.folder / "logs"
    folder.mkdir(exist_ok=True)
    path = folder / f"attempt-{number}.txt"
    with PatientFile(path) as file:
        # Nothing waits in the text's own layer, and what the disk has no room for at the end the terminal has had.
        log = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        with _mask_output(run, log):
            faulthandler.enable(log)
            try:
                yield path
            finally:
                faulthandler.disable()


@contextlib.contextmanager
def _mask_output(run: Run, *logs: TextIO) -> Generator[None]:
    """Keep secrets out of what this process prints, and write it to further streams as well."""
    streams = sys.stdout, sys.stderr
    output, errors = (MaskedStream(run.masker, stream, *logs) for stream in streams)
    sys.stdout, sys.stderr = output, errors
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        output.release()
        errors.release()
