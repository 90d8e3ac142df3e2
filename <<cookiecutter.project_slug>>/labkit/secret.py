"""What nobody else may see: credentials are known by the names of what holds them, and masked by their values."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from os.path import exists
from pathlib import PurePath
from threading import get_ident
from typing import Any, Final, TextIO
from urllib.parse import quote

MASK: Final = "[secret]"
SHORTEST_SECRET: Final = 8
"""Characters from which on a value is looked for in texts: a shorter one stands in ordinary text by chance, too."""
SHORTEST_KEY: Final = 16
"""The same for what is only called a key: a machine's keys are long, with letters and digits, unlike ``created_at``."""

SECRET_NAME: Final = re.compile(
    r"pass(word|wd|phrase|code)|secret|credential|webhook|token$|[^a-z]p(ass|wd)$"
    r"|(api|access|private|signing|encryption|auth|account)[-_. ]?key([-_. ]?id)?$",
    re.IGNORECASE,
)
HARMLESS_NAME: Final = re.compile(
    # Tokens of a vocabulary; public keys; and what only says where a secret is, or of which kind.
    r"(^|[^a-z])(pad|mask|cls|sep|bos|eos|unk|begin|class|start|end|stop|special|image|prompt|next|new)[-_]?token$"
    r"|public[-_]?key|[^a-z](file|path|dir|directory|folder|name|type|kind|length|size|count)$",
    re.IGNORECASE,
)
KEY_NAME: Final = re.compile(r"(^|[^a-z])key$", re.IGNORECASE)
ADDRESS: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://([^\s/@:]*:(?P<password>[^\s/]+)@)?[^\s/]*(?P<path>/\S*)?", re.IGNORECASE
)
LOGIN_OF_ADDRESS: Final = rf"://([^\s/@:'\"]*:[^\s/'\"]+|[^\s/@:'\"]{{{SHORTEST_KEY},}})@"
"""In a text: a name and a password, or something too long for a name, as a token in the address of a repository."""

SECRET_FILES: Final = (
    "credentials.yaml",
    ".env*",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".aws",
    ".gnupg",
    ".kube",
    ".ssh",
)
"""Files and folders, as patterns of their names, that enter no archive, no difference and no image, tracked or not."""


def is_secret_name(name: str) -> bool:
    """Tell whether a parameter or variable holds a secret, by its name alone: ``password``, ``HF_TOKEN``, ``api-key``.

    :param name: The name, its words apart by underscores, hyphens or capitals.
    :return: Whether its value is to be kept from others; ``max_tokens`` and ``mask_token`` are not secret.
    """
    return bool(SECRET_NAME.search(name)) and not HARMLESS_NAME.search(name)


def is_secret_file(path: PurePath) -> bool:
    """Tell whether a file must stay on this machine, by the names on its path.

    :param path: The file's path relative to the project's root.
    :return: Whether :data:`SECRET_FILES` names it or a folder that it is in.
    """
    return any(fnmatchcase(part, pattern) for part in path.parts for pattern in SECRET_FILES)


