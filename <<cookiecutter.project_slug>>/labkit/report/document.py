"""The runs as one file to send or to keep: `report --help`."""

import base64
import hashlib
import html
import json
import mimetypes
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from labkit.atomic import write_atomically
from labkit.command import Limits, command
from labkit.environment import Environment
from labkit.recipe.record import RECIPE_FILE
from labkit.report.configuration import group_runs
from labkit.report.importance import measure_importance
from labkit.report.page.chart import make_layout
from labkit.report.page.column import PREFIX, list_columns, read_value
from labkit.report.page.curves import make_curves_page
from labkit.report.page.difference import make_difference_page
from labkit.report.page.element import Chart, Element, Link, Node, Picture, element, find_all
from labkit.report.page.query import Query
from labkit.report.page.recipe import find_recipes, make_recipe_page
from labkit.report.page.relation import PREFERRED, choose_axes
from labkit.report.page.run import make_run_page
from labkit.report.page.runs import choose_columns
from labkit.report.page.sweep import make_sweep_page
from labkit.report.snapshot import Snapshot, find_pictures
from labkit.report.store import StoredRun, find_run, read_file, read_runs
from labkit.tracking.contact import asks_the_store
from labkit.tracking.run import connect

CURVES: Final = 6
"""Metrics whose curves are drawn."""
VOID: Final = frozenset({"input"})
"""Elements that have no end."""
FOLDER: Final = Path(__file__).parent / "page"


@command
def report(
    output: Path = Path("report.html"),
    *,
    experiment_name: str | None = None,
    session: str | None = None,
    details: Annotated[int, Limits(least=0)] = 12,
    difference: tuple[str, str] | None = None,
    keep_with: str | None = None,
) -> None:
    """Write what the dashboard shows into one HTML file, which needs nothing else and asks nobody.

    An example: report results.html --session learning-rate

    :param output: Where the file goes.
    :param experiment_name: Only runs of this experiment.
    :param session: Only runs of this session: its id, the beginning of it, or its name.
    :param details: Of so many runs, the newest, also the figures, logs and provenance.
    :param difference: The ids of two runs whose parameters, results, surroundings and code are compared.
    :param keep_with: The id of a run that keeps the file as an artifact.
    """
    environment = Environment.read()
    runs = read_runs(environment, experiment_name=experiment_name, session=session)
    pair = [find_run(runs, identifier) for identifier in difference or ()]
    keeper = None if keep_with is None else find_run(runs, keep_with).identifier
    text = make_document(Snapshot(environment, runs), details=details, difference=pair)
    with write_atomically(output) as file:
        file.write(text.encode())
    if keeper:
        _keep(environment, keeper, output)
    print(f"{output}  {len(runs):,} runs, {len(text.encode()) / 2**20:.1f} MiB")


def make_document(snapshot: Snapshot, *, details: int, difference: Sequence[StoredRun] = ()) -> str:
    """Make the text of a report.

    :param snapshot: What it shows.
    :param details: Of how many runs there is a page.
    :param difference: Two runs that are compared, or none.
    :return: HTML. The browser is told to execute no script but those of the report, and to fetch nothing.
    """
    runs = snapshot.runs
    shown = [*difference, *(run for run in runs if run not in difference)][: max(details, len(difference))]
    sections: dict[str, list[Node]] = {
        "Recipe": [_make_recipe(snapshot, recipe, runs) for recipe in find_recipes(runs)],
        "Runs": [
            _make_table_controls(runs),
            element("div", id="table", classes="table runs"),
            element("nav", id="pager", classes="pager"),
        ],
        "Relation": _make_relation(runs),
        "Sweep": find_all(make_sweep_page(runs, Query(), measure_importance), Chart),
        "Curves": _make_curves(snapshot, runs),
        "Difference": [_make_difference(snapshot, difference)] if difference else [],
        "Details": [_make_details(snapshot, run) for run in shown],
    }
    sections = (
        {title: nodes for title, nodes in sections.items() if nodes} if runs else {"Runs": ["There are no runs."]}
    )
    masthead = element(
        "header",
        element("span", snapshot.environment.project_path.name, classes="title"),
        element("nav", *(Link((title,), f"#{title.lower()}") for title in sections)),
        element("span", f"{len(runs):,} runs", classes="store"),
        classes="masthead",
    )
    body = element(
        "main",
        *(element("section", element("h1", title), *nodes, id=title.lower()) for title, nodes in sections.items()),
    )
    writer = HtmlWriter({run.identifier for run in shown}, lambda picture: _embed(snapshot.environment, picture))
    content = writer.write(masthead) + writer.write(body)
    data = _write_json("data", _collect(runs, [run.identifier for run in shown])) if runs else ""
    charts = "".join(_write_json(name, figure) for name, figure in writer.figures.items())
    scripts = [_read_plotly(), (FOLDER / "report.js").read_text(encoding="utf-8")] if runs else []
    # The first is a text until the second one executes it.
    code = '<script type="text/plain" id="plotly">{}</script><script>{}</script>'.format(*scripts) if runs else ""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes} 'unsafe-eval'",  # which Plotly needs to draw by the graphics card
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
        ]
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{html.escape(snapshot.environment.project_path.name)}</title>",
            f"<style>{(FOLDER / 'style.css').read_text(encoding='utf-8')}</style></head>",
            f"<body>{content}{data}{charts}{code}</body></html>\n",
        ]
    )


