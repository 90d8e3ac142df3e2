"""Tables for people and programs: Markdown, LaTeX and CSV."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

TableFormat = Literal["markdown", "latex", "csv"]
Cell = str | int | float | None

LATEX: Final = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "{}$&#%_"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"\ensuremath{\pm}",
    "\N{MINUS SIGN}": r"\ensuremath{-}",
}
MARKDOWN: Final = re.compile(r"[\\`*\[\]<>|~&!#]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read as more than text; not an underscore within a word."""
LARGEST_DECIMALS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, whose numbers all have the same number of decimals."""

    title: str
    decimals: int | None = None
    """None for as many as each number needs."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts and numbers."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def render(self, table_format: TableFormat) -> str:
        """Write the table down.

        :param table_format: How. In CSV numbers have all their digits.
        :return: Lines, each with its end.
        """
        match table_format:
            case "markdown":
                return self._render_markdown()
            case "latex":
                return self._render_latex()
            case "csv":
                return self._render_csv()

    def _render_markdown(self) -> str:
        rows = [[escape_markdown(text) for text in row] for row in self._texts()]
        widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(self.columns))]
        right = [self._is_of_numbers(column) for column in range(len(self.columns))]
        rule = ["-" * (width - 1) + (":" if flush else "-") for width, flush in zip(widths, right, strict=True)]
        lines = [
            [
                text.rjust(width) if flush else text.ljust(width)
                for text, width, flush in zip(row, widths, right, strict=True)
            ]
            for row in rows
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])

    def _render_latex(self) -> str:
        head, *body = ([escape_latex(text) for text in row] for row in self._texts())
        alignment = "".join("r" if self._is_of_numbers(column) else "l" for column in range(len(self.columns)))
        lines = [
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in body),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "".join(f"{line}\n" for line in lines)

    def _render_csv(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.title for column in self.columns])
        writer.writerows([["" if cell is None else cell for cell in row] for row in self.rows])
        return file.getvalue()

    def _texts(self) -> list[list[str]]:
        return [
            [column.title for column in self.columns],
            *([_show(cell, column) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows),
        ]

    def _is_of_numbers(self, column: int) -> bool:
        return all(not isinstance(row[column], str) for row in self.rows)


def stack(tables: Mapping[str, Table]) -> Table:
    """Put tables that differ in the title of a column into one, for a program.

    :param tables: One a metric, by its name, which is also the title of the column with its means.
    :return: The table, with the metric as the first column.
    """
    titles = [
        ["mean" if column.title == metric else column.title for column in table.columns]
        for metric, table in tables.items()
    ]
    rows = [[metric, *row] for metric, table in tables.items() for row in table.rows]
    return Table(columns=[Column(title=title) for title in ("metric", *titles[0])], rows=rows)


def choose_decimals(uncertainty: float) -> int:
    """Choose how many decimals numbers are worth: two digits of what is uncertain about them.

    :param uncertainty: Such as a standard deviation.
    :return: The number of decimals, 4 where nothing is uncertain.
    """
    if not uncertainty > 0:
        return 4
    return min(LARGEST_DECIMALS, max(0, 1 - math.floor(math.log10(uncertainty))))


def escape_markdown(text: str) -> str:
    """Make a text one that Markdown shows as it is, on one line."""
    return MARKDOWN.sub(lambda found: "\\" + found[0], " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Make a text one that LaTeX shows as it is, on one line."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))


def _show(cell: Cell, column: Column) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str | int):
        return str(cell)
    return f"{cell:.4g}" if column.decimals is None else f"{cell:.{column.decimals}f}"
