"""Spans of time as people write them: ``10m``, ``4h``, ``1d12h``."""

import re
from typing import Final

UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
PATTERN: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in UNITS))


def parse_duration(text: str) -> int:
    """Read a span of time.

    :param text: Numbers, each with its unit, the largest first: ``90s``, ``10m``, ``4h``, ``1d12h``.
    :return: The seconds; at least one.
    :raises ValueError: If it cannot be read.
    """
    match = PATTERN.fullmatch(text)
    seconds = (
        sum(int(number or 0) * size for number, size in zip(match.groups(), UNITS.values(), strict=True))
        if match
        else 0
    )
    if seconds == 0:
        raise ValueError(f"{text!r} is no span of time: write one such as 90s, 10m, 4h, 2d or 1d12h")
    return seconds
