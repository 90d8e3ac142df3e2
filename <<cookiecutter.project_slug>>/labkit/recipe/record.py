"""The history of a recipe, as it stands in the tracking store: only ever added to.

Each execution leaves runs in the experiment named like the study, tied together by MLflow's ``mlflow.parentRunId``::

    recipe run                 one a call of `recipe` that had something to do
    └── step run               one a step that was executed or judged again
        └── experiment run     one a training of the step

**Tags**, on all three: ``labkit.recipe``, the recipe's name, and ``labkit.recipe.role``, which is ``recipe``, ``step``
or ``experiment``. As on every run, ``labkit.state`` says where it stands. Steps and their experiments have
``labkit.step``, the step's name. A step that has come to its end also has ``labkit.step.outcome``: ``passed``,
``failed`` (a check did not hold) or ``error`` (an exception).

**recipe.json**, an artifact of the recipe run, written when it begins, after each step and at the end: how the recipe
stands::

    {"recipe": "my_research",
     "steps": [{"name": "overfit",
                "position": 4,                      # from 0
                "state": "stale",                   # not run, running, interrupted, up to date, stale, failed
                "reasons": ["function my_research.model.cnn changed"],
                "run_id": "05f3…",                  # the step run that counts, or null
                "outcome": "passed",                # of that run, or null
                "verdicts": [...]}]}                # of that run, as below

**step.json**, an artifact of a step run, written once, when the step has come to its end::

    {"recipe": "my_research",
     "experiment_name": "my_research",
     "name": "overfit",
     "position": 4,
     "time": 1764757012345,                         # of its end, in milliseconds since 1970
     "outcome": "passed",
     "configuration": {"duration": "20 epochs"},
     "scores": {"train/accuracy": 1.0},             # numbers; also metrics of the step run, at step 0
     "data": {"candidates": [{"name": "dropout"}]}, # all else that is plain
     "faults": {"model": "a Linear cannot be stored"},
     "verdicts": [{"check": "train/accuracy at least 0.99",
                   "value": 1.0,                    # what was judged, or null where it is missing
                   "threshold": 0.99,               # what it was compared with: a number, a list of them, or null
                   "holds": true,
                   "reason": "train/accuracy is 1, at least 0.99"}],
     "error": null,                                 # or "ValueError: ..."; the traceback is logs/traceback.txt
     "experiments": ["7f5d…"],                      # run ids, in the order in which they began
     "seconds": 3.2,
     "judged_again": null,                          # or the id of the step run whose results these are
     "fingerprint": {"code": {"function my_research.model.cnn": "51ab…"},
                     "arguments": {"duration": "20 epochs"},
                     "data": {"experiment 0": "65f1…"},
                     "dependencies": {"torch": "2.13.0"},
                     "before": {"explore data": "c0de…"}}}  # the steps before it, as they were

Numbers that JSON has not are the texts ``NaN``, ``Infinity`` and ``-Infinity``. Pictures of a step or of an experiment
are artifacts under ``figures/``, statistics of tensors over time are metrics of the experiment run under
``inspection/``.
"""

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labkit.atomic import write_atomically
from labkit.command import UnavailableError, UsageError
from labkit.environment import Environment
from labkit.recipe.check import Verdict
from labkit.recipe.result import Plain, Result, decode_numbers, encode_numbers
from labkit.recipe.staleness import Fingerprint
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import Envelope, Run, connect, create_run, open_run
from labkit.tracking.state import STATE_TAG, State

if TYPE_CHECKING:
    from mlflow.entities import Run as StoredRun

RECIPE_TAG: Final = "labkit.recipe"
ROLE_TAG: Final = "labkit.recipe.role"
STEP_TAG: Final = "labkit.step"
OUTCOME_TAG: Final = "labkit.step.outcome"
PARENT_TAG: Final = "mlflow.parentRunId"
STEP_FILE: Final = "step.json"
RECIPE_FILE: Final = "recipe.json"
ROLE_OF_RECIPE: Final = "recipe"
ROLE_OF_STEP: Final = "step"
ROLE_OF_EXPERIMENT: Final = "experiment"
RUNS_OF_A_PAGE: Final = 1000
"""That the store is asked for at once."""
LARGEST_SEED: Final = 2**32