class HtmlWriter:
    """Writes nodes as HTML, and collects the figures of their charts.

    :ivar figures: By the id of the element that is to hold each.
    """

    def __init__(self, pages: Collection[str], embed: Callable[[Picture], str | None]) -> None:
        """Begin.

        :param pages: The ids of the runs that can be linked to.
        :param embed: Returns a picture as an address that holds it, or None where it is gone.
        """
        self.figures: dict[str, Mapping[str, Any]] = {}
        self._pages = pages
        self._embed = embed

    def write(self, node: Node) -> str:
        """Write a node; each text becomes one that HTML shows as it is."""
        match node:
            case str():
                return html.escape(node)
            case Chart():
                name = f"figure-{len(self.figures)}"
                self.figures[name] = node.figure
                height = int(node.figure["layout"].get("height", 420))
                label = html.escape(node.description)
                return f'<div data-figure="{name}" role="img" aria-label="{label}" style="height:{height}px"></div>'
            case Picture():
                address = self._embed(node)
                return f'<img src="{address}" alt="{html.escape(node.description)}">' if address else ""
            case Link():
                return self._write_link(node)
            case Element():
                inner = "".join(map(self.write, node.children))
                end = "" if node.tag in VOID else f"</{node.tag}>"
                return f"<{node.tag}{self._write_attributes(node.attributes)}>{inner}{end}"

    def _write_link(self, node: Link) -> str:
        inner = "".join(map(self.write, node.children))
        target = node.page
        if target.startswith("/run/"):
            identifier = target.removeprefix("/run/")
            target = f"#run-{identifier}" if identifier in self._pages else ""
        if not target.startswith("#"):
            return f"<span{self._write_attributes(node.attributes)}>{inner}</span>"
        return f'<a href="{html.escape(target)}"{self._write_attributes(node.attributes)}>{inner}</a>'

    @staticmethod
    def _write_attributes(attributes: Mapping[str, str]) -> str:
        return "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())


def _make_recipe(snapshot: Snapshot, recipe: StoredRun, runs: Sequence[StoredRun]) -> Element:
    standing = snapshot.read_json(recipe.identifier, RECIPE_FILE)
    return make_recipe_page(recipe, standing, runs, find_pictures(snapshot, standing))


def _make_details(snapshot: Snapshot, run: StoredRun) -> Element:
    page = make_run_page(run, snapshot.read_details(run))
    return element("details", element("summary", run.name), page, id=f"run-{run.identifier}")


def _make_difference(snapshot: Snapshot, pair: Sequence[StoredRun]) -> Element:
    (old, old_code), (new, new_code) = (snapshot.read_provenance(run) for run in pair)
    return make_difference_page(pair[0], pair[1], (old, new), (old_code, new_code))


