import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from labkit.environment import Environment
from labkit.tracking import notification
from labkit.tracking.notification import LOG, Notifier, describe_metrics, escape, mention_user, read_end
from labkit.tracking.run import Envelope, Run, create_run
from labkit.tracking.state import State
from tests.labkit.tracking.slack import Answer, Slack, accept, answer, babble, hang, serve, trickle
from tests.project import ROOT, Project

STUDY = str(Path(__file__).with_name("talkative_study.py"))


@pytest.fixture(autouse=True)
def _way_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started find the bench, and the server without a proxy."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def slack() -> Generator[Slack]:
    with serve(accept) as server:
        yield server


def train(project: Project, slack: Slack, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return project.execute(
        STUDY, "--experiment-name", "exp", "--run-name", "<!channel> & co", *words, SLACK_URL=slack.url, **variables
    )


def make_run(project: Project, **variables: str) -> Run:
    environment = Environment.read(variables, project.path)
    envelope = Envelope(entry_point="train", arguments={}, seed=7)
    return create_run(environment, envelope, experiment_name="exp", run_name="name")


def send(text: str, slack_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Send one message as the process for it does; return its exit code."""
    monkeypatch.setattr(notification, "SECONDS_PER_MESSAGE", 2)
    monkeypatch.setenv("SLACK_URL", slack_url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"text": text, "otherwise": None}) + "\n"))
    return notification.main()


@pytest.mark.slow
def test_slack_hears_of_the_start_and_of_the_end_with_duration_and_metrics(project: Project, slack: Slack) -> None:
    result = train(project, slack, SLACK_USER="U012AB3CD")
    assert result.returncode == 0, result.stderr
    start, end = slack.texts
    run, host = project.run.info.run_id, socket.gethostname()
    name = "train &lt;!channel&gt; &amp; co (exp)"
    assert start == f"<@U012AB3CD> {name} runs, on {host}.\nRun {run}"
    first, *others = end.split("\n")
    assert re.fullmatch(rf"<@U012AB3CD> {re.escape(name)} finished after 0:\d\d:\d\d, on {host}\.", first)
    assert others == [f"Run {run}", "train/loss: 2", "validation/accuracy: 0.9375"]
    assert [request["unfurl_links"] for request in slack.requests] == [False, False]
    assert "\nFalse\nlast words\n" in result.stdout, "the process that trains has imported slack_sdk"


@pytest.mark.slow
def test_slack_hears_why_a_run_failed_and_its_last_words(project: Project, slack: Slack) -> None:
    result = train(project, slack, "--end", "badly")
    assert result.returncode == 1
    _, end = slack.texts
    assert " failed after 0:" in end
    assert "\nRuntimeError: no &lt;!channel&gt; &amp; nothing: []\n```\n" in end
    assert "\nlast words\nTraceback (most recent call last):\n" in end
    assert end.endswith("\nRuntimeError: no &lt;!channel&gt; &amp; nothing: []\n```")
    assert "<" not in end


@pytest.mark.slow
def test_slack_hears_of_an_interruption_and_how_to_go_on(project: Project, slack: Slack) -> None:
    result = train(project, slack, "--end", "interrupted")
    assert result.returncode == 75
    assert " interrupted after 0:" in slack.texts[1]
    assert slack.texts[1].endswith(f"\nTo go on: `train --run-id {project.run.info.run_id}`")


def test_slack_hears_of_a_run_that_was_killed(project: Project, slack: Slack) -> None:
    slack.called.clear()
    result = train(project, slack, "--end", "killed")
    assert result.returncode == -signal.SIGKILL
    while len(slack.requests) < 2:
        slack.called.clear()
        assert len(slack.requests) == 2 or slack.called.wait(60)
    assert "has ended without a word: killed, or out of memory, on " in slack.texts[1]


@pytest.mark.parametrize("variables", [{"DEVELOPMENT_MODE": "true"}, {"SLACK_URL": ""}])
def test_nothing_is_sent_in_development_or_without_an_address(
    project: Project, slack: Slack, variables: dict[str, str]
) -> None:
    notifier = Notifier(make_run(project, **{"SLACK_URL": slack.url, **variables}))
    with notifier:
        notifier.tell_start()
        notifier.tell_end(State.FINISHED)
    assert slack.requests == []
    assert not (notifier.run.folder / LOG).exists()


@pytest.mark.slow
def test_a_server_that_never_answers_delays_no_training_and_the_end_a_bounded_time(project: Project) -> None:
    with serve(hang) as slack:
        result = train(project, slack)  # and this returns although the server still hangs
        assert not slack.closing.is_set()
    assert result.returncode == 0
    assert project.run.info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        pytest.param(answer(500, "oops"), "RuntimeError: Slack answers 500: oops", id="500"),
        pytest.param(answer(404, "no_service"), "RuntimeError: Slack answers 404: no_service", id="404"),
        pytest.param(answer(429, "", Retry_After="soon"), "ValueError: ", id="429 without a number"),
        pytest.param(babble, "BadStatusLine: ", id="babble"),
    ],
)
def test_what_slack_did_not_take_is_said_and_no_error(
    project: Project, faulty: Answer, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(faulty) as slack, Notifier(make_run(project, SLACK_URL=slack.url)) as notifier:
        notifier.tell_start()
        notifier.tell_end(State.FINISHED)
    log = notifier.run.folder / LOG
    assert capsys.readouterr().err == f"Not every message has reached Slack: see {log}.\n"
    lines = log.read_text().splitlines()
    assert [line[: len(complaint)] for line in lines] == [complaint, complaint]


@pytest.mark.slow
def test_a_run_ends_well_though_nobody_listens(project: Project) -> None:
    with serve(accept) as slack:
        pass
    result = train(project, slack)
    assert result.returncode == 0
    assert project.run.info.status == "FINISHED"
    assert "Not every message has reached Slack" in result.stderr


@pytest.mark.parametrize(
    "faulty", [answer(500, ""), answer(503, ""), answer(429, "", Retry_After="0")], ids=["500", "503", "429"]
)
def test_a_message_that_is_not_taken_is_sent_again(
    project: Project, faulty: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(faulty, faulty, accept) as slack:
        notifier = Notifier(make_run(project, SLACK_URL=slack.url))
        monkeypatch.setattr(notification, "SECONDS_TO_WAIT_AT_THE_END", 60.0)
        with notifier:
            notifier.tell_start()
            notifier.tell_end(State.FINISHED)
    start, end = "exp) runs, on ", "exp) finished after 0:"
    for text, expected in zip(slack.texts, [start, start, start, end], strict=True):
        assert expected in text
    assert (notifier.run.folder / LOG).read_text() == ""


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "slow",
    [hang, trickle, answer(429, "", Retry_After="3600")],
    ids=["hangs", "trickles", "come back in an hour"],
)
def test_no_server_takes_more_than_a_message_s_time(
    slow: Answer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(slow) as slack:
        assert send("text", slack.url, monkeypatch) == 1
        assert slack.texts == ["text"]
    assert capsys.readouterr().err == "TimeoutError: no success within 2 seconds\n"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("address", ["file:///etc/passwd/of/this/machine", "no address at all", "http://[broken/long"])
def test_an_address_that_is_none_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send("text", address, monkeypatch) == 1
    captured = capsys.readouterr()
    assert captured.err
    assert address not in captured.out + captured.err


def test_an_end_that_cannot_be_told_is_no_error(project: Project, slack: Slack) -> None:
    notifier = Notifier(make_run(project, SLACK_URL=slack.url))
    with notifier:
        notifier.tell_start()
        assert notifier._process  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the fault itself
        os.kill(notifier._process.pid, signal.SIGKILL)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        notifier._process.wait()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        notifier.tell_end(State.FINISHED)


def test_a_disk_that_refuses_the_log_is_no_error(project: Project, slack: Slack) -> None:
    notifier = Notifier(make_run(project, SLACK_URL=slack.url))
    (notifier.run.folder / LOG).mkdir()
    with notifier:
        notifier.tell_start()
        notifier.tell_end(State.FINISHED)
    assert slack.requests == []


def test_a_message_is_bounded_whatever_the_run_says(project: Project, slack: Slack, tmp_path: Path) -> None:
    run = make_run(project, SLACK_URL=slack.url)
    run.name = "<" * 100_000
    log = tmp_path / "log.txt"
    log.write_text("\n".join("&" * 50_000 for _ in range(100)))
    with Notifier(run) as notifier:
        notifier.tell_start()
        notifier.tell_end(State.FAILED, error=">" * 100_000, log=log)
    assert len(slack.texts) == 2
    assert all(len(text) < 40_000 for text in slack.texts)


@pytest.mark.parametrize(
    ("user", "mention"),
    [
        ("U012AB3CD", "<@U012AB3CD>"),
        ("W012AB3CD", "<@W012AB3CD>"),
        ("ada", "@ada"),
        ("U012AB3CD> <!channel", "@U012AB3CD&gt; &lt;!channel"),
    ],
)
def test_only_a_member_s_id_is_a_mention(user: str, mention: str) -> None:
    assert mention_user(user) == mention


def test_a_text_stays_a_text() -> None:
    assert escape("<!channel> <@U1> <http://a|b> &lt;") == "&lt;!channel&gt; &lt;@U1&gt; &lt;http://a|b&gt; &amp;lt;"


def test_of_many_metrics_the_first_are_shown_and_the_others_counted() -> None:
    history = {f"test/{number:02}": ([1, 2], [0.0, number / 3]) for number in range(22)} | {"a_step": ([1], [1.0])}
    lines = describe_metrics(history)
    assert lines[:2] == ["test/00: 0", "test/01: 0.3333"]
    assert lines[20:] == ["and 2 more"]


def test_of_a_log_the_last_lines_are_shown_and_of_a_progress_bar_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"".join(b"line %d\r\n" % number for number in range(1000)) + b"1%\r50%\r99%\nend\xff\n\n")
    assert read_end(path).split("\n") == [*(f"line {number}" for number in range(987, 1000)), "99%", "end\ufffd"]
