"""Checks: plain functions of a step's results that say whether it has done what it was for.

Each maker, such as ``at_least("validation/accuracy", 0.95)``, returns a :class:`Check`. A score that is missing or NaN
fails a check, and raises nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from labkit.recipe.result import Plain, Result, decode_numbers

Threshold = float | list[float] | None

BASELINE: Final = "evaluate baseline"
"""The step whose scores are the baseline, by its usual name."""
FEWEST_SEEDS: Final = 3
SHORTEST_SERIES: Final = 3
"""Numbers of which a first and a last third can be told apart."""


@dataclass(frozen=True)
class Verdict:
    """What a check says."""

    check: str
    """What is demanded, in words."""
    value: float | None
    """What was judged; None where it is missing."""
    threshold: Threshold
    """What it was compared with."""
    holds: bool
    reason: str


@dataclass(frozen=True)
class Findings:
    """What a check may look at."""

    result: Result
    """Of the step itself."""
    earlier: Mapping[str, Result] = field(default_factory=dict)
    """Of the steps before it, by name."""


@dataclass(frozen=True)
class Check:
    """A function of findings, with the words that say what it demands."""

    demand: str
    judge: Callable[[Findings], Verdict]

    def __call__(self, findings: Findings) -> Verdict:
        """Judge; whatever a function of the user's own raises or returns costs this check alone."""
        try:
            verdict = self.judge(findings)
            return replace(
                verdict,
                value=None if verdict.value is None else float(verdict.value),
                threshold=_to_plain_threshold(verdict.threshold),
                holds=bool(verdict.holds),
            )
        except Exception as error:
            return Verdict(self.demand, None, None, False, f"the check raised {type(error).__name__}: {error}")


def judge(checks: Sequence[Check], findings: Findings) -> list[Verdict]:
    """Apply all checks.

    :param checks: What is demanded.
    :param findings: What there is.
    :return: A verdict for each.
    """
    return [check(findings) for check in checks]


def exists(score: str) -> Check:
    """Demand that a score or other data are there, and no NaN."""
    demand = f"{score} exists"

    def judge(findings: Findings) -> Verdict:
        if score in findings.result.data:
            return Verdict(demand, None, None, True, f"{score} is there")
        return _compare(demand, score, findings, threshold=None, holds=lambda _: True, words="there")

    return Check(demand, judge)


def equal(score: str, threshold: float) -> Check:
    """Demand a value, exactly."""
    return _single(score, "equal to", threshold, lambda value: value == threshold)


def close(score: str, threshold: float, *, tolerance: float) -> Check:
    """Demand a value that is at most the tolerance away from another one."""
    words = f"within {tolerance:g} of"
    return _single(score, words, threshold, lambda value: abs(value - threshold) <= tolerance)


def less(score: str, threshold: float) -> Check:
    """Demand a smaller value."""
    return _single(score, "less than", threshold, lambda value: value < threshold)


def greater(score: str, threshold: float) -> Check:
    """Demand a larger value."""
    return _single(score, "greater than", threshold, lambda value: value > threshold)


def at_least(score: str, threshold: float) -> Check:
    """Demand a value that is as large, or larger."""
    return _single(score, "at least", threshold, lambda value: value >= threshold)


def at_most(score: str, threshold: float) -> Check:
    """Demand a value that is as small, or smaller."""
    return _single(score, "at most", threshold, lambda value: value <= threshold)


def between(score: str, least: float, most: float) -> Check:
    """Demand a value between two others, or equal to one of them."""
    demand = f"{score} between {least:g} and {most:g}"

    def judge(findings: Findings) -> Verdict:
        return _compare(
            demand,
            score,
            findings,
            threshold=[least, most],
            holds=lambda value: least <= value <= most,
            words=demand.removeprefix(score),
        )

    return Check(demand, judge)


def better_than(
    score: str, other: str, *, margin: float = 0.0, step: str = BASELINE, smaller_is_better: bool = False
) -> Check:
    """Demand a score that is better than one of an earlier step, by default the baseline.

    :param score: The step's own score.
    :param other: The score of the earlier step.
    :param margin: By how much it is to be better, at least.
    :param step: The earlier step's name; empty for the step itself.
    :param smaller_is_better: Whether the score is a loss.
    :return: The check.
    """
    word = "below" if smaller_is_better else "above"
    name = f"{other} of '{step}'" if step else other
    demand = f"{score} at least {margin:g} {word} {name}"

    def judge(findings: Findings) -> Verdict:
        source = findings.earlier.get(step, Result()) if step else findings.result
        reference = source.scores.get(other)
        if reference is None or math.isnan(reference):
            value = findings.result.scores.get(score)
            return Verdict(demand, value, None, False, f"there is no {name}")
        sign = -1 if smaller_is_better else 1
        threshold = reference + sign * margin

        def is_better(value: float) -> bool:
            difference = sign * (value - reference)
            return difference >= margin if margin else difference > 0

        words = f"{margin:g} {word} {name}, {reference:g}"
        return _compare(demand, score, findings, threshold=threshold, holds=is_better, words=words)

    return Check(demand, judge)


