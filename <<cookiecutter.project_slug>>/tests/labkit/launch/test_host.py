from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from labkit.command import UnavailableError, UsageError
from labkit.launch.host import Answer, Host, connection_options
from labkit.launch.output import print_output

HERE = Host()
TALKATIVE = """#!/bin/bash
# An ssh whose login shell says this and that, also a number, before it does what it is told.
[[ $1 != -G ]] || { echo "controlpath none"; exit; }
echo Welcome; echo 137; echo "Your quota is exceeded." >&2
exec bash -s
"""
REFUSED = """#!/bin/bash
echo "ssh: connect to host cluster port 22: Connection refused" >&2
exit 255
"""
BROKEN_OFF = """#!/bin/bash
[[ $1 != -G ]] || exit 0
head -n 6 | sed 's/^(/touch done; exit 0; }/' | bash -s
exit 255
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Host]:
    """Make a program the `ssh` that is found; each gets a host of its own, since answers of `ssh -G` are kept."""

    def install(program: str) -> Host:
        path = tmp_path / "bin" / "ssh"
        path.parent.mkdir()
        path.write_text(program)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
        monkeypatch.chdir(tmp_path)
        return Host(tmp_path.name)

    return install


def test_output_errors_and_code_come_apart() -> None:
    assert HERE.run("echo one; echo two >&2; exit 7") == Answer(code=7, output="one\n", errors="two\n")


def test_output_without_a_last_newline_arrives_as_it_is() -> None:
    assert HERE.run("printf 'no end'").output == "no end"


def test_text_is_what_the_commands_read() -> None:
    text = "a 'quote', a $(command) and\nüñí\n"
    assert HERE.run("cat", text=text).output == text


def test_commands_that_read_get_nothing_of_their_own_script() -> None:
    assert HERE.run("cat\necho after") == Answer(code=0, output="after\n", errors="")


def test_text_that_nobody_reads_is_not_executed(tmp_path: Path) -> None:
    assert HERE.run("true", text=f"touch {tmp_path / 'executed'}\n").code == 0
    assert list(tmp_path.iterdir()) == []


def test_what_must_succeed_says_in_its_own_words_why_it_did_not() -> None:
    with pytest.raises(UnavailableError, match=r"^this machine refuses: sbatch: error: invalid partition\.$"):
        HERE.require("echo 'sbatch: error: invalid partition' >&2; exit 1")


def test_what_a_login_shell_says_is_no_answer(install: Callable[[str], Host]) -> None:
    host = install(TALKATIVE)
    assert host.run("echo 0; exit 3") == Answer(code=3, output="0\n", errors="")


def test_a_refused_connection_is_one_sentence(install: Callable[[str], Host]) -> None:
    host = install(REFUSED)
    with pytest.raises(UnavailableError) as caught:
        host.run("true")
    assert str(caught.value) == (
        f"{host} cannot be reached (ssh: connect to host cluster port 22: Connection refused): "
        f"see what `ssh {host}` says."
    )


def test_a_connection_that_breaks_off_is_no_success(install: Callable[[str], Host], tmp_path: Path) -> None:
    host = install(BROKEN_OFF)
    with pytest.raises(UnavailableError, match=r"the connection to .* broke off: call this again"):
        host.run("true")
    assert (tmp_path / "done").exists()
    with pytest.raises(UnavailableError, match="broke off"):
        print_output(host, PurePosixPath("/"), lambda: (["log"], False), follow=True)


def test_a_missing_ssh_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ssh is missing"):
        Host("nowhere").run("true")


def test_the_users_own_configuration_is_not_overruled() -> None:
    own = {"controlpath": "/home/me/%C", "serveraliveinterval": "5", "connecttimeout": "3"}
    assert connection_options(own) == []


def test_without_one_of_their_own_commands_share_a_connection_that_does_not_hang() -> None:
    assert connection_options({"serveraliveinterval": "0", "connecttimeout": "none"}) == [
        *("-o", "ControlMaster=auto", "-o", "ControlPath=~/.ssh/labkit-%C", "-o", "ControlPersist=60"),
        *("-o", "ServerAliveInterval=15", "-o", "ConnectTimeout=30"),
    ]
