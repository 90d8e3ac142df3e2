import io
import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.secret import (
    MASK,
    SHORTEST_SECRET,
    MaskedStream,
    Masker,
    find_secrets,
    find_secrets_in_arguments,
    is_masked,
    is_secret_file,
    is_secret_name,
)

CANARY = "kanarienvogel-0815"
WEBHOOK = "https://hooks.example.org/services/T0000AAAA/B0000BBBB/cccccccc"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "PGPASSWORD",
        "DB_PASSWORD_OLD",
        "MYSQL_PWD",
        "LDAP_PASS",
        "passphrase",
        "token",
        "HF_TOKEN",
        "accessToken",
        "AWS_SESSION_TOKEN",
        "api_key",
        "api-key",
        "--api-key",
        "apiKey",
        "WANDB_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "SECRET_KEY_BASE",
        "client_secret",
        "credentials",
        "SLACK_WEBHOOK_URL",
    ],
)
def test_a_name_says_that_it_holds_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "tokens_per_iter",
        "token_dimension",
        "mask_token",
        "PAD-TOKEN",
        "eos_token",
        "tokenizer",
        "TOKENIZERS_PARALLELISM",
        "key",
        "sort_key",
        "monkey",
        "PUBLIC_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "SECRET_NAME",
        "password_length",
        "PWD",
        "OLDPWD",
        "compass",
        "learning_rate",
    ],
)
def test_a_name_of_the_trade_is_none_of_a_secret(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "path", [".envrc.private", ".env", ".envrc", "deploy/.env.production", ".ssh/config", "keys/id_ed25519", ".netrc"]
)
def test_a_file_of_secrets_stays_here(path: str) -> None:
    assert is_secret_file(PurePosixPath(path))


@pytest.mark.parametrize("path", ["labkit/environment.py", "make/environment.mk", "study/env.py", "certificate.pem"])
def test_any_other_file_does_not(path: str) -> None:
    assert not is_secret_file(PurePosixPath(path))


def test_variables_named_like_secrets_and_passwords_in_addresses_are_found(tmp_path: Path) -> None:
    variables = {
        "HF_TOKEN": CANARY,
        "SERVICE_KEY": "abcdefgh01234567",
        "DATABASE_URL": "postgresql://ada:p@ssw0rd@host:5432/base",
        "AWS_SECRET_ACCESS_KEY": "/looks+like/a/path+but/is/none",
    }
    harmless = {
        "SSH_PRIVATE_KEY": str(tmp_path),
        "GOOGLE_APPLICATION_CREDENTIALS": "~/key.json",
        "SORT_KEY": "created_at_the_beginning",
        "OTHER_KEY": "short1",
        "PUBLIC_KEY": "abcdefgh01234567",
        "SERVER": "http://localhost:5000/path@2",
        "HOME": "/home/ada",
    }
    assert find_secrets(variables | harmless) == (
        CANARY,
        "abcdefgh01234567",
        "p@ssw0rd",
        "/looks+like/a/path+but/is/none",
    )


def test_arguments_named_like_secrets_and_passwords_in_addresses_are_found() -> None:
    arguments = {
        "api_key": CANARY,
        "passwords": ["first", "second"],
        "token": None,
        "password": 8,
        "repository": "https://ada:from-an-address@host/a.git",
        "max_tokens": "64",
        "extra": "named",
    }
    found = find_secrets_in_arguments(arguments, names={"extra"})
    assert found == (CANARY, "first", "second", "from-an-address", "named")


def test_a_secret_is_masked_and_nothing_else() -> None:
    masker = Masker([CANARY])
    assert masker.mask(f"a {CANARY}-b\n{CANARY}{CANARY} c") == f"a {MASK}-b\n{MASK}{MASK} c"
    assert masker.mask(CANARY[:-1] + CANARY[1:]) == CANARY[:-1] + CANARY[1:]


@given(st.text())
def test_without_secrets_a_text_stays_as_it_is(text: str) -> None:
    assert Masker([]).mask(text.replace("@", "")) == text.replace("@", "")


@given(st.binary())
def test_bytes_are_changed_only_where_a_secret_is(data: bytes) -> None:
    secret = CANARY.encode()
    assert Masker([]).mask_bytes(data) == data
    assert Masker([CANARY]).mask_bytes(data + secret + data) == data + MASK.encode() + data


def test_a_short_secret_does_not_blank_the_log() -> None:
    short, long = "a" * (SHORTEST_SECRET - 1), "b" * SHORTEST_SECRET
    masker = Masker(["a", "", " ", "\n", short, long])
    assert masker.mask(f"a banana {short} {long}") == f"a banana {short} {MASK}"


def test_of_secrets_that_begin_alike_nothing_remains() -> None:
    masker = Masker(["secret-one", "secret-one-and-more"])
    assert masker.mask("secret-one-and-more secret-one") == f"{MASK} {MASK}"