def trend(series: str, *, falls: bool = True, by: float = 0.0) -> Check:
    """Demand that a series of numbers falls, or rises: the mean of its last third against that of its first.

    :param series: The name of a list of numbers in the step's data.
    :param falls: Whether it is to fall.
    :param by: By how much, at least.
    :return: The check.
    """
    demand = f"{series} {'falls' if falls else 'rises'}" + (f" by at least {by:g}" if by else "")

    def judge(findings: Findings) -> Verdict:
        numbers, fault = _read_series(series, findings)
        if fault or len(numbers) < SHORTEST_SERIES:
            reason = fault or f"{series} has {len(numbers)} numbers, and a trend needs {SHORTEST_SERIES}"
            return Verdict(demand, None, by, False, reason)
        third = len(numbers) // 3
        first, last = sum(numbers[:third]) / third, sum(numbers[-third:]) / third
        change = first - last if falls else last - first
        holds = change >= by if by else change > 0
        return Verdict(demand, change, by, holds, f"{series} went from {first:g} to {last:g}")

    return Check(demand, judge)


def over_seeds(series: str, least: float = -math.inf, most: float = math.inf) -> Check:
    """Demand that the mean of a series, one number a seed, is within limits with 95 percent confidence.

    The whole confidence interval of the mean, by Student's distribution, has to lie within.

    :param series: The name of a list of numbers in the step's data.
    :param least: The lower limit.
    :param most: The upper limit.
    :return: The check.
    """
    limits = [limit for limit in (least, most) if math.isfinite(limit)]
    words = {(True, True): f"between {least:g} and {most:g}", (True, False): f"at least {least:g}"}
    demand = f"mean of {series} " + words.get((math.isfinite(least), math.isfinite(most)), f"at most {most:g}")

    def judge(findings: Findings) -> Verdict:
        numbers, fault = _read_series(series, findings)
        if fault or len(numbers) < FEWEST_SEEDS:
            reason = fault or f"{series} has {len(numbers)} numbers, and fewer than {FEWEST_SEEDS} seeds prove nothing"
            return Verdict(demand, None, limits, False, reason)
        mean = sum(numbers) / len(numbers)
        half = confidence(numbers)
        holds = least <= mean - half and mean + half <= most
        reason = f"the mean of {len(numbers)} seeds is {mean:.4g} ± {half:.2g}"
        return Verdict(demand, mean, limits, holds, reason)

    return Check(demand, judge)


def confidence(numbers: Sequence[float]) -> float:
    """Return half of the 95 percent confidence interval of the mean, by Student's distribution.

    :param numbers: Two or more.
    :return: How far the interval reaches to either side.
    """
    from scipy import stats

    count = len(numbers)
    mean = sum(numbers) / count
    variance = sum((number - mean) ** 2 for number in numbers) / (count - 1)
    return float(stats.t.ppf(0.975, count - 1)) * math.sqrt(variance / count)


def _single(score: str, words: str, threshold: float, holds: Callable[[float], bool]) -> Check:
    demand = f"{score} {words} {threshold:g}"
    words = f"{words} {threshold:g}"
    return Check(
        demand, lambda findings: _compare(demand, score, findings, threshold=threshold, holds=holds, words=words)
    )


def _compare(
    demand: str, score: str, findings: Findings, *, threshold: Threshold, holds: Callable[[float], bool], words: str
) -> Verdict:
    value = findings.result.scores.get(score)
    if value is None:
        fault = findings.result.faults.get(score)
        reason = f"{score} could not be stored: {fault}" if fault else f"there is no {score}"
        return Verdict(demand, None, threshold, False, reason)
    if math.isnan(value):
        return Verdict(demand, value, threshold, False, f"{score} is NaN")
    holding = holds(value)
    return Verdict(
        demand, value, threshold, holding, f"{score} is {value:.6g}, {'' if holding else 'not '}{words.strip()}"
    )


def _read_series(series: str, findings: Findings) -> tuple[list[float], str | None]:
    """Return the numbers of a series, and what is wrong with it, if something is."""
    value: Plain = decode_numbers(findings.result.data.get(series, findings.result.scores.get(series)))
    if value is None:
        fault = findings.result.faults.get(series)
        return [], f"{series} could not be stored: {fault}" if fault else f"there is no {series}"
    elements = value if isinstance(value, list) else [value]
    numbers = [float(number) for number in elements if isinstance(number, int | float)]
    if len(numbers) < len(elements):
        return [], f"{series} holds what is no number"
    if missing := sum(map(math.isnan, numbers)):
        return [], f"{missing} of the {len(numbers)} numbers of {series} are NaN"
    return numbers, None


def _to_plain_threshold(threshold: Threshold) -> Threshold:
    if threshold is None:
        return None
    return [float(limit) for limit in threshold] if isinstance(threshold, list | tuple) else float(threshold)
