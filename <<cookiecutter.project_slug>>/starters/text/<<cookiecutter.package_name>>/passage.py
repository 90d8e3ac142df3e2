"""Passages of text: paragraphs of SciPy's documentation, each about the topic of the package that it is from."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

TOPICS: Final = ("interpolate", "linalg", "ndimage", "optimize", "signal", "special")
"""Packages of SciPy; their numbers are the classes."""
FEWEST_WORDS: Final = 12
"""Of a passage: headings and lists of names tell too little."""
LENGTH: Final = 64
"""Words of a passage that count: what is longer is cut, what is shorter filled up."""
WORD: Final = re.compile(r"[a-z]{2,}")


class Passage(NamedTuple):
    """A paragraph, and where it stands."""

    topic: str
    source: str
    """The file and the name of what it documents."""
    text: str


def read_passages() -> list[Passage]:
    """Read the documentation of SciPy as it is installed; of paragraphs that begin alike only the first."""
    import scipy

    folder = Path(scipy.__file__).parent
    files = [file for topic in TOPICS for file in sorted((folder / topic).glob("*.py"))]
    passages = [passage for file in files for passage in find_passages(file)]
    first = {tuple(find_words(passage.text)[:LENGTH]): passage for passage in reversed(passages)}
    return list(first.values())[::-1]


def find_passages(file: Path) -> Iterator[Passage]:
    """Find the paragraphs of prose in the docstrings of a module.

    :param file: The module, in the folder of its topic.
    :return: Each paragraph, its white space made single.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = node.name if not isinstance(node, ast.Module) else ""
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                if ">>>" not in paragraph and len(find_words(paragraph)) >= FEWEST_WORDS:
                    yield Passage(file.parent.name, f"{file.name}:{name}", " ".join(paragraph.split()))


def find_words(text: str) -> list[str]:
    """Find the words of a text, in lower case; numbers, signs and single letters are none."""
    return WORD.findall(text.lower())
