"""Many numbers of trials, written in short."""

import json
from collections.abc import Iterable


def find_spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Write numbers in short, as the first and the last ones of what has no gap.

    :param numbers: The numbers, sorted, each once.
    :return: The pairs.
    """
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def write_numbers(numbers: Iterable[int]) -> str:
    """Write numbers for a reader, and for Slurm: ``0,3,5-9``.

    :param numbers: As for :func:`find_spans`.
    :return: The text.
    """
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in find_spans(numbers))


def read_spans(text: str | None) -> tuple[int, ...] | None:
    """Read what :func:`find_spans` wrote.

    :param text: The pairs as JSON.
    :return: The numbers; None for a run.
    """
    spans: list[tuple[int, int]] | None = json.loads(text or "null")
    return None if spans is None else tuple(number for first, last in spans for number in range(first, last + 1))
