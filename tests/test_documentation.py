"""What the documentation shows is what happens."""

from pathlib import Path

import pytest
from project import ENVIRONMENT, TEMPLATE, run

PAGES = [page for page in sorted((TEMPLATE / "docs").glob("*.md")) if ">>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_are_true(page: Path, tmp_path: Path) -> None:
    bench = TEMPLATE / "<<cookiecutter.project_slug>>"
    variables = {"PYTHONPATH": str(bench), "TMPDIR": str(tmp_path)}
    run(ENVIRONMENT / "bin" / "python", "-m", "doctest", page, folder=tmp_path, variables=variables)
