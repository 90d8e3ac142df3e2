"""What can stand in a column: any property, parameter or metric of a run."""

import datetime
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from labkit.report.store import StoredRun

Value = str | float | None
PROPERTIES: Final[Mapping[str, Callable[[StoredRun], Value]]] = {
    "name": lambda run: run.name,
    "id": lambda run: run.identifier,
    "state": lambda run: run.state,
    "started": lambda run: float(run.started),
    "took": lambda run: None if run.ended is None else (run.ended - run.started) / 1000,
    "experiment": lambda run: run.experiment,
    "session": lambda run: run.session,
    "entry point": lambda run: run.entry_point,
}
"""By name; a parameter of the same name is called ``parameter:name``."""
PREFIX: Final = "parameter:"
NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|-?inf|nan")
"""What is written as numbers are: 007 is a name."""
LARGEST: Final = sys.float_info.max
"""What a store keeps for infinity."""
SECONDS_OF_A_MINUTE: Final = 60
SECONDS_OF_AN_HOUR: Final = 3600


def read_value(run: StoredRun, column: str) -> Value:
    """Read what a run has in a column.

    :param run: The run.
    :param column: The name of a property, parameter or metric.
    :return: A number, also of a text that is one; a text; or None.
    """
    if column in PROPERTIES:
        return PROPERTIES[column](run)
    if column in run.metrics:
        value = run.metrics[column]
        return math.copysign(math.inf, value) if abs(value) >= LARGEST else value
    text = run.parameters.get(column.removeprefix(PREFIX))
    return None if text is None else read_number(text)


def read_number(text: str) -> str | float:
    """Return the number that a text is, or the text; so is one that no number is large enough for."""
    if not NUMBER.fullmatch(text):
        return text
    number = float(text)
    return text if math.isinf(number) and "inf" not in text else number


def list_columns(runs: Iterable[StoredRun]) -> tuple[list[str], list[str], list[str]]:
    """List the columns that runs have: properties, parameters and metrics, each sorted by name."""
    parameters, metrics = set[str](), set[str]()
    for run in runs:
        parameters.update(run.parameters)
        metrics.update(run.metrics)
    named = [PREFIX + name if name in PROPERTIES or name in metrics else name for name in sorted(parameters)]
    return list(PROPERTIES), named, sorted(metrics)


def find_varied(runs: Sequence[StoredRun]) -> list[str]:
    """Find the parameters that are not the same in all runs, sorted by name."""
    first = next(iter(runs), None)
    names = sorted(set[str]().union(*(run.parameters for run in runs)))
    return [
        name for name in names if first and any(run.parameters.get(name) != first.parameters.get(name) for run in runs)
    ]


def show_value(value: Value, column: str = "") -> str:
    """Write a value for people.

    :param value: The value.
    :param column: The column it stands in.
    :return: A text; times are those of this machine.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if column == "started":
        return show_time(value)
    if column == "took":
        return show_duration(value)
    return show_number(value)


def show_number(value: float) -> str:
    """Write a number with as many digits as matter to people."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    text = f"{value:.5g}"
    return str(int(value)) if value == int(value) and abs(value) < 10**9 else text


def show_time(milliseconds: float) -> str:
    """Write a time, such as 2026-03-01 14:05."""
    zone = datetime.datetime.now().astimezone().tzinfo
    return datetime.datetime.fromtimestamp(milliseconds / 1000, zone).strftime("%Y-%m-%d %H:%M")


def show_duration(seconds: float) -> str:
    """Write how long something took, such as 3.2 s, 4 min 10 s or 2 h 05 min."""
    if seconds < SECONDS_OF_A_MINUTE:
        return f"{seconds:.1f} s"
    if seconds < SECONDS_OF_AN_HOUR:
        return f"{seconds // SECONDS_OF_A_MINUTE:.0f} min {seconds % SECONDS_OF_A_MINUTE:02.0f} s"
    minutes = seconds // SECONDS_OF_A_MINUTE
    return f"{minutes // 60:.0f} h {minutes % 60:02.0f} min"


def order(value: Value) -> tuple[int, float, str]:
    """Return what sorts values: numbers by size, then texts; what is absent or NaN is told by :func:`is_absent`."""
    return (1, 0.0, value) if isinstance(value, str) else (0, value or 0.0, "")


def is_absent(value: Value) -> bool:
    """Tell whether a value has no place in an order; such rows come last, whichever way the others are sorted."""
    return value is None or (isinstance(value, float) and math.isnan(value))
