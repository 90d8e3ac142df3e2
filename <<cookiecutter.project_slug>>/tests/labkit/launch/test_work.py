from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.work import Choice, Work, choose_work, find_single_units

ENVIRONMENT = Environment.read({}, Path("/nowhere"))
RUN = Work(name="labkit-aa-1", launch="aa11", trials=None, is_active=True)
SESSION = Work(name="labkit-bb-1", launch="bb22", trials=(0, 4, 5), is_active=True)
SHARED = Work(name="labkit-cc-1", launch="cc33", trials=(7,), is_active=True)
WORK = [RUN, SESSION, SHARED]


def choose(target: str) -> list[Choice[Work]]:
    return choose_work(ENVIRONMENT, target, WORK, "kubernetes-status")


@pytest.mark.parametrize("target", ["labkit-aa-1", "aa11"])
def test_a_job_is_found_by_its_name_and_by_its_launch(target: str) -> None:
    assert choose(target) == [Choice(job=RUN)]


def test_a_trial_has_a_place_in_the_job() -> None:
    (choice,) = choose("bb22/5")
    assert (choice.job, choice.place, choice.is_whole) == (SESSION, 2, False)
    assert [choice.includes(place) for place in range(3)] == [False, False, True]
    assert list(choice.places) == [2]
    assert find_single_units([choice]) == {"bb22/5"}


def test_the_only_trial_of_a_job_is_the_whole_job_also_where_machines_share_it() -> None:
    (choice,) = choose("cc33/7")
    assert choice.is_whole
    assert choice.includes(1)
    assert [SHARED.unit(place) for place in (0, 1)] == ["cc33/7", "cc33/7"]


@pytest.mark.parametrize("target", ["", "a", "labkit"])
def test_nobody_names_a_job_by_chance(target: str) -> None:
    with pytest.raises(UsageError):
        choose(target)


@pytest.mark.parametrize("target", ["dddd", "bb22/1", "bb22/x", "aa11/0"])
def test_what_is_not_there_is_not_found(target: str) -> None:
    with pytest.raises(UsageError, match=r"^there is no job of '.*': `kubernetes-status` lists what there is\.$"):
        choose(target)
