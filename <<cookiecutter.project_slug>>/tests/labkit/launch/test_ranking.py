import math
from typing import Any

import pytest

from labkit.launch.ranking import Result, rank, write_csv
from labkit.launch.session import Session
from labkit.launch.standing import Standing, find_best
from labkit.launch.trial import Trial, find_differences
from labkit.tracking.state import State

MINIMISE = Session(entry_point=("train",), minimise="validation/loss")
MAXIMISE = Session(entry_point=("train",), maximise="validation/accuracy")


def make_trial(index: int, combination: int, repetition: int = 0, **arguments: Any) -> Trial:
    return Trial(
        index=index, combination=combination, repetition=repetition, entry_point="train", arguments=arguments, seed=7
    )


def make_result(
    index: int, combination: int, score: float | None, state: State | None = State.FINISHED, repetition: int = 0
) -> Result:
    return Result(
        trial=make_trial(index, combination, repetition),
        standing=Standing(index=index, run_id=f"run{index}", state=state),
        arguments={"rate": str(combination)},
        score=score,
    )


@pytest.mark.parametrize(
    ("session", "values", "best"),
    [
        (MINIMISE, [3.0, 1.0, 2.0], 1.0),
        (MAXIMISE, [3.0, 1.0, 2.0], 3.0),
        (MINIMISE, [3.0, math.nan], 3.0),
        (MAXIMISE, [math.nan, 3.0], 3.0),
        (MINIMISE, [math.nan], None),
        (MINIMISE, [], None),
    ],
)
def test_what_is_no_number_is_never_the_best(session: Session, values: list[float], best: float | None) -> None:
    assert find_best(session, values) == best


def test_the_best_combination_comes_first_and_one_without_a_score_last() -> None:
    results = [
        make_result(0, 0, None, State.FAILED),
        make_result(1, 1, 0.5),
        make_result(2, 2, 0.25),
        make_result(3, 3, 0.0, State.RUNNING),
    ]
    assert [row.results[0].trial.index for row in rank(MINIMISE, results)] == [2, 1, 0, 3]
    assert [row.results[0].trial.index for row in rank(MAXIMISE, results)] == [1, 2, 0, 3]


def test_repetitions_are_judged_together() -> None:
    results = [make_result(0, 0, 1.0), make_result(1, 0, 3.0, repetition=1), make_result(2, 1, 1.5)]
    rows = rank(MINIMISE, results)
    assert [(row.mean, row.deviation) for row in rows] == [(1.5, None), (2.0, math.sqrt(2.0))]


def test_other_programs_get_a_line_for_each_trial() -> None:
    rows = rank(MINIMISE, [make_result(0, 0, 0.5), make_result(1, 1, None, State.FAILED), make_result(2, 2, 0.25)])
    assert write_csv(MINIMISE, rows) == (
        "rank,trial,repetition,seed,rate,validation/loss,state,run\n"
        "1,2,0,7,2,0.25,finished,run2\n"
        "2,0,0,7,0,0.5,finished,run0\n"
        ",1,0,7,1,,failed,run1\n"
    )


def test_only_the_arguments_that_differ_are_shown() -> None:
    trials = [make_trial(0, 0, rate=1, depth=2), make_trial(1, 1, rate=2, depth=2)]
    assert find_differences(trials) == ["rate"]
