"""What a page is made of: elements, links, pictures and charts, as plain data.

A text is a text: it becomes markup nowhere. How elements are shown is the business of the dashboard, which makes
components of Dash of them, and of a report, which makes HTML of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Figure = dict[str, Any]
"""A figure as Plotly has it: ``data`` and ``layout``."""
Node: TypeAlias = "Element | Link | Picture | Chart | str"


@dataclass(frozen=True)
class Element:
    """An element of HTML."""

    tag: str
    children: tuple[Node, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Its class, title and the like, as HTML names them; never what leads elsewhere or is executed."""


@dataclass(frozen=True)
class Link:
    """A way to another page."""

    children: tuple[Node, ...]
    page: str
    query: str = ""
    """What that page is to show, encoded as in an address."""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture among the artifacts of a run."""

    run_id: str
    path: str
    description: str


@dataclass(frozen=True)
class Chart:
    """A figure that answers to the mouse."""

    name: str
    """Tells it from others of the page."""
    figure: Figure
    description: str


def element(tag: str, *children: Node, classes: str = "", **attributes: str) -> Element:
    """Make an element.

    :param tag: Its tag.
    :param children: What is in it, in order.
    :param classes: Its classes.
    :param attributes: Further attributes; an underscore stands for a hyphen.
    :return: The element.
    """
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return Element(tag, children, {"class": classes, **named} if classes else named)


def link(page: str, *children: Node, query: str = "", classes: str = "", title: str = "") -> Link:
    """Make a link.

    :param page: Where it leads: the page's path.
    :param children: What is shown.
    :param query: What that page is to show.
    :param classes: Its classes.
    :param title: What is said of it when the mouse rests on it.
    :return: The link.
    """
    attributes = {name: value for name, value in (("class", classes), ("title", title)) if value}
    return Link(children, page, query, attributes)


def section(title: str, *children: Node, classes: str = "") -> Element:
    """Make a section under a heading."""
    return element("section", element("h2", title), *children, classes=classes)


def table(head: Iterable[Node], rows: Iterable[Iterable[Node]], *, classes: str = "") -> Element:
    """Make a table of cells; a cell that is no ``td`` or ``th`` yet is put into one.

    :param head: The titles.
    :param rows: The rows.
    :param classes: Its classes.
    :return: The table, in a frame that scrolls sideways where it is too wide.
    """
    body = element("tbody", *(element("tr", *(_in_cell(cell, "td") for cell in row)) for row in rows))
    titles = tuple(head)
    parts = [element("thead", element("tr", *(_in_cell(cell, "th") for cell in titles)))] if titles else []
    return element("div", element("table", *parts, body), classes=f"table {classes}".strip())


def read_text(node: Node) -> str:
    """Return the text in a node, as a reader sees it."""
    match node:
        case str():
            return node
        case Element() | Link():
            return "".join(read_text(child) for child in node.children)
        case Picture() | Chart():
            return node.description


def find_all(node: Node, kind: type | str) -> "list[Any]":
    """Find all nodes of a kind or tag, in their order, the node itself among them."""
    if isinstance(kind, str):
        found = [node] if isinstance(node, Element) and node.tag == kind else []
    else:
        found = [node] if isinstance(node, kind) else []
    children = node.children if isinstance(node, Element | Link) else ()
    return [*found, *(inner for child in children for inner in find_all(child, kind))]


def _in_cell(node: Node, tag: str) -> Node:
    return node if isinstance(node, Element) and node.tag in {"td", "th"} else element(tag, node)