def find_secrets(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Find the values of environment variables that are named like secrets, and passwords inside of addresses.

    :param variables: Values by name.
    :return: The secrets; the path of a file that is there is none, nor what a key of a machine cannot be.
    """
    found: dict[str, None] = {}
    for name, value in variables.items():
        called_key = bool(KEY_NAME.search(name)) and not HARMLESS_NAME.search(name)
        if (is_secret_name(name) or (called_key and _is_key(value))) and not _is_path(value):
            found[value] = None
        elif (address := ADDRESS.match(value)) and address["password"]:
            found[address["password"]] = None
    return tuple(found)


def find_secrets_in_arguments(arguments: Mapping[str, Any], names: Collection[str] = ()) -> tuple[str, ...]:
    """Find the texts in arguments that are named like secrets, and passwords inside of addresses.

    :param arguments: Plain data by the parameters' names.
    :param names: Further parameters that hold secrets, as a whole or somewhere in an address.
    :return: The secrets.
    """
    found: list[str] = []
    for name, value in arguments.items():
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str) or MASK in text:
                continue
            if is_secret_name(name):
                found.append(text)
            elif (address := ADDRESS.match(text)) and address["password"]:
                found.append(address["password"])
            elif name in names:
                found.append(text)
    return tuple(found)


class Masker:
    """Replaces secrets in texts by :data:`MASK`, and nothing else.

    Next to the secrets themselves it knows them as they stand in addresses, in JSON and in Python's ``repr``, each line
    of one that has several, and the part of a secret address that messages of errors show without the host. Where an
    address in a text has a password, known or not, that is replaced too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Prepare to mask.

        :param secrets: What to hide; those shorter than :data:`SHORTEST_SECRET` are left out.
        """
        forms = {form for secret in secrets for form in _find_forms(secret)}
        # The longest first, or the end of a secret that begins with another one would remain.
        self.forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        escaped = [re.escape(form) for form in self.forms]
        self._pattern = re.compile("|".join([*escaped, LOGIN_OF_ADDRESS]))
        self._pattern_of_bytes = re.compile("|".join(escaped).encode())
        self._beginning = re.compile("|".join(sorted({re.escape(form[0]) for form in self.forms})))

    def mask(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._pattern.sub(lambda match: f"://{MASK}@" if match[0].startswith("://") else MASK, text)

    def mask_bytes(self, data: bytes) -> bytes:
        """Return a file's content, text or not, without the secrets that are known; all else stays as it is."""
        return self._pattern_of_bytes.sub(MASK.encode(), data) if self.forms else data

    def mask_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments as they may be recorded.

        :param arguments: Plain data by the parameters' names; a text whose name is that of a secret is hidden as a
            whole, however short it is. What is no text stays as it is.
        :return: As many arguments.
        """
        return {name: self._mask_argument(name, value) for name, value in arguments.items()}

    def _mask_argument(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._mask_argument(name, element) for element in value]
        if not isinstance(value, str):
            return value
        return MASK if value and is_secret_name(name) else self.mask(value)

    def mask_words(self, words: Sequence[str]) -> list[str]:
        """Return a command line as it may be recorded: also the short value of ``--password`` is hidden.

        :param words: The words of the command line.
        :return: As many words.
        """
        masked: list[str] = []
        follows_secret = False
        for word in words:
            name, equals, value = word.partition("=")
            if word.startswith("--"):
                follows_secret = is_secret_name(name) and not equals
            if follows_secret and not word.startswith("--"):
                masked.append(MASK)
            else:
                masked.append(name + equals + self._mask_argument(name, value) if equals else self.mask(word))
        return masked

    def find_end(self, text: str) -> int:
        """Find how much of a text can be masked before its continuation is known.

        :param text: A text that goes on.
        :return: Where what may become a secret begins; the text's length if nothing does.
        """
        end = len(text)
        if not self.forms:
            return end
        for candidate in self._beginning.finditer(text, max(0, end - len(self.forms[0]) + 1)):
            remainder = text[candidate.start() :]
            if any(form.startswith(remainder) for form in self.forms):
                end = candidate.start()
                break
        for match in self._pattern.finditer(text):
            if match.start() < end < match.end():
                return match.start()
        return end


class MaskedStream:
    """A text stream that shows no secrets to the streams it writes to; to all else it is the first of them.

    A secret is found too where it comes in several pieces, as from ``print("a", "b")``: what may be the beginning of
    one is held back, at most as long as a secret, until it is known to be none or the stream is released.
    """

    def __init__(self, masker: Masker, *streams: TextIO) -> None:
        """Write to several streams.

        :param masker: Knows the secrets.
        :param streams: Where the masked text goes.
        """
        self._masker = masker
        self._streams = streams
        # One for each thread: no lock, which a process forked in the wrong moment would wait for without end.
        self._held: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Write what cannot become a secret any more.

        :param text: The text.
        :return: Its length.
        """
        known = self._held.pop(get_ident(), "") + text
        end = self._masker.find_end(known)
        if end < len(known):
            self._held[get_ident()] = known[end:]
        self._write_masked(known[:end])
        return len(text)

    def release(self) -> None:
        """Write what was held back: nothing more will come."""
        while self._held:
            self._write_masked(self._held.popitem()[1])

    def _write_masked(self, text: str) -> None:
        masked = self._masker.mask(text)
        for stream in reversed(self._streams):  # a log beside a terminal has it also if the terminal is gone
            stream.write(masked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams[0], name)


def is_masked(value: Any) -> bool:
    """Tell whether a recorded argument lacks a secret, which must be given again."""
    return any(map(is_masked, value)) if isinstance(value, list) else isinstance(value, str) and MASK in value


def _is_path(value: str) -> bool:
    return value.startswith("~/") or (value.startswith("/") and exists(value))  # noqa: PTH110  no error for any text


def _is_key(value: str) -> bool:
    return len(value) >= SHORTEST_KEY and bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))


def _find_forms(secret: str) -> Iterator[str]:
    """Yield what to look for: a secret, its lines and parts, and how they are written in addresses, JSON and Python."""
    for line in map(str.strip, secret.splitlines()):
        if line.startswith("-----"):  # what armours a key in a file is no secret
            continue
        parts = [line]
        if address := ADDRESS.match(line):
            path = address["path"] or ""
            parts += [address["password"] or "", path if len(path) >= SHORTEST_KEY else ""]
        for part in parts:
            if len(part) >= SHORTEST_SECRET:
                yield from {part, quote(part, safe=""), json.dumps(part)[1:-1], repr(part)[1:-1]}
