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

    {"name": "overfit",
     "position": 4,
     "identity": "9f0c…",                           # of name and configuration
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
                     "data": {"footprint": "65f1…"},
                     "dependencies": {"torch": "2.13.0"},
                     "before": {"explore data": "c0de…"}}}  # the steps before it, as they were

Numbers that JSON has not are the texts ``NaN``, ``Infinity`` and ``-Infinity``. Pictures of a step or of an experiment
are artifacts under ``figures/``, statistics of tensors over time are metrics of the experiment run under
``inspection/``.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from labkit.command import UnavailableError, UsageError
from labkit.data.record import write_atomically
from labkit.environment import Environment
from labkit.recipe.check import Verdict
from labkit.recipe.result import Plain, Result, decode_number, encode_numbers
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
LARGEST_HISTORY: Final = 1000
"""Step runs that are looked at, the newest first."""
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

    name: str
    position: int
    identity: str
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
        scores = {name: decode_number(value) for name, value in content.pop("scores").items()}
        result = Result(scores, content.pop("data"), content.pop("faults"))
        verdicts = [_read_verdict(verdict) for verdict in content.pop("verdicts")]
        outcome, fingerprint = Outcome(content.pop("outcome")), Fingerprint(**content.pop("fingerprint"))
        return cls(**content, outcome=outcome, result=result, verdicts=verdicts, fingerprint=fingerprint, run_id=run_id)


def _read_verdict(content: dict[str, Any]) -> Verdict:
    value, threshold = content["value"], content["threshold"]
    if isinstance(threshold, list):
        threshold = [decode_number(limit) for limit in threshold]
    elif threshold is not None:
        threshold = decode_number(threshold)
    number = None if value is None else decode_number(value)
    return Verdict(content["check"], number, threshold, content["holds"], content["reason"])


class History:
    """The step runs of a recipe, the newest first; what is in them is read when it is asked for."""

    def __init__(self, environment: Environment, runs: "Sequence[StoredRun]") -> None:
        """Take the runs as the store has them."""
        self._environment = environment
        self._runs = list(runs)
        self._records: dict[str, Record | None] = {}
        self._new: list[Record] = []

    def add(self, record: Record) -> None:
        """Add what this process has recorded since."""
        self._new.insert(0, record)

    def find(self, name: str, identity: str) -> Record | None:
        """Find the record of a step that counts: the newest of the same configuration, else the newest of its name.

        :param name: The step's name.
        :param identity: Its identity.
        :return: The record, or None where it never came to its end.
        """
        newest = None
        for record in self._read(name):
            newest = newest or record
            if record.identity == identity:
                return record
        return newest

    def state_of_newest(self, name: str) -> State | None:
        """Return where the newest run of a step stands, be it complete or not."""
        run = next((run for run in self._runs if run.data.tags.get(STEP_TAG) == name), None)
        return State(run.data.tags.get(STATE_TAG, State.CREATED)) if run else None

    def _read(self, name: str) -> "Any":
        yield from (record for record in self._new if record.name == name)
        for run in self._runs:
            if run.data.tags.get(STEP_TAG) == name and OUTCOME_TAG in run.data.tags:
                identifier = run.info.run_id
                if identifier not in self._records:
                    self._records[identifier] = _load(self._environment, identifier)
                if record := self._records[identifier]:
                    yield record


def _load(environment: Environment, run_id: str) -> Record | None:
    """Read the record of a step run; None where it is not (yet) to be had, and the step counts as not executed."""
    path = environment.runs_path / run_id / STEP_FILE
    if not path.exists():
        with contextlib.suppress(UsageError, UnavailableError):
            open_run(environment, run_id).download(STEP_FILE, path)
    return Record.from_json(path.read_bytes(), run_id) if path.exists() else None


@asks_the_store
def read_history(environment: Environment, recipe: str, experiment_name: str) -> History:
    """Find the step runs of a recipe.

    :param environment: Says which store.
    :param recipe: The recipe's name.
    :param experiment_name: The experiment that its runs belong to.
    :return: The history.
    :raises UnavailableError: If the store does not answer.
    """
    store = connect(environment)
    experiment = store.get_experiment_by_name(experiment_name)
    if experiment is None:
        return History(environment, [])
    name = recipe.replace("'", "''")
    runs = store.search_runs(
        [experiment.experiment_id],
        f"tags.`{ROLE_TAG}` = '{ROLE_OF_STEP}' and tags.`{RECIPE_TAG}` = '{name}'",
        max_results=LARGEST_HISTORY,
        order_by=["attributes.start_time DESC"],
    )
    return History(environment, runs)


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