def _make_table_controls(runs: Sequence[StoredRun]) -> Element:
    properties, parameters, metrics = list_columns(runs)
    every = [*parameters, *metrics, *(name for name in properties if name != "name")]
    field = element("input", id="filter", type="text", placeholder="validation/accuracy>0.9 state=finished cnn")
    return element(
        "div",
        element(
            "div",
            element("label", element("span", "Filter"), field, classes="control wide"),
            _make_choice("grouping", ["runs", "seeds", "sessions"], "Group by", "runs"),
            _make_choice("columns", every, "Columns", "", multiple="multiple", size="2"),
            classes="controls",
        ),
        element("p", "", id="count", classes="summary"),
    )


def _make_relation(runs: Sequence[StoredRun]) -> list[Node]:
    if not runs:
        return []
    properties, parameters, metrics = list_columns(runs)
    every = [*metrics, *parameters, *(name for name in properties if name not in {"name", "id"})]
    x, y = choose_axes(runs, Query())
    choices = element(
        "div", _make_choice("x", every, "Across", x), _make_choice("y", every, "Upwards", y), classes="controls"
    )
    return [choices, element("div", id="relation-chart", style="height:420px")]


def _make_curves(snapshot: Snapshot, runs: Sequence[StoredRun]) -> list[Node]:
    _, _, metrics = list_columns(runs)
    of_epochs = [name for name in metrics if not name.endswith("_step")]
    chosen = sorted(of_epochs, key=lambda name: (name not in PREFERRED, name.startswith("train/"), name))[:CURVES]
    charts: list[Node] = []
    for metric in chosen:
        page = make_curves_page(runs, Query(metric=metric), snapshot.read_curves)
        charts += [element("div", chart, data_metric=metric) for chart in find_all(page, Chart)]
    return (
        [element("div", _make_choice("metric", chosen, "Metric", chosen[0]), classes="controls"), *charts]
        if charts
        else []
    )


def _make_choice(identifier: str, options: Sequence[str], label: str, chosen: str, **attributes: str) -> Element:
    listed = [
        element(
            "option",
            option.removeprefix(PREFIX),
            value=option,
            **({"selected": "selected"} if option == chosen else {}),
        )
        for option in options
    ]
    return element(
        "label", element("span", label), element("select", *listed, id=identifier, **attributes), classes="control"
    )


def _collect(runs: Sequence[StoredRun], details: Sequence[str]) -> dict[str, Any]:
    """Collect what the report's own script needs: a row a run, the last of it the number of its configuration."""
    properties, parameters, metrics = list_columns(runs)
    columns = [*properties, *parameters, *metrics]
    groups = group_runs(runs)
    of_run = {run.identifier: number for number, group in enumerate(groups) for run in (*group.runs, *group.repeated)}
    return {
        "columns": columns,
        "labels": {name: name.removeprefix(PREFIX) for name in parameters},
        "parameters": parameters,
        "metrics": metrics,
        "shown": choose_columns(runs, replace(Query(), grouping="runs")),
        "rows": [[*(read_value(run, column) for column in columns), of_run[run.identifier]] for run in runs],
        "details": details,
        "layout": make_layout("", "", hovermode="closest"),
    }


def _write_json(identifier: str, content: Mapping[str, Any]) -> str:
    """Write data that no browser executes; nothing in it can end the element."""
    text = json.dumps(_without_special_numbers(content), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identifier}">{text}</script>'


def _without_special_numbers(content: Any) -> Any:
    """Leave out numbers that JSON has not."""
    if isinstance(content, float):
        return content if content - content == 0 else None
    if isinstance(content, Mapping):
        return {name: _without_special_numbers(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_special_numbers(value) for value in content]
    return content


def _embed(environment: Environment, picture: Picture) -> str | None:
    content = read_file(environment, picture.run_id, picture.path)
    if content is None:
        return None
    return f"data:{mimetypes.guess_type(picture.path)[0]};base64,{base64.b64encode(content).decode()}"


def _read_plotly() -> str:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")


@asks_the_store
def _keep(environment: Environment, run_id: str, path: Path) -> None:
    connect(environment).log_artifact(run_id, str(path))


if __name__ == "__main__":
    sys.exit(report.main())
