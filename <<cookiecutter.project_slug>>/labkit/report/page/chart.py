"""Figures that answer to the mouse, as plain data for Plotly.

Plotly reads some markup in texts; :func:`plain` makes each text that comes from a run one that is shown as it is. The
colours of texts and lines are those of the page, see ``style.css``, so that a figure fits light and dark.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from labkit.report.page.column import Value, show_value
from labkit.report.page.curve import Curve, Summary
from labkit.report.page.element import Figure
from labkit.report.page.query import Band

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLOURS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#999999")
"""Told apart by colour-blind people too (Paul Tol's bright scheme, and two)."""
MANY_POINTS: Final = 2_000
"""From here on points are drawn by the graphics card."""
SHADE: Final = 0.16
LONGEST_TEXT: Final = 80


def plain(text: str) -> str:
    """Make a text one that Plotly shows as it is, on one line and not too long."""
    return html.escape(shorten(text), quote=False)


def shorten(text: str) -> str:
    """Put a text on one line, and cut it where it is long; Plotly reads no markup in the ticks of parallel axes."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def make_layout(x: str, y: str, **changes: Any) -> dict[str, Any]:
    """Make the layout that all figures share.

    :param x: The title of the horizontal axis.
    :param y: The title of the vertical axis.
    :param changes: What else there is to say.
    :return: The layout.
    """
    axis = {"showline": False, "zeroline": False, "ticks": "", "automargin": True, "title": {"standoff": 12}}
    return {
        "xaxis": {**axis, "showgrid": False, "title": {"text": plain(x), "standoff": 12}},
        "yaxis": {**axis, "title": {"text": plain(y), "standoff": 12}},
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 12},
        "hoverlabel": {"align": "left", "font": {"family": "inherit", "size": 12}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "height": 420,
        "uirevision": plain(f"{x} {y}"),
        **changes,
    }


def plot_relation(
    x: Sequence[Value],
    y: Sequence[Value],
    descriptions: Sequence[Sequence[tuple[str, str]]],
    *,
    titles: tuple[str, str],
    names: Sequence[str],
    groups: Sequence[int] | None = None,
    labels: Sequence[str] = (),
) -> Figure:
    """Plot two properties of runs against each other.

    :param x: The one, a value a run.
    :param y: The other.
    :param descriptions: For each run what is said of it when the mouse is on it: names and texts.
    :param titles: Those of the axes.
    :param names: The runs' names.
    :param groups: For each run the number of its group, which has a colour; all are of one by default.
    :param labels: The groups' names.
    :return: The figure.
    """
    kind = "scattergl" if len(x) > MANY_POINTS else "scatter"
    groups = groups if groups is not None else [0] * len(x)
    data: list[dict[str, Any]] = []
    for group in sorted(set(groups)):
        members = [index for index, number in enumerate(groups) if number == group]
        data.append(
            {
                "type": kind,
                "mode": "markers",
                "x": [_plain_value(x[index]) for index in members],
                "y": [_plain_value(y[index]) for index in members],
                "text": [_describe(names[index], descriptions[index]) for index in members],
                "hovertemplate": "%{text}<extra></extra>",
                "name": plain(labels[group]) if labels else "",
                "showlegend": len(labels) > 1,
                "marker": {"size": 8, "opacity": 0.8, "color": COLOURS[group % len(COLOURS)]},
            }
        )
    return {"data": data, "layout": make_layout(*titles, hovermode="closest")}


def plot_curves(
    curves: Mapping[str, Sequence[Curve]], summaries: Mapping[str, Summary], *, title: str, band: Band
) -> Figure:
    """Plot the course of a metric in several configurations.

    :param curves: Of each configuration those of its runs, thinned out.
    :param summaries: Of each configuration what its runs have in common.
    :param title: The metric.
    :param band: What is drawn around the mean.
    :return: The figure.
    """
    data: list[dict[str, Any]] = []
    for number, (name, summary) in enumerate(summaries.items()):
        colour, label, several = COLOURS[number % len(COLOURS)], plain(name), int(summary.runs.max(initial=0))
        if several > 1 and band != "none":
            low, high = _find_band(summary, band)
            edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
            shade = {"fill": "tonexty", "fillcolor": _fade(colour)}
            common = {"x": _numbers(summary.steps), "legendgroup": label}
            data += [
                {**edge, **common, "y": _numbers(low)},
                {**edge, **common, **shade, "y": _numbers(high)},
            ]
        elif several > 1:
            data += [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": _numbers(steps),
                    "y": _numbers(values),
                    "line": {"width": 0.7, "color": colour},
                    "opacity": 0.5,
                    "legendgroup": label,
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
                for steps, values in curves[name]
            ]
        only = curves[name][0] if several <= 1 and curves[name] else (summary.steps, summary.mean)
        data.append(
            {
                "type": "scatter",
                "mode": "lines" if len(only[0]) > 1 else "markers",
                "x": _numbers(only[0]),
                "y": _numbers(only[1]),
                "name": label + (f" (n = {several})" if several > 1 else ""),
                "line": {"width": 1.8, "color": colour},
                "legendgroup": label,
                "hovertemplate": f"%{{y:.5g}}<extra>{label}</extra>",
            }
        )
    return {"data": data, "layout": make_layout("optimiser steps", title, hovermode="x unified", showlegend=True)}


def plot_parallel(columns: Mapping[str, Sequence[Value]], *, by: str) -> Figure:
    """Plot runs as lines across parallel axes, one a parameter, and the metric as the last.

    :param columns: The values of each axis, one a run; those of ``by`` are numbers.
    :param by: The axis whose values colour the lines.
    :return: The figure.
    """
    dimensions = [_make_dimension(name, values) for name, values in columns.items()]
    line = {"color": [_plain_value(value) for value in columns[by]], "colorscale": "Viridis", "showscale": False}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, "labelangle": 0}
    return {"data": [trace], "layout": make_layout("", "", margin={"l": 60, "r": 60, "t": 56, "b": 24})}


def plot_importance(importance: Mapping[str, float], *, title: str) -> Figure:
    """Plot how much of the variance of a metric each parameter explains.

    :param importance: Shares by the parameters' names.
    :param title: What the shares are of.
    :return: The figure, the most important on top.
    """
    ordered = sorted(importance.items(), key=lambda entry: entry[1])
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [share for _, share in ordered],
        "y": [plain(name) for name, _ in ordered],
        "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{x:.2f}<extra></extra>",
        "width": 0.6,
    }
    return {"data": [bars], "layout": make_layout(title, "", height=80 + 34 * len(ordered), showlegend=False)}


def _make_dimension(name: str, values: Sequence[Value]) -> dict[str, Any]:
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if len(numbers) < len(values):
        texts = sorted({show_value(value, name) or "none" for value in values})
        places = {text: place for place, text in enumerate(texts)}
        ticks = {"tickvals": list(range(len(texts))), "ticktext": [shorten(text) for text in texts]}
        return {
            "label": plain(name),
            "values": [places[show_value(value, name) or "none"] for value in values],
            **ticks,
        }
    if min(numbers) > 0 and max(numbers) / min(numbers) >= 100:  # noqa: PLR2004  two decades
        exponents = range(math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers))) + 1)
        ticks = {"tickvals": list(exponents), "ticktext": [f"{10.0**exponent:g}" for exponent in exponents]}
        return {"label": plain(name), "values": [math.log10(number) for number in numbers], **ticks}
    return {"label": plain(name), "values": numbers}


def _find_band(summary: Summary, band: Band) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    if band == "range":
        return summary.minimum, summary.maximum
    import numpy as np

    deviation = np.nan_to_num(summary.deviation)
    return summary.mean - deviation, summary.mean + deviation


def _describe(name: str, description: Sequence[tuple[str, str]]) -> str:
    """Write what is said of a point: only what comes from runs is made plain."""
    lines = [f"<b>{plain(name)}</b>", *(f"{plain(title)}  {plain(text)}" for title, text in description)]
    return "<br>".join(lines)


def _plain_value(value: Value) -> str | float | None:
    if isinstance(value, str):
        return plain(value)
    return value if value is not None and math.isfinite(value) else None


def _numbers(values: "NDArray[np.float64]") -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _fade(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{SHADE})"
