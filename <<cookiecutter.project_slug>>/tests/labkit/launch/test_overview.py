import pytest

from labkit.launch.overview import Job, Row, choose, conclude, describe_differences, make_table, summarise
from labkit.launch.trial import Trial
from labkit.tracking.state import State

RUNNING = Job(name="12_0", word="RUNNING", detail="0:09", restarts=1)
PENDING = Job(name="12_1", word="PENDING", detail="(Resources)", is_waiting=True)
ENDED = Job(name="11_1", word="TIMEOUT", is_active=False)
ROWS = [
    Row(
        unit="rates/0",
        arguments="rate=0.1",
        job=RUNNING,
        run_id="4f0c12",
        state="running",
        attempts=4,
        step=120,
        metric="validation/loss 0.5",
    ),
    Row(unit="rates/1", arguments="rate=0.2", job=PENDING),
    Row(unit="rates/2", arguments="rate=0.3", run_id="7d1e44", state="finished", attempts=1, step=400),
    Row(unit="rates/3", arguments="rate=0.4"),
]


def trial(index: int, seed: int = 7, **arguments: float | str) -> Trial:
    return Trial(index=index, combination=0, repetition=0, entry_point="train", arguments=dict(arguments), seed=seed)


def test_the_executors_words_and_the_runs_stand_side_by_side() -> None:
    assert make_table(ROWS, "Slurm").splitlines() == [
        "unit     job   Slurm                run     state     restarts  step  metric               arguments",
        "rates/0  12_0  RUNNING 0:09         4f0c12  running   3         120   validation/loss 0.5  rate=0.1",
        "rates/1  12_1  PENDING (Resources)                    0                                    rate=0.2",
        "rates/2                             7d1e44  finished  0         400                        rate=0.3",
        "rates/3                                               0                                    rate=0.4",
    ]


def test_a_line_counts_them() -> None:
    assert summarise(ROWS) == "4: 1 RUNNING, 1 PENDING, 1 finished, 1 not submitted"


def test_of_very_many_only_those_are_shown_of_which_there_is_something_to_tell() -> None:
    assert len(make_table([*ROWS, *[ROWS[1]] * 10_000], "Slurm").splitlines()) == 2


def test_trials_are_told_apart_by_what_they_do_not_share() -> None:
    assert describe_differences([trial(0, rate=0.1, name="a"), trial(1, rate=0.2, name="a")], {}) == {
        0: "rate=0.1",
        1: "rate=0.2",
    }
    assert describe_differences([trial(0, rate=0.1), trial(1, seed=8, rate=0.1)], {}) == {0: "seed=7", 1: "seed=8"}


def test_of_a_search_what_was_chosen_is_shown_of_those_that_have_begun() -> None:
    trials = [trial(0, rate=0.1, name="a"), trial(1, rate=0.1, name="a")]
    assert describe_differences(trials, {1: {"rate": "0.3"}}) == {0: "", 1: "rate=0.3"}


def test_of_several_jobs_of_a_unit_the_active_one_counts_else_the_newest() -> None:
    again = Job(name="13_1", word="FAILED", is_active=False)
    assert choose([("rates/1", ENDED), ("rates/1", again)]) == {"rates/1": again}
    assert choose([("rates/1", PENDING), ("rates/1", again)]) == {"rates/1": PENDING}


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([Row(unit="a/0"), Row(unit="a/1", job=PENDING)], State.CREATED),
        ([Row(unit="a/0", state="finished"), Row(unit="a/1", job=RUNNING)], State.RUNNING),
        ([Row(unit="a/0", state="running"), Row(unit="a/1", state="failed")], State.RUNNING),
        ([Row(unit="a/0", state="finished"), Row(unit="a/1")], State.INTERRUPTED),
        ([Row(unit="a/0", state="finished"), Row(unit="a/1", state="interrupted", job=PENDING)], State.INTERRUPTED),
        ([Row(unit="a/0", state="finished"), Row(unit="a/1", state="killed", is_pruned=True)], State.FINISHED),
        ([Row(unit="a/0", state="finished", job=ENDED), Row(unit="a/1", state="failed")], State.FAILED),
    ],
)
def test_a_session_stands_where_its_trials_do(rows: list[Row], state: State) -> None:
    assert conclude(rows) is state
