import enum
import json
import typing
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import hypothesis
import pytest
from hypothesis import strategies

from labkit.tracking.parameter import Plain, decode, encode
from labkit.training.duration import Duration


class Colour(enum.Enum):
    RED = "#f00"
    BLUE = "#00f"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    FLAT = "a flat one"


DURATIONS = strategies.builds(
    Duration, strategies.integers(min_value=1), strategies.sampled_from(typing.get_args(Literal["epochs", "steps"]))
)
VALUES: dict[Any, strategies.SearchStrategy[Any]] = {
    bool: strategies.booleans(),
    int: strategies.integers(),
    float: strategies.floats(allow_nan=False),
    str: strategies.text(),
    PurePosixPath: strategies.text().map(PurePosixPath),
    Colour: strategies.sampled_from(Colour),
    Level: strategies.sampled_from(Level),
    Word: strategies.sampled_from(Word),
    Duration: DURATIONS,
    Literal["a", "b"]: strategies.sampled_from(["a", "b"]),
}


def contain(hint: Any, values: strategies.SearchStrategy[Any]) -> strategies.SearchStrategy[tuple[Any, Any]]:
    """Return annotations of containers of a type, each with a value."""
    return strategies.one_of(
        strategies.tuples(strategies.just(hint), values),
        strategies.tuples(strategies.just(hint | None), values | strategies.none()),
        strategies.tuples(strategies.just(list[hint]), strategies.lists(values)),
        strategies.tuples(strategies.just(tuple[hint, ...]), strategies.lists(values).map(tuple)),
        strategies.tuples(strategies.just(tuple[hint, str]), strategies.tuples(values, strategies.text())),
        strategies.tuples(strategies.just(list[hint] | None), strategies.lists(values) | strategies.none()),
    )


@hypothesis.given(strategies.one_of([contain(hint, values) for hint, values in VALUES.items()]))
def test_an_argument_comes_back_from_json_as_it_was(case: tuple[Any, Any]) -> None:
    hint, value = case
    restored = decode(json.loads(json.dumps(encode(value))), hint)
    assert restored == value
    assert type(restored) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (-3, -3),
        (1e-5, 1e-5),
        ("a, b=c\n", "a, b=c\n"),
        (Colour.RED, "RED"),
        (Level.HIGH, "HIGH"),
        (Word.FLAT, "FLAT"),
        (Path("a/b"), "a/b"),
        (Duration(1, "epochs"), "1 epoch"),
        ((1, "x", None), [1, "x", None]),
        ([[1.5], []], [[1.5], []]),
    ],
)
def test_an_argument_is_recorded_as_plain_data(value: object, plain: Plain) -> None:
    assert encode(value) == plain
    assert type(encode(value)) is type(plain)


def test_the_same_set_is_always_recorded_alike() -> None:
    names = [f"name {number}" for number in range(20)]
    assert encode(set(names)) == encode(frozenset(names)) == sorted(names)


def test_a_set_comes_back() -> None:
    assert decode(encode({Colour.RED, Colour.BLUE}), set[Colour]) == {Colour.RED, Colour.BLUE}


def test_a_whole_number_for_a_fraction_becomes_one() -> None:
    restored = decode(encode(1), float)
    assert restored == 1.0
    assert type(restored) is float


@pytest.mark.parametrize("value", [3, "3", None])
def test_of_several_types_the_one_that_fits_is_taken(value: float | str | None) -> None:
    restored = decode(encode(value), int | str | None)
    assert restored == value
    assert type(restored) is type(value)
