import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest

from labkit.command import Limits, UsageError, command, parse
from labkit.training.duration import Duration


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def paint(
    *,
    width: float = 1.5,
    layers: int = 2,
    glossy: bool = False,
    colour: Colour = Colour.RED,
    brush: Literal["flat", "round"] = "flat",
    sizes: Sequence[int] = (1, 2),
    text: str = "",
    path: Path | None = None,
    drying: Duration | None = None,
) -> None:
    """Paint a wall.

    :param width: How wide.
    :param layers: How many layers.
    :param glossy: Whether it shines.
    :param colour: Which colour.
    :param brush: Which brush.
    :param sizes: Which sizes.
    :param text: What is written on it.
    :param path: Where it is.
    :param drying: How long it dries.
    """


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], {}),
        (["--width", "0.25"], {"width": 0.25}),
        (["--width=-0.25"], {"width": -0.25}),
        (["--width", "-0.25"], {"width": -0.25}),
        (["--width", "-1e-3"], {"width": -1e-3}),
        (["--layers", "-3"], {"layers": -3}),
        (["--glossy"], {"glossy": True}),
        (["--no-glossy"], {"glossy": False}),
        (["--colour", "BLUE"], {"colour": Colour.BLUE}),
        (["--brush", "round"], {"brush": "round"}),
        (["--sizes", "3", "-4"], {"sizes": [3, -4]}),
        (["--sizes"], {"sizes": []}),
        (["--text", "ü = 1,\n'2' $(x)"], {"text": "ü = 1,\n'2' $(x)"}),
        (["--text", ""], {"text": ""}),
        (["--text=--layers=3"], {"text": "--layers=3"}),
        (["--text=a_b"], {"text": "a_b"}),
        (["--path", "a/b"], {"path": Path("a/b")}),
        (["--drying", "2 steps"], {"drying": Duration(2, "steps")}),
        (["--width", "1.5"], {"width": 1.5}),
    ],
)
def test_a_command_line_becomes_exactly_the_arguments_given(words: list[str], arguments: dict[str, object]) -> None:
    assert parse(paint, words) == arguments


def test_an_option_may_be_written_with_underscores() -> None:
    def train(*, learning_rate: float = 0.1) -> None:
        """Train.

        :param learning_rate: The size of a step.
        """

    assert parse(train, ["--learning_rate", "0.5"]) == {"learning_rate": 0.5}
    assert parse(train, ["--learning_rate=0.5"]) == {"learning_rate": 0.5}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--layer", "3"], "there is no option --layer: did you mean --layers? `paint --help` lists all."),
        (["--xyz=3"], "there is no option --xyz: `paint --help` lists all."),
        (["--layers", "many"], "--layers takes a value of type int, not 'many'."),
        (["--layers", "2.5"], "--layers takes a value of type int, not '2.5'."),
        (["--layers", "1\n2"], r"--layers takes a value of type int, not '1\n2'."),
        (["--width"], "--width: expected one argument; see `paint --help`."),
        (
            ["--drying", "soon\nor late"],
            r"'soon\nor late' is no duration: write a whole number of epochs or steps, such as '10 epochs'.",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(paint).main(words) == 2
    assert capsys.readouterr() == ("", f"paint: {sentence}\n")


@pytest.mark.parametrize(("option", "choices"), [("--brush", "'flat', 'round'"), ("--colour", "'RED', 'BLUE'")])
def test_a_choice_that_is_none_is_answered_with_the_choices(option: str, choices: str) -> None:
    with pytest.raises(UsageError, match=rf"^{option}: invalid choice: 'x' \(choose one of {choices}\); see `paint "):
        parse(paint, [option, "x"])


def mix(
    *,
    rate: Annotated[float, Limits(above=0)] = 0.1,
    share: Annotated[float | None, Limits(least=0, most=1)] = None,
    sizes: Annotated[Sequence[int], Limits(least=1)] = (1, 2),
) -> None:
    """Mix colours.

    :param rate: How fast.
    :param share: How much.
    :param sizes: Which sizes.
    """


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["--rate", "1e-30"], {"rate": 1e-30}),
        (["--share", "0"], {"share": 0.0}),
        (["--share", "1"], {"share": 1.0}),
        (["--sizes", "1", f"1{400 * '0'}"], {"sizes": [1, 10**400]}),
        (["--sizes"], {"sizes": []}),
    ],
)
def test_numbers_within_their_limits_are_taken(words: list[str], arguments: dict[str, object]) -> None:
    assert parse(mix, words) == arguments


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rate", "0"], "--rate is 0.0: it takes a number above 0."),
        (["--rate", "-1e-3"], "--rate is -0.001: it takes a number above 0."),
        (["--rate", "nan"], "--rate is nan: it takes a number above 0."),
        (["--rate", "inf"], "--rate is inf: it takes a number above 0."),
        (["--share", "1.5"], "--share is 1.5: it takes a number from 0 to 1."),
        (["--sizes", "3", "0"], "--sizes is 0: it takes a number from 1."),
    ],
)
def test_other_numbers_are_refused_in_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(mix).main(words) == 2
    assert capsys.readouterr() == ("", f"mix: {sentence}\n")


def test_limits_do_not_show_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(mix, ["--help"])
    text = capsys.readouterr().out
    assert "--rate RATE" in text
    assert "(default: 0.1)" in text


def test_a_positional_argument_that_is_missing_is_named() -> None:
    def show(path: Path) -> None:
        """Show a file.

        :param path: The file.
        """

    assert parse(show, ["a.txt"]) == {"path": Path("a.txt")}
    with pytest.raises(UsageError, match=r"^the following arguments are required: path; see `show --help`\.$"):
        parse(show, [])


def test_help_shows_the_defaults_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(paint, ["--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    assert text.startswith("usage: paint ")
    assert "How wide." in text
    assert "1.5" in text
    assert "Colour.RED" not in text


def test_a_command_is_still_the_function() -> None:
    @command
    def double(*, number: int) -> int:
        """Double a number.

        :param number: The number.
        """
        return 2 * number

    assert double(number=4) == 8


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3), ("done", 0)])
def test_the_exit_code_is_what_the_function_returns_if_that_is_a_number(returned: object, code: int) -> None:
    @command
    def check() -> object:
        """Check."""
        return returned

    assert check.main([]) == code


def test_a_usage_error_within_the_function_is_one_sentence_too(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def data_verify() -> None:
        """Verify."""
        raise UsageError("there is no data: fetch it first.")

    assert data_verify.main([]) == 2
    assert capsys.readouterr().err == "data-verify: there is no data: fetch it first.\n"


def test_any_other_error_is_left_to_python() -> None:
    @command
    def fail() -> None:
        """Fail."""
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        fail.main([])
