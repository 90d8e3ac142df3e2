from labkit.launch.apptainer.controller import Process
from labkit.launch.apptainer.status import describe
from labkit.launch.overview import Job


def test_a_unit_waits_runs_or_has_ended_in_the_overview() -> None:
    work = Process(name="x-1", launch="x", trials=(0, 1, 2), is_active=True, running=[1], ended={0: 75})
    assert dict(describe(work)) == {
        "x/0": Job(name="x-1", word="ended (75)", is_active=False),
        "x/1": Job(name="x-1", word="running"),
        "x/2": Job(name="x-1", word="waiting", is_waiting=True),
    }
