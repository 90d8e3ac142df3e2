"""What a step leaves: numbers to judge by, and other plain data to look at."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, SupportsFloat, cast

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What JSON can hold."""

LARGEST_ARRAY: Final = 10_000
"""Elements; what is larger is an artifact, and no result."""
NAMES: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that JSON has not."""


@dataclass(frozen=True)
class Result:
    """What a step leaves."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """Numbers by name; also those that are not finite."""
    data: Mapping[str, Plain] = field(default_factory=dict)
    """All else that is plain, by name; numbers in it that are not finite are the texts that stand for them."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Why a value could not be kept, by its name."""


def collect(values: Mapping[str, object]) -> Result:
    """Sort what a step returns; a value that cannot be kept costs no other one.

    :param values: By name: numbers, also as tensors or arrays of one element, and what lists and mappings hold.
    :return: Scores, data, and what could not be kept.
    """
    scores: dict[str, float] = {}
    data: dict[str, Plain] = {}
    faults: dict[str, str] = {}
    for key, value in values.items():
        name = str(key)
        try:
            plain = to_plain(value)
            if plain is None:
                faults[name] = "it is None"
            elif isinstance(plain, int | float) and not isinstance(plain, bool):
                scores[name] = float(plain)
            else:
                content = encode_numbers(plain)
                json.dumps(content, allow_nan=False)  # now or never
                data[name] = content
        except Exception as error:  # whatever a value of others raises, it costs that value alone
            faults[name] = str(error) or type(error).__name__
    return Result(scores, data, faults)


def to_plain(value: object) -> Plain:
    """Turn a value into plain data.

    :param value: A plain value, a tensor or an array, or lists and mappings of such.
    :return: What JSON can hold, but for numbers that are not finite.
    :raises TypeError: If it is of a type that has no such form.
    :raises ValueError: If it is too large.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): to_plain(element) for name, element in cast("Mapping[object, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [to_plain(element) for element in value]
    if hasattr(value, "tolist"):  # an array of NumPy, or a tensor
        array = cast("Any", value)
        size = array.numel() if hasattr(array, "numel") else array.size
        if size > LARGEST_ARRAY:
            raise ValueError(f"an array of {size:,} elements is too large to be stored: keep it as a file")
        plain = to_plain(array.tolist())
        return plain[0] if isinstance(plain, list) and size == 1 and not isinstance(plain[0], list) else plain
    if isinstance(value, SupportsFloat):
        return float(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be stored")


def encode_numbers(value: Plain) -> Plain:
    """Write numbers that JSON has not as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [encode_numbers(element) for element in value]
    if isinstance(value, dict):
        return {name: encode_numbers(element) for name, element in value.items()}
    return value


def decode_numbers(value: Any) -> Any:
    """Read what :func:`encode_numbers` wrote."""
    if isinstance(value, str):
        return NAMES.get(value, value)
    if isinstance(value, list):
        return [decode_numbers(element) for element in cast("list[Plain]", value)]
    if isinstance(value, dict):
        return {name: decode_numbers(element) for name, element in cast("dict[str, Plain]", value).items()}
    return value
