"""The template's own repository."""

import re
import shutil
import sys
from pathlib import Path

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


def test_a_missing_python_is_one_sentence_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "")
    # As where pyenv has a shim for a version that is not switched on.
    (tmp_path / "python3.12").write_text("#!/usr/bin/env bash\nexit 127\n", encoding="utf-8")
    (tmp_path / "python3.12").chmod(0o755)

    done = run(
        TEMPLATE / "find-python",
        folder=tmp_path,
        variables={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)},
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(
        "Python 3.11 or newer with venv and pip is missing. Install it with: sudo apt-get install"
    )


def test_python_is_found_where_only_pyenv_has_it(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "")
    installed = tmp_path / "versions" / "3.12.9" / "bin" / "python"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(sys.executable)

    done = run(
        TEMPLATE / "find-python",
        folder=tmp_path,
        variables={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)},
    )

    assert done.stdout == f"{installed}\n"
