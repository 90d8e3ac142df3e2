from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.data.storage.address import S3Address, check_file_name, name_tiny, parse_address


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b.zip", S3Address("bucket", "a/b.zip")),
        ("s3://bucket/a b%20c/", S3Address("bucket", "a b%20c/")),
        ("s3://bucket", S3Address("bucket", "")),
        ("file:///data/a%20b", Path("/data/a b")),
        ("file://localhost/data", Path("/data")),
        ("data/images", Path("data/images")),
        ("/data", Path("/data")),
        (Path("s3:") / "odd", Path("s3:/odd")),
    ],
)
def test_an_address_is_read_exactly(uri: str | Path, expected: S3Address | Path) -> None:
    assert parse_address(uri) == expected


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("", "is empty"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("gs://bucket/key", "begins with 'gs://'"),
        ("file://other-machine/data", "is not on this machine"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(uri: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        parse_address(uri)
    assert str(caught.value).count(". ") == 0


def test_a_slash_at_the_end_means_a_directory() -> None:
    assert S3Address("b", "a/").names_directory
    assert S3Address("b", "").names_directory
    assert not S3Address("b", "a.d").names_directory
    assert S3Address("b", "a").prefix == S3Address("b", "a/").prefix == "a/"
    assert S3Address("b", "").prefix == ""


def test_the_name_is_the_last_part_or_the_bucket() -> None:
    assert S3Address("b", "x/a.zip").name == "a.zip"
    assert S3Address("b", "x/a.d/").name == "a.d"
    assert S3Address("b", "").name == "b"


def test_a_neighbour_has_the_same_parent() -> None:
    assert S3Address("b", "x/y/a.zip").with_name("c") == S3Address("b", "x/y/c")
    assert S3Address("b", "a/").with_name("c") == S3Address("b", "c/")


@pytest.mark.parametrize(
    ("name", "directory", "tiny"),
    [
        ("data.zip", False, "data-tiny.zip"),
        ("data.tar.gz", False, "data-tiny.tar.gz"),
        ("v1.2.zip", False, "v1.2-tiny.zip"),
        ("data", False, "data-tiny"),
        ("v1.2", True, "v1.2-tiny"),
    ],
)
def test_the_tiny_variant_keeps_the_extension_of_a_file_and_the_dots_of_a_directory(
    name: str, directory: bool, tiny: str
) -> None:
    assert name_tiny(name, directory=directory) == tiny


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/passwd", "a//b", "a/./b", "", "a\0b", ".."])
def test_a_key_that_leads_out_of_its_folder_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="has no place in a folder"):
        check_file_name(path, "s3://b/key")
