"""Conditions that select runs: ``learning_rate>0.01 state=finished cnn``."""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final

from labkit.report.page.column import PROPERTIES, Value, is_absent, order, read_number, read_value, show_value
from labkit.report.store import StoredRun

TERM: Final = re.compile(
    r"""(?P<name>"[^"]+"|[^\s"<>=!~]+)\s*(?P<sign><=|>=|!=|=|<|>|~)\s*(?P<value>"[^"]*"|[^\s"]+)"""
    r"""|"(?P<quoted>[^"]*)"|(?P<word>\S+)"""
)
Place = tuple[int, float, str]
"""What :func:`labkit.report.page.column.order` returns."""
SIGNS: Final[Mapping[str, Callable[[Place, Place], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
Condition = Callable[[StoredRun], bool]


def parse_condition(text: str) -> Condition:
    """Read a condition, all of whose terms have to hold.

    A term is a column, a sign and a value, as in ``validation/accuracy>=0.9``, ``state!=failed`` or ``name~baseline``,
    which looks within the text; or a word, which is looked for in names and parameters. Quotes hold spaces together.

    :param text: The condition; an empty one holds for all runs.
    :return: Tells whether a run meets it.
    """
    terms = [_read_term(found) for found in TERM.finditer(text)]
    return lambda run: all(term(run) for term in terms)


def _read_term(found: re.Match[str]) -> Condition:
    if found["sign"] is None:
        word = (found["quoted"] if found["quoted"] is not None else found["word"]).lower()
        return lambda run: any(word in text.lower() for text in _list_texts(run))
    name, sign, text = found["name"].strip('"'), found["sign"], found["value"].strip('"')
    if sign == "~":
        return lambda run: text.lower() in _show(run, name).lower()
    if sign == "!=":
        return lambda run: not _compare(read_value(run, name), "=", text, name)
    return lambda run: _compare(read_value(run, name), sign, text, name)


def _compare(value: Value, sign: str, text: str, name: str) -> bool:
    if is_absent(value):
        return False
    if name == "started":  # as it is shown, so that started>2026-03 works
        return SIGNS[sign](order(show_value(value, name)), order(text))
    place, other = order(value), order(read_number(text))
    is_comparable = place[0] == other[0]  # a text is neither more nor less than a number
    return is_comparable and SIGNS[sign](place, other)


def _show(run: StoredRun, name: str) -> str:
    return show_value(read_value(run, name), name) if name in PROPERTIES else run.parameters.get(name, "")


def _list_texts(run: StoredRun) -> list[str]:
    return [run.name, run.identifier, run.state, run.experiment, run.session or "", *run.parameters.values()]
