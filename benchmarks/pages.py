"""How soon dashboard and report can be read, with many runs: 1,000 and 10,000 by default.

Run by `make benchmark NAME=pages`. A store is made, the dashboard started, and a real Chromium opens its pages; each
time is that from the address to what is to be seen. What follows are single answers: a filter, a sort. The report is
opened as a file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TEMPLATE / "tests"))

from services.browser import Browser, browsing  # noqa: E402
from services.recorded_store import record_many  # noqa: E402

BENCH = TEMPLATE / "<<cookiecutter.project_slug>>"
VARIABLES = os.environ | {"PYTHONPATH": str(BENCH)}
RUNS = [1_000, 10_000]


def measure(name: str, act: Callable[[], object]) -> None:
    start = time.perf_counter()
    act()
    print(f"  {name:<44}{time.perf_counter() - start:7.2f} s", flush=True)


def open_page(browser: Browser, address: str, condition: str) -> None:
    browser.open("about:blank")
    browser.await_true("location.href === 'about:blank'")
    browser.open(address)
    browser.await_true(f"location.href !== 'about:blank' && {condition}")


def measure_dashboard(folder: Path, runs: int, browser: Browser) -> None:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit.report.dashboard", "--port", "0"],
        cwd=folder,
        env=VARIABLES,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        address = process.stdout.readline().split()[4].rstrip("/")
        print(f"  {'dashboard: from the command to the address':<44}{time.perf_counter() - start:7.2f} s")
        rows = "document.querySelectorAll('#view tbody tr').length > 10"
        browser.open(address)
        browser.await_true(rows)
        print(f"  {'from the command to the newest runs':<44}{time.perf_counter() - start:7.2f} s")
        browser.await_text(f"{runs:,} runs", "#view .summary")
        print(f"  {'from the command to all runs':<44}{time.perf_counter() - start:7.2f} s", flush=True)
        measure("the table", lambda: open_page(browser, address, rows))
        measure("the table, grouped by seeds", lambda: open_page(browser, f"{address}/?grouping=seeds", rows))
        drawn = "document.querySelector('#chart-relation .main-svg')"
        measure("two metrics against each other", lambda: open_page(browser, f"{address}/relation", drawn))
        curves = "document.querySelector('#chart-curves .scatterlayer .trace')"
        measure("curves with bands", lambda: open_page(browser, f"{address}/curves", curves))
        open_page(browser, address, rows)
        measure("a filter", lambda: filter_runs(browser))
        measure("a sort", lambda: sort_runs(browser))
    finally:
        process.terminate()
        process.communicate()


def filter_runs(browser: Browser) -> None:
    browser.type("#controls input", "learning_rate=0.1 width=64")
    browser.await_text(" of ", "#view .summary")


def sort_runs(browser: Browser) -> None:
    browser.click("#view th a", "validation/accuracy")
    browser.await_text("validation/accuracy ↓", "#view thead")


def measure_report(folder: Path, browser: Browser) -> None:
    path = folder / "report.html"
    command = [sys.executable, "-P", "-m", "labkit.report.document", str(path), "--details", "4"]
    measure(
        "report: writing it",
        lambda: subprocess.run(command, cwd=folder, env=VARIABLES, check=True, capture_output=True),
    )
    print(f"  {'its size':<44}{path.stat().st_size / 2**20:7.2f} MiB")
    ready = "document.documentElement?.dataset.ready"
    measure("opening it", lambda: open_page(browser, path.as_uri(), ready))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS)
    for runs in parser.parse_args().runs:
        print(f"{runs:,} runs")
        with tempfile.TemporaryDirectory() as name, browsing(Path(name)) as browser:
            folder = Path(name) / "study"
            folder.mkdir()
            record_many(folder, runs)
            measure_dashboard(folder, runs, browser)
            measure_report(folder, browser)


if __name__ == "__main__":
    main()
