"""The runs as a local web page: `dashboard --help`."""

import contextlib
import importlib
import ipaddress
import logging
import mimetypes
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args
from urllib.parse import quote, urlsplit

from labkit.command import Limits, UnavailableError, UsageError, command
from labkit.environment import Environment
from labkit.recipe.record import RECIPE_FILE
from labkit.report.importance import measure_importance
from labkit.report.page.column import list_columns
from labkit.report.page.curves import choose_metric, make_curves_page
from labkit.report.page.difference import make_choice_page, make_difference_page
from labkit.report.page.element import Chart, Element, Link, Node, Picture, element, link
from labkit.report.page.query import Band, Grouping, Query
from labkit.report.page.recipe import find_recipes, make_recipe_page
from labkit.report.page.relation import choose_axes, make_relation_page
from labkit.report.page.run import PICTURES, make_run_page, make_series_page
from labkit.report.page.runs import make_runs_page
from labkit.report.page.sweep import make_sweep_page
from labkit.report.snapshot import Snapshot, find_pictures
from labkit.report.store import StoredRun, open_store, read_file
from labkit.secret import Masker

if TYPE_CHECKING:
    from dash import Dash
    from flask import Flask, Response

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MILLISECONDS_BETWEEN_LOOKS: Final = 3_000
SECONDS_UNTIL_SEEN: Final = 10.0
"""After which nobody seems to be waiting for the first page."""
PAGES: Final = {
    "/": "Runs",
    "/recipe": "Recipe",
    "/relation": "Relation",
    "/curves": "Curves",
    "/sweep": "Sweep",
    "/compare": "Compare",
}
RUNS_TO_CHOOSE_FROM: Final = 500
STYLE: Final = Path(__file__).parent / "page" / "style.css"
ATTRIBUTES: Final = {"class": "className", "colspan": "colSpan"}
"""What HTML calls so has another name in Dash."""
TEMPLATE: Final = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<meta name="viewport" content="width=device-width"><title>{%title%}</title>{%favicon%}{%css%}
<style>STYLE</style></head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


