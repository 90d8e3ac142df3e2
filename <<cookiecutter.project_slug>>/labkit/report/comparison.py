"""Which configuration is better, over seeds: `compare-runs --help`."""

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from labkit.atomic import write_atomically
from labkit.command import Limits, UsageError, command
from labkit.environment import Environment
from labkit.recipe.record import ROLE_TAG
from labkit.report.configuration import Circumstance, Group, find_differences, group_runs
from labkit.report.page.runs import describe
from labkit.report.statistics import FEWEST, Estimate, correct, estimate, find_p_value, find_smallest_p, is_finite
from labkit.report.store import SEED, StoredRun, find_run, read_curves, read_runs
from labkit.report.table import Column, Table, TableFormat, choose_decimals, stack

Mode = Literal["max", "min"]
PICTURES: Final = (".png", ".pdf", ".svg")
TableName = Literal["groups", "differences"]
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
    with_recipes: bool = False,
    table: TableName | None = None,
    table_format: TableFormat = "markdown",
    figure: Path | None = None,
) -> None:
    """Compare configurations over seeds: what each achieves, and which differences are more than chance.

    Of every finished run the last value of a metric counts. Below three seeds nothing is claimed. Tables go to the
    standard output and remarks to the standard error. An example: compare-runs test/accuracy --session learning-rate

    :param metrics: The metrics to compare by, such as test/accuracy.
    :param experiment_name: Only runs of this experiment.
    :param session: Only runs of this session: its id, the beginning of it, or its name.
    :param baseline: A run; its configuration is compared with each other one, rather than each with each.
    :param over: The parameters in which repetitions differ: "seed fold" for cross-validation.
    :param by: What tells configurations apart beside their parameters: code, data, or both.
    :param mode: Whether the best is the largest or the smallest; by default the smallest of what is called a loss or an
        error.
    :param paired: Whether runs with the same seed belong together, as those on the same fold do; needs more seeds.
    :param confidence: Of intervals; a difference is claimed where its corrected p-value is at most 1 less this.
    :param with_recipes: Whether runs of recipes count too; each candidate that a step tried is a configuration.
    :param table: Only this table; by default both, and in CSV, which holds one, that of the groups.
    :param table_format: How tables are written.
    :param figure: Where a picture of the course of the metric goes, such as curves.png: of each configuration the mean
        over its runs in bands, deviation and minimum to maximum.
    """
    if figure and (len(metrics) > 1 or figure.suffix not in PICTURES):
        raise UsageError(f"--figure {figure} takes one metric, and a file that ends in {' or '.join(PICTURES)}.")
    environment = Environment.read()
    found = read_runs(environment, experiment_name=experiment_name, session=session)
    runs = [run for run in found if not run.is_session]
    finished = [run for run in runs if run.has_finished and (with_recipes or ROLE_TAG not in run.tags)]
    known = sorted(set[str]().union(*(run.metrics for run in finished)))
    if not metrics:
        raise UsageError(f"say by which metrics to compare; the {len(finished)} finished runs have {_list(known)}.")
    for metric in metrics:
        if metric not in known:
            raise UsageError(f"no finished run has a metric '{metric}'; they have {_list(known)}.")
    counted = [run for run in finished if any(metric in run.metrics for metric in metrics)]
    groups = group_runs(counted, over=over, by=by)
    first = None if baseline is None else _find_group(groups, find_run(counted, baseline))
    judgements = judge(groups, metrics, baseline=first, mode=mode, paired=paired, confidence=confidence)
    tables: list[Table] = []
    if table != "differences":
        of_groups = {metric: make_table_of_groups(groups, metric, confidence) for metric in metrics}
        tables += [stack(of_groups)] if table_format == "csv" and len(metrics) > 1 else of_groups.values()
    if table == "differences" or (table is None and judgements and table_format != "csv"):
        tables.append(make_table_of_judgements(judgements, metrics))
    print("\n".join(made.render(table_format) for made in tables), end="")
    for remark in remark_on(groups, by, left_out=len(runs) - len(counted)):
        print(f"compare-runs: {remark}", file=sys.stderr)
    if figure:
        _draw(environment, groups, next(iter(metrics)), figure)


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


class _Finding(NamedTuple):
    """What a test has found."""

    p_value: float
    corrected: float
    least: float
    """What the corrected one would be, if in all tests the samples were as far apart as can be."""


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
    tested = [trial for trial in trials if trial.objection is None]
    p_values = [find_p_value(*trial.samples, paired=paired) for trial in tested]
    # The less each p-value is, the less all corrected ones are: these are the least that there can be.
    least = correct([find_smallest_p(*map(len, trial.samples), paired=paired) for trial in tested])
    found = iter([_Finding(*numbers) for numbers in zip(p_values, correct(p_values), least, strict=True)])
    return [_conclude(trial, None if trial.objection else next(found), 1 - confidence) for trial in trials]


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
    percent = f"{100 * confidence:.4g}"
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
        remarks.append(f"{left_out} runs are left out: not finished, without such a metric, or part of a recipe.")
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


def _conclude(trial: _Trial, found: _Finding | None, level: float) -> Judgement:
    first, second = (_mean(sample) for sample in trial.samples)
    difference = None if first is None or second is None else second - first
    if found is None or difference is None:
        verdict = trial.objection or ""
    elif found.corrected <= level:
        is_second = (difference > 0) is (trial.mode == "max")
        verdict = "{1} is better than {0}" if is_second else "{0} is better than {1}"
        verdict = verdict.format(*trial.pair)
    elif found.least > level:
        verdict = f"no claim: p (Holm) is at least {found.least:.2g} with so few seeds"
    else:
        verdict = "no difference shown"
    return Judgement(
        metric=trial.metric,
        pair=trial.pair,
        difference=difference,
        p_value=found and found.p_value,
        corrected=found and found.corrected,
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


def _find_group(groups: Sequence[Group], run: StoredRun) -> int:
    return next(index for index, group in enumerate(groups) if run in (*group.runs, *group.repeated))


def _draw(environment: Environment, groups: Sequence[Group], metric: str, path: Path) -> None:
    from labkit.report.figures import plot_repetitions

    names = find_differences([group.configuration for group in groups])
    courses = read_curves(environment, [run.identifier for group in groups for run in group.runs], metric)
    curves = {
        f"{number}: {describe(group, names)}": [courses[run.identifier] for run in group.runs]
        for number, group in enumerate(groups, start=1)
    }
    with write_atomically(path) as file:
        plot_repetitions(curves, metric).savefig(file, format=path.suffix[1:])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    sys.exit(compare_runs.main())
