"""The dashboard and the report in a real browser: every view, live, in the dark, and with hostile names."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from project import ENVIRONMENT, TEMPLATE, environment
from services.browser import Browser, browsing

BENCH = TEMPLATE / "<<cookiecutter.project_slug>>"
STORE = TEMPLATE / "tests" / "services" / "recorded_store.py"
HOSTILE = "<script>alert('name')</script> <img src=x onerror=alert(2)> \"quoted\" ünï 數"
ACCURACY = "validation/accuracy"
BLUE = "#4477aa"
LIGHT, DARK = "#ffffff", "#14171a"

pytestmark = pytest.mark.xdist_group("pages")


class Store:
    """A folder with a tracking store in it, and the commands that read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = environment() | {"PYTHONPATH": str(BENCH), "PYTHONDONTWRITEBYTECODE": "1"}
        self.ids: dict[str, str] = json.loads(self.execute(str(STORE), str(folder)))

    def execute(self, *words: str) -> str:
        """Run Python on the store, and return what it prints."""
        done = subprocess.run(
            [ENVIRONMENT / "bin" / "python", "-P", *words],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def record(self, code: str) -> str:
        """Execute code that has a recorder of runs at hand."""
        head = f"import sys; sys.path.insert(0, {str(STORE.parent)!r}); from pathlib import Path\n"
        return self.execute("-c", f"{head}from recorded_store import *\nrecorder = Recorder(Path('.'))\n{code}").strip()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(store: Store) -> Generator[str]:
    """The address of a dashboard."""
    process = subprocess.Popen(
        [ENVIRONMENT / "bin" / "python", "-P", "-m", "labkit.report.dashboard", "--port", "0"],
        cwd=store.folder,
        env=store.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[4].rstrip("/")
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def page(browser: Browser, address: str) -> Generator[Browser]:
    """A browser that is to find nothing to complain about, and executes nothing that stands in a name."""
    browser.prefer("light")
    browser.open(address)
    browser.await_text("18 runs", ".masthead")
    browser.await_true("document.querySelector('#controls input')")
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []
    assert browser.dialogs == []


@pytest.fixture(scope="module")
def report(store: Store) -> Path:
    """A report with the details of some runs, and the difference of two."""
    path = store.folder / "report.html"
    pair = (store.ids["first"], store.ids["last"])
    store.execute("-m", "labkit.report.document", str(path), "--details", "8", "--difference", *pair)
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
        assert page.count("#view .runs tbody tr") == 18
        page.type("#controls input", f"{ACCURACY}>0.5 learning_rate<0.05")
        page.await_text("6 runs of 18", "#view .summary")
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
    def test_two_metrics_against_each_other(self, page: Browser) -> None:
        page.click(".masthead a", "Relation")
        page.await_true("document.querySelector('#view .point')")
        choose(page, "Across", "learning_rate")
        page.await_text("learning_rate", "#view .xtitle")
        page.hover("#view .point")
        page.await_true("document.querySelector('#view .hovertext')?.textContent.includes('learning_rate')")
        said = page.evaluate("document.querySelector('#view .hovertext').textContent")
        assert "seed" in said
        assert "entry" not in said
        colours = page.colours("#chart-relation")
        assert next(iter(colours)) == LIGHT
        assert len([colour for colour, count in colours.items() if count > 20]) > 4

    def test_curves_have_bands_over_seeds(self, page: Browser) -> None:
        page.click(".masthead a", "Curves")
        page.await_true("document.querySelectorAll('#view .scatterlayer .trace').length > 8")
        with_bands = page.colours("#chart-curves")
        assert with_bands[BLUE] > 30
        page.click("#controls .choices label", "none")
        page.await_true("document.querySelectorAll('#view .fills path').length === 0")
        assert page.colours("#chart-curves") != with_bands

    def test_a_sweep_is_seen_at_once(self, page: Browser) -> None:
        page.click(".masthead a", "Sweep")
        page.await_true("document.querySelector('#chart-importance .point')")
        assert {"learning_rate", "width", ACCURACY} <= set(page.texts("#chart-parallel .axis-title"))

    def test_a_run_has_figures_logs_and_provenance(self, page: Browser, address: str, store: Store) -> None:
        page.open(f"{address}/run/{store.ids['first']}")
        page.await_true("document.querySelector('#view img')?.naturalWidth > 100")
        page.await_true("document.querySelectorAll('#view .js-plotly-plot .scatterlayer .trace').length === 2")
        text = page.text("#view")
        assert f"epoch 1\n{HOSTILE}\nepoch 2" in text
        assert "rates-1" in text
        for heading in ("Metrics", "Figures", "Parameters", "Provenance", "Logs"):
            assert heading in page.texts("#view h2")

    def test_the_code_of_two_runs_is_compared(self, page: Browser, address: str, store: Store) -> None:
        page.open(f"{address}/compare?selected={store.ids['first']},{store.ids['last']}")
        page.await_text("Two runs, and what differs")
        (model,) = [text for text in page.texts("#view details") if text.startswith("model.py")]
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
            "run = recorder.record('alive', seed=3, metrics={ACCURACY: [0.1]}, state='running'); print(run.identifier)"
        )
        page.await_text("alive", "#view tbody")
        page.open(f"{address}/run/{made}")
        page.await_text("0.1", "#view .metrics")
        store.record(f"recorder.store.log_metric({made!r}, ACCURACY, 0.75, step=2)")
        page.await_text("0.75", "#view .metrics")
        store.record(f"recorder.store.delete_run({made!r})")

    def test_it_is_readable_in_the_dark(self, page: Browser, address: str) -> None:
        page.prefer("dark")
        for path in ("/", "/curves", "/recipe"):
            page.open(address + path)
            page.await_true("document.querySelector('#view > *')")
            colours = page.colours("body")
            assert next(iter(colours)) == DARK, path
            assert colours.get(LIGHT, 0) < 500, path

    def test_it_listens_to_this_machine_alone(self, address: str) -> None:
        port = int(address.rpartition(":")[2])
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        own = [words[1] for words in listening if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port]
        assert own == [f"0100007F:{port:04X}"]


class TestHostility:
    @pytest.mark.parametrize("path", ["/", "/?grouping=seeds", "/relation", "/curves", "/sweep", "/recipe"])
    def test_a_name_is_a_text_on_every_page(self, page: Browser, address: str, path: str) -> None:
        page.open(address + path)
        page.await_true("document.querySelector('#view > *')")
        assert page.count("#view script, #view img[src=x]") == 0
        assert page.evaluate("document.title") == "Labkit"

    def test_its_own_page_shows_it(self, page: Browser, address: str, store: Store) -> None:
        page.open(f"{address}/run/{store.ids['hostile']}")
        page.await_text(HOSTILE, "#view h1")
        assert page.count("#view script, #view img[src=x]") == 0


class TestReport:
    @pytest.fixture
    def file(self, browser: Browser, report: Path) -> Generator[Browser]:
        browser.prefer("light")
        browser.open("about:blank")
        browser.complaints.clear()
        browser.open(report.as_uri())
        browser.await_true("document.documentElement?.dataset.ready")
        yield browser
        assert browser.complaints == []
        assert browser.dialogs == []

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
        file.await_text("6 of 18 runs", "#count")
        file.evaluate(
            "(e => { e.value = 'seeds'; e.dispatchEvent(new Event('change')); })(document.querySelector('#grouping'))"
        )
        file.await_text("2 configurations", "#count")
        assert "±" in file.text("#table")
        file.click("#table th a", "seeds")

    def test_its_charts_are_drawn(self, file: Browser) -> None:
        file.await_true("document.querySelectorAll('#relation-chart .point').length > 10")
        file.hover("#relation-chart .point")
        file.await_true("document.querySelector('#relation-chart .hovertext')?.textContent.includes('learning_rate')")
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
