"""Executing runs on this machine, from their own code: `local-launch --help`.

This is what every launcher comes down to: wherever a unit is to be executed, its envelope is opened there by
``local-launch UNIT``.
"""

import signal
import sys
from pathlib import Path
from typing import NoReturn

from labkit.command import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_KILLED, UnavailableError
from labkit.environment import Environment
from labkit.launch.conclusion import conclude_if_over, keep_ranking
from labkit.launch.launcher import Request, launcher, unit_option
from labkit.launch.opening import execute, make_variables, prepare
from labkit.launch.parallel import execute_units
from labkit.launch.ranking import make_table
from labkit.launch.sealing import Sealed, seal
from labkit.launch.search import choose, is_adaptive, watch
from labkit.launch.standing import read_standings, tell_state
from labkit.launch.trial import TRIALS, SealedSession, begin
from labkit.launch.unit import Unit, parse_unit
from labkit.tracking.run import Run, open_run, read_tags
from labkit.tracking.state import STATE_TAG, State


@launcher(unit_option)
def local_launch(request: Request) -> int:
    """Execute runs on this machine, from the code that they were sealed with.

    Changes of the working tree since then do not matter. What was interrupted goes on, and a session ends with a table
    of its runs, best first. Examples: local-launch 4f0c12, local-launch --entry-point train --arguments
    "learning-rate=0.1", local-launch --session sessions/learning-rate.yaml --parallel 2
    """
    environment = Environment.read()
    sealed = seal(request, environment)
    if request.dry_run:
        return EXIT_DONE
    if sealed.trials is None:
        execute_here(open_run(environment, sealed.identifier), sealed)
    session = SealedSession(open_run(environment, sealed.identifier))
    if request.run_id and (index := parse_unit(request.run_id).index) is not None:
        return execute_trial(session, index)
    return execute_session(session, sealed)


def execute_here(run: Run, sealed: Sealed | None = None) -> NoReturn:
    """Let a run take the place of this process."""
    prepared = prepare(run, sealed.secrets if sealed else None)
    _announce(run)
    prepared.replace_process()


def execute_trial(session: SealedSession, index: int) -> int:
    """Execute a trial of a session, also one that was begun before, here or elsewhere.

    :param session: The session.
    :param index: The trial's number.
    :return: The exit code; 0 for one that has finished before.
    """
    environment = session.run.environment
    if read_tags(environment, session.identifier).get(STATE_TAG) != State.RUNNING:
        tell_state(environment, session.identifier, State.RUNNING)
    run = begin(session, index, lambda trial: choose(session, trial) if session.manifest.choices else trial.arguments)
    if run.has_finished:
        print(f"run         {run.identifier} has finished before")
        return EXIT_DONE
    if environment.rank:  # the first of those that share a trial concludes it
        execute_here(run)
    _announce(run)
    code = execute(run, watch=watch(session, index, run) if is_adaptive(session) else None)
    if code != EXIT_INTERRUPTED:
        try:
            conclude_if_over(session)
        except UnavailableError as error:  # which is no fault of the trial
            print(f"The session's end is not told: {error}", file=sys.stderr)
    return code


def execute_session(session: SealedSession, sealed: Sealed) -> int:
    """Execute the trials of a session, and print what became of them.

    :param session: The session.
    :param sealed: Says which trials.
    :return: The exit code: 0 if all trials have finished or were ended early, 75 or 130 if it was interrupted, else 1.
    """
    environment = session.run.environment
    parallel = sealed.session.parallel or 1
    total = session.manifest.trials
    print(f"session     {session.identifier} ({session.run.name}, experiment {session.run.experiment_name})")
    print(f"trials      {len(sealed.units)} of {total} to be executed, {parallel} at the same time", flush=True)

    def log(unit: Unit) -> Path:
        return session.folder / TRIALS / f"{unit.index}.txt"

    def report(unit: Unit, code: int) -> None:
        outcome = (
            "done" if code == EXIT_DONE else f"ended with exit code {code}: {_find_reason(session, unit, log(unit))}"
        )
        print(f"trial {unit.index:<6}{outcome}", flush=True)

    tell_state(environment, session.identifier, State.RUNNING)
    number = execute_units(sealed.units, parallel, log, report, make_variables(environment))
    standings = read_standings(session)
    is_done = all(not standing.is_left(retry=True) for standing in standings)
    rows, path = keep_ranking(session, standings)
    _print_table(session, make_table(session.manifest.session, rows), path)
    if number is not None:
        state = State.KILLED if number == signal.SIGINT else State.INTERRUPTED
    else:
        state = State.FINISHED if is_done else State.FAILED
    tell_state(environment, session.identifier, state)
    if state is not State.FINISHED:
        again = "" if state is State.INTERRUPTED else ", and with --retry also what failed or was killed"
        print(f"To go on: local-launch {session.identifier}{again}", file=sys.stderr)
    codes = {State.FINISHED: EXIT_DONE, State.INTERRUPTED: EXIT_INTERRUPTED, State.KILLED: EXIT_KILLED}
    return codes.get(state, EXIT_FAILED)


def _announce(run: Run) -> None:
    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})", flush=True)


def _find_reason(session: SealedSession, unit: Unit, log: Path) -> str:
    """Return why a trial has ended, on one line."""
    run = session.folder / TRIALS / str(unit.index)
    if run.exists():
        traceback = session.run.environment.runs_path / run.read_text(encoding="utf-8") / "logs" / "traceback.txt"
        log = traceback if traceback.exists() else log
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"see {log}"


def _print_table(session: SealedSession, table: object, path: Path) -> None:
    from rich.console import Console

    Console(markup=False, highlight=False).print(table)
    print(f"results     {path}")
    if session.manifest.session.metric is None:
        print("Nothing says what is better: give --minimise or --maximise a validation metric to have runs ranked.")


if __name__ == "__main__":
    sys.exit(local_launch.main())
