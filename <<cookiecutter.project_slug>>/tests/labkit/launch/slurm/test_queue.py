import pytest

from labkit.launch.slurm.name import Name
from labkit.launch.slurm.queue import Entry, choose, read_max_array_size, read_queue

QUEUE = """\
5|5|CANCELLED|0|0:01|None|train.sh|
1_2|4|COMPLETED|0|1:01|None|a | b|
8_5|8|PENDING|0|0:00|JobArrayTaskLimit|rates-1/0+1000|
8_0|10|RUNNING|2|1-02:03:04|None|rates-1/0+1000|
8_[6-9%2]|8|PENDING|0|0:00|None|rates-1/0+1000|
9|9|NODE_FAIL|1|0:01|None|4f0c12/3|
slurm_load_jobs: a message
"""


def make(task: int, number: int, state: str) -> Entry:
    name = Name(launch="s", part=0, offset=0)
    return Entry(job_id="", number=number, name=name, task=task, state=state, restarts=0, time="", reason="")


def test_the_names_of_jobs_tell_what_they_execute() -> None:
    pending, running, single = read_queue(QUEUE)
    assert pending == Entry(
        job_id="8_5",
        number=8,
        name=Name(launch="rates-1", part=0, offset=1000),
        task=5,
        state="PENDING",
        restarts=0,
        time="0:00",
        reason="JobArrayTaskLimit",
    )
    assert pending.unit == "rates-1/1005"
    assert (running.job_id, running.unit, running.restarts, running.time) == ("8_0", "rates-1/1000", 2, "1-02:03:04")
    assert (single.unit, single.name, single.reason) == ("4f0c12", Name(launch="4f0c12", part=3), "")
    assert [entry.is_active for entry in (pending, running, single)] == [True, True, False]


@pytest.mark.parametrize("name", [Name(launch="rates-1", part=2, offset=2002), Name(launch="4f0c12", part=0)])
def test_a_name_is_read_as_it_was_given(name: Name) -> None:
    assert Name.parse(str(name)) == name


@pytest.mark.parametrize("text", ["train.sh", "a/b", "a b/0", "a/0+", "../0", "a/0/jobs"])
def test_other_names_are_not_ours(text: str) -> None:
    assert Name.parse(text) is None


def test_of_several_jobs_the_active_one_counts_and_then_the_newest() -> None:
    entries = [make(0, 9, "FAILED"), make(0, 4, "RUNNING"), make(1, 3, "FAILED"), make(1, 7, "TIMEOUT")]
    assert {unit: entry.number for unit, entry in choose(entries).items()} == {"s/0": 4, "s/1": 7}


def test_the_size_of_an_array_is_the_clusters_or_slurms_default() -> None:
    assert read_max_array_size("MailProg = /bin/mail\nMaxArraySize            = 75\nMaxDBDMsgs = 20\n") == 75
    assert read_max_array_size("") == 1001
