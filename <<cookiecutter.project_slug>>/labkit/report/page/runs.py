"""The page of all runs: a table with any column, filtered, sorted, and grouped by seeds and sessions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from labkit.report.configuration import Group, group_runs
from labkit.report.page.column import (
    PREFIX,
    PROPERTIES,
    Value,
    find_varied,
    is_absent,
    list_columns,
    order,
    read_value,
    show_value,
)
from labkit.report.page.condition import parse_condition
from labkit.report.page.element import Element, Node, element, link, table
from labkit.report.page.query import Query
from labkit.report.statistics import is_finite
from labkit.report.store import SEED, StoredRun
from labkit.report.table import choose_decimals

ROWS: Final = 50
"""Of a page."""
PARAMETERS: Final = 6
METRICS: Final = 4
"""How many columns of each there are where none are chosen."""
NO_SESSION: Final = "no session"
SEEDS_TO_SHOW: Final = 12


Row = TypeVar("Row")


def select(runs: Sequence[StoredRun], query: Query) -> list[StoredRun]:
    """Return the runs that a query asks for, in the order it asks for."""
    condition = parse_condition(query.filter)
    return sort_rows([run for run in runs if condition(run)], query, read_value)


def sort_rows(rows: Sequence[Row], query: Query, read: Callable[[Row, str], Value]) -> list[Row]:
    """Sort rows by a column; those that have nothing there come last, whichever way the others are sorted."""
    values = {id(row): read(row, query.column) for row in rows}
    present = [row for row in rows if not is_absent(values[id(row)])]
    absent = [row for row in rows if is_absent(values[id(row)])]
    return [*sorted(present, key=lambda row: order(values[id(row)]), reverse=query.is_descending), *absent]


def choose_columns(runs: Sequence[StoredRun], query: Query) -> list[str]:
    """Return the columns that are asked for, else those that tell the runs apart."""
    if query.columns:
        return list(query.columns)
    _, named, metrics = list_columns(runs)
    varied = [name for name in find_varied(runs) if name != SEED]
    chosen = [name for name in named if name.removeprefix(PREFIX) in varied][:PARAMETERS]
    seeds = [SEED] if query.grouping == "runs" and SEED in named else []
    of_epochs = [name for name in metrics if not name.endswith("_step")]
    judged = [name for name in of_epochs if not name.startswith("train/")]
    return ["state", "started", "took", *chosen, *seeds, *(judged or of_epochs)[:METRICS]]


def make_runs_page(runs: Sequence[StoredRun], query: Query) -> Element:
    """Make the page.

    :param runs: All runs.
    :param query: What is asked for.
    :return: The page.
    """
    selected = select(runs, query)
    if not selected:
        text = "No run meets the filter." if runs else "There are no runs yet: `train` makes one."
        return element("div", element("p", text, classes="empty"), classes="view")
    columns = choose_columns(selected, query)
    if query.grouping == "runs":
        rows, count = _make_rows_of_runs(selected, columns, query), len(selected)
        what = "run" if count == 1 else "runs"
    else:
        rows, count = _make_rows_of_groups(selected, columns, query)
        what = "configuration" if count == 1 else "configurations"
    first = _make_title("name", query) if query.grouping == "runs" else element("th", "seeds")
    head: list[Node] = [first, *(_make_title(column, query) for column in columns)]
    return element(
        "div",
        _make_summary(runs, selected, query, f"{count:,} {what}"),
        table(head, rows, classes="runs"),
        _make_pager(count, query),
        classes="view",
    )


def describe(group: Group, varied: Sequence[str]) -> str:
    """Name a configuration by the parameters in which it differs from others."""
    named = [f"{name} {group.configuration[name]}" for name in varied if name in group.configuration]
    return ", ".join(named) or group.configuration.get("entry point") or "all runs"


@dataclass(frozen=True)
class Statistic:
    """What the runs of a configuration have in a column."""

    mean: float
    deviation: float | None
    runs: int


def read_statistic(group: Group, column: str) -> Statistic | None:
    """Compute mean and standard deviation of a metric over the runs of a configuration that have finished."""
    values = [run.metrics[column] for run in group.counted if column in run.metrics and is_finite(run.metrics[column])]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Statistic(mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None, len(values))


def read_group_value(group: Group, column: str) -> Value:
    """Read what a configuration has in a column: of a metric the mean, of a time the newest."""
    if statistic := read_statistic(group, column):
        return statistic.mean
    values = [read_value(run, column) for run in group.runs]
    if column in {"started", "took"}:
        numbers = [value for value in values if isinstance(value, float)]
        return max(numbers, default=None)
    return values[0] if len(set(values)) == 1 else None


def _make_rows_of_runs(selected: Sequence[StoredRun], columns: Sequence[str], query: Query) -> list[list[Node]]:
    shown = _cut(selected, query)
    return [
        [_make_name(run, query), *(_make_cell(read_value(run, column), column) for column in columns)] for run in shown
    ]


def _make_rows_of_groups(
    selected: Sequence[StoredRun], columns: Sequence[str], query: Query
) -> tuple[list[list[Node]], int]:
    """Make a row a configuration; with sessions, those of each session under its name."""
    by_session: dict[str, list[StoredRun]] = {}
    names = {run.identifier: run.name for run in selected if run.is_session}
    newest_first = sorted(selected, key=lambda run: -run.started)
    for run in newest_first:
        heading = (run.session or NO_SESSION) if query.grouping == "sessions" else ""
        if not run.is_session:
            by_session.setdefault(heading, []).append(run)
    entries = [
        (heading, group)
        for heading, members in by_session.items()
        for group in sort_rows(group_runs(members), query, read_group_value)
    ]
    rows: list[list[Node]] = []
    previous = ""
    for heading, group in _cut(entries, query):
        if heading != previous:
            width = str(len(columns) + 1)
            title = link(f"/run/{heading}", names[heading]) if heading in names else heading
            rows.append([element("th", title, colspan=width, classes="session", scope="rowgroup")])
            previous = heading
        cells = [_make_group_cell(group, column) for column in columns]
        rows.append([_make_seeds(group), *cells])
    return rows, len(entries)


def _make_seeds(group: Group) -> Element:
    links = [
        link(f"/run/{run.identifier}", repetition[0] or "\N{EN DASH}", title=run.name, classes="seed")
        for run, repetition in zip(group.runs[:SEEDS_TO_SHOW], group.repetitions, strict=False)
    ]
    more = [f" and {len(group.runs) - SEEDS_TO_SHOW} more"] if len(group.runs) > SEEDS_TO_SHOW else []
    spaced: list[Node] = [part for one in links for part in (one, " ")]
    return element("td", element("span", str(len(group.runs)), classes="count"), " ", *spaced, *more, classes="seeds")


def _make_group_cell(group: Group, column: str) -> Element:
    statistic = read_statistic(group, column)
    if column == "state":
        states = sorted({run.state for run in group.runs})
        return element("td", *(make_state(state) for state in states))
    if statistic is None or statistic.deviation is None:
        return _make_cell(read_group_value(group, column), column)
    decimals = choose_decimals(statistic.deviation)
    spread = element("span", f" ± {statistic.deviation:.{decimals}f}", classes="deviation")
    return element("td", f"{statistic.mean:.{decimals}f}", spread, classes="number")


def make_state(state: str) -> Element:
    """Show where a run stands."""
    return element("span", state, classes=f"state {state}" if state.isalpha() else "state")


def _make_name(run: StoredRun, query: Query) -> Element:
    is_selected = run.identifier in query.selected
    others = tuple(identifier for identifier in query.selected if identifier != run.identifier)
    toggled = others if is_selected else (*query.selected, run.identifier)
    mark = link(
        "/",
        "✓" if is_selected else "+",
        query=query.encode(selected=toggled),
        classes="mark selected" if is_selected else "mark",
        title="Take it out of the selection" if is_selected else "Select it, to look at it beside others",
    )
    name = link(f"/run/{run.identifier}", run.name, title=run.identifier)
    return element("td", mark, name, classes="name")


def _make_cell(value: Value, column: str) -> Element:
    if column == "state" and isinstance(value, str):
        return element("td", make_state(value))
    text = show_value(value, column)
    return element("td", text, **({"class": "number"} if isinstance(value, float) else {"title": text}))


def _make_title(column: str, query: Query) -> Element:
    """Make the head of a column, which sorts by it: numbers from the largest down first, names from A."""
    is_sorted = query.column == column
    rising_first = column in PROPERTIES and column not in {"started", "took"}
    sort = f"-{column}" if not rising_first else column
    if is_sorted:
        sort = column if query.is_descending else f"-{column}"
    arrow = (" ↓" if query.is_descending else " ↑") if is_sorted else ""
    way = "descending" if query.is_descending else "ascending"
    label = column.removeprefix(PREFIX)
    return element(
        "th",
        link("/", label + arrow, query=query.encode(sort=sort, page=1), title=f"Sort by {label}"),
        **({"aria-sort": way} if is_sorted else {}),
    )


def _make_summary(all_runs: Sequence[StoredRun], selected: Sequence[StoredRun], query: Query, count: str) -> Element:
    of = f" of {len(all_runs):,}" if len(selected) < len(all_runs) else ""
    noun = f"{count} · {len(selected):,}{of} runs" if query.grouping != "runs" else f"{count}{of}"
    parts: list[Node] = [element("span", noun)]
    if query.selected:
        parts += [
            element("span", f"{len(query.selected)} selected", classes="selection"),
            link("/compare", "compare", query=query.encode()),
            link("/curves", "curves", query=query.encode()),
            link("/", "clear", query=query.encode(selected=())),
        ]
    return element("p", *parts, classes="summary")


def _make_pager(count: int, query: Query) -> Element:
    pages = max(1, math.ceil(count / ROWS))
    page = min(query.page, pages)
    if pages == 1:
        return element("nav", classes="pager")
    parts: list[Node] = []
    if page > 1:
        parts.append(link("/", "← previous", query=query.encode(page=page - 1)))
    first = (page - 1) * ROWS + 1
    parts.append(element("span", f"{first:,}\N{EN DASH}{min(count, page * ROWS):,} of {count:,}"))
    if page < pages:
        parts.append(link("/", "next →", query=query.encode(page=page + 1)))
    return element("nav", *parts, classes="pager", aria_label="Pages")


def _cut(rows: Sequence[Row], query: Query) -> Sequence[Row]:
    page = min(query.page, max(1, math.ceil(len(rows) / ROWS)))
    return rows[(page - 1) * ROWS : page * ROWS]
