import fcntl
import io
import json
import os
import pty
import random
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.credentials import credentials, insert_credential, parse_credentials, to_shell
from tests.project import ROOT
from tests.repository import commit

NAME_AND_VALUE = 'write NAME: "value", a line for each credential.'
ODD = 'it\'s "quoted" $(touch executed) `touch executed` \\ # : {a} ümläut 😀\nsecond line\t '


@pytest.fixture
def key_file(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key is to be, on a machine without a keychain."""
    file = project_folder.parent / "private" / "key"
    monkeypatch.setenv("CREDENTIALS_KEY_FILE", str(file))
    return file


@pytest.fixture
def project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "My Study"
    folder.mkdir()
    (folder / "MLproject").touch()
    monkeypatch.chdir(folder)
    # Whoever runs the tests may have a keychain, which is theirs.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    return folder


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], int]:
    """Pipe a value into `credentials set NAME`."""

    def keep(name: str, value: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(value))
        return credentials.main(["set", name])

    return keep


def write_editor(folder: Path, program: str) -> str:
    """Write an editor that does with the file, `path`, what a line of Python says."""
    file = folder / "editor.py"
    file.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[1])\n{program}\n")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(file))}"


# What is in the file


def test_every_value_is_taken_as_it_is_written() -> None:
    text = "A: 0123\nB: yes\nC: 1e5\nD: null\nE: 2026-01-01\nF: ' x '\nG: |\n  first\n  second\n# comment\nH:\n"
    assert parse_credentials(text) == {
        "A": "0123",
        "B": "yes",
        "C": "1e5",
        "D": "null",
        "E": "2026-01-01",
        "F": " x ",
        "G": "first\nsecond\n",
        "H": "",
    }
    assert parse_credentials("") == parse_credentials("# nothing yet\n") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A: 'open", f"credentials.yaml cannot be understood in line 1: {NAME_AND_VALUE}"),
        ("A: b: c", f"credentials.yaml cannot be understood in line 1: {NAME_AND_VALUE}"),
        ("- A", f"credentials.yaml holds no names: {NAME_AND_VALUE}"),
        ("A", f"credentials.yaml holds no names: {NAME_AND_VALUE}"),
        ("A: b\nB: [c]", 'line 2 of credentials.yaml gives B several values: write B: "value".'),
        ("A: b\n\nA: c", "line 3 of credentials.yaml has A a second time: leave one of them out."),
        (
            "A=b c: d",
            "line 1 of credentials.yaml has no name that a variable could have: take letters, digits and underscores.",
        ),
    ],
)
def test_what_is_no_list_of_variables_is_refused_with_its_line_but_without_its_content(
    text: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        parse_credentials(text)


def test_a_value_is_replaced_where_it_stands_and_all_else_stays() -> None:
    text = "# ours\nA: 'one' # first\nB: |\n  two\n  lines\n\nC:\n"
    assert insert_credential(text, "A", "x") == '# ours\nA: "x" # first\nB: |\n  two\n  lines\n\nC:\n'
    assert insert_credential(text, "C", "x") == "# ours\nA: 'one' # first\nB: |\n  two\n  lines\n\nC: \"x\"\n"
    assert insert_credential("A: b", "B", "x") == 'A: b\nB: "x"\n'
    assert insert_credential("", "A", "x") == 'A: "x"\n'


def test_whatever_is_put_in_comes_out() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    styles = ['"{}"', "'{}'", "|\n  {}\n  more\n", ">\n  {}\n", "{}", ""]
    for _ in range(200):
        before = "".join(f"N{index}: {generator.choice(styles).format('old')}\n" for index in range(4))
        name = f"N{generator.randrange(6)}"
        value = "".join(
            chr(generator.choice([9, 10, 13, 34, 35, 39, 58, 92, 133, 0x2028, 0xFEFF, 0x1F600])) for _ in "123"
        )
        expected = parse_credentials(before) | {name: value}
        assert parse_credentials(insert_credential(before, name, value)) == expected, (before, name, value)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_shell_gets_each_value_as_it_is_and_executes_nothing(shell: str, tmp_path: Path) -> None:
    lines = to_shell({"ODD": ODD, "PLAIN": "plain", "TAKEN": "ours"})
    report = f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    program = f"set -eu\nTAKEN=theirs\n{lines}\n{report}"
    done = subprocess.run([shell, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    variables = json.loads(done.stdout)
    assert (variables["ODD"], variables["PLAIN"]) == (ODD, "plain")
    assert "TAKEN" not in variables  # it was set, though not exported: it stays the shell's own
    assert list(tmp_path.iterdir()) == []


# The file and its key


def test_the_first_credential_makes_the_file_and_its_key(
    project_folder: Path, key_file: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert keep("SLACK_URL", "https://hooks.example.org/canary\n") == 0
    output = capsys.readouterr().out
    label = re.search(r"A new key, (my-study-[0-9a-f]{8}), is in ", output)
    assert label
    assert "canary" not in output
    locked = (project_folder / "credentials.yaml").read_bytes()
    assert locked.startswith(f"$ANSIBLE_VAULT;1.2;AES256;{label[1]}\n".encode())
    assert b"canary" not in locked
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(key_file.read_text().strip()) == 43  # 256 bits
    assert sorted(path.name for path in project_folder.iterdir()) == ["MLproject", "credentials.yaml"]


def test_ansible_vault_opens_what_we_lock_and_we_open_what_it_locks(
    project_folder: Path, key_file: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    keep("ODD", ODD)
    vault = (Path(sys.executable).with_name("ansible-vault"), "--vault-password-file", key_file)

    def ansible_vault(action: str) -> str:
        words = (vault[0], action, *vault[1:], "credentials.yaml")
        variables = os.environ | {"LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(project_folder.parent / "ansible")}
        return subprocess.run(words, env=variables, capture_output=True, text=True, check=True).stdout

    assert parse_credentials(ansible_vault("view")) == {"ODD": ODD}
    ansible_vault("decrypt")
    assert credentials.main(["show"]) == 2
    assert "credentials: credentials.yaml is not encrypted: bring it back with " in capsys.readouterr().err
    ansible_vault("encrypt")
    assert credentials.main(["show"]) == 0
    assert capsys.readouterr().out == f"ODD  [secret], {len(ODD)} characters\n"


def test_a_later_credential_leaves_the_key_and_the_others_as_they_are(
    key_file: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    keep("SECOND", "2")
    key = key_file.read_bytes()
    assert keep("FIRST", "one") == 0
    assert keep("SECOND", "22") == 0
    assert key_file.read_bytes() == key
    capsys.readouterr()
    assert credentials.main(["show"]) == 0
    assert capsys.readouterr().out == "FIRST   [secret], 3 characters\nSECOND  [secret], 2 characters\n"
    assert credentials.main(["show", "FIRST"]) == 0
    assert capsys.readouterr().out == "FIRST   [secret], 3 characters\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["set"], r"say which variable the credential is for, as in `credentials set AWS_SECRET_ACCESS_KEY`; .+"),
        (
            ["set", "TOKEN=canary"],
            r"say which variable .+ its value is asked for, so that it stands on no command line\.",
        ),
        (["set", "TOKEN"], r"TOKEN has no value: give one, or take the credential out with `credentials edit`\."),
        (["export", "TOKEN"], r"export is for all credentials: leave out TOKEN\."),
        (["show"], r"there is no credentials\.yaml yet: begin it with `credentials set NAME`\."),
        (["export"], r"there is no credentials\.yaml yet: begin it with `credentials set NAME`\."),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    words: list[str],
    sentence: str,
    project_folder: Path,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert credentials.main(words) == 2
    assert re.fullmatch(f"credentials: {sentence}\n", capsys.readouterr().err)
    assert [path.name for path in project_folder.iterdir()] == ["MLproject"]
    assert not key_file.exists()


def test_without_a_keychain_the_sentence_names_what_takes_its_place(
    project_folder: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert keep("TOKEN", "value") == 1
    assert capsys.readouterr().err == (
        "credentials: there is no keychain on this machine: name a file for the key, which only you can read, with "
        "`export CREDENTIALS_KEY_FILE=~/.config/labkit/key`, in .envrc.private to keep it.\n"
    )
    assert [path.name for path in project_folder.iterdir()] == ["MLproject"]


def test_a_key_that_is_missing_another_one_or_open_to_others_is_refused_and_the_file_stays(
    project_folder: Path, key_file: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    keep("TOKEN", "value")
    locked = (project_folder / "credentials.yaml").read_bytes()
    label = locked.split(b"\n")[0].rpartition(b";")[2].decode()
    key = key_file.read_text()

    def refuse() -> str:
        capsys.readouterr()
        assert credentials.main(["show"]) == keep("TOKEN", "other") == 2
        first, second = capsys.readouterr().err.splitlines()
        assert first == second
        return first

    key_file.chmod(0o640)
    assert refuse() == f"credentials: others can read the key in {key_file}: forbid it with `chmod 600 {key_file}`."
    key_file.chmod(0o600)
    key_file.write_text("another\n")
    assert refuse().startswith(f"credentials: the key {label} does not open credentials.yaml: it is another one, or ")
    key_file.unlink()
    assert refuse() == (
        f"credentials: the key {label} of credentials.yaml is not in {key_file}: get it from a colleague, "
        f"and put it there with `(umask 077; cat > {key_file})`."
    )
    assert not key_file.exists()
    key_file.touch(mode=0o600)
    key_file.write_text(key)
    (project_folder / "credentials.yaml").write_bytes(locked.replace(b"\n", b"\n<<<<<<< HEAD\n", 1))
    assert refuse() == "credentials: credentials.yaml is damaged: bring it back with `git checkout credentials.yaml`."
    (project_folder / "credentials.yaml").write_bytes(locked)
    assert credentials.main(["show"]) == 0


@pytest.mark.usefixtures("key_file")
def test_two_who_change_the_file_at_once_do_not_lose_either_change(
    project_folder: Path, keep: Callable[[str, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    keep("TOKEN", "value")
    other = os.open(project_folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert keep("TOKEN", "lost") == 1
    assert capsys.readouterr().err == (
        "credentials: another process is changing credentials.yaml: try again when it has done.\n"
    )
    os.close(other)
    assert keep("OTHER", "kept") == 0


# The editor


@pytest.mark.usefixtures("key_file")
def test_the_editor_gets_the_text_in_a_private_file_that_is_gone_afterwards(
    project_folder: Path, keep: Callable[[str, str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("TOKEN", "value")
    report = project_folder.parent / "report"
    program = (
        f"report = pathlib.Path({str(report)!r})\n"
        "report.write_text(f'{path} {path.stat().st_mode:o} {path.parent.stat().st_mode:o}')\n"
        "path.write_text(path.read_text() + '# a note\\nOTHER: 007\\n')"
    )
    monkeypatch.setenv("EDITOR", write_editor(project_folder.parent, program))
    assert credentials.main(["edit"]) == 0
    path, file_mode, folder_mode = report.read_text().split()
    assert (file_mode, folder_mode) == ("100600", "40700")
    assert not Path(path).parent.exists()
    assert not Path(path).is_relative_to(project_folder)
    monkeypatch.setenv("VISUAL", write_editor(project_folder.parent, "assert '# a note' in path.read_text()"))
    locked = (project_folder / "credentials.yaml").read_bytes()
    assert credentials.main(["edit"]) == 0
    assert (project_folder / "credentials.yaml").read_bytes() == locked  # nothing was changed, so nothing is written


@pytest.mark.parametrize(
    ("program", "code", "sentence"),
    [
        ("path.write_text('TOKEN')", 2, f"credentials.yaml holds no names: {NAME_AND_VALUE}"),
        ("path.write_text('TOKEN: lost'); sys.exit(3)", 1, ".+ failed with exit code 3: nothing is changed."),
    ],
)
@pytest.mark.usefixtures("key_file")
def test_an_edit_that_goes_wrong_changes_nothing(
    program: str,
    code: int,
    sentence: str,
    project_folder: Path,
    keep: Callable[[str, str], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep("TOKEN", "value")
    locked = (project_folder / "credentials.yaml").read_bytes()
    monkeypatch.setenv("EDITOR", write_editor(project_folder.parent, program))
    assert credentials.main(["edit"]) == code
    assert re.fullmatch(f"credentials: {sentence}\n", capsys.readouterr().err)
    assert (project_folder / "credentials.yaml").read_bytes() == locked


@pytest.mark.usefixtures("key_file")
def test_at_a_terminal_a_mistake_can_be_mended_and_a_typed_value_is_not_shown(
    project_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first time it writes what cannot be understood, the second time it mends that.
    program = "path.write_text('TOKEN: canary\\n' if path.read_text() == 'TOKEN' else 'TOKEN')"
    variables = os.environ | {"EDITOR": write_editor(project_folder.parent, program), "PYTHONPATH": str(ROOT)}

    def at_terminal(*words: str, typed: bytes) -> str:
        controller, terminal = pty.openpty()
        program = "import sys; from labkit.credentials import credentials; sys.exit(credentials.main())"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            env=variables,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        output, is_asked = b"", False
        while True:
            try:
                output += os.read(controller, 1024)
            except OSError:  # the other end is closed
                break
            if not is_asked and output.endswith((b"give up. ", b"TOKEN: ")):
                is_asked = True
                os.write(controller, typed)
        os.close(controller)
        assert process.wait() == 0, output
        return output.decode()

    assert "credentials.yaml holds no names" in at_terminal("edit", typed=b"\n")
    assert credentials.main(["show"]) == 0
    assert capsys.readouterr().out == "TOKEN  [secret], 6 characters\n"
    assert "typed canary" not in at_terminal("set", "TOKEN", typed=b"typed canary\n")
    assert credentials.main(["show"]) == 0
    assert capsys.readouterr().out == "TOKEN  [secret], 12 characters\n"


# The doctor


@pytest.mark.usefixtures("key_file")
def test_the_doctor_names_what_is_missing_and_what_mends_it_until_all_is_well(
    project_folder: Path,
    keep: Callable[[str, str], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    subprocess.run(["git", "init", "--quiet"], check=True)

    def doctor() -> list[str]:
        capsys.readouterr()
        code = credentials.main(["doctor"])
        lines = capsys.readouterr().out.splitlines()
        assert code == (0 if lines[0].startswith("All is well") else 1)
        return lines

    assert doctor() == ["There is no credentials.yaml yet: begin it with `credentials set NAME`."]
    keep("AWS_ACCESS_KEY_ID", "key")
    uncommitted = (
        "Colleagues lack what is new in credentials.yaml: share it with `git add credentials.yaml && git commit`."
    )
    unloaded = "This shell lacks AWS_ACCESS_KEY_ID: load the credentials with `direnv allow`."
    alone = (
        "AWS_ACCESS_KEY_ID is of no use without AWS_SECRET_ACCESS_KEY: "
        "give it with `credentials set AWS_SECRET_ACCESS_KEY`."
    )
    assert doctor() == [uncommitted, unloaded, alone]
    (project_folder / ".gitignore").write_text("credentials.yaml\n")
    ignored = (
        "Git ignores credentials.yaml, so colleagues lack it: "
        "share it with `git add --force credentials.yaml && git commit`."
    )
    assert doctor() == [ignored, unloaded, alone]
    (project_folder / ".gitignore").unlink()
    keep("AWS_SECRET_ACCESS_KEY", "secret")
    commit(project_folder)
    monkeypatch.setattr("shutil.which", lambda _: None)
    how = 'eval "$(credentials export)"'
    assert doctor() == [
        f"This shell lacks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: load the credentials with `{how}`."
    ]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of another account")
    another = (
        "This shell has another AWS_SECRET_ACCESS_KEY than credentials.yaml, which goes first: "
        "if that is a mistake, `unset AWS_SECRET_ACCESS_KEY`."
    )
    assert doctor() == [another]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert doctor() == ["All is well: credentials.yaml opens, and this shell has what is in it."]
