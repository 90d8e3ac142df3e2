import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.command import UsageError
from labkit.launch.arguments import combine, parse_argument_sets, parse_arguments, write_arguments
from labkit.tracking.parameter import Plain, Word, encode, interpret

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1,b=text", {"a": "1", "b": "text"}),
        (" learning-rate = 0.1 , b = two words ", {"learning_rate": "0.1", "b": "two words"}),
        ("a='x,y=z'", {"a": "x,y=z"}),
        ('a="it\'s"', {"a": "it's"}),
        (r"a='it\'s \\ here'", {"a": r"it's \ here"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": ""}),
        ("a=''", {"a": ""}),
        ("a=[1, 2]", {"a": ["1", "2"]}),
        ("a=[],b=['x,]', [y]]", {"a": [], "b": ["x,]", ["y"]]}),
        ("a=-1e-05", {"a": "-1e-05"}),
        ("a=None,b='None'", {"a": "None", "b": "None"}),
    ],
)
def test_arguments_are_read(text: str, arguments: dict[str, Plain]) -> None:
    assert parse_arguments(text) == arguments


def test_only_what_stands_without_quotes_may_mean_something_else_than_text() -> None:
    arguments = parse_arguments("a=None,b='None'")
    assert [type(value) for value in arguments.values()] == [Word, str]
    assert interpret(arguments["a"], str | None) is None
    assert interpret(arguments["b"], str | None) == "None"
    assert interpret(arguments["a"], str) == "None"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1", "it does not begin with a name"),
        ("a=1,2", "'a' has several values"),
        ("a=1,", "'a' has several values"),
        ("a=1,a=2", "'a' stands twice"),
        ("learning-rate=1,learning_rate=2", "'learning_rate' stands twice"),
        ("a='x", "a quote does not end"),
        ("a='x'y", "a quote does not end, or something follows it"),
        ("a='x']", "a comma is missing before ']'"),
        ("a=[1", "a list does not end"),
        ("a=[1]2", "something follows a list"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_arguments(text)
    assert str(error.value).startswith(f"--arguments is {text!r}: {reason}")


def test_argument_sets_are_all_combinations() -> None:
    sets = parse_argument_sets("a=1,2,3,b=4,'5,c=6'")
    assert sets == {"a": ["1", "2", "3"], "b": ["4", "5,c=6"]}
    assert [tuple(one.values()) for one in combine(sets)] == [
        (a, b) for a in ("1", "2", "3") for b in ("4", "5,c=6")
    ]  # fmt: skip


@given(st.dictionaries(NAMES, st.recursive(TEXTS, st.lists, max_leaves=5)))
def test_any_text_comes_back_as_it_was_written(arguments: dict[str, Plain]) -> None:
    assert parse_arguments(write_arguments(arguments)) == arguments


@given(st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.none())
def test_any_value_comes_back_as_its_type_reads_it(value: Any) -> None:
    (read,) = parse_arguments(write_arguments({"a": value})).values()
    hint = int | None if value is None else type(value) | None
    assert interpret(read, hint) == value
    assert type(interpret(read, hint)) is type(value)


@given(TEXTS)
def test_a_quoted_text_is_never_taken_for_another_argument(text: str) -> None:
    assert parse_arguments(write_arguments({"a": text, "b": "x"})) == {"a": text, "b": "x"}


@pytest.mark.parametrize(
    ("value", "hint", "sentence"),
    [
        (1.5, int, "a whole number"),
        (True, int, "a whole number"),
        ("x", float, "a number"),
        (1, bool, "true or false"),
        ("true", bool, "true or false"),
        (1, str, "text, in quotes"),
        ("x", list[int], "a list"),
        ([1, 2, 3], tuple[int, int], "a list of 2"),
        (None, int, "a whole number"),
        ({"a": 1}, str, "text, in quotes"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, hint: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        interpret(value, hint)


@pytest.mark.parametrize(
    ("value", "hint", "argument"),
    [
        (1, float, 1.0),
        ("1e-3", float, 0.001),
        (Word("true"), bool, True),
        (Word("no"), bool, False),
        (["1", 2], tuple[float, ...], (1.0, 2.0)),
        ("3", int | None, 3),
        (0, int | None, 0),
        (math.inf, float, math.inf),
    ],
)
def test_a_value_is_read_by_its_type(value: Any, hint: Any, argument: Any) -> None:
    assert interpret(value, hint) == argument
    assert encode(interpret(value, hint)) == encode(argument)
