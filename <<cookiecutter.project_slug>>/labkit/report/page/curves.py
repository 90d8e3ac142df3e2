"""The page of curves: the course of a metric in several configurations, with bands over their seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from labkit.report.configuration import Group, group_runs
from labkit.report.database import Course
from labkit.report.page.chart import COLOURS, plot_curves
from labkit.report.page.column import find_varied, list_columns
from labkit.report.page.curve import Curve, summarise, thin
from labkit.report.page.element import Chart, Element, element
from labkit.report.page.query import Query
from labkit.report.page.relation import PREFERRED
from labkit.report.page.runs import describe, select
from labkit.report.statistics import is_finite
from labkit.report.store import SEED, StoredRun

GROUPS: Final = len(COLOURS)
RUNS: Final = 10
"""At most so many of each configuration are read."""

ReadCurves = Callable[[Sequence[str], str], Mapping[str, Course]]
"""Reads the course of a metric in several runs."""


def choose_metric(runs: Sequence[StoredRun], query: Query) -> str:
    """Return the metric that is asked for, else the most telling one that there is."""
    _, _, metrics = list_columns(runs)
    if query.metric in metrics:
        return query.metric
    return next((name for name in (*PREFERRED, *metrics) if name in metrics), "")


def choose_groups(runs: Sequence[StoredRun], query: Query) -> list[Group]:
    """Return the configurations of the runs that are selected, or else meet the filter, in their order."""
    marked = [run for run in runs if run.identifier in query.selected]
    chosen = marked or select(runs, query)
    ordered = {run.identifier: place for place, run in enumerate(chosen)}
    return sorted(group_runs(chosen), key=lambda group: min(ordered[run.identifier] for run in group.runs))


def make_curves_page(runs: Sequence[StoredRun], query: Query, read: ReadCurves) -> Element:
    """Make the page.

    :param runs: All runs.
    :param query: What is asked for.
    :param read: Reads curves.
    :return: The page.
    """
    metric = choose_metric(runs, query)
    groups = [group for group in choose_groups(runs, query) if any(metric in run.metrics for run in group.runs)]
    if not groups:
        return element("div", element("p", "No run has a curve to show.", classes="empty"), classes="view")
    shown = groups[:GROUPS]
    varied = [name for name in find_varied([run for group in shown for run in group.runs]) if name != SEED]
    members_of = [[run for run in group.runs if metric in run.metrics] for group in shown]
    courses = read([run.identifier for members in members_of for run in members[:RUNS]], metric)
    curves: dict[str, list[Curve]] = {}
    for group, members in zip(shown, members_of, strict=True):
        name = describe(group, varied) if len(members) > 1 or len(shown) > 1 else members[0].name
        while name in curves:
            name += " "
        curves[name] = [make_curve(*courses[run.identifier]) for run in members[:RUNS]]
    summaries = {name: summarise(of_runs) for name, of_runs in curves.items()}
    thinned = {name: [thin(curve) for curve in of_runs] for name, of_runs in curves.items()}
    figure = plot_curves(thinned, summaries, title=metric, band=query.band)
    notes = [f"{len(shown)} configurations" if len(shown) > 1 else "1 configuration"]
    if len(groups) > len(shown):
        notes.append(f"the first {len(shown)} of {len(groups)}: filter, or select some in the table")
    if any(len(group.runs) > RUNS for group in shown):
        notes.append(f"the first {RUNS} seeds of each")
    return element(
        "div",
        element("p", " · ".join(notes), classes="summary"),
        Chart("curves", figure, f"{metric} of {len(shown)} configurations"),
        classes="view",
    )


def make_curve(steps: Sequence[int], values: Sequence[float]) -> Curve:
    """Make arrays of what a store has; infinity is no point of a curve."""
    import numpy as np

    return np.array(steps, float), np.array([value if is_finite(value) else np.nan for value in values], float)
