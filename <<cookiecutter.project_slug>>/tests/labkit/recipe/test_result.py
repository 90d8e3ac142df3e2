import json
import math

import numpy as np
import torch

from labkit.recipe.result import LARGEST_ARRAY, Result, collect, decode_numbers, encode_numbers


def test_numbers_are_scores_and_all_else_that_is_plain_is_data() -> None:
    result = collect(
        {
            "int": 3,
            "float": 0.5,
            "numpy": np.float32(0.25),
            "tensor": torch.tensor(2),
            "single": torch.tensor([7.0]),
            "flag": True,
            "text": "word",
            "list": [1, 2.5],
            "array": np.arange(3),
            "nested": {"tensor": torch.ones(2), 3: None},
        }
    )
    assert result == Result(
        scores={"int": 3.0, "float": 0.5, "numpy": 0.25, "tensor": 2.0, "single": 7.0},
        data={
            "flag": True,
            "text": "word",
            "list": [1, 2.5],
            "array": [0, 1, 2],
            "nested": {"tensor": [1.0, 1.0], "3": None},
        },
    )


def test_a_value_that_cannot_be_kept_costs_no_other_one() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    result = collect(
        {
            "model": torch.nn.Linear(1, 1),
            "large": np.zeros(LARGEST_ARRAY + 1),
            "cycle": cycle,
            "deep": {"in": [b"bytes"]},
            "complex": np.array([1 + 2j]),
            "dates": np.array(["2026-01-01"], dtype="datetime64[D]"),
            "huge": 10**400,
            "huger": [10**5000],
            "sparse": torch.eye(2).to_sparse(),
            "meta": torch.empty(2, device="meta"),
            "nothing": None,
            "endless": Endless(),
            "accuracy": 0.5,
        }
    )
    assert result.scores == {"accuracy": 0.5}
    assert result.data == {}
    assert sorted(result.faults) == sorted(
        ["model", "large", "cycle", "deep", "complex", "dates", "huge", "huger", "sparse", "meta", "nothing", "endless"]
    )
    assert all(result.faults.values())
    assert result.faults["model"] == "a value of type Linear cannot be stored"
    assert result.faults["large"] == "an array of 10,001 elements is too large to be stored: keep it as a file"
    assert result.faults["deep"] == "a value of type bytes cannot be stored"
    assert result.faults["complex"] == "a value of type complex cannot be stored"
    assert result.faults["nothing"] == "it is None"


class Endless:
    """Nothing that would ever become plain."""

    size = 1

    def tolist(self) -> "Endless":
        return self


def test_what_is_not_finite_is_the_same_before_and_after_it_was_stored() -> None:
    result = collect({"losses": [math.nan, math.inf], "loss": math.nan, 3: {"a": np.float32("-inf")}})  # pyright: ignore[reportArgumentType]  as users do
    assert result.data == {"losses": ["NaN", "Infinity"], "3": {"a": "-Infinity"}}
    assert json.loads(json.dumps(result.data, allow_nan=False)) == result.data
    assert math.isnan(result.scores["loss"])


def test_numbers_that_json_has_not_come_back() -> None:
    text = json.dumps(encode_numbers({"a": [math.nan, math.inf, -math.inf, 1.5]}), allow_nan=False)
    assert text == '{"a": ["NaN", "Infinity", "-Infinity", 1.5]}'
    first, *rest = decode_numbers(json.loads(text))["a"]
    assert math.isnan(first)
    assert rest == [math.inf, -math.inf, 1.5]
