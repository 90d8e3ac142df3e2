"""Credentials, in one encrypted file that the repository carries: `credentials --help`.

``credentials.yaml`` is a file of ansible-vault; inside are names and values of environment variables, as YAML. Its
label names its key, so that no key is ever taken for that of another project. The key lies in the keychain of the
operating system or, where there is none, in a file of its owner's (``CREDENTIALS_KEY_FILE``), never in the repository.
"""

import contextlib
import fcntl
import getpass
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from labkit.atomic import write_atomically
from labkit.command import EXIT_DONE, EXIT_FAILED, UnavailableError, UsageError, command
from labkit.environment import Environment, read_variables
from labkit.secret import MASK

FILE: Final = "credentials.yaml"
KEYCHAIN: Final = "labkit"
"""The service under which the keychain has the keys; the label is the user's name there."""
HEADER: Final = re.compile(rb"\$ANSIBLE_VAULT;[\d.]+;AES256(?:;(?P<label>[^;\s]+))?\s")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MEMORY: Final = Path("/dev/shm")  # noqa: S108  what is written there is in a folder of its own, and on no disk
BEGINNING: Final = """\
# A line for each credential, NAME: "value", as the environment is to have it; for example
# AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, SLACK_URL
"""
COMPANIONS: Final = {
    "AWS_ACCESS_KEY_ID": "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY": "AWS_ACCESS_KEY_ID",
    "MLFLOW_TRACKING_USERNAME": "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD": "MLFLOW_TRACKING_USERNAME",
    "SLACK_USER": "SLACK_URL",
}
"""Variables that say nothing without another one."""


@command
def credentials(action: Literal["edit", "set", "show", "export", "doctor"], name: str | None = None) -> int:
    """Keep credentials encrypted in the repository, and bring them into the environment.

    edit opens all of them in your editor. set asks for the value of one, or reads it from a pipe. show lists them,
    masked. export prints lines for a shell's eval, which .envrc does for you. doctor tells what is missing, and the
    command that mends it. Examples: credentials set AWS_SECRET_ACCESS_KEY, credentials doctor

    :param action: What to do.
    :param name: Which one, for set and show.
    """
    if name is not None and action not in {"set", "show"}:
        raise UsageError(f"{action} is for all credentials: leave out {name}.")
    environment = Environment.read()
    match action:
        case "edit":
            edit(environment)
        case "set":
            store(environment, name)
        case "show":
            show(environment, name)
        case "export":
            print(to_shell(parse_credentials(open_vault(environment).text)), end="")
        case "doctor":
            return diagnose(environment)
    return EXIT_DONE


@dataclass(frozen=True, kw_only=True)
class Vault:
    """An opened ``credentials.yaml``: what is in it, and what to lock it with again."""

    path: Path
    label: str
    key: str
    text: str

    def with_text(self, text: str) -> Self:
        """Lock the file with another text in it.

        :param text: YAML, as :func:`parse_credentials` takes it.
        :return: What is in the file now.
        """
        from ansible.parsing.vault import VaultLib, VaultSecret

        lib = VaultLib([(self.label, VaultSecret(self.key.encode()))])
        locked: bytes = lib.encrypt(text, vault_id=self.label)
        with write_atomically(self.path) as file:
            file.write(locked)
        return type(self)(path=self.path, label=self.label, key=self.key, text=text)


# What is in the file


def parse_credentials(text: str) -> dict[str, str]:
    """Read what is in the file.

    :param text: A mapping in YAML. Each value is taken as it is written: ``0123`` is no number, and ``yes`` no truth.
    :return: The values by their names.
    :raises UsageError: If it is anything else, or a name cannot be that of a variable.
    """
    return {name: text for name, (text, _) in _locate(text).items()}


