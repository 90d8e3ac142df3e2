"""The page of what differs between two runs: parameters, results, surroundings and code."""

import difflib
import io
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

from labkit.report.page.column import show_number
from labkit.report.page.element import Element, Node, element, link, read_text, section, table
from labkit.report.page.run import Details, list_provenance
from labkit.report.store import StoredRun
from labkit.tracking.provenance import compare_surroundings

LARGEST_FILE: Final = 2**19
"""Bytes of a file whose lines are compared."""
LARGEST_DIFFERENCE: Final = 2_000
"""Lines that are shown."""
CLASSES: Final = {"+": "added", "-": "removed", "@": "place"}
ABSENT: Final = "\N{EN DASH}"

Code = Mapping[str, bytes]
"""The files of a run's source by name."""


def read_code(archive: bytes | None) -> Code:
    """Read the files in an archive of a run's code; nothing is written anywhere.

    :param archive: ``source.tar.gz``, or None.
    :return: Contents by name; of a link where it leads.
    """
    if archive is None:
        return {}
    code: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            content = files.extractfile(member) if member.isreg() else None
            code[member.name] = content.read() if content else f"→ {member.linkname}\n".encode()
    return code


def compare_code(old: Code, new: Code) -> dict[str, list[str]]:
    """Compare the code of two runs.

    :param old: That of the one.
    :param new: That of the other.
    :return: The lines of a unified difference by file; of what is no text, or large, one line says so.
    """
    differences: dict[str, list[str]] = {}
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            differences[name] = _compare_files(before, after)
    return differences


def make_difference_page(
    first: StoredRun, second: StoredRun, details: Sequence[Details], code: Sequence[Code]
) -> Element:
    """Make the page.

    :param first: The one run.
    :param second: The other run.
    :param details: What is kept with each.
    :param code: The code of each.
    :return: The page.
    """
    head: list[Node] = [
        "",
        link(f"/run/{first.identifier}", first.name),
        link(f"/run/{second.identifier}", second.name),
    ]
    old, new = details
    surroundings = compare_surroundings(dict(old.surroundings), dict(new.surroundings))
    provenance = _differing(_read_provenance(first), _read_provenance(second))
    return element(
        "article",
        element("header", element("h1", "Two runs, and what differs")),
        section(
            "Parameters",
            _make_table(head, _differing(first.parameters, second.parameters), "The parameters are the same."),
        ),
        section("Results", table(["", *head[1:], "difference"], _list_results(first, second), classes="facts")),
        section("Provenance", _make_table(head, provenance, "Both come from the same place.")),
        section(
            "Environment",
            _make_table(head, [list(map(str, row)) for row in surroundings], "Both ran in the same environment."),
        ),
        section("Code", *_show_code(*code)),
        classes="difference",
    )


def make_choice_page(runs: Mapping[str, StoredRun], selected: Sequence[str]) -> Element:
    """Make the page that stands in until two runs are selected."""
    known = [runs[identifier].name for identifier in selected if identifier in runs]
    text = f"{known[0]} is selected: choose another run above." if len(known) == 1 else "Choose two runs above."
    return element("div", element("p", text, classes="empty"), classes="view")


def _compare_files(before: bytes | None, after: bytes | None) -> list[str]:
    contents = [content for content in (before, after) if content is not None]
    if any(len(content) > LARGEST_FILE for content in contents):
        return ["differs, and is too large to be shown"]
    try:
        old, new = ((content or b"").decode().splitlines() for content in (before, after))
    except UnicodeDecodeError:
        return ["differs, and is no text"]
    lines = list(difflib.unified_diff(old, new, lineterm=""))[2:]
    return lines or ["differs in how its lines end"]


def _show_code(old: Code, new: Code) -> list[Node]:
    if not old or not new:
        return [element("p", "Of these runs the code is not kept.", classes="empty")]
    differences = compare_code(old, new)
    if not differences:
        return [element("p", "Both executed the same code.", classes="empty")]
    left = LARGEST_DIFFERENCE
    shown: list[Node] = []
    for name, lines in differences.items():
        cut = lines[:left]
        left -= len(cut)
        rows = [element("span", line + "\n", classes=CLASSES.get(line[:1], "")) for line in cut]
        if len(cut) < len(lines):
            rows.append(element("span", f"… {len(lines) - len(cut):,} more lines\n", classes="place"))
        state = " (new)" if name not in old else " (removed)" if name not in new else ""
        shown.append(
            element("details", element("summary", name + state), element("pre", *rows, classes="code"), open="open")
        )
    return shown


def _read_provenance(run: StoredRun) -> dict[str, str]:
    return {read_text(name): read_text(text) for name, text in list_provenance(run, {})}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[list[str]]:
    names = sorted(old.keys() | new.keys())
    return [[name, old.get(name, ABSENT), new.get(name, ABSENT)] for name in names if old.get(name) != new.get(name)]


def _make_table(head: Sequence[Node], rows: Sequence[Sequence[str]], otherwise: str) -> Element:
    return table(head, rows, classes="facts") if rows else element("p", otherwise, classes="empty")


def _list_results(first: StoredRun, second: StoredRun) -> list[list[Node]]:
    rows: list[list[Node]] = []
    for name in sorted(first.metrics.keys() | second.metrics.keys()):
        if name.endswith("_step"):
            continue
        old, new = first.metrics.get(name), second.metrics.get(name)
        texts = [ABSENT if value is None else show_number(value) for value in (old, new)]
        difference = "" if old is None or new is None else f"{new - old:+.3g}"
        rows.append([name, *(element("td", text, classes="number") for text in (*texts, difference))])
    return rows
