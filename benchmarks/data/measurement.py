"""Turns, times and targets: what all of these measurements have in common."""

import os
import random
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")
Seconds = float
Variant = Callable[[], Seconds]
"""Does the work once and says how long it took."""


def timed(work: Callable[P, object]) -> Callable[P, Seconds]:
    """Make a variant of a function."""

    @wraps(work)
    def run(*arguments: P.args, **options: P.kwargs) -> Seconds:
        start = time.perf_counter()
        work(*arguments, **options)
        return time.perf_counter() - start

    return run


@dataclass(frozen=True)
class Unit:
    """How a time is shown: as a time, or as the amount that is done in a second."""

    name: str
    factor: float
    """Of a time, units a second; of a rate, the amount of work."""
    is_rate: bool = False

    def convert(self, seconds: Seconds) -> float:
        return self.factor / seconds if self.is_rate else self.factor * seconds

    @property
    def bound(self) -> str:
        return "at least" if self.is_rate else "at most"


SECONDS = Unit("s", 1)
MILLISECONDS = Unit("ms", 1e3)
MICROSECONDS = Unit("µs", 1e6)


def rate(amount: float, name: str) -> Unit:
    return Unit(name, amount, is_rate=True)


@dataclass(frozen=True)
class Target:
    """What a variant must reach: a share of another one's time or rate, or without another one an amount of units."""

    value: float
    of: str | None = None


@dataclass
class Report:
    """Prints what was measured, and counts which targets were missed."""

    rounds: int
    _met: int = field(default=0, init=False)
    _missed: list[str] = field(default_factory=list, init=False)

    def compare(
        self,
        title: str,
        variants: Mapping[str, Variant],
        unit: Unit,
        *,
        reference: str,
        targets: Mapping[str, Target],
        rounds: int | None = None,
        once: Collection[str] = (),
        typical: Callable[[list[Seconds]], Seconds] = min,
    ) -> None:
        """Let variants take turns, in a new order each round, and print what came of it.

        :param title: What is measured.
        :param variants: Who takes part.
        :param unit: How times are shown.
        :param reference: The variant that all others are compared with.
        :param targets: What a variant must reach.
        :param rounds: How many turns each has.
        :param once: The slow ones, which have one turn.
        :param typical: The time that stands for those of all turns; the best, which other load weighs on least.
        """
        load = os.getloadavg()[0]
        order = list(variants)
        times: dict[str, list[Seconds]] = {name: [] for name in variants}
        for number in range(rounds or self.rounds):
            random.shuffle(order)
            for name in order:
                if number == 0 or name not in once:
                    times[name].append(variants[name]())
        self.show(
            f"{title}  (load {load:.1f})",
            {name: typical(each) for name, each in times.items()},
            unit,
            reference=reference,
            targets=targets,
        )

    def show(
        self,
        title: str,
        times: Mapping[str, Seconds],
        unit: Unit,
        *,
        reference: str,
        targets: Mapping[str, Target],
    ) -> None:
        """Print times, each beside the reference and beside its target."""
        print(f"\n{title}")
        values = {name: unit.convert(seconds) for name, seconds in times.items()}
        for name, value in values.items():
            line = f"  {name:<40}{_shorten(value):>12} {unit.name:<9}{value / values[reference]:9.2f} of {reference}"
            if name in targets:
                line = f"{line:<92}{self._judge(title, name, values, unit, targets[name])}"
            print(line, flush=True)

    def _judge(self, title: str, name: str, values: Mapping[str, float], unit: Unit, target: Target) -> str:
        reached = values[name] / values[target.of] if target.of else values[name]
        is_met = reached >= target.value if unit.is_rate else reached <= target.value
        of = f" of {target.of}" if target.of else f" {unit.name}"
        verdict = f"{reached:.3g}, target {unit.bound} {target.value:g}{of}: {'met' if is_met else 'MISSED'}"
        if is_met:
            self._met += 1
        else:
            self._missed.append(f"{title.partition('  (')[0]}, {name}: {verdict}")
        return verdict

    def close(self) -> None:
        """Print how many targets were met, and which were not."""
        print(f"\n{self._met} targets met, {len(self._missed)} missed", *self._missed, sep="\n  ")


def _shorten(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"  # noqa: PLR2004


def median(times: list[Seconds]) -> Seconds:
    return statistics.median(times)
