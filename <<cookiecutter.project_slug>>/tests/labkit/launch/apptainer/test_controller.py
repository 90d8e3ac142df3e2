"""Jobs on this machine, with real processes; a small program stands for Python with a run in it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from labkit.launch.apptainer.controller import Process, look, start, stop
from labkit.launch.apptainer.job import TEMPLATE, Job, render_job
from labkit.launch.cluster import ApptainerHost, Paths, Resources
from labkit.launch.host import Host
from labkit.launch.site import Site
from labkit.launch.work import Choice
from tests.project import ROOT

SECONDS = 60
RUN = """\
#!/usr/bin/env bash
echo "$JOB_COMPLETION_INDEX on ${CUDA_VISIBLE_DEVICES-none} with $SECRET and $1"
printf '%s\\n' "$JOB_COMPLETION_INDEX" >>"$RUNS_PATH/begun"
trap 'exit 75' USR1
case $JOB_COMPLETION_INDEX in
  1) exit 1 ;;
  2) [[ $(grep -c 2 "$RUNS_PATH/begun") -ge 3 ]] || exit 75 ;;
  3) while :; do sleep 0.05; done ;;
  5) exit 75 ;;
esac
"""


@pytest.fixture(params=[True, False], ids=["tmux", "nohup"])
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Site]:
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    if not request.param:
        programs = tmp_path / "programs"
        programs.mkdir()
        for place in (Path("/usr/bin"), Path("/bin")):
            for program in place.iterdir():
                if program.name != "tmux" and not (programs / program.name).is_symlink():
                    (programs / program.name).symlink_to(program)
        monkeypatch.setenv("PATH", str(programs))
    python = tmp_path / "my environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(RUN)
    python.chmod(0o755)
    site = Site(host=Host(), folder=PurePosixPath(tmp_path / "my runs" / ".apptainer"))
    yield site
    stop(site, [Choice(job=job) for job in look(site) if job.is_active])  # of a test that has failed


def make_job(site: Site, trials: tuple[int, ...], *lanes: str) -> Job:
    runs = site.folder.parent
    paths = Paths(environment=runs.parent / "my environment", runs=runs)
    return Job(
        launch="aa11",
        trials=trials,
        lanes=lanes,
        folder=site.folder,
        host=ApptainerHost(paths=paths),
        resources=Resources(max_restarts=2),
        sha256="f" * 64,
    )


def await_work(site: Site, is_there: Callable[[Process], bool]) -> Process:
    end = time.monotonic() + SECONDS
    while True:
        (work,) = look(site)
        if is_there(work):
            return work
        assert time.monotonic() < end, work
        time.sleep(0.05)


def test_units_are_executed_begin_again_and_fail_each_for_itself_until_they_are_stopped(site: Site) -> None:
    job = make_job(site, (0, 1, 2, 3, 4, 5), "0,1", "2,3")
    start(site, job, render_job(ROOT / TEMPLATE, job), "export SECRET=canary\n")
    folder = Path(job.own_folder)
    await_work(site, lambda work: set(work.ended) == {0, 1, 2, 4, 5} and work.running == [3])
    stop(site, [Choice(job=job) for job in look(site)])
    work = await_work(site, lambda work: not work.is_active)
    assert [work.word(place) for place in range(6)] == [
        "ended (0)",
        "ended (1)",
        "ended (0)",
        "ended (75)",
        "ended (0)",
        "ended (75)",
    ]
    third, last = ((folder / "output" / f"{place}.txt").read_text() for place in (2, 5))
    assert [f"=== 2, restart {number}" in third for number in range(4)] == [True, True, True, False]
    assert [f"=== 5, restart {number}" in last for number in range(4)] == [True, True, True, False]
    assert {line.split()[2] for line in third.splitlines() if " on " in line} <= {"0,1", "2,3"}
    assert "with canary and bootstrap.py" in third
    assert not (folder / "credentials").exists()
    assert "canary" not in (folder / "job.sh").read_text()


def test_one_trial_is_stopped_and_one_that_waits_is_not_begun_while_the_others_go_on(site: Site) -> None:
    job = make_job(site, (0, 1, 2, 3, 4, 5), "")
    start(site, job, render_job(ROOT / TEMPLATE, job), "export SECRET=canary\n")
    begun = Path(job.own_folder) / "output" / "3.txt"
    work = await_work(site, lambda work: work.running == [3] and "with canary" in begun.read_text())
    stop(site, [Choice(job=work, place=4)])
    stop(site, [Choice(job=work, place=3)])
    work = await_work(site, lambda work: not work.is_active)
    assert [work.ended[place] for place in (0, 3, 4)] == [0, 75, 75]
    third, fourth, last = ((Path(job.own_folder) / "output" / f"{place}.txt").read_text() for place in (3, 4, 5))
    assert [text.count("restart") for text in (third, fourth, last)] == [1, 0, 3]


def test_two_launches_of_one_session_have_folders_of_their_own(site: Site) -> None:
    for _ in range(2):
        job = make_job(site, (0,), "")
        start(site, job, render_job(ROOT / TEMPLATE, job), "export SECRET=canary\n")
    first, second = look(site)
    assert first.launch == second.launch == "aa11"
    assert first.name != second.name
    end = time.monotonic() + SECONDS
    while any(work.is_active for work in look(site)):
        assert time.monotonic() < end
        time.sleep(0.05)
