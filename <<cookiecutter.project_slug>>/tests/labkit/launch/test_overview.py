from labkit.launch.slurm.queue import read_queue
from labkit.launch.slurm.status import Standing, describe_differences, make_table, summarise
from labkit.launch.trial import Trial

RUNNING, PENDING = read_queue("""\
12_0|14|RUNNING|1|0:09|None|rates/0+0|
12_1|12|PENDING|0|0:00|Resources|rates/0+0|
""")
STANDINGS = [
    Standing(
        unit="rates/0",
        arguments="rate=0.1",
        job=RUNNING,
        run_id="4f0c12",
        state="running",
        attempts=4,
        step=120,
        metric="validation/loss 0.5",
    ),
    Standing(unit="rates/1", arguments="rate=0.2", job=PENDING),
    Standing(unit="rates/2", arguments="rate=0.3", run_id="7d1e44", state="finished", attempts=1, step=400),
    Standing(unit="rates/3", arguments="rate=0.4"),
]


def trial(index: int, repetition: int = 0, **arguments: float | str) -> Trial:
    return Trial(
        index=index, combination=0, repetition=repetition, entry_point="train", arguments=dict(arguments), seed=index
    )


def test_slurms_state_and_the_runs_stand_side_by_side() -> None:
    assert make_table(STANDINGS).splitlines() == [
        "unit     job   Slurm                run     state     restarts  step  metric               arguments",
        "rates/0  12_0  RUNNING 0:09         4f0c12  running   3         120   validation/loss 0.5  rate=0.1",
        "rates/1  12_1  PENDING (Resources)                    0                                    rate=0.2",
        "rates/2                             7d1e44  finished  0         400                        rate=0.3",
        "rates/3                                               0                                    rate=0.4",
    ]


def test_a_line_counts_them() -> None:
    assert summarise(STANDINGS) == "4: 1 RUNNING, 1 PENDING, 1 finished, 1 not submitted"


def test_of_very_many_only_those_are_shown_of_which_there_is_something_to_tell() -> None:
    assert len(make_table([*STANDINGS, *[STANDINGS[1]] * 10_000]).splitlines()) == 2


def test_trials_are_told_apart_by_what_they_do_not_share() -> None:
    assert describe_differences([trial(0, rate=0.1, name="a"), trial(1, rate=0.2, name="a")]) == {
        0: "rate=0.1",
        1: "rate=0.2",
    }
    assert describe_differences([trial(0, rate=0.1), trial(1, repetition=1, rate=0.1)]) == {0: "seed=0", 1: "seed=1"}
