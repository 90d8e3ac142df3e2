"""Whether a run does the same again: `reproduce-run --help`."""

import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labkit.command import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, UsageError, command
from labkit.environment import Environment
from labkit.launch.arguments import parse_arguments
from labkit.launch.opening import execute, select_secrets, unpack
from labkit.tracking.contact import asks_the_store
from labkit.tracking.provenance import FILE_NAME as SURROUNDINGS
from labkit.tracking.provenance import (
    OTHER_SOURCE_TAG,
    Provenance,
    Surroundings,
    compare_surroundings,
    describe_surroundings,
    write_surroundings,
)
from labkit.tracking.run import Run, connect, create_run, open_run, read_tags
from labkit.tracking.source import DIFFERENCE
from labkit.tracking.spool import FILE_NAME as SPOOL
from labkit.tracking.spool import read_records

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

REPRODUCES_TAG: Final = "labkit.reproduces"
"""On a run that does again what another one did: the other one's id."""
CHECKPOINTS: Final = ("last", "best")
IDENTICAL: Final = "identical"
DIFFERENCES_TO_SHOW: Final = 5
LARGEST: Final = sys.float_info.max
"""What a store keeps for infinity."""

History = dict[str, dict[int, float]]
"""The values of metrics by name and step."""


@command
def reproduce_run(run_id: str, *, reproduction: str | None = None, arguments: str = "") -> int:
    """Do again what a run did, with its own code, arguments and seed, and compare number by number.

    Every step of every metric and every bit of the weights is compared. The exit code is 0 only if all are identical; 1
    if not, or if the run could not be executed again. An example: reproduce-run 4f0c12

    :param run_id: The run to reproduce, one that has finished.
    :param reproduction: Compare with this earlier reproduction, continued if it has not finished, not with a new one.
    :param arguments: The arguments that the run does not record, its secrets: "api-key='…'".
    """
    environment = Environment.read()
    old = open_run(environment, run_id)
    if not old.has_finished:
        raise UsageError(f"the run {run_id} has not finished, so there is nothing yet that another could be held to.")
    new = _open_reproduction(old, reproduction) if reproduction else _create_reproduction(old)
    if not new.has_finished:
        print(f"run         {new.identifier} ({new.name}, reproduces {old.identifier})", flush=True)
        if code := execute(new, select_secrets(new, parse_arguments(arguments))):
            print(
                f"reproduce-run: the run {new.identifier} ended with exit code {code} and is not compared. "
                f"To go on: reproduce-run {old.identifier} --reproduction {new.identifier}",
                file=sys.stderr,
            )
            return EXIT_INTERRUPTED if code == EXIT_INTERRUPTED else EXIT_FAILED
    return EXIT_DONE if _report(old, new) else EXIT_FAILED


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """A metric of two runs."""

    name: str
    last: tuple[float | None, float | None]
    """The last value of each run; None where it has none."""
    steps: int
    """How many steps there are, in either run."""
    missing: tuple[int, int]
    """How many of them each run lacks."""
    differing: list[int]
    """The steps at which both have a value, and not the same."""
    distance: float
    """The largest difference at any of these."""

    @property
    def is_identical(self) -> bool:
        """Whether both runs have the same values at the same steps."""
        return not self.differing and self.missing == (0, 0)

    @property
    def verdict(self) -> str:
        """What there is to say about it, in words."""
        if self.is_identical:
            return IDENTICAL
        reasons = [
            f"the {which} run lacks {count} of {self.steps} steps"
            for which, count in zip(("old", "new"), self.missing, strict=True)
            if count
        ]
        if self.differing:
            steps = f"{len(self.differing)} of {self.steps} steps"
            reasons.append(f"differs at {steps}, first at {self.differing[0]}, by at most {self.distance:.3g}")
        return "; ".join(reasons)


def compare_histories(old: History, new: History) -> list[MetricComparison]:
    """Compare the metrics of two runs, each at every step.

    :param old: The values of the one run.
    :param new: The values of the other run.
    :return: What became of each metric, by name.
    """
    comparisons: list[MetricComparison] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, {}), new.get(name, {})
        common = sorted(before.keys() & after.keys())
        differing = [step for step in common if not _is_same(before[step], after[step])]
        comparisons.append(
            MetricComparison(
                name=name,
                last=(_last(before), _last(after)),
                steps=len(before.keys() | after.keys()),
                missing=(len(after.keys() - before.keys()), len(before.keys() - after.keys())),
                differing=differing,
                distance=_find_largest([abs(before[step] - after[step]) for step in differing]),
            )
        )
    return comparisons


def read_history(run: Run) -> History:
    """Read what a run recorded while it was executed; not what was added later, as by `evaluate`.

    :param run: A run that has finished.
    :return: Its metrics, from the store and, where that has not heard all yet, from this machine.
    """
    history = _ask_for_history(run.environment, run.identifier)
    spool = run.folder / SPOOL
    records = [record for _, record in read_records(spool)] if spool.exists() else []
    while records and "state" not in records[-1]:
        records.pop()
    for record in records:
        for name, value in record.get("metrics", {}).items():
            history.setdefault(name, {})[record["step"]] = max(-LARGEST, min(LARGEST, value))
    return history


