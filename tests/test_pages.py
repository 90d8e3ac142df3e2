"""The dashboard and the report in a real browser: every view, live, in the dark, and with hostile names."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from project import ENVIRONMENT, TEMPLATE, environment
from services.browser import Browser, browsing

BENCH = TEMPLATE / "<<cookiecutter.project_slug>>"
STORE = TEMPLATE / "tests" / "services" / "recorded_store.py"
HOSTILE = "<script>alert('name')</script> <img src=x onerror=alert(2)> \"quoted\" ünï 數"
ACCURACY = "validation/accuracy"
SAID_OF_A_POINT = """
    [...document.querySelectorAll('.hovertext')].map(e => e.textContent).find(text => text.includes('learning_rate'))
"""
BLUE = "#4477aa"
LIGHT, DARK = "#ffffff", "#14171a"

pytestmark = pytest.mark.xdist_group("pages")


class Store:
    """A folder with a tracking store in it, a process that records runs there, and the commands that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._recorder = self.start(str(STORE), str(folder), stdin=subprocess.PIPE)
        self.ids: dict[str, str] = json.loads(self._read())

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Start Python on the store."""
        return subprocess.Popen(
            [ENVIRONMENT / "bin" / "python", "-P", *words],
            cwd=self.folder,
            env=environment() | {"PYTHONPATH": str(BENCH), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=stdin,
            stdout=subprocess.PIPE,
            text=True,
        )

    def record(self, expression: str) -> Any:
        """Evaluate an expression that has a recorder of runs at hand."""
        assert self._recorder.stdin is not None
        print(json.dumps(expression), file=self._recorder.stdin, flush=True)
        return json.loads(self._read())

    def close(self) -> None:
        """End the process."""
        self._recorder.communicate()

    def _read(self) -> str:
        assert self._recorder.stdout is not None
        return self._recorder.stdout.readline()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Generator[Store]:
    store = Store(tmp_path_factory.mktemp("study"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(store: Store) -> Generator[str]:
    """The address of a dashboard."""
    process = store.start("-m", "labkit.report.dashboard", "--port", "0")
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[4].rstrip("/")
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def window(browser: Browser) -> Generator[Browser]:
    """A browser that is to find nothing to complain about, and executes nothing that stands in a name."""
    browser.prefer("light")
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []
    assert browser.dialogs == []


@pytest.fixture
def page(window: Browser, address: str) -> Browser:
    """The page of runs."""
    window.open(address)
    window.await_text("19 runs", ".masthead")
    window.await_true("document.querySelector('#controls input')")
    return window


@pytest.fixture(scope="module")
def report(store: Store) -> Path:
    """A report with the details of some runs, and the difference of two."""
    path = store.folder / "report.html"
    pair = (store.ids["first"], store.ids["last"])
    process = store.start("-m", "labkit.report.document", str(path), "--details", "8", "--difference", *pair)
    process.communicate()
    assert process.returncode == 0
    return path


def choose(browser: Browser, label: str, option: str) -> None:
    """Choose from a list of the dashboard."""
    browser.await_text(label, "#controls")
    index = browser.texts(".control > span").index(label)
    browser.click(f".control:nth-child({index + 1}) .dash-dropdown")
    browser.await_true("document.querySelector('.dash-options-list, [role=listbox], .dash-dropdown-content')")
    browser.click(".dash-dropdown-option, [role=option], .dash-options-list-option", option)


class TestRuns:
    def test_the_table_is_filtered_while_one_types(self, page: Browser) -> None:
        assert page.count("#view .runs tbody tr") == 19
        page.type("#controls input", f"{ACCURACY}>0.5 learning_rate<0.05")
        page.await_text("6 runs of 19", "#view .summary")
        assert all("rate-0.01" in row for row in page.texts("#view tbody tr"))
        page.type("#controls input", "nothing at all")
        page.await_text("No run meets the filter.")

    def test_any_column_sorts(self, page: Browser) -> None:
        page.click("#view th a", ACCURACY)
        page.await_text(f"{ACCURACY} ↓", "#view thead")
        place = page.texts("#view th").index(f"{ACCURACY} ↓") + 1
        values = [float(text) for text in page.texts(f"#view tbody td:nth-child({place})") if text]
        assert values == sorted(values, reverse=True)
        page.click("#view th a", f"{ACCURACY} ↓")
        page.await_text(f"{ACCURACY} ↑", "#view thead")

    def test_seeds_and_sessions_are_grouped(self, page: Browser) -> None:
        page.click("#controls .choices label", "seeds")
        page.await_text("configurations", "#view .summary")
        assert "0 1 2" in page.text("#view tbody")
        assert "±" in page.text("#view tbody")
        page.click("#controls .choices label", "sessions")
        page.await_text("rates-1", "#view tbody")
        assert page.texts("#view th.session") == ["no session", "rates-2", "rates-1"]

    def test_any_parameter_can_be_a_column(self, page: Browser) -> None:
        choose(page, "Columns", "note")
        page.await_text("note", "#view thead")
        assert HOSTILE in page.text("#view tbody")

    def test_selected_runs_are_compared(self, page: Browser) -> None:
        page.click("#view th a", "name")
        page.await_text("name ↑", "#view thead")
        page.click("#view .mark", "+")
        page.await_text("1 selected")
        page.click("#view tbody tr:last-child .mark")
        page.await_text("2 selected")
        page.click("#view .summary a", "compare")
        page.await_text("Two runs, and what differs")


class TestViews:
    def test_two_metrics_against_each_other(self, window: Browser, address: str) -> None:
        window.open(f"{address}/relation")
        window.await_true("document.querySelector('#view .point')")
        choose(window, "Across", "learning_rate")
        window.await_text("learning_rate", "#view .xtitle")
        said = window.hover("#view .point", SAID_OF_A_POINT)
        assert "seed" in said
        assert "entry" not in said
        colours = window.colours("#chart-relation")
        assert next(iter(colours)) == LIGHT
        assert len([colour for colour, count in colours.items() if count > 20]) > 4

    def test_curves_have_bands_over_seeds(self, window: Browser, address: str) -> None:
        window.open(f"{address}/curves")
        window.await_true("document.querySelectorAll('#view .scatterlayer .trace').length > 8")
        with_bands = window.colours("#chart-curves")
        assert with_bands[BLUE] > 30
        window.click("#controls .choices label", "none")
        window.await_true("document.querySelectorAll('#view .fills path').length === 0")
        assert window.colours("#chart-curves") != with_bands

    def test_a_sweep_is_seen_at_once(self, window: Browser, address: str) -> None:
        window.open(f"{address}/sweep")
        window.await_true("document.querySelector('#chart-importance .point')")
        assert {"learning_rate", "width", ACCURACY} <= set(window.texts("#chart-parallel .axis-title"))

    def test_a_run_has_figures_logs_and_provenance(self, window: Browser, address: str, store: Store) -> None:
        window.open(f"{address}/run/{store.ids['first']}")
        window.await_true("document.querySelector('#view img')?.naturalWidth > 100")
        window.await_true("document.querySelectorAll('#view .js-plotly-plot .scatterlayer .trace').length === 2")
        text = window.text("#view")
        assert f"epoch 1\n{HOSTILE}\nepoch 2" in text
        assert "rates-1" in text
        for heading in ("Metrics", "Figures", "Parameters", "Provenance", "Logs"):
            assert heading in window.texts("#view h2")
        window.click("#view figcaption a", "step 20, the last of 2")
        window.await_true("document.querySelectorAll('#view img').length === 2")
        assert window.texts("#view figcaption") == ["step 10", "step 20"]

    def test_the_code_of_two_runs_is_compared(self, window: Browser, address: str, store: Store) -> None:
        window.open(f"{address}/compare?selected={store.ids['first']},{store.ids['last']}")
        window.await_text("Two runs, and what differs")
        (model,) = [text for text in window.texts("#view details") if text.startswith("model.py")]
        assert model.split() == ["model.py", "@@", "-1", "+1", "@@", "-WIDTH", "=", "16", "+WIDTH", "=", "32"]

    def test_a_recipe_is_a_timeline_with_custom_steps(self, page: Browser) -> None:
        page.click(".masthead a", "Recipe")
        page.await_true("document.querySelectorAll('.timeline > li').length === 5")
        assert page.texts(".timeline h2") == ["explore data", "evaluate baseline", "my own check", "overfit", "tune"]
        assert page.texts(".timeline .reasons li") == ["function my_research.model.cnn changed", HOSTILE]
        assert f"{ACCURACY} is 0.5, less than 0.9" in page.text(".timeline > li:nth-child(3)")
        assert page.colours(".timeline > li:nth-child(3)").get("#b3261e", 0) > 40
        page.click(".timeline > li:nth-child(3) a", "run")
        page.await_text("my own check", "#view h1")


class TestLife:
    def test_what_happens_is_seen_without_a_click(self, page: Browser, address: str, store: Store) -> None:
        made = store.record(
            "recorder.record('alive', seed=3, metrics={ACCURACY: [0.1]}, state='running').identifier",
        )
        page.await_text("alive", "#view tbody")
        page.open(f"{address}/run/{made}")
        page.await_text("0.1", "#view .metrics")
        store.record(f"recorder.store.log_metric({made!r}, ACCURACY, 0.75, step=2)")
        page.await_text("0.75", "#view .metrics")
        store.record(f"recorder.store.delete_run({made!r})")

    def test_a_step_is_seen_while_it_is_executed(self, page: Browser, address: str, store: Store) -> None:
        tags = {"labkit.recipe": "mine", "labkit.recipe.role": "recipe"}
        made = store.record(f"recorder.record('mine', entry_point='recipe', tags={tags!r}, state='running').identifier")
        step = {"name": "overfit", "position": 0, "state": "running", "run_id": store.ids["step"]}
        store.record(f"recorder.stand({made!r}, 'mine', [{step!r}])")
        page.open(f"{address}/recipe")
        page.await_text("running", "article:first-child .timeline .summary")
        store.record(f"recorder.stand({made!r}, 'mine', [{step | {'state': 'up to date', 'outcome': 'passed'}!r}])")
        page.await_text("passed", "article:first-child .timeline .summary")
        store.record(f"recorder.store.delete_run({made!r})")

    def test_it_listens_to_this_machine_alone(self, address: str) -> None:
        port = int(address.rpartition(":")[2])
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        own = [words[1] for words in listening if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port]
        assert own == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize("path", ["/", "/?grouping=seeds", "/relation", "/curves", "/sweep", "/recipe", "/run/"])
def test_on_every_page_a_name_is_a_text_and_what_is_there_is_readable_in_the_dark(
    window: Browser, address: str, store: Store, path: str
) -> None:
    window.prefer("dark")
    window.open(address + path + (store.ids["hostile"] if path == "/run/" else ""))
    window.await_true("document.querySelector('#view > *')")
    if path == "/run/":
        window.await_text(HOSTILE, "#view h1")
    if path == "/sweep":
        window.await_text("<script>alert('name')</script> <img src=x onerror=alert(2)>", "#chart-parallel")
    assert window.count("#view script, #view img[src=x]") == 0
    assert window.evaluate("document.title") == "Labkit"
    colours = window.colours("body")
    assert next(iter(colours)) == DARK
    assert colours.get(LIGHT, 0) < 500


class TestReport:
    @pytest.fixture
    def file(self, window: Browser, report: Path) -> Browser:
        window.open("about:blank")
        window.open(report.as_uri())
        window.await_true("document.documentElement?.dataset.ready")
        return window

    def test_it_has_every_view(self, file: Browser) -> None:
        assert file.texts("main > section > h1") == [
            *("Recipe", "Runs", "Relation", "Sweep", "Curves", "Difference", "Details"),
        ]
        assert file.texts(".timeline h2")[2] == "my own check"
        assert "-WIDTH = 16" in file.text(".difference")
        assert HOSTILE in file.text("#table")
        assert file.count("main img[src=x], main script") == 0

    def test_its_table_answers(self, file: Browser) -> None:
        file.type("#filter", f"{ACCURACY}>0.5 learning_rate<0.05")
        file.await_text("6 of 19 runs", "#count")
        file.evaluate(
            "(e => { e.value = 'seeds'; e.dispatchEvent(new Event('change')); })(document.querySelector('#grouping'))"
        )
        file.await_text("2 configurations", "#count")
        assert "±" in file.text("#table")
        file.type("#filter", "learning_rate<0.05")
        file.await_text("7 of 19 runs", "#count")
        # The run that failed has a seed of one that has finished.
        assert file.texts("#table .count") == ["3", "3"]
        file.click("#table th a", "seeds")

    def test_its_charts_are_drawn_when_they_are_seen(self, file: Browser) -> None:
        assert file.evaluate("typeof Plotly") == "undefined"
        file.click(".masthead a", "Relation")
        file.await_true("document.querySelectorAll('#relation-chart .point').length > 10")
        file.hover("#relation-chart .point", SAID_OF_A_POINT)
        file.click(".masthead a", "Curves")
        file.await_true("document.querySelectorAll('#curves .scatterlayer .trace').length > 4")
        assert file.colours("#curves")[BLUE] > 30

    def test_details_open_by_their_link(self, file: Browser, store: Store) -> None:
        file.click("#table a[href^='#run-']", HOSTILE)
        file.await_true(f"document.getElementById('run-{store.ids['hostile']}').open")
        file.evaluate(f"document.getElementById('run-{store.ids['first']}').open = true")
        selector = f"#run-{store.ids['first']} img"
        file.await_true(f"document.querySelector({json.dumps(selector)}).naturalWidth > 100")

    def test_it_may_fetch_nothing_and_execute_nothing_else(self, file: Browser, report: Path) -> None:
        text = report.read_text(encoding="utf-8")
        assert "default-src 'none'" in text
        file.evaluate(
            "(() => { const e = document.createElement('script'); e.textContent = 'window.intruder = 1';"
            " document.body.append(e); })()"
        )
        assert file.evaluate("window.intruder") is None
        file.complaints.clear()  # about the intruder