@command
def dashboard(*, host: str = "127.0.0.1", port: Annotated[int, Limits(least=0, most=65535)] = 8050) -> None:
    """Show the runs of the tracking store as a web page, also while they train. Ctrl-C ends it.

    Examples: dashboard, dashboard --port 8051

    :param host: The address to listen on; the default lets only programs of this machine in. Whoever reaches another
        one sees all runs, without a password.
    :param port: The port to listen on; 0 for any that is free.
    """
    from werkzeug.serving import make_server

    environment = Environment.read()
    snapshot = Snapshot(environment)
    is_seen = threading.Event()
    threading.Thread(target=_prepare, args=[snapshot, is_seen], daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = make_application(snapshot)
    _note_first_view(application.server, snapshot, is_seen)
    guard(application.server, host)
    try:
        server = make_server(host, port, application.server, threaded=True)
    except (OSError, SystemExit) as error:
        raise UsageError(f"the port {port} of {host} cannot be listened on: give another one as --port.") from error
    print(f"The dashboard is at http://{_in_address(host)}:{server.server_port}/ (Ctrl-C ends it).", flush=True)
    with server:
        server.serve_forever()


def make_application(snapshot: Snapshot) -> "Dash":
    """Make the application, which only reads.

    :param snapshot: What it shows.
    :return: The application, not yet running.
    """
    from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

    application = Dash(
        "labkit",
        title="Labkit",
        update_title="",
        assets_folder=str(STYLE.parent / "no-assets"),
        suppress_callback_exceptions=True,
        index_string=TEMPLATE.replace("STYLE", STYLE.read_text(encoding="utf-8")),
    )
    _serve_pictures(application.server, snapshot)
    application.layout = html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="clock", interval=MILLISECONDS_BETWEEN_LOOKS),
            dcc.Store(id="seen"),
            html.Header(id="masthead", className="masthead"),
            html.Div(id="controls", className="controls"),
            html.Main(id="view"),
        ]
    )

    @application.callback(
        Output("masthead", "children"),
        Output("view", "children"),
        Output("seen", "data"),
        Input("address", "pathname"),
        Input("address", "search"),
        Input("clock", "n_intervals"),
        State("seen", "data"),
    )
    def show(path: str | None, search: str | None, _: int | None, seen: list[Any] | None) -> Any:
        path, query, version = path or "/", Query.parse(search or ""), snapshot.refresh()
        run = snapshot.find(path.rpartition("/")[2])
        now = [version, path, search]
        shown = find_recipes(snapshot.runs) if path == "/recipe" else [run] if run else []
        if now == seen and not any(one.is_active for one in shown):
            return no_update, no_update, no_update
        masthead = [make_component(node) for node in make_masthead(snapshot, path, query)]
        return masthead, make_component(make_page(snapshot, path, query), version), now

    @application.callback(
        Output("controls", "children"), Input("address", "pathname"), Input("seen", "data"), State("address", "search")
    )
    def offer(path: str | None, seen: list[Any] | None, search: str | None) -> Any:
        # What is being typed stays as it is: the controls are made anew only for another page, or for the first runs.
        if ctx.triggered_id == "seen" and not (seen and snapshot.is_complete and seen[0] <= 1):
            return no_update
        return make_controls(snapshot.runs, path or "/", Query.parse(search or ""))

    @application.callback(
        Output("address", "search"),
        Input({"control": ALL}, "value"),
        State({"control": ALL}, "id"),
        State("address", "search"),
        prevent_initial_call=True,
    )
    def navigate(values: list[Any], identifiers: list[dict[str, str]], search: str | None) -> Any:
        given = {identifier["control"]: value for identifier, value in zip(identifiers, values, strict=True)}
        query = Query.parse(search or "")
        changed = apply_controls(query, given)
        return no_update if changed == query else f"?{changed.encode()}"

    return application


def guard(server: "Flask", host: str) -> None:
    """Let nobody in through a name that is not that of this machine, if only this machine is to be let in.

    A page of another site cannot read from here then by calling this machine by a name of its own (DNS rebinding).

    :param server: The server.
    :param host: What it listens on.
    """
    from flask import abort, request

    @server.before_request
    def check() -> None:
        if _is_loopback(host) and _read_name(request.host) not in {*LOOPBACK, host}:
            abort(403)


def apply_controls(query: Query, values: Mapping[str, Any]) -> Query:
    """Take over what was entered.

    :param query: What was shown so far.
    :param values: What the controls say, by name.
    :return: What is to be shown; from its first page on, if it is something else.
    """
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name in {"first", "second"}:
            continue
        changes[name] = tuple(value or ()) if name == "columns" else value or ""
    if "first" in values:
        changes["selected"] = tuple(filter(None, (values["first"], values["second"])))
    changed = replace(query, **changes)
    return changed if changed == query else replace(changed, page=1)


def make_page(snapshot: Snapshot, path: str, query: Query) -> Element:
    """Make the page of a path.

    :param snapshot: What there is to show.
    :param path: The path.
    :param query: What is asked for.
    :return: The page; one that says so, if there is none.
    """
    runs = snapshot.runs
    if not runs and not snapshot.is_complete:
        return _say(snapshot.trouble or "Reading the runs …")
    try:
        return _make_page(snapshot, runs, path, query)
    except UnavailableError as error:
        return _say(str(error))


