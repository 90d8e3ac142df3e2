"""The page of one run: what it was given, what it achieved, its figures, logs and provenance."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from labkit.report.page.chart import plot_curves
from labkit.report.page.column import read_value, show_duration, show_time, show_value
from labkit.report.page.curve import Curve, summarise, thin
from labkit.report.page.element import Chart, Element, Node, Picture, element, link, section, table
from labkit.report.page.query import Query
from labkit.report.page.runs import make_state
from labkit.report.store import StoredRun

LINES_OF_A_LOG: Final = 400
ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PICTURES: Final = (".png", ".jpg", ".jpeg")
NUMBER: Final = re.compile(r"-(\d+)$")
SHORT_HASH: Final = 12
TAGS: Final = {
    "labkit.branch": "branch",
    "labkit.commit": "commit",
    "labkit.dirty": "uncommitted changes",
    "labkit.source": "code",
    "labkit.footprint": "data",
    "labkit.image": "image",
    "labkit.host": "host",
    "labkit.python": "Python",
    "labkit.gpus": "GPUs",
    "labkit.reproduces": "reproduces",
    "mlflow.note.content": "note",
}
"""What tags tell of where a run comes from, and its name for people."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is kept with a run beside its parameters and metrics."""

    pictures: Sequence[str] = ()
    """Paths of its figures."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Texts by file name."""
    surroundings: Mapping[str, Any] = field(default_factory=dict)
    """What it was executed in: ``environment.json``."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By metric."""


def make_run_page(run: StoredRun, details: Details) -> Element:
    """Make the page.

    :param run: The run.
    :param details: What is kept with it.
    :return: The page.
    """
    return element(
        "article",
        make_heading(run),
        section("Metrics", _make_metrics(run, details), classes="metrics"),
        *([section("Figures", make_gallery(run, details.pictures))] if details.pictures else []),
        section(
            "Parameters", table([], [[name, text] for name, text in sorted(run.parameters.items())], classes="facts")
        ),
        section("Provenance", table([], list_provenance(run, details.surroundings), classes="facts")),
        *([section("Logs", *(make_log(name, text) for name, text in details.logs.items()))] if details.logs else []),
        classes="run",
    )


def make_heading(run: StoredRun) -> Element:
    """Name a run, and say where it stands."""
    took = [f" · took {show_duration((run.ended - run.started) / 1000)}"] if run.ended else []
    of_session = [" · session ", element("b", run.session)] if run.session else []
    return element(
        "header",
        element("h1", run.name),
        element(
            "p",
            make_state(run.state),
            f" started {show_time(run.started)}",
            *took,
            " · experiment ",
            element("b", run.experiment),
            *of_session,
            classes="summary",
        ),
        element("p", element("code", run.identifier), classes="identifier"),
    )


def make_gallery(run: StoredRun, pictures: Sequence[str]) -> Element:
    """Show the pictures of a run, each under its name; of those that go on with a number, the last, which leads to all.

    :param run: The run.
    :param pictures: Their paths.
    :return: The gallery.
    """
    figures: list[Node] = []
    for name, paths in group_pictures(pictures).items():
        title, step = name.replace("-", " "), find_step(paths[-1])
        if step is None or len(paths) == 1:
            figures.append(_make_figure(run, paths[-1], title, title))
            continue
        place = f"step {step}, the last of {len(paths)}"
        way = link(f"/figures/{run.identifier}", place, query=Query(figure=name).encode(), title="Show all")
        figures.append(_make_figure(run, paths[-1], f"{title}, {place}", f"{title}, ", way))
    return element("div", *figures, classes="gallery")


