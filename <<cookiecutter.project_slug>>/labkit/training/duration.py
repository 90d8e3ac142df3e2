"""How long: epochs, optimiser steps or minutes."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from labkit.command import UsageError

Unit = Literal["epochs", "steps", "minutes"]


@dataclass(frozen=True)
class Duration:
    """An amount of training: ``10 epochs``, ``2000 steps`` or ``5 minutes``."""

    amount: int
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration.

        :param text: A whole number and a unit: ``10 epochs``.
        :return: The duration.
        :raises UsageError: If it cannot be read.
        """
        match = re.fullmatch(r"\s*(\d+)\s*(epoch|step|minute)s?\s*", text)
        if not match or int(match[1]) == 0:
            raise UsageError(
                f"{text!r} is no duration: write a whole number of epochs, steps or minutes, such as '10 epochs'."
            )
        return cls(int(match[1]), f"{match[2]}s")  # pyright: ignore[reportArgumentType]  the pattern allows only units

    def __str__(self) -> str:
        """Return the text from which :meth:`parse` makes the duration."""
        return f"{self.amount} {self.unit if self.amount != 1 else self.unit.removesuffix('s')}"

    def in_steps(self, steps_per_epoch: int) -> int:
        """Convert to optimiser steps.

        :param steps_per_epoch: The optimiser steps of one epoch.
        :return: The number of steps.
        :raises UsageError: If the duration is given in minutes.
        """
        if self.unit == "minutes":
            raise UsageError(f"'{self}' is a time, and no number of steps follows from it: give epochs or steps here.")
        return self.amount * (steps_per_epoch if self.unit == "epochs" else 1)
