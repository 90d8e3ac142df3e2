"""The consoles that a page of the documentation shows: commands, and what they print."""

import doctest
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from project import run

MARK = "\N{SYMBOL FOR END OF TRANSMISSION}"


@dataclass(frozen=True)
class Example:
    """A command, and what it prints; `...` stands for anything."""

    command: str
    output: str


def read_examples(page: Path) -> Iterator[Example]:
    """Read the indented lines of a page that begin with a dollar sign and a space, and what stands below each."""
    for block in re.findall(r"(?m)(?:^    .*\n)+", page.read_text(encoding="utf-8")):
        for example in re.split(r"(?m)^    \$ ", block)[1:]:
            command, _, output = example.partition("\n")
            yield Example(command, re.sub(r"(?m)^    ", "", output))


def check_page(page: Path, *, folder: Path, variables: Mapping[str, str], within: Sequence[str | Path] = ()) -> None:
    """Type all commands of a page into one shell, and compare what they print with what the page says.

    :param page: The page.
    :param folder: The working directory.
    :param variables: Environment variables to set.
    :param within: A command line that runs the shell.
    """
    examples = list(read_examples(page))
    script = "exec 2>&1\n" + "".join(f"{example.command}\nprintf %s {MARK}\n" for example in examples)
    printed = run(*within, "bash", "-c", script, folder=folder, variables=variables).stdout.split(MARK)
    checker = doctest.OutputChecker()
    for example, output in zip(examples, printed, strict=False):
        if not checker.check_output(example.output, output, doctest.ELLIPSIS):
            raise AssertionError(f"$ {example.command}\nprinted\n{output}and not\n{example.output}")
    assert len(printed) == len(examples) + 1