def insert_credential(text: str, name: str, value: str) -> str:
    """Write one value into the text of the file; everything else in it, comments too, stays as it is.

    :param text: A mapping in YAML.
    :param name: The variable.
    :param value: Its value.
    :return: The new text.
    """
    import yaml

    quoted = yaml.safe_dump(value, default_style='"', width=float("inf"), allow_unicode=True).rstrip("\n")
    if name not in (located := _locate(text)):
        return text + ("\n" if text and not text.endswith("\n") else "") + f"{name}: {quoted}\n"
    place = located[name][1]
    # Of a text over several lines, the end of the last one is part.
    end = "\n" if text[place].endswith("\n") else ""
    space = "" if text[: place.start].endswith(" ") else " "
    return f"{text[: place.start]}{space}{quoted}{end}{text[place.stop :]}"


def to_shell(values: Mapping[str, str]) -> str:
    """Write lines for a shell's `eval`; what is set there already, it keeps.

    :param values: The values by their names.
    :return: The lines.
    """
    return "".join(
        f'[ -n "${{{name}:-}}" ] || export {name}={shlex.quote(value)}\n' for name, value in sorted(values.items())
    )


def _locate(text: str) -> dict[str, tuple[str, slice]]:
    """Find each value, and where in the text it stands."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(
            f'{FILE} cannot be understood{place}: write NAME: "value", a line for each credential.'
        ) from None
    located: dict[str, tuple[str, slice]] = {}
    if root is None:
        return located
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f'{FILE} holds no names: write NAME: "value", a line for each credential.')
    for name, value in root.value:
        line = f"line {name.start_mark.line + 1} of {FILE}"
        if not isinstance(name, yaml.ScalarNode) or not NAME.fullmatch(name.value):
            raise UsageError(f"{line} has no name that a variable could have: take letters, digits and underscores.")
        if not isinstance(value, yaml.ScalarNode):
            raise UsageError(f'{line} gives {name.value} several values: write {name.value}: "value".')
        if name.value in located:
            raise UsageError(f"{line} has {name.value} a second time: leave one of them out.")
        located[name.value] = value.value, slice(value.start_mark.index, value.end_mark.index)
    return located


# The file and its key


def open_vault(environment: Environment) -> Vault:
    """Open the file.

    :param environment: Says in which project, and where its key is.
    :return: What is in it.
    :raises UsageError: If the file is missing or not encrypted, or the key is missing or another one.
    :raises UnavailableError: If the keychain does not answer.
    """
    path = environment.project_path / FILE
    try:
        locked = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no {FILE} yet: begin it with `credentials set NAME`.") from None
    label = read_label(locked) or environment.project_path.name
    key = read_key(label, environment)
    if key is None:
        raise UsageError(
            f"the key {label} of {FILE} is not {_place_of(environment)}: get it from a colleague, and put it there "
            f"with `{_how_to_store(label, environment)}`."
        )
    return Vault(path=path, label=label, key=key, text=_unlock(locked, label, key))


def begin_vault(environment: Environment) -> Vault:
    """Choose a key for a new file, and keep it before anything is locked with it.

    :param environment: Says in which project, and where its key is to be.
    :return: An empty file, which is not written yet.
    """
    _need_ansible()
    project = environment.project_path
    name = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-") or "project"
    label = f"{name}-{secrets.token_hex(4)}"
    key = read_key(label, environment)
    if key is None:
        key = secrets.token_urlsafe(32)
        store_key(label, key, environment)
        print(f"A new key, {label}, is {_place_of(environment)}. Without it nobody can open {FILE}: keep a copy.")
    return Vault(path=project / FILE, label=label, key=key, text=BEGINNING)


def read_label(locked: bytes) -> str | None:
    """Read which key a file is locked with.

    :param locked: The content of the file.
    :return: The key's name; nothing where ansible-vault was told none.
    :raises UsageError: If the file is not encrypted.
    """
    header = HEADER.match(locked)
    if header is None:
        raise UsageError(
            f"{FILE} is not encrypted: bring it back with `git checkout {FILE}`, or move it away and enter what is in "
            "it with `credentials edit`; what has been committed like this is known to others."
        )
    return header["label"].decode() if header["label"] else None


def read_key(label: str, environment: Environment) -> str | None:
    """Read a key.

    :param label: Its name.
    :param environment: Names the file with the key, if there is one; else it is in the keychain.
    :return: The key; nothing where there is none.
    :raises UsageError: If others can read the file with the key.
    :raises UnavailableError: If the keychain does not answer.
    """
    file = environment.credentials_key_file
    if file is None:
        import keyring

        with _explained_keychain():
            return keyring.get_password(KEYCHAIN, label)
    try:
        if file.stat().st_mode & 0o077:
            raise UsageError(f"others can read the key in {file}: forbid it with `chmod 600 {shlex.quote(str(file))}`.")
        return file.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(f"the key in {file} cannot be read ({error.strerror}).") from error


def store_key(label: str, key: str, environment: Environment) -> None:
    """Keep a new key.

    :param label: Its name.
    :param key: The key.
    :param environment: Names the file that it is to be in; else it goes into the keychain.
    :raises UnavailableError: If neither takes it.
    """
    if file := environment.credentials_key_file:
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(f"{key}\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise UnavailableError(f"the key cannot be written to {file} ({error.strerror}).") from error
        return
    import keyring

    with _explained_keychain():
        keyring.set_password(KEYCHAIN, label, key)
    if read_key(label, environment) != key:
        raise UnavailableError("the keychain did not keep the key: see `keyring diagnose`.")


@contextlib.contextmanager
def _explained_keychain() -> Generator[None]:
    import keyring.errors

    try:
        yield
    except keyring.errors.NoKeyringError:
        raise UnavailableError(
            "there is no keychain on this machine: name a file for the key, which only you can read, with "
            "`export CREDENTIALS_KEY_FILE=~/.config/labkit/key`, in .envrc.private to keep it."
        ) from None
    except keyring.errors.KeyringError as error:
        raise UnavailableError(f"the keychain does not answer ({error}): unlock it, and try again.") from error


def _unlock(locked: bytes, label: str, key: str) -> str:
    _need_ansible()
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import AnsibleVaultFormatError, VaultLib, VaultSecret

    try:
        text: bytes = VaultLib([(label, VaultSecret(key.encode()))]).decrypt(locked)
    except AnsibleVaultFormatError:
        raise UsageError(f"{FILE} is damaged: bring it back with `git checkout {FILE}`.") from None
    except AnsibleError:
        raise UsageError(
            f"the key {label} does not open {FILE}: it is another one, or the file is damaged; "
            f"bring it back with `git checkout {FILE}`."
        ) from None
    return text.decode()


def _need_ansible() -> None:
    from importlib.util import find_spec

    if find_spec("ansible") is None or find_spec("keyring") is None:
        raise UnavailableError("ansible-core and keyring are not installed here: install them with `make init`.")


def _place_of(environment: Environment) -> str:
    return f"in {environment.credentials_key_file}" if environment.credentials_key_file else "in the keychain"


def _how_to_store(label: str, environment: Environment) -> str:
    if file := environment.credentials_key_file:
        return f"(umask 077; cat > {shlex.quote(str(file))})"
    return f"keyring set {KEYCHAIN} {label}"


# What the command does


def store(environment: Environment, name: str | None) -> None:
    """Ask for the value of one credential, and put it into the file; the first one makes the file, and its key."""
    if name is None or not NAME.fullmatch(name):
        raise UsageError(
            "say which variable the credential is for, as in `credentials set AWS_SECRET_ACCESS_KEY`; "
            "its value is asked for, so that it stands on no command line."
        )
    is_typed = sys.stdin.isatty()
    value = getpass.getpass(f"{name}: ") if is_typed else sys.stdin.read().removesuffix("\n")
    if not value or "\0" in value:
        raise UsageError(f"{name} has no value: give one, or take the credential out with `credentials edit`.")
    with _changing(environment) as vault:
        vault.with_text(insert_credential(vault.text, name, value))
    print(f"{name} is in {FILE}. Share it with: git add {FILE} && git commit")


def show(environment: Environment, name: str | None) -> None:
    """Print names, and the lengths of the values."""
    values = parse_credentials(open_vault(environment).text)
    if name is not None and name not in values:
        raise UsageError(f"{FILE} has no {name}: put it there with `credentials set {name}`.")
    width = max(map(len, values), default=0)
    for each, value in sorted(values.items()):
        if name in {None, each}:
            print(f"{each:{width}}  {MASK}, {len(value)} characters")


def edit(environment: Environment) -> None:
    """Open the credentials in the user's editor, and lock what comes of it, if it can be understood."""
    with (
        _changing(environment) as vault,
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
    ):
        file = Path(folder, FILE)
        file.touch(mode=0o600)
        file.write_text(vault.text)
        while True:
            _run_editor(environment.editor, file)
            text = file.read_text()
            try:
                parse_credentials(text)
                break
            except UsageError as error:
                if not sys.stdin.isatty():
                    raise
                print(f"{error} Nothing is changed yet.")
                input("Enter: edit again. Ctrl-C: give up. ")
        if text == vault.text:
            print("Nothing has changed.")
            return
        vault.with_text(text)
    print(f"{FILE} is written. Share it with: git add {FILE} && git commit")


