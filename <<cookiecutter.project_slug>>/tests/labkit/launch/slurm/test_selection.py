from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.slurm.controller import View, read_records
from labkit.launch.slurm.queue import read_queue
from labkit.launch.slurm.selection import find_jobs, select

ENVIRONMENT = Environment.read({}, Path("/nowhere"))
VIEW = View(
    entries=tuple(
        read_queue("""\
12_0|14|RUNNING|1|0:09|None|rates-1/0+0|
12_1|15|COMPLETED|0|0:09|None|rates-1/0+0|
12_2|12|PENDING|0|0:00|Resources|rates-1/0+0|
16_0|16|RUNNING|0|0:00|None|rates-1/1+5|
17|17|RUNNING|0|0:00|None|4f0c12/0|
""")
    ),
    records=read_records("""\
rates-1/0+0/jobs:12
rates-1/1+5/jobs:16
4f0c12/0/jobs:17
older-1/0+0/jobs:3
older-1/0+0/jobs:4
"""),
    max_array_size=5,
)


@pytest.mark.parametrize(
    ("target", "choices"),
    [
        ("rates-1", ["rates-1/0+0 None", "rates-1/1+5 None"]),
        ("rates", ["rates-1/0+0 None", "rates-1/1+5 None"]),
        ("rates-1/1", ["rates-1/0+0 1"]),
        ("rates-1/6", ["rates-1/1+5 1"]),
        ("12", ["rates-1/0+0 None"]),
        ("12_2", ["rates-1/0+0 2"]),
        ("15", ["rates-1/0+0 1"]),
        ("4f0c12", ["4f0c12/0 None"]),
        ("17", ["4f0c12/0 None"]),
        ("older-1", ["older-1/0+0 None"]),
        ("4_3", ["older-1/0+0 3"]),
    ],
)
def test_a_session_a_trial_a_run_or_a_number_names_jobs(target: str, choices: list[str]) -> None:
    assert [f"{choice.name} {choice.task}" for choice in find_jobs(ENVIRONMENT, target, VIEW)] == choices


@pytest.mark.parametrize("target", ["rats", "99", "12_x", "4f0c12/0", "rates-1/x", "*"])
def test_what_was_not_named_is_not_found(target: str) -> None:
    with pytest.raises(UsageError, match="`slurm-status` lists what there is"):
        find_jobs(ENVIRONMENT, target, VIEW)


def test_only_what_was_named_is_selected() -> None:
    assert [entry.job_id for entry in select(find_jobs(ENVIRONMENT, "rates-1/2", VIEW), VIEW)] == ["12_2"]
    assert [entry.job_id for entry in select(find_jobs(ENVIRONMENT, "rates-1", VIEW), VIEW)] == [
        "12_0",
        "12_1",
        "12_2",
        "16_0",
    ]


def test_no_name_is_used_again() -> None:
    assert [VIEW.next_part(launch) for launch in ("rates-1", "older-1", "4f0c12", "new")] == [2, 1, 1, 0]
