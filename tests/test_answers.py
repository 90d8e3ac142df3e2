"""Answers come out of a generated project as they were typed, whatever they are, and bad ones are refused."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from combination import COMBINATIONS, FREE_TEXT
from markdown_it import MarkdownIt
from project import Project, render

PLAIN = {name: f"plain{name.replace('_', '')}" for name in FREE_TEXT} | {"author_email": "plain@example.org"}


def python_texts(text: str) -> list[object]:
    """List the constants and names of a Python file, in order."""
    nodes = list(ast.walk(ast.parse(text)))
    constants: list[object] = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return constants + [node.id for node in nodes if isinstance(node, ast.Name)]


def shell_words(text: str) -> list[str]:
    return shlex.split(text, comments=True)


def markdown_texts(text: str) -> list[tuple[str, str]]:
    """List what a page of Markdown shows, in order: its blocks, each with its text."""
    shown: list[tuple[str, str]] = []
    for block in MarkdownIt().enable("table").enable("strikethrough").parse(text):
        inline = "".join(
            token.content if token.type in {"text", "text_special"} else f"[{token.type}{token.content}]"
            for token in block.children or []
        )
        shown.append((block.type, inline or block.content))
    return shown


# How each kind of file is read in which an answer can stand; all others are compared as text.
PARSERS: dict[str, Callable[[str], object]] = {
    ".cff": yaml.safe_load,
    ".envrc": shell_words,
    ".json": json.loads,
    ".md": markdown_texts,
    ".py": python_texts,
    ".sh": shell_words,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    "MLproject": yaml.safe_load,
}


def with_answers(value: object, answers: Mapping[str, str]) -> object:
    """Put answers in the places of the plain ones, anywhere in a parsed file."""
    match value:
        case str():
            return re.sub("|".join(map(re.escape, PLAIN.values())), lambda found: answers[NAMES[found[0]]], value)
        case dict():
            return {with_answers(key, answers): with_answers(item, answers) for key, item in value.items()}
        case list():
            return [with_answers(item, answers) for item in value]
        case tuple():
            return tuple(with_answers(item, answers) for item in value)
        case _:
            return value


NAMES = {answer: name for name, answer in PLAIN.items()}


def test_free_text_comes_out_of_every_file_as_it_was_typed(combination: str, project: Project, tmp_path: Path) -> None:
    """A project with plain words in the places of the free text differs from this one by exactly these words."""
    typed = json.loads(project.read(".labkit.json"))["answers"]
    assert {name: typed[name] for name in COMBINATIONS[combination]} == COMBINATIONS[combination]

    names = {name: typed[name] for name in ("project_slug", "package_name")}
    plain = render(tmp_path, {**COMBINATIONS[combination], **names, **PLAIN})

    assert plain.files() == project.files()
    for file in project.files():
        parse = PARSERS.get(file.suffix or file.name, str)
        assert with_answers(parse(plain.read(file)), typed) == parse(project.read(file)), file
