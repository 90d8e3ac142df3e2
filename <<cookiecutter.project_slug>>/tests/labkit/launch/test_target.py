from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.environment import Environment
from labkit.launch.launcher import read_request
from labkit.launch.sealing import seal
from labkit.launch.target import match, resolve
from labkit.launch.trial import SealedSession, begin
from labkit.launch.unit import Unit
from labkit.tracking.run import open_run
from tests.project import Project

LAUNCHES = {"4f0c12aa", "4f0c34bb", "4f0c12aa77", "77d1"}


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("77d1", Unit("77d1")),
        ("4f0c12aa", Unit("4f0c12aa")),  # though another one begins with it
        ("4f0c3", Unit("4f0c34bb")),
        ("4f0c3/12", Unit("4f0c34bb", 12)),
        ("0c12", None),
        ("4f0c3/x", None),
        ("4f0c3/", None),
    ],
)
def test_an_id_or_a_beginning_that_only_one_has_names_it(target: str, unit: Unit | None) -> None:
    assert match(target, LAUNCHES) == unit


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("", "the id is empty: give that of a session, a run or a job."),
        ("/3", "the id is empty: give that of a session, a run or a job."),
        ("7", "'7' is too short: give 4 characters of an id, or more."),
        ("4f0c", "'4f0c' may mean 4f0c12aa or 4f0c12aa77: give more of the id."),
    ],
)
def test_what_names_nothing_or_too_much_is_refused(target: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        match(target, LAUNCHES)
    assert str(error.value) == sentence


def test_what_is_not_there_is_said_with_what_lists_the_rest() -> None:
    with pytest.raises(UsageError, match=r"^there is no job of '9999': `slurm-status` lists what there is\.$"):
        resolve(Environment.read({}, Path("/nowhere")), "9999", LAUNCHES, "slurm-status")


def test_the_run_of_a_trial_names_the_trial(study: Project) -> None:
    request = read_request({"entry_point": "descend", "argument_sets": "rate=0.1,0.2"})
    session = SealedSession(open_run(study.environment, seal(request, study.environment).identifier))
    run = begin(session, 1)
    launches = {session.identifier}
    assert resolve(study.environment, run.identifier, launches, "slurm-status") == Unit(session.identifier, 1)
    with pytest.raises(UsageError, match=r"^there is no job of "):
        resolve(study.environment, "0" * 32, launches, "slurm-status")
