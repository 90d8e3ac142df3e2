from labkit.launch.slurm.queue import Entry, name_job, newest, read_max_array_size, read_queue

QUEUE = """\
5|5|CANCELLED|0|0:01|None|train.sh|
1_2|4|COMPLETED|0|1:01|None|a | b|
8_5|8|PENDING|0|0:00|JobArrayTaskLimit|rates-1/0+1000|
8_0|10|RUNNING|2|1-02:03:04|None|rates-1/0+1000|
8_[6-9%2]|8|PENDING|0|0:00|None|rates-1/0+1000|
9|9|NODE_FAIL|1|0:01|None|4f0c12/3|
slurm_load_jobs: a message
"""


def make(unit: str, number: int, state: str) -> Entry:
    return Entry(
        job_id=str(number), number=number, state=state, restarts=0, time="", reason="", launch="s", part=0, unit=unit
    )


def test_the_names_of_jobs_tell_what_they_execute() -> None:
    pending, running, single = read_queue(QUEUE)
    assert pending == Entry(
        job_id="8_5",
        number=8,
        state="PENDING",
        restarts=0,
        time="0:00",
        reason="JobArrayTaskLimit",
        launch="rates-1",
        part=0,
        unit="rates-1/1005",
    )
    assert (running.job_id, running.unit, running.restarts, running.time) == ("8_0", "rates-1/1000", 2, "1-02:03:04")
    assert (single.unit, single.launch, single.part, single.reason) == ("4f0c12", "4f0c12", 3, "")
    assert [entry.is_active for entry in (pending, running, single)] == [True, True, False]


def test_a_name_is_read_as_it_was_given() -> None:
    (entry,) = read_queue(f"7_4|7|RUNNING|0|0:00|None|{name_job('rates-1', 2, 2002)}|\n")
    assert (entry.launch, entry.part, entry.unit) == ("rates-1", 2, "rates-1/2006")
    (entry,) = read_queue(f"7|7|RUNNING|0|0:00|None|{name_job('4f0c12', 1, None)}|\n")
    assert (entry.launch, entry.part, entry.unit) == ("4f0c12", 1, "4f0c12")


def test_of_several_jobs_the_active_one_counts_and_then_the_newest() -> None:
    entries = [make("s/0", 9, "FAILED"), make("s/0", 4, "RUNNING"), make("s/1", 3, "FAILED"), make("s/1", 7, "TIMEOUT")]
    assert {unit: entry.number for unit, entry in newest(entries).items()} == {"s/0": 4, "s/1": 7}


def test_the_size_of_an_array_is_the_clusters_or_slurms_default() -> None:
    assert read_max_array_size("MailProg = /bin/mail\nMaxArraySize            = 75\nMaxDBDMsgs = 20\n") == 75
    assert read_max_array_size("") == 1001
