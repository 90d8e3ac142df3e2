"""How soon dashboard and report can be read, with many runs: 1,000 and 10,000 by default.

Run by `make benchmark NAME=pages`. A store is made, the dashboard started, and a real Chromium opens its pages; each
time is that from the address to what is to be seen. Beside it stands how long the dashboard and how long the browser,
all its processes together, were busy with it: that does not depend on what else the machine does. What follows are
single answers: a filter, a sort. The report is opened as a file. With ``--stores FOLDER`` the stores are kept there and
used again: to make them takes longer than all else.
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


class Clock:
    """Measures what is done in so many seconds, and how long two programs are busy with it.

    :ivar program: The process that answers; None where there is none.
    """

    def __init__(self) -> None:
        self.program: int | None = None
        self.start()

    def start(self) -> None:
        """Measure from here."""
        self._began = time.perf_counter()
        self._busy = self._read()

    def show(self, name: str) -> None:
        """Print what was measured."""
        seconds = time.perf_counter() - self._began
        program, browser = (now - before for now, before in zip(self._read(), self._busy, strict=True))
        print(f"  {name:<40}{seconds:7.2f} s  busy: program {program:5.2f} s, browser {browser:5.2f} s", flush=True)

    def measure(self, name: str, act: Callable[[], object]) -> None:
        """Do something, and print how long it took."""
        self.start()
        act()
        self.show(name)

    def _read(self) -> tuple[float, float]:
        """Return how long the program and all other processes that were started here have been busy, in seconds."""
        ticks = {number: read_ticks(number) for number in find_descendants(os.getpid())}
        program = ticks.pop(self.program, 0) if self.program else 0
        return program / os.sysconf("SC_CLK_TCK"), sum(ticks.values()) / os.sysconf("SC_CLK_TCK")


def find_descendants(process: int) -> list[int]:
    """Return the ids of all processes that a process has started, and that these have."""
    children = [
        int(word) for path in Path(f"/proc/{process}/task").glob("*/children") for word in path.read_text().split()
    ]
    return [one for child in children for one in (child, *find_descendants(child))]


def read_ticks(process: int) -> int:
    """Return how long a process has been busy, together with those that it has seen end."""
    try:
        words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return sum(map(int, words[11:15]))


def open_page(browser: Browser, address: str, condition: str) -> None:
    browser.open("about:blank")
    browser.await_true("location.href === 'about:blank'")
    browser.open(address)
    browser.await_true(f"location.href !== 'about:blank' && {condition}")


def measure_dashboard(folder: Path, runs: int, browser: Browser) -> None:
    clock = Clock()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit.report.dashboard", "--port", "0"],
        cwd=folder,
        env=VARIABLES,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        clock.program = process.pid
        address = process.stdout.readline().split()[4].rstrip("/")
        clock.show("dashboard: from the command to the address")
        rows = "document.querySelectorAll('#view tbody tr').length > 10"
        browser.open(address)
        browser.await_true(rows)
        browser.await_text(f"{runs:,} runs", "#view .summary")
        clock.show("from the command to the runs")
        time.sleep(SECONDS_TO_SETTLE)
        clock.measure("the table", lambda: open_page(browser, address, rows))
        clock.measure("the table, grouped by seeds", lambda: open_page(browser, f"{address}/?grouping=seeds", rows))
        for name, path, drawn in (
            ("two metrics against each other", "relation", "#chart-relation .main-svg"),
            ("curves with bands", "curves", "#chart-curves .scatterlayer .trace"),
            ("a sweep", "sweep", "#chart-parallel .axis-title"),
            ("a run", f"run/{0:032x}", "#view .js-plotly-plot .trace"),
        ):
            condition = f"document.querySelector('{drawn}')"
            clock.measure(name, partial(open_page, browser, f"{address}/{path}", condition))
        open_page(browser, address, rows)
        clock.measure("a filter", lambda: filter_runs(browser))
        clock.measure("a sort", lambda: sort_runs(browser))
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
    clock = Clock()
    command = [sys.executable, "-P", "-m", "labkit.report.document", str(path), "--details", "4"]
    process = subprocess.Popen(command, cwd=folder, env=VARIABLES, stdout=subprocess.DEVNULL)
    clock.program = process.pid
    # It is measured as long as it is there: one that has been waited for has no time any more.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    clock.show("report: writing it")
    process.wait()
    clock.program = None
    print(f"  {'its size':<40}{path.stat().st_size / 2**20:7.2f} MiB")
    ready = "document.documentElement?.dataset.ready"
    clock.measure("opening it, up to the table", lambda: open_page(browser, path.as_uri(), ready))
    clock.measure("its first chart", lambda: look_at_chart(browser))


def look_at_chart(browser: Browser) -> None:
    browser.evaluate("document.querySelector('#relation-chart').scrollIntoView()")
    browser.await_true("document.querySelector('#relation-chart .main-svg')")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS)
    parser.add_argument("--stores", type=Path)
    given = parser.parse_args()
    for runs in given.runs:
        print(f"{runs:,} runs")
        with tempfile.TemporaryDirectory() as name, browsing(Path(name)) as browser:
            folder = (given.stores or Path(name)).absolute() / f"study-{runs}"
            if not folder.exists():
                folder.mkdir(parents=True)
                record_many(folder, runs)
            measure_dashboard(folder, runs, browser)
            measure_report(folder, browser)


if __name__ == "__main__":
    main()