@asks_the_store
def _ask_for_history(environment: Environment, identifier: str) -> History:
    store = connect(environment)
    entry = store.get_run(identifier)
    end = entry.info.end_time or math.inf
    history: History = {}
    for name in entry.data.metrics:
        metrics = store.get_metric_history(identifier, name)
        if values := {metric.step: metric.value for metric in metrics if metric.timestamp <= end}:
            history[name] = values
    return history


def _open_reproduction(old: Run, identifier: str) -> Run:
    new = open_run(old.environment, identifier)
    if read_tags(new.environment, new.identifier).get(REPRODUCES_TAG) != old.identifier:
        raise UsageError(f"the run {identifier} is no reproduction of {old.identifier}: leave out --reproduction.")
    return new


def _create_reproduction(old: Run) -> Run:
    code = unpack(old)
    source = old.envelope.source
    assert source is not None  # noqa: S101  it has just been unpacked
    words = ["reproduce-run", old.identifier]
    surroundings = describe_surroundings(replace(old.environment, project_path=code), words)
    with tempfile.TemporaryDirectory() as folder:
        files = [old.source_archive(), write_surroundings(surroundings, Path(folder))]
        if source.changed:
            files.append(old.sealed_file(DIFFERENCE))
        return create_run(
            old.environment,
            replace(old.envelope, expect=old.root or old.envelope.expect, session=None),
            experiment_name=old.experiment_name,
            run_name=f"{old.name} again",
            tags={**Provenance(source=source, surroundings=surroundings).tags, REPRODUCES_TAG: old.identifier},
            files=files,
        )


def _report(old: Run, new: Run) -> bool:
    """Print what became of the comparison, and return whether all is identical."""
    from rich.console import Console

    metrics = compare_histories(read_history(old), read_history(new))
    weights = {name: verdict for name in CHECKPOINTS if (verdict := _compare_checkpoints(old, new, name))}
    console = Console(markup=False, highlight=False)
    if not metrics and not weights:
        console.print("Neither run has a metric or a checkpoint: nothing tells whether they did the same.")
        return False
    results = _make_table("", f"old {old.identifier[:8]}", f"new {new.identifier[:8]}", "verdict")
    for metric in metrics:
        results.add_row(metric.name, *map(_show, metric.last), _colour(metric.verdict))
    for name, verdict in weights.items():
        results.add_row(f"{name}.ckpt", "", "", _colour(verdict))
    console.print(results)
    _report_causes(old, new, console)
    identical = all(metric.is_identical for metric in metrics) and set(weights.values()) <= {IDENTICAL}
    what = "identical to" if identical else "not identical to"
    print(f"The run {new.identifier} is {what} {old.identifier}.")
    return identical


def _compare_checkpoints(old: Run, new: Run, name: str) -> str | None:
    """Compare the weights of two checkpoints and return the verdict in words; None if neither run has such a one."""
    before, after = _find_checkpoint(old, name), _find_checkpoint(new, name)
    if before is None or after is None:
        return None if before is after else f"only the {'new' if before is None else 'old'} run has one"
    from labkit.training.comparison import compare_weights  # torch, which a run without checkpoints may do without

    comparison = compare_weights(before, after)
    if not comparison.differences:
        return IDENTICAL
    shown = [f"{name}: {reason}" for name, reason in comparison.differences[:DIFFERENCES_TO_SHOW]]
    more = len(comparison.differences) - len(shown)
    return "\n".join(
        [
            f"{len(comparison.differences)} of {comparison.weights} weights differ",
            *shown,
            *([f"and {more} more"] if more else []),
        ]
    )


def _find_checkpoint(run: Run, name: str) -> Path | None:
    try:
        return run.checkpoint(name)
    except UsageError:
        return None


def _report_causes(old: Run, new: Run, console: "Console") -> None:
    """Print what, beside the code, was not the same for both runs."""
    if OTHER_SOURCE_TAG in read_tags(old.environment, old.identifier):
        print(f"The run {old.identifier} went on with other code than it was sealed with, and than was executed now.")
    differences = compare_surroundings(_read_surroundings(old), _read_surroundings(new))
    if not differences:
        print("Both ran in the same environment.")
        return
    table = _make_table("environment", "old", "new")
    for difference in differences:
        table.add_row(*difference)
    console.print(table)


def _read_surroundings(run: Run) -> Surroundings:
    path = run.folder / SURROUNDINGS
    return json.loads((path if path.exists() else run.download(SURROUNDINGS, path)).read_bytes())


def _make_table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _colour(verdict: str) -> "Text":
    from rich.text import Text

    return Text(verdict, style="green" if verdict == IDENTICAL else "red")


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _last(values: Mapping[int, float]) -> float | None:
    return values[max(values)] if values else None


def _is_same(old: float, new: float) -> bool:
    return old == new or (math.isnan(old) and math.isnan(new))


def _find_largest(distances: Sequence[float]) -> float:
    """Return the largest distance; what is not a number is larger than all."""
    return max(distances, key=lambda distance: (math.isnan(distance), distance), default=0.0)


if __name__ == "__main__":
    sys.exit(reproduce_run.main())
