import json
import math

import numpy as np
import torch

from labkit.recipe.result import LARGEST_ARRAY, Result, collect, decode_number, encode_numbers


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
            "accuracy": 0.5,
        }
    )
    assert result.scores == {"accuracy": 0.5}
    assert result.data == {}
    assert result.faults.keys() == {"model", "large", "cycle", "deep"}
    assert result.faults["model"] == "a value of type Linear cannot be stored"
    assert result.faults["large"] == "an array of 10,001 elements is too large to be stored: keep it as a file"
    assert result.faults["deep"] == "a value of type bytes cannot be stored"


def test_numbers_that_json_has_not_come_back() -> None:
    text = json.dumps(encode_numbers({"a": [math.nan, math.inf, -math.inf, 1.5]}), allow_nan=False)
    assert text == '{"a": ["NaN", "Infinity", "-Infinity", 1.5]}'
    first, *rest = [decode_number(value) for value in json.loads(text)["a"]]
    assert math.isnan(first)
    assert rest == [math.inf, -math.inf, 1.5]
