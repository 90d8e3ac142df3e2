"""What a page is to show, as its address says."""

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, Self, cast, get_args
from urllib.parse import parse_qs, urlencode

Grouping = Literal["runs", "seeds", "sessions"]
"""A row a run; a row a configuration with all its seeds; the same, under headings of sessions."""
Band = Literal["deviation", "range", "none"]
"""What is drawn around a mean: its standard deviation, or all from minimum to maximum."""
SEPARATOR: Final = ","


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a page is to show; what it does not need, it passes over."""

    filter: str = ""
    """A condition, as :mod:`labkit.report.page.condition` reads it."""
    sort: str = "-started"
    """The name of a column; with a hyphen before it, from the largest down."""
    page: int = 1
    grouping: Grouping = "runs"
    columns: tuple[str, ...] = ()
    """None for those that tell the runs apart."""
    selected: tuple[str, ...] = ()
    """Ids of runs."""
    metric: str = ""
    figure: str = ""
    """The name that the pictures of a series have in common."""
    x: str = ""
    y: str = ""
    band: Band = "deviation"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what stands in an address after the question mark; what cannot be understood is left out."""
        values: dict[str, Any] = {}
        given = parse_qs(text.removeprefix("?"))
        for field in fields(cls):
            word = given.get(field.name, [""])[-1]
            if word:
                values[field.name] = _read(field.name, word, field.default)
        return cls(**values)

    def encode(self, **changes: Any) -> str:
        """Write what would stand in an address, if some of it were different.

        :param changes: New values by name.
        :return: The text; what is as by default is left out.
        """
        changed = replace(self, **changes)
        values = {field.name: getattr(changed, field.name) for field in fields(self) if _differs(changed, field)}
        return urlencode({name: _write(value) for name, value in values.items()})

    @property
    def column(self) -> str:
        """The column to sort by."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")


def _read(name: str, word: str, default: object) -> Any:
    choices = {"grouping": get_args(Grouping), "band": get_args(Band)}.get(name)
    if choices is not None:
        return word if word in choices else default
    if isinstance(default, int):
        return max(1, int(word)) if word.isdecimal() and len(word) < len(str(2**31)) else default
    if isinstance(default, tuple):
        return tuple(part.replace("%2C", SEPARATOR).replace("%25", "%") for part in word.split(SEPARATOR) if part)
    return word


def _write(value: Any) -> str:
    if isinstance(value, tuple):
        parts = cast("tuple[str, ...]", value)
        return SEPARATOR.join(part.replace("%", "%25").replace(SEPARATOR, "%2C") for part in parts)
    return str(value)


def _differs(query: Query, field: Any) -> bool:
    return getattr(query, field.name) != field.default