def diagnose(environment: Environment) -> int:
    """Print what is missing, a sentence a line.

    :return: The exit code: 0 where nothing is.
    """
    faults = list(_find_faults(environment))
    print("\n".join(faults) or f"All is well: {FILE} opens, and this shell has what is in it.")
    return EXIT_FAILED if faults else EXIT_DONE


def _find_faults(environment: Environment) -> Iterator[str]:
    try:
        values = parse_credentials(open_vault(environment).text)
    except (UsageError, UnavailableError) as error:
        sentence = str(error)
        yield sentence[0].upper() + sentence[1:]
        values = None
    if values is not None:
        yield from _find_faults_of_git(environment.project_path)
        yield from _find_faults_of_shell(values)
    known = read_variables([*COMPANIONS, *COMPANIONS.values()]) | (values or {})
    for name, companion in COMPANIONS.items():
        if name in known and companion not in known:
            yield f"{name} is of no use without {companion}: give it with `credentials set {companion}`."


def _find_faults_of_git(project: Path) -> Iterator[str]:
    git = ("git", "-C", project, "status", "--porcelain", "--ignored", "--", FILE)
    answer = subprocess.run(git, capture_output=True, text=True, check=False).stdout
    if answer.startswith("!!"):
        yield f"Git ignores {FILE}, so colleagues lack it: share it with `git add --force {FILE} && git commit`."
    elif answer:
        yield f"Colleagues lack what is new in {FILE}: share it with `git add {FILE} && git commit`."


