import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labkit.command import UsageError
from labkit.recipe.configuration import describe
from labkit.recipe.context import DataCache
from labkit.training.duration import Duration
from tests.project import Project

Function = Callable[..., int]


def plain(value: int) -> int:
    return value


def enclose(count: int) -> Function:
    def function(value: int) -> int:
        return count * value

    return function


def enclose_itself(count: int) -> Function:
    def function(value: int) -> int:
        return count if value else function(1)

    return function


class Callables:
    """Its objects differ in what they hold."""

    def __init__(self, count: object) -> None:
        self.count = count

    def __call__(self, value: int) -> int:
        return value

    def method(self, value: int) -> int:
        return value


class Selective(Callables):
    """Says what of it counts."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"count": self.count}


class Slotted:
    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


def default(count: int) -> Function:
    return lambda value, factor=count: factor * value


def default_by_name(count: int) -> Function:
    return lambda value, *, factor=count: factor * value


@pytest.mark.parametrize(
    "make",
    [
        enclose,
        enclose_itself,
        default,
        default_by_name,
        Callables,
        Selective,
        Slotted,
        lambda count: Callables(count).method,
        lambda count: partial(plain, count),
        lambda count: enclose([{"deep": Callables(count)}]),  # pyright: ignore[reportArgumentType]
        lambda count: Callables(np.array([count])),
        lambda count: Callables(torch.full((200,), count)),
        lambda count: Callables(torch.nn.Threshold(count, 0)),
    ],
)
def test_what_a_function_or_an_object_holds_is_part_of_its_description(make: Callable[[int], Any]) -> None:
    assert describe(make(5)) == describe(make(5))
    assert describe(make(5)) != describe(make(7))


def test_descriptions_are_short_where_a_name_says_all() -> None:
    assert describe(plain) == f"{plain.__module__}.plain"
    assert describe([1, float("nan"), "a", Path("b"), Duration(2, "epochs"), torch.float32, np.int64(3)]) == [
        *(1, "NaN", "a", "b", "2 epochs", "torch.float32", 3),
    ]


def test_what_cannot_be_told_from_another_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^a step cannot hold <.*lock.*>: nobody could tell whether it has changed\.$"
    ):
        describe(Callables(threading.Lock()))


def test_functions_of_one_name_load_data_of_their_own(project: Project) -> None:
    load: Any = DataCache(project.environment)
    first, second = enclose(1), enclose(2)
    assert (load(lambda _: first), load(lambda _: second)) == (first, second)
    calls: list[int] = []
    assert [load(calls.append), load(calls.append)] == [None, None]
    assert len(calls) == 1