def make_series_page(run: StoredRun, pictures: Sequence[str], name: str) -> Element:
    """Make the page of the pictures of a run that show the same, from step to step.

    :param run: The run.
    :param pictures: The paths of all its pictures.
    :param name: What those of the series have in common.
    :return: The page.
    """
    steps = {path: f"step {find_step(path)}" for path in group_pictures(pictures).get(name, [])}
    title = name.replace("-", " ")
    figures = [_make_figure(run, path, f"{title}, {step}", step) for path, step in steps.items()]
    return element(
        "article",
        element("header", element("h1", title), element("p", link(f"/run/{run.identifier}", run.name))),
        element("div", *figures, classes="gallery") if figures else element("p", "There are none.", classes="empty"),
        classes="run",
    )


def group_pictures(pictures: Sequence[str]) -> dict[str, list[str]]:
    """Put pictures together that are called the same but for the number at the end, in the order of these.

    :param pictures: Paths.
    :return: Paths by the name without a number.
    """
    series: dict[str, list[str]] = {}
    for path in sorted(pictures, key=lambda path: (find_step(path) or 0, path)):
        name = path.rpartition("/")[2].rpartition(".")[0]
        series.setdefault(NUMBER.sub("", name), []).append(path)
    return dict(sorted(series.items()))


def find_step(path: str) -> int | None:
    """Return the number that the name of a picture ends in, if it does."""
    number = NUMBER.search(path.rpartition(".")[0])
    return int(number[1]) if number else None


def _make_figure(run: StoredRun, path: str, description: str, *caption: Node) -> Element:
    return element("figure", Picture(run.identifier, path, description), element("figcaption", *caption))


def make_log(name: str, text: str) -> Element:
    """Show a log as a terminal does: of a line that was written over the last state, without colours, its end only."""
    clean = ESCAPE.sub("", text).replace("\r\n", "\n")
    lines = [line.rpartition("\r")[2] for line in clean.rstrip("\n").split("\n")]
    shown = lines[-LINES_OF_A_LOG:]
    left_out = [f"… {len(lines) - len(shown):,} lines before these\n"] if len(shown) < len(lines) else []
    return element(
        "details", element("summary", name), element("pre", "".join(left_out) + "\n".join(shown)), open="open"
    )


def list_provenance(run: StoredRun, surroundings: Mapping[str, Any]) -> list[list[Node]]:
    """List where a run comes from, in rows of two cells."""
    rows: list[list[Node]] = [["entry point", run.entry_point]]
    for tag, name in TAGS.items():
        if text := run.tags.get(tag):
            is_hash = len(text) == 64 and text.isalnum()  # noqa: PLR2004  of SHA-256
            rows.append([name, element("code", text[:SHORT_HASH], title=text) if is_hash else text])
    command_line = surroundings.get("command_line")
    if isinstance(command_line, list):
        rows.append(["command", element("code", " ".join(map(str, command_line)))])
    packages = surroundings.get("packages")
    if isinstance(packages, dict):
        listed = "\n".join(f"{name} {version}" for name, version in sorted(packages.items()))
        rows.append(["packages", element("details", element("summary", f"{len(packages)}"), element("pre", listed))])
    return rows


def _make_metrics(run: StoredRun, details: Details) -> Element:
    rows: list[list[Node]] = [
        [name, element("td", show_value(read_value(run, name)), classes="number")]
        for name in sorted(run.metrics)
        if not name.endswith("_step")
    ]
    stages: dict[str, list[str]] = {}
    for name in details.curves:
        stages.setdefault(name.partition("/")[2] or name, []).append(name)
    charts = [_make_chart(metric, {name: details.curves[name] for name in names}) for metric, names in stages.items()]
    numbers = table([], rows, classes="facts") if rows else element("p", "There are none yet.", classes="empty")
    return element("div", numbers, element("div", *charts, classes="charts"), classes="columns")


def _make_chart(metric: str, curves: Mapping[str, Curve]) -> Chart:
    thinned = {name: [thin(curve)] for name, curve in curves.items()}
    summaries = {name: summarise([curve]) for name, curve in curves.items()}
    figure = plot_curves(thinned, summaries, title=metric.replace("_", " "), band="none")
    figure["layout"]["height"] = 280
    return Chart(f"metric-{metric}", figure, f"the course of {metric}")
