"""Requests to S3 that need no server to be checked."""

from dataclasses import replace
from pathlib import Path

import pytest
from botocore.utils import parse_timestamp

from labkit.data.storage import AccessDeniedError
from labkit.data.storage.address import S3Address
from labkit.data.storage.bucket import Server, parse_time
from labkit.environment import Environment

CREDENTIALS = replace(Environment.read({}, Path()), aws_access_key_id="key", aws_secret_access_key="secret")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(replace(CREDENTIALS, s3_endpoint_url="http://localhost:8000"), id="own server"),
        pytest.param(CREDENTIALS, id="Amazon"),
        pytest.param(replace(CREDENTIALS, aws_session_token="to/ken"), id="with a token"),
    ],
)
@pytest.mark.parametrize("key", ["a/b.bin", "a b/\u00fc+~(1)!*'.bin", "/x//y/../z", "%41?&=#:@$,;"])
def test_an_address_is_signed_as_the_client_would(environment: Environment, key: str) -> None:
    server = Server(environment)

    def ask_client() -> str:
        return server.client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": key})

    before = ask_client()
    signed = server.sign(S3Address("bucket", key))
    assert signed in {before, ask_client()}  # the second may have changed
    server.close()


def test_without_credentials_nothing_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = Server(Environment.read({}, tmp_path))
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        server.sign(S3Address("bucket", "key"))
    server.close()


@pytest.mark.parametrize(
    "text", ["2026-01-31T23:59:59.123Z", "Sat, 31 Jan 2026 23:59:59 GMT", 1769903999, "1769903999"]
)
def test_a_time_is_the_one_that_botocore_reads(text: str | int) -> None:
    assert parse_time(text) == parse_timestamp(text)
