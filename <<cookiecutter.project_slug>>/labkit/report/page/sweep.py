"""The page of a sweep: all parameters at once, and which of them matter."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from labkit.report.page.chart import plot_importance, plot_parallel
from labkit.report.page.column import Value, find_varied, read_value
from labkit.report.page.curves import choose_metric
from labkit.report.page.element import Chart, Element, Node, element, section
from labkit.report.page.query import Query
from labkit.report.page.runs import select
from labkit.report.store import SEED, StoredRun

LINES: Final = 2_000
"""At most so many runs are drawn; more could not be told apart."""

Measure = Callable[[Mapping[str, Sequence[str | float]], Sequence[float]], Mapping[str, float]]
"""Measures which parameters matter, as :func:`labkit.report.importance.measure_importance` does."""


def make_sweep_page(runs: Sequence[StoredRun], query: Query, measure: Measure) -> Element:
    """Make the page.

    :param runs: All runs.
    :param query: What is asked for.
    :param measure: Measures which parameters matter.
    :return: The page.
    """
    selected = select(runs, query)
    metric = choose_metric(selected, query)
    scored = [run for run in selected if _is_number(read_value(run, metric))][:LINES]
    varied = [name for name in find_varied(scored) if name != SEED]
    if not varied:
        text = f"No parameter differs between the {len(scored)} runs that have {metric or 'a metric'}."
        return element("div", element("p", text, classes="empty"), classes="view")
    columns: dict[str, list[Value]] = {name: [read_value(run, name) for run in scored] for name in varied}
    scores = [value for run in scored for value in [read_value(run, metric)] if isinstance(value, float)]
    figure = plot_parallel({**columns, metric: scores}, by=metric)
    known = {name: ["" if value is None else value for value in values] for name, values in columns.items()}
    importance = measure(known, scores)
    parts: list[Node] = [
        element("p", f"{len(scored):,} runs · a line is a run, its colour {metric}", classes="summary"),
        Chart("parallel", figure, f"{len(varied)} parameters and {metric} of {len(scored)} runs"),
    ]
    if importance:
        bars = plot_importance(importance, title=f"share of the variance of {metric}")
        parts.append(section("Which parameters matter", Chart("importance", bars, "the importance of each parameter")))
    return element("div", *parts, classes="view")


def _is_number(value: Value) -> bool:
    return isinstance(value, float) and math.isfinite(value)