def make_masthead(snapshot: Snapshot, path: str, query: Query) -> list[Node]:
    """Make what stands above every page: the ways to the others, and where the runs come from."""
    links = [
        link(page, title, query=query.encode(page=1), classes="current" if page == path else "")
        for page, title in PAGES.items()
    ]
    count = f"{len(snapshot.runs):,} runs"
    state = count if snapshot.is_complete else f"{count} so far …"
    store = Masker(snapshot.environment.secrets()).mask(snapshot.environment.mlflow_tracking_uri)
    return [
        element("span", snapshot.environment.project_path.name, classes="title"),
        element("nav", *links),
        element("span", snapshot.trouble or state, classes="store", title=store),
    ]


def make_controls(runs: Sequence[StoredRun], path: str, query: Query) -> list[Any]:
    """Make what a page can be asked through.

    :param runs: All runs.
    :param path: The page.
    :param query: What is asked for now.
    :return: Components of Dash.
    """
    from dash import dcc

    properties, parameters, metrics = list_columns(runs)

    def choose(name: str, options: Sequence[str], value: Any, label: str, **further: Any) -> Any:
        listed = [{"label": option, "value": option} for option in options]
        return _label(
            label, dcc.Dropdown(listed, value, id={"control": name}, **further), wide=bool(further.get("multi"))
        )

    def pick(name: str, options: Sequence[str], value: str, label: str) -> Any:
        return _label(
            label, dcc.RadioItems(list(options), value, id={"control": name}, inline=True, className="choices")
        )

    condition = _label(
        "Filter",
        dcc.Input(
            id={"control": "filter"},
            type="text",
            value=query.filter,
            debounce=0.4,
            placeholder="validation/accuracy>0.9 state=finished cnn",
            autoComplete="off",
            spellCheck="false",
        ),
        wide=True,
    )
    every = [*parameters, *metrics, *(name for name in properties if name != "name")]
    match path:
        case "/":
            columns = choose(
                "columns", every, list(query.columns), "Columns", multi=True, placeholder="those that differ"
            )
            return [condition, pick("grouping", get_args(Grouping), query.grouping, "Group by"), columns]
        case "/relation":
            x, y = choose_axes(runs, query)
            return [
                condition,
                choose("x", every, x, "Across", clearable=False),
                choose("y", every, y, "Upwards", clearable=False),
            ]
        case "/curves":
            metric = choose("metric", metrics, choose_metric(runs, query), "Metric", clearable=False)
            return [condition, metric, pick("band", get_args(Band), query.band, "Band")]
        case "/sweep":
            return [condition, choose("metric", metrics, choose_metric(runs, query), "Metric", clearable=False)]
        case "/compare":
            known = {run.identifier: run for run in runs}
            shown = {run.identifier: run for run in runs[:RUNS_TO_CHOOSE_FROM]}
            shown |= {identifier: known[identifier] for identifier in query.selected if identifier in known}
            options = [
                {"label": f"{run.name} · {identifier[:8]}", "value": identifier} for identifier, run in shown.items()
            ]
            first, second = (*query.selected[:2], None, None)[:2]
            return [
                _label("One run", dcc.Dropdown(options, first, id={"control": "first"}), wide=True),
                _label("Another run", dcc.Dropdown(options, second, id={"control": "second"}), wide=True),
            ]
        case _:
            return []


def make_component(node: Node, version: int = 0) -> Any:
    """Make a component of Dash of a node; React shows each text as it is.

    :param node: The node.
    :param version: Lets a browser fetch pictures anew that may have changed.
    :return: The component.
    """
    from dash import dcc, html

    match node:
        case str():
            return node
        case Chart():
            return dcc.Graph(
                id=f"chart-{node.name}",
                figure=node.figure,
                responsive=True,
                config={"displayModeBar": False},
                style={"height": node.figure["layout"]["height"]},
            )
        case Picture():
            return html.Img(src=f"/file/{node.run_id}/{quote(node.path)}?{version}", alt=node.description)
        case Link():
            children = [make_component(child, version) for child in node.children]
            address = f"{node.page}?{node.query}" if node.query else node.page
            return dcc.Link(children, href=address, **_rename(node.attributes))
        case Element():
            children = [make_component(child, version) for child in node.children]
            return getattr(html, node.tag.capitalize())(children, **_rename(node.attributes))


