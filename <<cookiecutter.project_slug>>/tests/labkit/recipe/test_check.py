import json
import math
import statistics
from dataclasses import asdict

import numpy as np
import pytest

from labkit.recipe import check
from labkit.recipe.check import Check, Findings, Verdict
from labkit.recipe.result import Result, collect

NAN = math.nan


def judge(demand: Check, **scores: object) -> Verdict:
    return demand(Findings(collect(scores), {"evaluate baseline": Result({"accuracy": 0.5, "loss": 2.0})}))


@pytest.mark.parametrize(
    ("demand", "value", "holds"),
    [
        (check.exists("x"), 0.0, True),
        (check.equal("x", 2), 2, True),
        (check.equal("x", 2), 2.000001, False),
        (check.close("x", 2, tolerance=0.1), 2.09, True),
        (check.close("x", 2, tolerance=0.1), 1.8, False),
        (check.less("x", 2), 1.9, True),
        (check.less("x", 2), 2.0, False),
        (check.greater("x", 2), 2.1, True),
        (check.greater("x", 2), 2.0, False),
        (check.at_least("x", 2), 2.0, True),
        (check.at_least("x", 2), 1.9, False),
        (check.at_most("x", 2), 2.0, True),
        (check.at_most("x", 2), 2.1, False),
        (check.between("x", 1, 2), 1.0, True),
        (check.between("x", 1, 2), 2.0, True),
        (check.between("x", 1, 2), 2.1, False),
        (check.better_than("x", "accuracy"), 0.51, True),
        (check.better_than("x", "accuracy"), 0.5, False),
        (check.better_than("x", "accuracy", margin=0.25), 0.75, True),
        (check.better_than("x", "accuracy", margin=0.25), 0.7, False),
        (check.better_than("x", "loss", smaller_is_better=True), 1.9, True),
        (check.better_than("x", "loss", smaller_is_better=True, margin=0.5), 1.6, False),
    ],
)
def test_a_check_holds_or_does_not(demand: Check, value: float, *, holds: bool) -> None:
    verdict = judge(demand, x=value)
    assert (verdict.value, verdict.holds) == (value, holds)


@pytest.mark.parametrize(
    "demand",
    [
        check.exists("x"),
        check.equal("x", 2),
        check.close("x", 2, tolerance=1),
        check.less("x", 2),
        check.greater("x", 2),
        check.at_least("x", 2),
        check.at_most("x", 2),
        check.between("x", 1, 2),
        check.better_than("x", "accuracy"),
        check.trend("x"),
        check.over_seeds("x", most=2),
    ],
    ids=lambda demand: demand.demand,
)
def test_what_is_missing_or_no_number_fails_the_check_and_raises_nothing(demand: Check) -> None:
    missing, nan = judge(demand), judge(demand, x=NAN)
    assert not missing.holds
    assert not nan.holds
    assert missing.value is None


def test_a_verdict_says_what_was_judged_against_what_and_why() -> None:
    assert judge(check.at_least("x", 0.99), x=0.5) == Verdict(
        "x at least 0.99", 0.5, 0.99, holds=False, reason="x is 0.5, not at least 0.99"
    )
    assert judge(check.between("x", 0, 1), x=0.5).threshold == [0, 1]
    assert judge(check.better_than("x", "accuracy", margin=0.25), x=0.6) == Verdict(
        "x at least 0.25 above accuracy of 'evaluate baseline'",
        0.6,
        0.75,
        holds=False,
        reason="x is 0.6, not 0.25 above accuracy of 'evaluate baseline', 0.5",
    )
    assert judge(check.exists("x")).reason == "there is no x"
    assert judge(check.exists("x"), x=NAN).reason == "x is NaN"
    assert judge(check.exists("x"), x=object()).reason == (
        "x could not be stored: a value of type object cannot be stored"
    )


def test_a_step_that_is_not_there_is_no_baseline() -> None:
    verdict = check.better_than("x", "accuracy", step="tune")(Findings(Result({"x": 1.0})))
    assert (verdict.holds, verdict.reason) == (False, "there is no accuracy of 'tune'")


def test_a_trend_compares_the_ends() -> None:
    assert judge(check.trend("x"), x=[9, 8, 9, 5, 5, 5, 1, 2, 1]).holds
    assert not judge(check.trend("x"), x=[1, 9, 9, 1, 5, 5, 1, 9, 9]).holds
    assert judge(check.trend("x", falls=False, by=2), x=[1, 2, 3]).holds
    assert not judge(check.trend("x", by=2.5), x=[3, 2, 1]).holds
    assert not judge(check.trend("x"), x=[3, 1]).holds


def test_over_seeds_the_whole_interval_has_to_be_within() -> None:
    numbers = [1.0, 2.0, 3.0]
    # Half of it is 4.30265 times the standard error of the mean, 1 / sqrt(3).
    half = 4.302653 / math.sqrt(3)
    verdict = judge(check.over_seeds("x", most=2 + half + 1e-6), x=numbers)
    assert (verdict.value, verdict.holds) == (2.0, True)
    assert not judge(check.over_seeds("x", most=2 + half - 1e-6), x=numbers).holds
    assert not judge(check.over_seeds("x", least=2 - half + 1e-6), x=numbers).holds
    assert judge(check.over_seeds("x", most=100), x=[1.0, 2.0]).reason == (
        "x has 2 numbers, and fewer than 3 seeds prove nothing"
    )


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.7062), (3, 4.30265), (12, 2.20099), (30, 2.04523)])
def test_the_interval_is_that_of_student_whatever_the_number_of_seeds(count: int, quantile: float) -> None:
    numbers = [index % 2 for index in range(count)]
    deviation = statistics.stdev(numbers)
    assert check.confidence(numbers) == pytest.approx(quantile * deviation / math.sqrt(count), rel=1e-5)


def test_one_number_of_a_series_that_is_none_is_said_so() -> None:
    assert judge(check.trend("x"), x=[1.0, NAN, 0.5]).reason == "1 of the 3 numbers of x are NaN"
    assert judge(check.over_seeds("x"), x=[1.0, "a", 0.5]).reason == "x holds what is no number"
    assert judge(check.trend("x")).reason == "there is no x"
    assert judge(check.trend("x"), x=[1j]).reason == "x could not be stored: a value of type complex cannot be stored"


def test_a_check_of_the_users_own_that_raises_fails_alone() -> None:
    def broken(_: Findings) -> Verdict:
        raise ZeroDivisionError("no way")

    verdicts = check.judge([Check("own", broken), check.at_least("x", 1)], Findings(Result({"x": 1.0})))
    assert [verdict.holds for verdict in verdicts] == [False, True]
    assert verdicts[0].reason == "the check raised ZeroDivisionError: no way"


def test_what_a_check_of_the_users_own_returns_can_be_stored() -> None:
    score = np.float32(0.5)
    verdict = Check("own", lambda _: Verdict("own", score, (0, score), score > 0, "so"))(Findings(Result()))  # pyright: ignore[reportArgumentType]  as users do
    assert json.dumps(asdict(verdict)) == (
        '{"check": "own", "value": 0.5, "threshold": [0.0, 0.5], "holds": true, "reason": "so"}'
    )
    wrong = Check("own", lambda _: None)(Findings(Result()))  # pyright: ignore[reportArgumentType]  as users do
    assert (wrong.holds, wrong.check) == (False, "own")