def _find_faults_of_shell(values: Mapping[str, str]) -> Iterator[str]:
    loaded = read_variables(values)
    if absent := sorted(values.keys() - loaded.keys()):
        how = "direnv allow" if shutil.which("direnv") else 'eval "$(credentials export)"'
        yield f"This shell lacks {', '.join(absent)}: load the credentials with `{how}`."
    for name in sorted(loaded):
        if loaded[name] != values[name]:
            yield f"This shell has another {name} than {FILE}, which goes first: if that is a mistake, `unset {name}`."


def _run_editor(editor: str, file: Path) -> None:
    try:
        code = subprocess.run([*shlex.split(editor), file], check=False).returncode
    except FileNotFoundError:
        raise UsageError(f"there is no editor {editor}: name yours with `export EDITOR=nano`.") from None
    if code:
        raise UnavailableError(f"{editor} failed with exit code {code}: nothing is changed.")


@contextlib.contextmanager
def _changing(environment: Environment) -> Generator[Vault]:
    """Open the file, or begin it, and keep others from changing it meanwhile, whose change would be lost."""
    folder = os.open(environment.project_path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(f"another process is changing {FILE}: try again when it has done.") from None
        is_there = (environment.project_path / FILE).exists()
        yield open_vault(environment) if is_there else begin_vault(environment)
    finally:
        os.close(folder)