def _note_first_view(server: "Flask", snapshot: Snapshot, is_seen: threading.Event) -> None:
    """Let it be known when a browser has been given a page of all runs."""
    from flask import request

    @server.after_request
    def note(response: "Response") -> "Response":
        if snapshot.is_complete and request.path == "/_dash-update-component":
            is_seen.set()
        return response


def _prepare(snapshot: Snapshot, is_seen: threading.Event) -> None:
    """Read the runs, and when they are seen import what takes seconds and is needed by some pages only."""
    snapshot.load()
    is_seen.wait(SECONDS_UNTIL_SEEN)
    with contextlib.suppress(UnavailableError):
        open_store(snapshot.environment)
    for name in ("optuna.importance", "sklearn.ensemble"):
        importlib.import_module(name)


def _make_page(snapshot: Snapshot, runs: Sequence[StoredRun], path: str, query: Query) -> Element:
    makers: Mapping[str, Callable[[], Element]] = {
        "/": lambda: make_runs_page(runs, query),
        "/recipe": lambda: _make_recipes(snapshot, runs),
        "/relation": lambda: make_relation_page(runs, query),
        "/curves": lambda: make_curves_page(runs, query, snapshot.read_curves),
        "/sweep": lambda: make_sweep_page(runs, query, measure_importance),
        "/compare": lambda: _make_difference(snapshot, query),
    }
    if path in makers:
        return makers[path]()
    if run := snapshot.find(path.removeprefix("/run/")):
        return make_run_page(run, snapshot.read_details(run))
    if run := snapshot.find(path.removeprefix("/figures/")):
        return make_series_page(run, snapshot.list_pictures(run.identifier), query.figure)
    return _say("There is no such page.")


def _make_difference(snapshot: Snapshot, query: Query) -> Element:
    chosen = [run for run in map(snapshot.find, query.selected) if run]
    if len(chosen) < 2:  # noqa: PLR2004  it takes two
        return make_choice_page({run.identifier: run for run in chosen}, query.selected)
    (old, old_code), (new, new_code) = (snapshot.read_provenance(run) for run in chosen[:2])
    return make_difference_page(chosen[0], chosen[1], (old, new), (old_code, new_code))


def _make_recipes(snapshot: Snapshot, runs: Sequence[StoredRun]) -> Element:
    pages: list[Node] = []
    for recipe in find_recipes(runs):
        standing = snapshot.read_json(recipe.identifier, RECIPE_FILE)
        pages.append(make_recipe_page(recipe, standing, runs, find_pictures(snapshot, standing)))
    return element("div", *pages) if pages else _say("No recipe has been executed yet: `recipe` does.")


def _serve_pictures(server: "Flask", snapshot: Snapshot) -> None:
    """Let pages show the pictures of runs, and nothing else of what they keep."""
    from flask import Response, abort

    @server.route("/file/<run_id>/<path:path>")
    def send(run_id: str, path: str) -> "Response":
        if not snapshot.find(run_id) or not path.startswith("figures/") or not path.endswith(PICTURES):
            abort(404)
        content = read_file(snapshot.environment, run_id, path)
        if content is None:
            abort(404)
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(content, mimetype=mimetypes.guess_type(path)[0], headers=headers)


def _say(text: str) -> Element:
    return element("div", element("p", text, classes="empty"), classes="view")


def _label(text: str, control: Any, *, wide: bool = False) -> Any:
    from dash import html

    return html.Div([html.Span(text), control], className="control wide" if wide else "control")


def _rename(attributes: Mapping[str, str]) -> dict[str, Any]:
    return {ATTRIBUTES.get(name, name): value for name, value in attributes.items()}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_name(host: str) -> str | None:
    """Return the name in what a browser calls this machine by, which may end in a port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(dashboard.main())
