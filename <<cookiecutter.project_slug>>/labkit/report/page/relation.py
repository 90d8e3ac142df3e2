"""The page of any two columns against each other."""

from collections.abc import Mapping, Sequence
from typing import Final

from labkit.report.configuration import group_runs
from labkit.report.page.chart import COLOURS, plot_relation
from labkit.report.page.column import find_varied, list_columns, read_value
from labkit.report.page.element import Chart, Element, Node, element
from labkit.report.page.query import Query
from labkit.report.page.runs import describe, select
from labkit.report.store import SEED, StoredRun

PREFERRED: Final = ("validation/accuracy", "validation/loss", "test/accuracy")


def choose_axes(runs: Sequence[StoredRun], query: Query) -> tuple[str, str]:
    """Return the columns of the axes that are asked for, else two metrics, or a parameter and a metric."""
    _, _, metrics = list_columns(runs)
    of_epochs = [name for name in metrics if not name.endswith("_step")]
    judged = sorted(of_epochs, key=lambda name: (name not in PREFERRED, not name.startswith("validation/"), name))
    y = query.y or next(iter(judged), "took")
    x = query.x or next((name for name in judged if name != y), "started")
    return x, y


def make_relation_page(runs: Sequence[StoredRun], query: Query) -> Element:
    """Make the page.

    :param runs: All runs.
    :param query: What is asked for.
    :return: The page.
    """
    selected = select(runs, query)
    x, y = choose_axes(selected, query)
    shown = [run for run in selected if read_value(run, x) is not None and read_value(run, y) is not None]
    if not shown:
        return element("div", element("p", f"No run has both {x} and {y}.", classes="empty"), classes="view")
    varied = find_varied(shown)
    groups = group_runs(shown[::-1])
    of_run = {run.identifier: number for number, group in enumerate(groups) for run in (*group.runs, *group.repeated)}
    are_told_apart = 1 < len(groups) <= len(COLOURS)
    figure = plot_relation(
        [read_value(run, x) for run in shown],
        [read_value(run, y) for run in shown],
        [[(name, run.parameters[name]) for name in varied if name in run.parameters] for run in shown],
        titles=(x, y),
        names=[run.name for run in shown],
        groups=[of_run[run.identifier] for run in shown] if are_told_apart else None,
        labels=[describe(group, [name for name in varied if name != SEED]) for group in groups]
        if are_told_apart
        else (),
    )
    note = f"{len(shown):,} runs" + (
        f", {len(selected) - len(shown):,} without both" if len(shown) < len(selected) else ""
    )
    return element(
        "div",
        element("p", note, classes="summary"),
        Chart("relation", figure, f"{y} against {x} of {len(shown)} runs"),
        make_common(shown, varied),
        classes="view",
    )


def make_common(runs: Sequence[StoredRun], varied: Sequence[str]) -> Element:
    """Say what is the same in all runs, so that it need not be said of each."""
    parameters: Mapping[str, str] = runs[0].parameters if runs else {}
    common = [(name, text) for name, text in sorted(parameters.items()) if name not in varied]
    parts: list[Node] = [element("span", element("b", name), f" {text}", classes="fact") for name, text in common]
    return element("p", "The same in all: ", *parts, classes="common") if common else element("p")
