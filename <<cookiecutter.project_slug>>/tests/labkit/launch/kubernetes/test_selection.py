from dataclasses import replace

from labkit.launch.kubernetes.namespace import Pod, Work
from labkit.launch.kubernetes.selection import choose
from labkit.launch.kubernetes.status import describe
from labkit.launch.overview import Job

RUN = Work(name="labkit-aa-1", launch="aa11", trials=None, is_active=True)
SESSION = Work(name="labkit-bb-1", launch="bb22", trials=(0, 4, 5), is_active=True)
WORK = [RUN, SESSION]


def make_pod(index: int, phase: str) -> Pod:
    return Pod(name=f"pod-{index}", job=SESSION.name, index=index, phase=phase, started="", has_printed=True)


def test_a_job_is_found_by_its_name_its_launch_and_the_beginning_of_that() -> None:
    for target in ("labkit-aa-1", "aa11", "aa"):
        assert [choice.job for choice in choose(WORK, target)] == [RUN]


def test_a_trial_is_the_pod_of_its_place_in_the_job() -> None:
    (choice,) = choose(WORK, "bb22/5")
    assert (choice.job, choice.index) == (SESSION, 2)
    pods = [make_pod(0, "Running"), make_pod(2, "Failed"), make_pod(2, "Running")]
    assert choice.select(pods) == pods[1:]


def test_what_is_not_there_is_not_found() -> None:
    for target in ("cc", "bb22/1", "bb22/x", "aa11/0"):
        assert choose(WORK, target) == []


def test_every_trial_of_a_job_has_a_row_and_its_restarts_are_counted() -> None:
    pods = [make_pod(0, "Succeeded"), make_pod(2, "Failed (exit code 75)"), make_pod(2, "Running")]
    name = SESSION.name
    assert dict(describe(SESSION, pods)) == {
        "bb22/0": Job(name=name, word="Succeeded", is_active=False),
        "bb22/4": Job(name=name, word="Pending", detail="(without a pod)", is_waiting=True),
        "bb22/5": Job(name=name, word="Running", restarts=1),
    }
    assert dict(describe(replace(SESSION, is_active=False), pods[:1])) == {
        "bb22/0": Job(name=name, word="Succeeded", is_active=False)
    }
