"""Which configuration is better, over seeds: `compare-runs --help`."""

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from labkit.command import Limits, UsageError, command
from labkit.environment import Environment
from labkit.report.configuration import Circumstance, Group, find_differences, group_runs
from labkit.report.statistics import FEWEST, Estimate, correct, estimate, find_p_value, find_smallest_p, is_finite
from labkit.report.store import SEED, StoredRun, read_runs
from labkit.report.table import Column, Table, TableFormat, choose_decimals
from labkit.tracking.state import State

Mode = Literal["max", "min"]
WORDS_OF_COSTS: Final = ("loss", "error", "perplexity", "entropy")
"""A metric with one of these in its name is better where it is smaller."""


@command
def compare_runs(
    *metrics: str,
    experiment_name: str | None = None,
    session: str | None = None,
    baseline: str | None = None,
    over: tuple[str, ...] = (SEED,),
    by: tuple[Circumstance, ...] = (),
    mode: Mode | None = None,
    paired: bool = False,
    confidence: Annotated[float, Limits(least=0.5, most=0.999)] = 0.95,
    table_format: TableFormat = "markdown",
) -> None:
    """Compare configurations over seeds: what each achieves, and which differences are more than chance.

    Of every finished run the last value of a metric counts. Below three seeds nothing is claimed. Tables go to the
    standard output and remarks to the standard error. An example: compare-runs test/accuracy --session learning-rate

    :param metrics: The metrics to compare by, such as test/accuracy.
    :param experiment_name: Only runs of this experiment.
    :param session: Only runs of this session.
    :param baseline: A run; its configuration is compared with each other one, rather than each with each.
    :param over: The parameters in which repetitions differ: "seed fold" for cross-validation.
    :param by: What tells configurations apart beside their parameters: code, data, or both.
    :param mode: Whether the best is the largest or the smallest; by default the smallest of what is called a loss or an
        error.
    :param paired: Whether runs with the same seed belong together, as those on the same fold do; needs more seeds.
    :param confidence: Of intervals; a difference is claimed where its corrected p-value is at most 1 less this.
    :param table_format: How tables are written.
    """
    runs = read_runs(Environment.read(), experiment_name=experiment_name, session=session)
    finished = [run for run in runs if run.state == State.FINISHED]
    known = sorted(set[str]().union(*(run.metrics for run in finished)))
    if not metrics:
        raise UsageError(f"say by which metrics to compare; the {len(finished)} finished runs have {_list(known)}.")
    for metric in metrics:
        if metric not in known:
            raise UsageError(f"no finished run has a metric '{metric}'; they have {_list(known)}.")
    counted = [run for run in finished if any(metric in run.metrics for metric in metrics)]
    groups = group_runs(counted, over=over, by=by)
    first = None if baseline is None else _find_baseline(groups, baseline)
    judgements = judge(groups, metrics, baseline=first, mode=mode, paired=paired, confidence=confidence)
    tables = [make_table_of_groups(groups, metric, confidence) for metric in metrics]
    if judgements:
        tables.append(make_table_of_judgements(judgements, metrics))
    print("\n".join(table.render(table_format) for table in tables), end="")
    for remark in remark_on(groups, by, left_out=len(runs) - len(counted)):
        print(f"compare-runs: {remark}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What there is to say about two configurations."""

    metric: str
    pair: tuple[int, int]
    """The numbers of the groups, from 1."""
    difference: float | None
    """The mean of the second less that of the first."""
    p_value: float | None
    """None where nothing could be claimed in any case."""
    corrected: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Two samples that are to be tested."""

    metric: str
    mode: Mode
    pair: tuple[int, int]
    samples: tuple[list[float], list[float]]
    objection: str | None


def judge(
    groups: Sequence[Group],
    metrics: Sequence[str],
    *,
    baseline: int | None = None,
    mode: Mode | None = None,
    paired: bool = False,
    confidence: float = 0.95,
) -> list[Judgement]:
    """Test configurations against each other; all tests are corrected together.

    :param groups: The configurations.
    :param metrics: By which to compare them.
    :param baseline: The index of the one that all others are compared with; None for each with each.
    :param mode: Whether the best is the largest or the smallest; None goes by the name of the metric.
    :param paired: Whether repetitions with the same number belong together.
    :param confidence: A difference is claimed where its corrected p-value is at most 1 less this.
    :return: A judgement a metric and pair.
    """
    indices = range(len(groups))
    pairs = (
        list(itertools.combinations(indices, 2))
        if baseline is None
        else [(baseline, other) for other in indices if other != baseline]
    )
    trials = [
        _prepare(groups, pair, metric, mode or choose_mode(metric), paired=paired)
        for metric in metrics
        for pair in pairs
    ]
    p_values = [None if trial.objection else find_p_value(*trial.samples, paired=paired) for trial in trials]
    corrected = iter(correct([p_value for p_value in p_values if p_value is not None]))
    return [
        _conclude(trial, p_value, None if p_value is None else next(corrected), 1 - confidence, paired=paired)
        for trial, p_value in zip(trials, p_values, strict=True)
    ]


def choose_mode(metric: str) -> Mode:
    """Choose by the name of a metric whether the best is the largest or the smallest."""
    return "min" if any(word in metric.lower() for word in WORDS_OF_COSTS) else "max"


def make_table_of_groups(groups: Sequence[Group], metric: str, confidence: float) -> Table:
    """Make the table of what each configuration achieves.

    :param groups: The configurations.
    :param metric: By which.
    :param confidence: Of the intervals.
    :return: A row a configuration.
    """
    names = find_differences([group.configuration for group in groups])
    estimates = [_estimate(group, metric, confidence) for group in groups]
    spread = min((found.deviation for found in estimates if found and found.deviation), default=0.0)
    decimals = choose_decimals(spread)
    percent = f"{confidence:.3g}".removeprefix("0.").ljust(2, "0")
    statistics = (metric, "deviation", f"{percent}% from", f"{percent}% to", "interquartile mean")
    rows: list[list[str | int | float | None]] = []
    for number, (group, found) in enumerate(zip(groups, estimates, strict=True), start=1):
        low, high = (found.interval if found else None) or (None, None)
        numbers = (found.mean, found.deviation, low, high, found.interquartile_mean) if found else (None,) * 5
        rows.append(
            [
                number,
                *(group.configuration.get(name, "") for name in names),
                _describe_size(group, metric, found),
                *numbers,
            ]
        )
    return Table(
        columns=[
            *(Column(title=title) for title in ("group", *names, "n")),
            *(Column(title=title, decimals=decimals) for title in statistics),
        ],
        rows=rows,
    )


def make_table_of_judgements(judgements: Sequence[Judgement], metrics: Sequence[str]) -> Table:
    """Make the table of what is more than chance.

    :param judgements: What :func:`judge` returned.
    :param metrics: The metrics; of a single one the name is left out.
    :return: A row a judgement.
    """
    differences = [abs(judged.difference) for judged in judgements if judged.difference]
    decimals = choose_decimals(min(differences, default=0.0))
    titles = ("groups", "difference", "p", "p (Holm)", "verdict")
    columns = [Column(title=title, decimals=decimals if title == "difference" else None) for title in titles]
    rows: list[list[str | int | float | None]] = [
        [
            f"{judged.pair[0]}, {judged.pair[1]}",
            judged.difference,
            judged.p_value,
            judged.corrected,
            judged.verdict,
        ]
        for judged in judgements
    ]
    if len(metrics) > 1:
        columns.insert(0, Column(title="metric"))
        rows = [[judged.metric, *row] for judged, row in zip(judgements, rows, strict=True)]
    return Table(columns=columns, rows=rows)


def remark_on(groups: Sequence[Group], by: Sequence[Circumstance], *, left_out: int) -> list[str]:
    """Say what a reader of the tables has to know.

    :param groups: The configurations.
    :param by: What told them apart beside their parameters.
    :param left_out: How many runs are in none of them.
    :return: Sentences.
    """
    remarks: list[str] = []
    if left_out:
        remarks.append(f"{left_out} runs are left out: they have not finished, or have no such metric.")
    if repeated := sum(len(group.repeated) for group in groups):
        remarks.append(f"{repeated} runs repeat a seed of their configuration: the newest of each counts, once.")
    circumstances: tuple[tuple[Circumstance, Callable[[StoredRun], str | None]], ...] = (
        ("code", lambda run: run.code),
        ("data", lambda run: run.data),
    )
    for name, find in circumstances:
        mixed = [number for number, group in enumerate(groups, 1) if len({find(run) for run in group.runs}) > 1]
        if mixed and name not in by:
            where = ", ".join(map(str, mixed))
            remarks.append(f"runs of one group had different {name} (group {where}): --by {name} tells them apart.")
    return remarks


def _prepare(groups: Sequence[Group], pair: tuple[int, int], metric: str, mode: Mode, *, paired: bool) -> _Trial:
    first, second = (_read_values(groups[index], metric) for index in pair)
    keys = sorted(first.keys() & second.keys())
    samples = (
        ([first[key] for key in keys], [second[key] for key in keys])
        if paired
        else (list(first.values()), list(second.values()))
    )
    fewest = min(map(len, samples))
    objection = None
    if fewest < FEWEST:
        what = "common seeds" if paired else "seeds"
        objection = f"no claim: {fewest} {what}, and it takes {FEWEST}"
    elif not all(is_finite(value) for sample in samples for value in sample):
        objection = "no claim: a run has diverged"
    return _Trial(metric=metric, mode=mode, pair=(pair[0] + 1, pair[1] + 1), samples=samples, objection=objection)


def _conclude(
    trial: _Trial, p_value: float | None, corrected: float | None, level: float, *, paired: bool
) -> Judgement:
    first, second = (_mean(sample) for sample in trial.samples)
    difference = None if first is None or second is None else second - first
    if trial.objection or corrected is None or difference is None:
        verdict = trial.objection or ""
    elif corrected <= level:
        is_second = (difference > 0) is (trial.mode == "max")
        verdict = "{1} is better than {0}" if is_second else "{0} is better than {1}"
        verdict = verdict.format(*trial.pair)
    else:
        smallest = find_smallest_p(*map(len, trial.samples), paired=paired)
        is_hopeless = smallest > level
        verdict = f"no claim: p is at least {smallest:.2g} with so few seeds" if is_hopeless else "no difference shown"
    return Judgement(
        metric=trial.metric,
        pair=trial.pair,
        difference=difference,
        p_value=p_value,
        corrected=corrected,
        verdict=verdict,
    )


def _read_values(group: Group, metric: str) -> dict[tuple[str, ...], float]:
    return {
        repetition: run.metrics[metric]
        for repetition, run in zip(group.repetitions, group.runs, strict=True)
        if metric in run.metrics
    }


def _estimate(group: Group, metric: str, confidence: float) -> Estimate | None:
    values = [value for value in _read_values(group, metric).values() if is_finite(value)]
    return estimate(values, confidence) if values else None


def _describe_size(group: Group, metric: str, found: Estimate | None) -> int | str:
    """Say over how many runs a row goes, and how many diverged: what they achieve is no number."""
    size = found.n if found else 0
    diverged = len(_read_values(group, metric)) - size
    return f"{size} (and {diverged} diverged)" if diverged else size


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if is_finite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _find_baseline(groups: Sequence[Group], identifier: str) -> int:
    for index, group in enumerate(groups):
        if any(run.identifier.startswith(identifier) for run in (*group.runs, *group.repeated)):
            return index
    raise UsageError(f"there is no run '{identifier}' among those that are compared: give the id of one as --baseline.")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    sys.exit(compare_runs.main())
