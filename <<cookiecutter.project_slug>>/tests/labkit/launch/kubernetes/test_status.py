from dataclasses import replace

from labkit.launch.kubernetes.namespace import Pod
from labkit.launch.kubernetes.status import describe
from labkit.launch.overview import Job
from labkit.launch.work import Work

SESSION = Work(name="labkit-bb-1", launch="bb22", trials=(0, 4, 5), is_active=True)


def make_pod(index: int, phase: str) -> Pod:
    return Pod(name=f"pod-{index}", job=SESSION.name, index=index, phase=phase, started="", has_printed=True)


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
