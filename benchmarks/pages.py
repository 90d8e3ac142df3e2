"""How soon dashboard and report can be read, with many runs: 1,000 and 10,000 by default.

Run by `make benchmark NAME=pages`. A store is made, the dashboard started, and a real Chromium opens its pages; each
time is that from the address to what is to be seen, and beside it the processor time that the dashboard took for it,
which does not depend on what else the machine does. What follows are single answers: a filter, a sort. The report is
opened as a file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TEMPLATE / "tests"))

from services.browser import Browser, browsing  # noqa: E402
from services.recorded_store import record_many  # noqa: E402

BENCH = TEMPLATE / "<<cookiecutter.project_slug>>"
VARIABLES = os.environ | {"PYTHONPATH": str(BENCH)}
RUNS = [1_000, 10_000]
SECONDS_TO_SETTLE = 8.0
"""After which the dashboard has imported what it needs later."""


def measure(name: str, act: Callable[[], object], process: int | None = None) -> None:
    """Do something, and print how long it took, and how long a process was busy with it."""
    start, busy = time.perf_counter(), read_processor_time(process)
    act()
    show(name, time.perf_counter() - start, None if process is None else read_processor_time(process) - busy)


def show(name: str, seconds: float, busy: float | None = None) -> None:
    processor = "" if busy is None else f"{busy:7.2f} s of the processor"
    print(f"  {name:<44}{seconds:7.2f} s{processor}", flush=True)


def read_processor_time(process: int | None) -> float:
    """Return how long a process has been busy, in seconds; 0 for none."""
    if process is None:
        return 0.0
    words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


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
        number = process.pid
        show("dashboard: from the command to the address", time.perf_counter() - start, read_processor_time(number))
        rows = "document.querySelectorAll('#view tbody tr').length > 10"
        browser.open(address)
        browser.await_true(rows)
        browser.await_text(f"{runs:,} runs", "#view .summary")
        show("from the command to the runs", time.perf_counter() - start, read_processor_time(number))
        time.sleep(SECONDS_TO_SETTLE)
        measure("the table", lambda: open_page(browser, address, rows), number)
        measure("the table, grouped by seeds", lambda: open_page(browser, f"{address}/?grouping=seeds", rows), number)
        for name, path, drawn in (
            ("two metrics against each other", "relation", "#chart-relation .main-svg"),
            ("curves with bands", "curves", "#chart-curves .scatterlayer .trace"),
            ("a sweep", "sweep", "#chart-parallel .axis-title"),
            ("a run", f"run/{0:032x}", "#view .js-plotly-plot .trace"),
        ):
            condition = f"document.querySelector('{drawn}')"
            measure(name, partial(open_page, browser, f"{address}/{path}", condition), number)
        open_page(browser, address, rows)
        measure("a filter", lambda: filter_runs(browser), number)
        measure("a sort", lambda: sort_runs(browser), number)
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
    start, busy = time.perf_counter(), os.times()
    subprocess.run(command, cwd=folder, env=VARIABLES, check=True, capture_output=True)
    ended = os.times()
    processor = ended.children_user + ended.children_system - busy.children_user - busy.children_system
    show("report: writing it", time.perf_counter() - start, processor)
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
