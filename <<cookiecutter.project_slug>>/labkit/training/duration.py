"""How long, and how often: epochs, optimiser steps or minutes."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from labkit.command import UsageError


@dataclass(frozen=True)
class Interval:
    """How often: ``1 epoch``, ``100 steps`` or ``5 minutes``."""

    UNITS: ClassVar[tuple[str, ...]] = ("epochs", "steps", "minutes")

    amount: int
    unit: Literal["epochs", "steps", "minutes"]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an amount.

        :param text: A whole number and a unit: ``10 epochs``.
        :return: The amount.
        :raises UsageError: If it cannot be read.
        """
        units = "|".join(unit.removesuffix("s") for unit in cls.UNITS)
        match = re.fullmatch(rf"\s*(\d+)\s*({units})s?\s*", text)
        if not match or int(match[1]) == 0:
            *first, last = cls.UNITS
            raise UsageError(
                f"{text!r} is no {cls.__name__.lower()}: write a whole number of {', '.join(first)} or {last}, "
                f"such as '10 {first[0]}'."
            )
        return cls(int(match[1]), f"{match[2]}s")  # pyright: ignore[reportArgumentType]  the pattern allows only units

    def __str__(self) -> str:
        """Return the text from which :meth:`parse` makes the amount."""
        return f"{self.amount} {self.unit if self.amount != 1 else self.unit.removesuffix('s')}"


@dataclass(frozen=True)
class Duration(Interval):
    """An amount of training, known before it begins: ``10 epochs`` or ``2000 steps``."""

    UNITS = ("epochs", "steps")

    unit: Literal["epochs", "steps"]

    def in_steps(self, steps_per_epoch: int) -> int:
        """Convert to optimiser steps.

        :param steps_per_epoch: The optimiser steps of one epoch.
        :return: The number of steps.
        """
        return self.amount * (steps_per_epoch if self.unit == "epochs" else 1)