class Outcome(StrEnum):
    """How a step came to its end."""

    PASSED = "passed"
    FAILED = "failed"
    """A check did not hold."""
    ERROR = "error"
    """An exception ended it."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one execution of a step that has come to its end."""

    recipe: str
    experiment_name: str
    """The experiment of the store that it belongs to."""
    name: str
    position: int
    time: int
    outcome: Outcome
    configuration: Mapping[str, Plain]
    result: Result
    verdicts: Sequence[Verdict]
    fingerprint: Fingerprint
    error: str | None = None
    experiments: Sequence[str] = ()
    seconds: float = 0.0
    judged_again: str | None = None
    run_id: str = field(default="", compare=False)
    """The step run that holds it."""

    def to_json(self) -> str:
        """Write the record down as ``step.json``."""
        content = asdict(self)
        del content["run_id"]
        result = content.pop("result")
        return json.dumps(encode_numbers({**content, **result}), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, run_id: str) -> "Record":
        """Read what :meth:`to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        result = Result(decode_numbers(content.pop("scores")), content.pop("data"), content.pop("faults"))
        verdicts = [
            Verdict(**verdict | {name: decode_numbers(verdict[name]) for name in ("value", "threshold")})
            for verdict in content.pop("verdicts")
        ]
        outcome, fingerprint = Outcome(content.pop("outcome")), Fingerprint(**content.pop("fingerprint"))
        return cls(**content, outcome=outcome, result=result, verdicts=verdicts, fingerprint=fingerprint, run_id=run_id)


class History:
    """What was executed of a recipe: here, as the runs' folders have it, and anywhere, as the store has it.

    The store is asked only where this machine does not know a record that fits.
    """

    def __init__(self, environment: Environment, recipe: str, experiment_name: str) -> None:
        """Look at nothing yet.

        :param environment: Says where runs are kept, and which store.
        :param recipe: The recipe's name.
        :param experiment_name: The experiment that its runs belong to.
        """
        self._environment = environment
        self._recipe = recipe
        self._experiment_name = experiment_name
        self._records: dict[str, Record | None] = {}  # None where it cannot be read
        self._runs: list[StoredRun] | None = None

    def refresh(self) -> None:
        """Look again, here and in the store: another recipe may have come further."""
        self._records = {run_id: record for run_id, record in self._records.items() if record is not None}
        self._look_here()
        self._runs = None

    def add(self, record: Record) -> None:
        """Add what this process has recorded."""
        self._records[record.run_id] = record

    def find(self, name: str, fingerprint: Fingerprint) -> Record | None:
        """Find the record of a step that counts: the newest that fits as the step is now, else the newest of all.

        :param name: The step's name.
        :param fingerprint: What it depends on now.
        :return: The record, or None where the step never came to its end.
        """
        if not self._records:
            self._look_here()
        if not any(record.fingerprint == fingerprint for record in self._records_of(name)):
            self._look_in_store(name)
        records = self._records_of(name)[::-1]  # of two of one moment the one that was added last
        fitting = [record for record in records if record.fingerprint == fingerprint]
        return max(fitting or records, key=lambda record: record.time, default=None)

    def state_of_newest(self, name: str) -> State | None:
        """Return where the newest run of a step stands, be it complete or not."""
        run = next((run for run in self._stored_runs() if run.data.tags.get(STEP_TAG) == name), None)
        return State(run.data.tags.get(STATE_TAG, State.CREATED)) if run else None

    def _records_of(self, name: str) -> list[Record]:
        return [
            record
            for record in self._records.values()
            if record is not None
            and (record.recipe, record.experiment_name, record.name) == (self._recipe, self._experiment_name, name)
        ]

    def _look_here(self) -> None:
        for path in self._environment.runs_path.glob(f"*/{STEP_FILE}"):
            if (run_id := path.parent.name) not in self._records:
                self._records[run_id] = _read(path, run_id)

    def _look_in_store(self, name: str) -> None:
        for run in self._stored_runs():
            tags = run.data.tags
            if tags.get(STEP_TAG) == name and OUTCOME_TAG in tags and run.info.run_id not in self._records:
                self._records[run.info.run_id] = _load(self._environment, run.info.run_id)

    def _stored_runs(self) -> "list[StoredRun]":
        """Return the step runs that the store has, the newest first."""
        if self._runs is None:
            self._runs = _find_runs(self._environment, self._recipe, self._experiment_name)
        return self._runs


def _load(environment: Environment, run_id: str) -> Record | None:
    """Read the record of a step run; where it is not (yet) to be had, the step counts as not executed."""
    with contextlib.suppress(UsageError, UnavailableError), tempfile.TemporaryDirectory() as folder:
        return _read(open_run(environment, run_id).download(STEP_FILE, Path(folder) / STEP_FILE), run_id)
    return None


def _read(path: Path, run_id: str) -> Record | None:
    """Read a record; one of another version of the bench is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Record.from_json(path.read_bytes(), run_id)
    return None


