"""The template's own repository."""

import re

import pytest
from project import TEMPLATE, TOOLS, run


@pytest.mark.parametrize(
    ("files", "schema"),
    [
        (".github/workflows/*.yml", "github-workflows"),
        (".github/dependabot.yml", "dependabot"),
        ("CITATION.cff", "citation-file-format"),
    ],
)
def test_files_of_services_fit_their_schema(files: str, schema: str) -> None:
    run(TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *TEMPLATE.glob(files), folder=TEMPLATE)


def test_every_target_can_be_reached() -> None:
    targets = re.findall(r"^([a-z-]+) ", run("make", "help", folder=TEMPLATE).stdout, re.MULTILINE)

    assert targets == ["project", "demo", "test", "benchmark", "format", "lint", "type-check", "clean", "help"]
    for target in targets:
        run("make", "--dry-run", target, "NAME=loop", folder=TEMPLATE)


def test_its_own_code_passes_the_checks() -> None:
    run("make", "lint", "type-check", folder=TEMPLATE)
