from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from labkit.command import Limits, command
from labkit.option_group import OptionGroup, flatten


@dataclass(frozen=True, kw_only=True)
class Colours(OptionGroup):
    """How it looks.

    :param hue: The colour.
    :param shades: How many there are.
    """

    hue: Literal["red", "blue"] = "red"
    shades: Annotated[int, Limits(least=1)] = 2


def paint(*, size: int = 1, colours: Colours = Colours(shades=5)) -> None:
    """Paint.

    :param size: How large.
    """
    print(size, colours.hue, colours.shades)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "1 red 5"),
        (["--hue", "blue"], "1 blue 5"),
        (["--shades", "3", "--size", "2"], "2 red 3"),
    ],
)
def test_the_fields_are_options(words: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(flatten(paint)).main(words) == 0
    assert capsys.readouterr().out == f"{printed}\n"


def test_what_is_out_of_a_fields_limits_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(flatten(paint)).main(["--shades", "0"]) == 2
    assert capsys.readouterr().err == "paint: --shades is 0: it takes a number from 1.\n"


def test_a_caller_may_give_the_group(capsys: pytest.CaptureFixture[str]) -> None:
    flatten(paint)(colours=Colours(hue="blue"))
    assert capsys.readouterr().out == "1 blue 2\n"


def test_a_function_without_groups_is_left_as_it_is() -> None:
    def plain(*, size: int = 1) -> int:
        return size

    assert flatten(plain) is plain