@asks_the_store
def _find_runs(environment: Environment, recipe: str, experiment_name: str) -> "list[StoredRun]":
    store = connect(environment)
    experiment = store.get_experiment_by_name(experiment_name)
    if experiment is None:
        return []
    name = recipe.replace("'", "''")
    runs: list[StoredRun] = []
    token: str | None = None
    while token is None or token:
        page = store.search_runs(
            [experiment.experiment_id],
            f"tags.`{ROLE_TAG}` = '{ROLE_OF_STEP}' and tags.`{RECIPE_TAG}` = '{name}'",
            max_results=RUNS_OF_A_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        runs += page
        token = page.token or ""
    return runs


def create_part(
    whole: Run, *, recipe: str, role: str, step: str, name: str, seed: int, arguments: Mapping[str, Any]
) -> Run:
    """Create a run that is part of another one: a step of a recipe, or an experiment of a step.

    :param whole: The run that it is part of.
    :param recipe: The recipe's name.
    :param role: ``step`` or ``experiment``.
    :param step: The step's name.
    :param name: The run's name.
    :param seed: Where its chance comes from.
    :param arguments: What it executes, as plain data.
    :return: The run.
    :raises UnavailableError: If the store does not answer.
    """
    envelope = Envelope(
        entry_point=f"{whole.envelope.entry_point.partition(' ')[0]} {role}",
        arguments=dict(arguments),
        seed=seed % LARGEST_SEED,
        source=whole.envelope.source,
    )
    return create_run(
        replace(whole.environment, mlflow_run_id=None),
        envelope,
        experiment_name=whole.experiment_name,
        run_name=name,
        tags={PARENT_TAG: whole.identifier, RECIPE_TAG: recipe, ROLE_TAG: role, STEP_TAG: step},
    )


def write_record(run: Run, record: Record) -> None:
    """Keep the record of a step with its run.

    :param run: The step run.
    :param record: The record.
    """
    _write(run, STEP_FILE, record.to_json())
    if record.result.scores:
        run.log_metrics(record.result.scores, step=0)
    run.log_tags({OUTCOME_TAG: record.outcome})


def write_standings(run: Run, recipe: str, standings: Sequence[Mapping[str, Any]]) -> None:
    """Keep with the recipe run how its steps stand.

    :param run: The recipe run.
    :param recipe: The recipe's name.
    :param standings: Of each step, as ``recipe.json`` has it.
    """
    content: Any = {"recipe": recipe, "steps": [dict(standing) for standing in standings]}
    _write(run, RECIPE_FILE, json.dumps(encode_numbers(content), indent=2, allow_nan=False))


def _write(run: Run, name: str, text: str) -> None:
    path = run.folder / name
    with write_atomically(path) as file:
        file.write(text.encode())
    run.log_artifact(path)