def test_a_secret_is_masked_however_it_is_written() -> None:
    secret = "ü'\"\\ /&+%\tend"
    address = "https://example.org/?key=%C3%BC%27%22%5C%20%2F%26%2B%25%09end"
    masker = Masker([secret])
    assert masker.mask(f"{secret} {json.dumps(secret)} {secret!r} {address}") == (
        f"{MASK} \"{MASK}\" '{MASK}' https://example.org/?key={MASK}"
    )


def test_of_a_secret_of_many_lines_each_line_is_masked() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n"
    masker = Masker([key])
    assert masker.mask(key) == f"-----BEGIN PRIVATE KEY-----\n{MASK}\n{MASK}\n-----END PRIVATE KEY-----\n"
    assert masker.mask("9w0BAQEFAASCBKcwggSj") == MASK
    assert "MIIE" not in masker.mask(repr(key))


def test_of_a_secret_address_the_path_alone_is_masked_too() -> None:
    masker = Masker([WEBHOOK])
    assert masker.mask(WEBHOOK) == MASK
    assert masker.mask("no route to hooks.example.org: /services/T0000AAAA/B0000BBBB/cccccccc") == (
        f"no route to hooks.example.org: {MASK}"
    )


def test_a_password_in_an_address_is_masked_though_nobody_knew_it() -> None:
    masker = Masker([])
    assert masker.mask("git clone https://ada:a:b@c@host/x.git") == f"git clone https://{MASK}@host/x.git"
    assert masker.mask("https://ghp_0123456789abcdef@host/x") == f"https://{MASK}@host/x"


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:5000/a@b",
        "ssh://git@host:22/x.git",
        "git@host:group/x.git",
        "sqlite:///folder/mlflow.db",
        "s3://bucket/key",
        "https://host/: a@b",
        "'http://host:1','ada@host'",
    ],
)
def test_an_address_without_a_password_stays_as_it_is(text: str) -> None:
    assert Masker([]).mask(text) == text


def test_an_argument_named_like_a_secret_is_masked_however_short() -> None:
    arguments = {
        "password": "a",
        "passwords": ["a", "b"],
        "token": "",
        "api_key": None,
        "secret": 7,
        "note": f"with {CANARY}",
        "max_tokens": "a",
        "nested": [[CANARY], 1],
    }
    masked = Masker([CANARY]).mask_arguments(arguments)
    assert masked == {
        "password": MASK,
        "passwords": [MASK, MASK],
        "token": "",
        "api_key": None,
        "secret": 7,
        "note": f"with {MASK}",
        "max_tokens": "a",
        "nested": [[MASK], 1],
    }
    assert [name for name, value in masked.items() if is_masked(value)] == ["password", "passwords", "note", "nested"]


def test_a_command_line_is_masked_by_names_and_by_values() -> None:
    words = ["train", "--password", "a", "--api-key=b", "--passwords", "c", "d", "--note", f"my {CANARY}", "token=e"]
    assert Masker([CANARY]).mask_words(words) == [
        "train",
        "--password",
        MASK,
        f"--api-key={MASK}",
        "--passwords",
        MASK,
        MASK,
        "--note",
        f"my {MASK}",
        f"token={MASK}",
    ]


SECRETS = ["abcdefgh", "ghabcdefgh", "abcdefghij-abcdefgh", "hhhhhhhhhh"]
PIECES = st.lists(
    st.sampled_from([*SECRETS, *(secret[:5] for secret in SECRETS), *(secret[5:] for secret in SECRETS), "x", "\n"])
)


@given(PIECES, st.data())
def test_a_stream_masks_as_if_all_came_at_once(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    terminal, log = io.StringIO(), io.StringIO()
    masker = Masker(SECRETS)
    stream = MaskedStream(masker, terminal, log)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        assert stream.write(text[start:end]) == end - start
        assert not any(secret in log.getvalue() for secret in SECRETS)
    stream.release()
    assert log.getvalue() == terminal.getvalue() == masker.mask(text)


def test_a_stream_holds_back_only_what_may_become_a_secret() -> None:
    stream, written = MaskedStream(Masker([CANARY]), terminal := io.StringIO()), []
    for text in ["go on? ", "1%\r", f"a {CANARY[:4]}", "!", CANARY[:-1], CANARY[-1]]:
        stream.write(text)
        written.append(terminal.getvalue())
        terminal.truncate(0)
        terminal.seek(0)
    assert written == ["go on? ", "1%\r", "a ", f"{CANARY[:4]}!", "", MASK]


def test_a_stream_is_otherwise_the_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        assert MaskedStream(Masker([]), io.TextIOWrapper(io.BytesIO(), "latin-1"), log).encoding == "latin-1"
