"""What pages show, as it was read last."""

import json
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.recipe.record import PARENT_TAG
from labkit.report.database import Course
from labkit.report.page.curves import make_curve
from labkit.report.page.difference import Code, read_code
from labkit.report.page.run import PICTURES, Details
from labkit.report.store import StoredRun, find_place, list_files, read_curves, read_file, read_page, refresh_runs
from labkit.tracking.provenance import FILE_NAME as SURROUNDINGS
from labkit.tracking.source import ARCHIVE

SECONDS_BETWEEN_READINGS: Final = 2.0
CURVES: Final = 2_000
"""Of runs that have ended, so many are kept."""
LARGEST_LOG: Final = 2**20
"""Bytes of a log that are read, its end."""


class Snapshot:
    """The runs of a store, read at once and then only where something may have changed.

    :ivar runs: The runs, the newest first.
    :ivar version: Another number each time something has changed.
    :ivar is_complete: Whether all runs have been read.
    :ivar trouble: Why the store could not be read, if it could not.
    """

    def __init__(self, environment: Environment, runs: Sequence[StoredRun] | None = None) -> None:
        """Begin with runs that have been read, or with none and :meth:`load` to come."""
        self.environment = environment
        self.version = 0
        self.is_complete = runs is not None
        self.trouble: str | None = None
        self._runs: dict[str, StoredRun] = {}
        self.runs: list[StoredRun] = []
        self._set({run.identifier: run for run in runs or ()})
        self._time_of_reading = 0.0
        self._place = 0
        self._lock = threading.Lock()
        self._final_courses: dict[tuple[str, str], Course] = {}

    def find(self, identifier: str) -> StoredRun | None:
        """Find a run by its id."""
        return self._runs.get(identifier)

    def load(self) -> None:
        """Read all runs, many at a time, so that the newest can be shown while others are still read."""
        token: str | None = None
        while True:
            try:
                if token is None:
                    self._place = find_place(self.environment)
                runs, token = read_page(self.environment, token)
            except UnavailableError as error:
                self._tell(str(error))
                time.sleep(SECONDS_BETWEEN_READINGS)
                continue
            self._tell(None)
            self._take(runs)
            if token is None:
                break
        self.is_complete = True
        self.version += 1

    def refresh(self) -> int:
        """Read again what may have changed, unless that has just been done.

        :return: The version.
        """
        if not self.is_complete or not self._lock.acquire(blocking=False):
            return self.version
        try:
            if time.monotonic() - self._time_of_reading > SECONDS_BETWEEN_READINGS:
                place = find_place(self.environment)
                self._take(*refresh_runs(self.environment, list(self._runs.values()), self._place))
                self._place = place
                self._tell(None)
                self._time_of_reading = time.monotonic()
        except UnavailableError as error:
            self._tell(str(error))
        finally:
            self._lock.release()
        return self.version

    def read_curves(self, run_ids: Sequence[str], metric: str) -> dict[str, Course]:
        """Read the course of a metric in several runs; that in a run which has ended is read until the run changes."""
        known = {run: course for run in run_ids if (course := self._final_courses.get((run, metric)))}
        read = read_curves(self.environment, [run for run in run_ids if run not in known], metric)
        ended = [run for identifier in read if (run := self.find(identifier)) and not run.is_active]
        kept = self._final_courses | {(run.identifier, metric): read[run.identifier] for run in ended}
        self._final_courses = dict(list(kept.items())[-CURVES:])
        return known | read

    def list_pictures(self, run_id: str) -> list[str]:
        """List the paths of the figures of a run."""
        return [path for path in list_files(self.environment, run_id, "figures") if path.endswith(PICTURES)]

    def read_details(self, run: StoredRun) -> Details:
        """Read what is kept with a run beside its parameters and metrics."""
        environment, identifier = self.environment, run.identifier
        logs = {
            path.rpartition("/")[2]: (read_file(environment, identifier, path) or b"")[-LARGEST_LOG:].decode(
                errors="replace"
            )
            for path in list_files(environment, identifier, "logs")
            if path.endswith(".txt")
        }
        metrics = sorted(name for name in run.metrics if not name.endswith("_step"))
        curves = {name: make_curve(*self.read_curves([identifier], name)[identifier]) for name in metrics}
        return Details(
            pictures=self.list_pictures(identifier),
            logs={name: log for name, log in logs.items() if log.strip()},
            surroundings=self.read_json(identifier, SURROUNDINGS),
            curves={name: curve for name, curve in curves.items() if len(curve[0]) > 1},
        )

    def read_provenance(self, run: StoredRun) -> tuple[Details, Code]:
        """Read where a run comes from: its surroundings, and its code."""
        surroundings = self.read_json(run.identifier, SURROUNDINGS)
        return Details(surroundings=surroundings), read_code(read_file(self.environment, run.identifier, ARCHIVE))

    def read_json(self, run_id: str, path: str) -> Mapping[str, Any]:
        """Read an artifact that is an object of JSON; an empty one where there is none."""
        content = read_file(self.environment, run_id, path)
        return json.loads(content) if content else {}

    def _take(self, runs: Sequence[StoredRun], gone: Collection[str] = ()) -> None:
        changed = {run.identifier: run for run in runs if self._runs.get(run.identifier) != run}
        if changed or gone:
            kept = {identifier: run for identifier, run in self._runs.items() if identifier not in gone}
            self._final_courses = {key: course for key, course in self._final_courses.items() if key[0] not in changed}
            self._set({**kept, **changed})
            self.version += 1

    def _set(self, runs: dict[str, StoredRun]) -> None:
        self._runs = runs
        self.runs = sorted(runs.values(), key=lambda run: (-run.started, run.identifier))

    def _tell(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.version += 1


def find_pictures(snapshot: Snapshot, standing: Mapping[str, Any]) -> dict[str, list[str]]:
    """Find the figures of the steps of a recipe, and of their experiments, which inspections belong to.

    :param snapshot: Knows where they are.
    :param standing: How the recipe stands, as ``recipe.json`` has it.
    :return: Paths by the id of the step's run, or the experiment's.
    """
    steps = {str(step["run_id"]) for step in standing.get("steps", []) if step.get("run_id")}
    parts = [run.identifier for run in snapshot.runs if run.identifier in steps or run.tags.get(PARENT_TAG) in steps]
    return {identifier: snapshot.list_pictures(identifier) for identifier in parts}
