import gzip
import io
import json
import math
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from labkit.report.dashboard import apply_controls, guard, make_application, make_page
from labkit.report.document import HtmlWriter, make_document
from labkit.report.importance import measure_importance
from labkit.report.page.chart import plain, plot_curves, plot_parallel
from labkit.report.page.column import read_value, show_duration, show_number
from labkit.report.page.condition import parse_condition
from labkit.report.page.curve import summarise, thin
from labkit.report.page.curves import make_curves_page
from labkit.report.page.difference import compare_code, make_difference_page, read_code
from labkit.report.page.element import Chart, Element, Link, Picture, find_all, read_text
from labkit.report.page.query import Query
from labkit.report.page.recipe import describe_state, find_recipes, make_recipe_page
from labkit.report.page.relation import make_relation_page
from labkit.report.page.run import Details, make_gallery, make_log, make_run_page, make_series_page
from labkit.report.page.runs import make_runs_page, select
from labkit.report.page.sweep import make_sweep_page
from labkit.report.snapshot import Snapshot, find_pictures
from labkit.report.store import StoredRun
from tests.project import ROOT, Project

ACCURACY = "validation/accuracy"
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> \"'&amp; ünï 數"


def make_run(
    number: int,
    *,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    name: str | None = None,
    state: str = "finished",
    further: Mapping[str, str] | None = None,
    **parameters: str,
) -> StoredRun:
    return StoredRun(
        identifier=f"{number:032x}",
        name=name or f"run-{number}",
        experiment="digits",
        state=state,
        started=1_700_000_000_000 + number * 60_000,
        ended=1_700_000_000_000 + number * 60_000 + 1500,
        parameters={**parameters, **(further or {})},
        metrics=metrics or {},
        tags=tags or {},
    )


SWEEP = [
    make_run(number, metrics={ACCURACY: accuracy}, rate=rate, seed=seed, width="8")
    for number, (rate, seed, accuracy) in enumerate([("0.1", "0", 0.5), ("0.1", "1", 0.7), ("0.01", "0", 0.9)])
][::-1]


def list_rows(page: Element) -> list[list[str]]:
    """Return the texts of the cells of a page's first table, a list a row."""
    body = find_all(page, "tbody")[0]
    return [[read_text(cell) for cell in row.children] for row in find_all(body, "tr")]


def list_titles(page: Element) -> list[str]:
    return [read_text(title) for title in find_all(find_all(page, "thead")[0], "th")]


class TestQuery:
    def test_it_survives_an_address(self) -> None:
        query = Query(filter="a>1 & b", sort="rate", page=3, columns=("a,b", "100%", "%2C"), grouping="seeds", x="ü")
        assert Query.parse(query.encode()) == query
        assert Query().encode() == ""
        assert Query.parse(f"?{Query().encode(page=2)}") == Query(page=2)

    @pytest.mark.parametrize(
        "text", ["grouping=teams", "page=-1", "page=x", "page=99999999999999", "band=1", "other=1"]
    )
    def test_what_it_does_not_understand_is_left_out(self, text: str) -> None:
        assert Query.parse(text) == Query()


class TestCondition:
    @pytest.mark.parametrize(
        ("text", "numbers"),
        [
            ("", [0, 1, 2]),
            ("rate>0.05", [0, 1]),
            ("rate = 0.10", [0, 1]),
            ("rate!=0.1", [2]),
            (f"{ACCURACY}>=0.7 seed=1", [1]),
            ("RUN-2", [2]),
            ("name~run-1", [1]),
            ('"run-1"', [1]),
            ("state=failed", []),
            ("absent>1", []),
            ("rate>word", []),
            ("took<2", [0, 1, 2]),
            ("started>2030", []),
            ("started<2030", [0, 1, 2]),
            ("((((", []),
        ],
    )
    def test_it_selects_runs(self, text: str, numbers: list[int]) -> None:
        condition = parse_condition(text)
        assert [int(run.identifier, 16) for run in reversed(SWEEP) if condition(run)] == numbers


class TestColumns:
    def test_any_property_parameter_and_metric_can_be_read(self) -> None:
        run = make_run(1, metrics={"loss": 1.7976931348623157e308}, name="n", rate="1e-3", model="cnn")
        assert [read_value(run, column) for column in ("name", "took", "rate", "model", "loss", "absent")] == [
            *("n", 1.5, 0.001, "cnn"),
            *(math.inf, None),
        ]

    @pytest.mark.parametrize("text", ["007", "5e12345", "1_000", "1e", "Infinity", "0x10", "+49", ""])
    def test_a_text_stays_a_text(self, text: str) -> None:
        assert read_value(make_run(1, code=text), "code") == text
        assert [run.name for run in [make_run(7, code=text)] if parse_condition(f'code="{text}"')(run)] == ["run-7"]

    @pytest.mark.parametrize(("text", "number"), [("-0.50", -0.5), ("1E-3", 0.001), (".5", 0.5), ("inf", math.inf)])
    def test_a_number_is_one_however_it_is_written(self, text: str, number: float) -> None:
        assert read_value(make_run(1, rate=text), "rate") == number

    def test_a_parameter_may_be_named_like_a_property(self) -> None:
        run = make_run(1, state="finished", name="n", id="mine")
        assert (read_value(run, "id"), read_value(run, "parameter:id")) == (run.identifier, "mine")

    def test_numbers_are_written_for_people(self) -> None:
        assert [show_number(value) for value in (3.0, 0.123456789, math.nan, -math.inf, 1e-7)] == [
            *("3", "0.12346", "NaN", "\N{MINUS SIGN}∞", "1e-07")
        ]
        assert [show_duration(seconds) for seconds in (1.25, 250, 7500)] == ["1.2 s", "4 min 10 s", "2 h 05 min"]


class TestTable:
    def test_it_shows_what_tells_runs_apart(self) -> None:
        page = make_runs_page(SWEEP, Query())
        assert list_titles(page) == ["name", "state", "started ↓", "took", "rate", "seed", ACCURACY]
        assert [row[4:] for row in list_rows(page)] == [["0.01", "0", "0.9"], ["0.1", "1", "0.7"], ["0.1", "0", "0.5"]]

    def test_it_sorts_by_any_column_and_what_is_absent_comes_last(self) -> None:
        runs = [*SWEEP, make_run(9, metrics={ACCURACY: math.nan}), make_run(10)]
        names = [run.name for run in select(runs, Query(sort=ACCURACY))]
        assert names == ["run-0", "run-1", "run-2", "run-9", "run-10"]
        assert [run.name for run in select(runs, Query(sort=f"-{ACCURACY}"))][:3] == ["run-2", "run-1", "run-0"]

    def test_the_title_of_a_column_sorts_by_it_and_then_the_other_way(self) -> None:
        (title,) = [found for found in find_all(make_runs_page(SWEEP, Query()), Link) if read_text(found) == "rate"]
        assert Query.parse(title.query).sort == "-rate"
        sorted_page = make_runs_page(SWEEP, Query.parse(title.query))
        (title,) = [found for found in find_all(sorted_page, Link) if read_text(found).startswith("rate")]
        assert (read_text(title), Query.parse(title.query).sort) == ("rate ↓", "rate")

    def test_it_has_pages(self) -> None:
        runs = [make_run(number) for number in range(120)]
        page = make_runs_page(runs, Query(sort="started", page=3))
        assert [row[0] for row in list_rows(page)] == [f"+run-{number}" for number in range(100, 120)]
        assert "101\N{EN DASH}120 of 120" in read_text(page)
        assert len(list_rows(make_runs_page(runs, Query(page=99)))) == 20

    def test_seeds_are_grouped(self) -> None:
        page = make_runs_page(SWEEP, Query(grouping="seeds", columns=("rate", ACCURACY), sort=f"-{ACCURACY}"))
        assert list_rows(page) == [["1 0 ", "0.01", "0.9"], ["2 0 1 ", "0.1", "0.60 ± 0.14"]]
        assert [link.page for link in find_all(page, Link) if link.page.startswith("/run/")] == [
            f"/run/{number:032x}" for number in (2, 0, 1)
        ]

    def test_means_are_those_of_runs_that_have_finished(self) -> None:
        failed = make_run(8, metrics={ACCURACY: 0.1}, rate="0.1", seed="1", width="8", state="failed")
        running = make_run(9, metrics={ACCURACY: 0.1}, rate="0.1", seed="2", width="8", state="running")
        query = Query(grouping="seeds", columns=("state", ACCURACY), sort=f"-{ACCURACY}", filter="rate=0.1")
        page = make_runs_page([running, failed, *SWEEP], query)
        assert list_rows(page) == [["3 0 1 2 ", "finishedrunning", "0.60 ± 0.14"]]
        assert list_rows(make_runs_page([running], query)) == [["1 2 ", "running", "0.1"]]

    def test_sessions_are_headings_over_their_seeds(self) -> None:
        runs = [
            make_run(number, tags={"labkit.session": session} if session else {}, seed=str(number), rate="1")
            for number, session in enumerate(["first", "first", "second", ""])
        ]
        rows = list_rows(make_runs_page(runs, Query(grouping="sessions", columns=("rate",))))
        assert rows == [["no session"], ["1 3 ", "1"], ["second"], ["1 2 ", "1"], ["first"], ["2 0 1 ", "1"]]

    def test_a_session_has_its_name_and_is_no_trial_of_its_own(self) -> None:
        session = make_run(1, name="rates", tags={"labkit.session": f"{1:032x}"})
        trial = make_run(2, tags={"labkit.session": session.identifier}, rate="1", seed="0")
        page = make_runs_page([trial, session], Query(grouping="sessions", columns=("rate",)))
        assert list_rows(page) == [["rates"], ["1 0 ", "1"]]
        assert find_all(find_all(page, "th")[-1], Link)[0].page == f"/run/{session.identifier}"

    def test_runs_are_selected_by_links(self) -> None:
        marks = [mark for mark in find_all(make_runs_page(SWEEP, Query()), Link) if read_text(mark) == "+"]
        selected = Query.parse(marks[0].query)
        assert selected.selected == (SWEEP[0].identifier,)
        page = make_runs_page(SWEEP, selected)
        assert "1 selected" in read_text(page)
        (mark,) = [mark for mark in find_all(page, Link) if read_text(mark) == "✓"]
        assert Query.parse(mark.query).selected == ()

    def test_of_no_runs_it_says_what_to_do(self) -> None:
        assert read_text(make_runs_page([], Query())) == "There are no runs yet: `train` makes one."
        assert read_text(make_runs_page(SWEEP, Query(filter="nothing"))) == "No run meets the filter."


class TestRelation:
    def test_the_mouse_tells_only_the_parameters_that_differ(self) -> None:
        page = make_relation_page(SWEEP, Query(x="rate", y=ACCURACY))
        (chart,) = find_all(page, Chart)
        texts = sorted(text for trace in chart.figure["data"] for text in trace["text"])
        assert texts == [
            "<b>run-0</b><br>rate  0.1<br>seed  0",
            "<b>run-1</b><br>rate  0.1<br>seed  1",
            "<b>run-2</b><br>rate  0.01<br>seed  0",
        ]
        assert "The same in all: width 8" in read_text(page)
        points = sorted((x, y) for trace in chart.figure["data"] for x, y in zip(trace["x"], trace["y"], strict=True))
        assert points == [(0.01, 0.9), (0.1, 0.5), (0.1, 0.7)]

    def test_runs_without_a_value_are_counted(self) -> None:
        page = make_relation_page([*SWEEP, make_run(9)], Query(x="rate", y=ACCURACY))
        assert "3 runs, 1 without both" in read_text(page)


class TestCurves:
    def test_runs_are_put_together_where_they_have_values(self) -> None:
        one = (np.array([0.0, 2.0]), np.array([1.0, 3.0]))
        other = (np.array([0.0, 1.0, 4.0]), np.array([3.0, 4.0, 10.0]))
        summary = summarise([one, other])
        assert summary.steps.tolist() == [0.0, 1.0, 2.0, 4.0]
        assert summary.runs.tolist() == [2, 2, 2, 1]
        assert summary.mean.tolist() == [2.0, 3.0, 4.5, 10.0]
        assert summary.minimum.tolist() == [1.0, 2.0, 3.0, 10.0]
        assert summary.maximum.tolist() == [3.0, 4.0, 6.0, 10.0]
        assert summary.deviation[:3] == pytest.approx([math.sqrt(2), math.sqrt(2), math.sqrt(4.5)])
        assert math.isnan(summary.deviation[3])

    def test_what_is_no_number_counts_nowhere(self) -> None:
        summary = summarise(
            [(np.array([0.0, 1.0]), np.array([1.0, np.nan])), (np.array([0.0, 1.0]), np.array([3.0, 5.0]))]
        )
        assert (summary.mean.tolist(), summary.runs.tolist()) == ([2.0, 5.0], [2, 1])

    def test_a_long_curve_is_thinned_out_and_keeps_its_peaks(self) -> None:
        values = np.zeros(100_000)
        values[[123, 77_777]] = [50.0, -50.0]
        steps, kept = thin((np.arange(100_000.0), values), points=600)
        assert len(steps) <= 600
        assert (steps[0], steps[-1]) == (0.0, 99_999.0)
        assert steps[kept == 50.0].tolist() == [123.0]
        assert steps[kept == -50.0].tolist() == [77_777.0]

    def test_a_configuration_is_a_line_in_a_band(self) -> None:
        page = make_curves_page(
            SWEEP, Query(band="range"), lambda runs, _: {run: ([1, 2], [0.0, int(run, 16)]) for run in runs}
        )
        (chart,) = find_all(page, Chart)
        lines = [trace for trace in chart.figure["data"] if trace.get("showlegend") is not False]
        assert sorted(trace["name"] for trace in lines) == ["rate 0.01", "rate 0.1 (n = 2)"]
        (line,) = [trace for trace in lines if trace["name"] == "rate 0.1 (n = 2)"]
        assert line["y"] == [0.0, 0.5]
        band = [trace["y"] for trace in chart.figure["data"] if trace.get("showlegend") is False]
        assert band == [[0.0, 0.0], [0.0, 1.0]]

    def test_more_configurations_than_colours_are_counted(self) -> None:
        runs = [make_run(number, metrics={"loss": 1.0}, rate=str(number)) for number in range(20)]
        page = make_curves_page(runs, Query(metric="loss"), lambda runs, _: dict.fromkeys(runs, ([1], [1.0])))
        assert "the first 8 of 20" in read_text(page)


class TestSweep:
    def test_the_parameter_that_decides_is_the_important_one(self) -> None:
        generator = np.random.default_rng(seed := 3)
        matters, idle = generator.random(40).tolist(), generator.random(40).tolist()
        found = measure_importance({"idle": idle, "matters": matters, "fixed": [1.0] * 40}, [2 * x for x in matters])
        assert found["matters"] > 0.8, f"seed {seed}"
        assert found.keys() == {"idle", "matters"}

    def test_of_few_runs_nothing_is_said(self) -> None:
        assert measure_importance({"a": [1.0, 2.0]}, [1.0, 2.0]) == {}

    def test_axes_take_texts_and_decades(self) -> None:
        figure = plot_parallel(
            {"rate": [0.001, 0.1, 1.0], "model": ["cnn", "mlp", None], "score": [1.0, 2.0, 3.0]}, by="score"
        )
        rate, model, _ = figure["data"][0]["dimensions"]
        assert rate["values"] == pytest.approx([-3.0, -1.0, 0.0])
        assert (model["ticktext"], model["values"]) == (["cnn", "mlp", "none"], [0, 1, 2])

    def test_the_page_has_both(self) -> None:
        runs = [
            make_run(number, metrics={"score": float(number)}, rate=str(number), seed=str(number))
            for number in range(10)
        ]
        page = make_sweep_page(runs, Query(metric="score"), measure_importance)
        assert [chart.name for chart in find_all(page, Chart)] == ["parallel", "importance"]
        assert find_all(page, Chart)[1].figure["data"][0]["x"] == [1.0]


def pack(files: Mapping[str, bytes]) -> bytes:
    """Make an archive as runs have one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


class TestDifference:
    def test_lines_of_code_are_compared(self) -> None:
        old = read_code(pack({"a.py": b"x = 1\ny = 2\n", "b.bin": b"\xff\x00", "c.py": b"same", "d.py": b"gone\n"}))
        new = read_code(pack({"a.py": b"x = 1\ny = 3\n", "b.bin": b"\xff\x01", "c.py": b"same", "e.py": b"new\n"}))
        assert compare_code(old, new) == {
            "a.py": ["@@ -1,2 +1,2 @@", " x = 1", "-y = 2", "+y = 3"],
            "b.bin": ["differs, and is no text"],
            "d.py": ["@@ -1 +0,0 @@", "-gone"],
            "e.py": ["@@ -0,0 +1 @@", "+new"],
        }

    def test_the_page_tells_all_that_differs_and_nothing_else(self) -> None:
        first = make_run(1, metrics={ACCURACY: 0.5}, rate="0.1", width="8", tags={"labkit.host": "left"})
        second = make_run(2, metrics={ACCURACY: 0.75}, rate="0.2", width="8", tags={"labkit.host": "right"})
        details = (Details(surroundings={"python": "3.11"}), Details(surroundings={"python": "3.12"}))
        page = make_difference_page(first, second, details, ({"a.py": b"1\n"}, {"a.py": b"2\n"}))
        rows = [[read_text(cell) for cell in row.children] for row in find_all(page, "tr")]
        assert ["rate", "0.1", "0.2"] in rows
        assert [ACCURACY, "0.5", "0.75", "+0.25"] in rows
        assert ["host", "left", "right"] in rows
        assert ["python", "3.11", "3.12"] in rows
        assert not any("width" in row for row in rows)
        assert [read_text(line) for line in find_all(page, "pre")] == ["@@ -1 +1 @@\n-1\n+2\n"]


class TestRun:
    def test_a_log_is_shown_as_a_terminal_does(self) -> None:
        (text,) = find_all(make_log("attempt-1.txt", "\x1b[1mone\x1b[0m\r\nloading 1\rloading 2\nlast"), "pre")
        assert read_text(text) == "one\nloading 2\nlast"

    def test_of_a_long_log_the_end_is_shown(self) -> None:
        (text,) = find_all(make_log("log", "\n".join(map(str, range(1000)))), "pre")
        assert read_text(text).startswith("… 600 lines before these\n600\n")

    def test_of_pictures_that_go_on_the_last_is_shown(self) -> None:
        pictures = ["figures/a-000002.png", "figures/a-000010.png", "figures/b.png"]
        shown = find_all(make_gallery(make_run(1), pictures), Picture)
        assert [(picture.path, picture.description) for picture in shown] == [
            ("figures/a-000010.png", "a, step 10, the last of 2"),
            ("figures/b.png", "b"),
        ]

    def test_they_lead_to_all_of_them_in_the_order_of_their_steps(self) -> None:
        run, pictures = make_run(1), ["figures/a-10.png", "figures/a-9.png", "figures/b.png"]
        (way,) = find_all(make_gallery(run, pictures), Link)
        assert way.page == f"/figures/{run.identifier}"
        page = make_series_page(run, pictures, Query.parse(way.query).figure)
        assert [(picture.path, picture.description) for picture in find_all(page, Picture)] == [
            ("figures/a-9.png", "a, step 9"),
            ("figures/a-10.png", "a, step 10"),
        ]
        assert "There are none." in read_text(make_series_page(run, pictures, "absent"))

    def test_it_shows_what_there_is(self) -> None:
        details = Details(
            pictures=["figures/confusion-test.png"],
            logs={"attempt-1.txt": "epoch 1"},
            surroundings={"command_line": ["train", "--rate", "1"], "packages": {"torch": "2"}},
            curves={ACCURACY: (np.array([1.0, 2.0]), np.array([0.5, 0.6]))},
        )
        page = make_run_page(make_run(1, metrics={ACCURACY: 0.6, "train/loss_step": 1.0}, rate="1"), details)
        text = read_text(page)
        assert all(
            part in text for part in ("confusion test", "epoch 1", "train --rate 1", "torch 2", f"{ACCURACY}0.6")
        )
        assert "loss_step" not in text


RECIPE = {
    "recipe": "digits",
    "steps": [
        {"name": "my own check", "position": 1, "state": "stale", "reasons": ["function model.cnn changed"],
         "run_id": f"{2:032x}", "outcome": "passed",
         "verdicts": [
             {"check": HOSTILE, "value": "NaN", "threshold": [0.1, 0.2], "holds": False, "reason": "is missing"},
         ]},
        {"name": "explore data", "position": 0, "state": "up to date", "reasons": [], "run_id": f"{1:032x}",
         "outcome": "passed", "verdicts": []},
        {"name": "tune", "position": 2, "state": "not run", "reasons": [], "run_id": None, "outcome": None,
         "verdicts": []},
    ],
}  # fmt: skip


class TestRecipe:
    runs: Sequence[StoredRun] = (
        make_run(4, tags={"labkit.recipe": "digits", "labkit.recipe.role": "recipe"}),
        make_run(3, tags={"mlflow.parentRunId": f"{2:032x}", "labkit.recipe.role": "experiment"}),
        make_run(2, tags={"labkit.recipe.role": "step"}),
        make_run(1, tags={"labkit.recipe.role": "step"}),
        make_run(0, tags={"labkit.recipe": "digits", "labkit.recipe.role": "recipe"}),
    )

    def test_the_newest_execution_counts(self) -> None:
        assert find_recipes(self.runs) == [self.runs[0]]

    def test_steps_are_a_timeline_in_their_order_and_custom_ones_are_steps_too(self) -> None:
        pictures = {f"{1:032x}": ["figures/classes.png"], f"{3:032x}": ["figures/weights.png"]}
        page = make_recipe_page(self.runs[0], RECIPE, self.runs, pictures)
        steps = [item for item in find_all(page, "li") if "class" in item.attributes]
        assert [read_text(find_all(step, "h2")[0]) for step in steps] == ["explore data", "my own check", "tune"]
        assert [step.attributes["class"] for step in steps] == ["passed", "stale", "none"]
        assert "1 passed · 1 stale · 1 not run" in read_text(page)
        assert "function model.cnn changed" in read_text(steps[1])
        assert "experiment 1" in read_text(steps[1])
        cells = [read_text(cell) for cell in find_all(steps[1], "td")]
        assert cells == [HOSTILE, "NaN", "0.1 to 0.2", "failed", "is missing"]
        assert "classes" in read_text(steps[0])
        assert "weights" in read_text(steps[1])  # of its experiment

    def test_pictures_of_inspections_are_found_with_the_experiments_that_keep_them(self, project: Project) -> None:
        step, experiment = project.make_run(), project.make_run()
        project.store.set_tag(experiment.identifier, "mlflow.parentRunId", step.identifier)
        (experiment.folder / "figures").mkdir()
        (experiment.folder / "figures" / "batch.png").write_bytes(b"")
        standing = {"steps": [{"name": "overfit", "run_id": step.identifier}]}
        found = find_pictures(TestDashboard.load(project), standing)
        assert found == {step.identifier: [], experiment.identifier: ["figures/batch.png"]}

    @pytest.mark.parametrize(
        ("state", "outcome", "said"),
        [
            ("stale", "failed", "stalea check failed when it was executed run"),
            ("failed", "error", "failedan exception ended it when it was executed run"),
            ("failed", "failed", "failedrun"),
            ("running", None, "runningrun"),
        ],
    )
    def test_it_says_how_a_step_ended(self, state: str, outcome: str | None, said: str) -> None:
        step = {"name": "tune", "state": state, "outcome": outcome, "run_id": f"{1:032x}"}
        page = make_recipe_page(self.runs[0], {"steps": [step]}, self.runs, {})
        assert read_text(find_all(find_all(page, "ol")[0], "p")[0]) == said

    @pytest.mark.parametrize(
        ("state", "outcome", "shown"),
        [
            ("up to date", "passed", "passed"),
            ("failed", "failed", "failed"),
            ("stale", "failed", "stale"),
            (None, None, "not run"),
        ],
    )
    def test_a_step_is_called_what_it_is(self, state: str | None, outcome: str | None, shown: str) -> None:
        assert describe_state({"state": state, "outcome": outcome}) == shown


class TestText:
    """What comes from runs is shown as it is, everywhere."""

    def test_plotly_gets_no_markup(self) -> None:
        assert plain("<b>a</b>\n& <a href='x'>") == "&lt;b&gt;a&lt;/b&gt; &amp; &lt;a href='x'&gt;"
        run = make_run(1, name=HOSTILE, metrics={HOSTILE: 1.0}, further={HOSTILE: HOSTILE}, seed="1")
        other = make_run(2, name=HOSTILE, metrics={HOSTILE: 2.0}, further={HOSTILE: "2"}, seed="1")
        pages = [
            make_relation_page([run, other], Query(x=HOSTILE, y=HOSTILE)),
            make_curves_page(
                [run, other], Query(metric=HOSTILE), lambda runs, _: dict.fromkeys(runs, ([1, 2], [1.0, 2.0]))
            ),
            make_sweep_page([run, other], Query(metric=HOSTILE), lambda *_: {HOSTILE: 1.0}),
        ]
        charts = [chart.figure for page in pages for chart in find_all(page, Chart)]
        for dimension in [axis for chart in charts for axis in chart["data"][0].get("dimensions", [])]:
            dimension.pop("ticktext", None)  # in which Plotly reads none, see tests of the template in a browser
        figures = json.dumps(charts)
        assert "&lt;script&gt;" in figures
        assert re.findall(r"<(?!/?b>|br>|extra>|/extra>)[a-z]+", figures) == []

    def test_a_report_gets_no_markup(self) -> None:
        writer = HtmlWriter(set(), lambda _: None)
        page = make_runs_page([make_run(1, name=HOSTILE, further={HOSTILE: HOSTILE}), make_run(2)], Query())
        text = writer.write(page)
        assert "&lt;script&gt;alert(1)" in text
        assert "<script" not in text
        assert "<img" not in text

    def test_data_in_a_report_do_not_end_their_element(self, project: Project) -> None:
        run = make_run(1, name="</script><script>alert(1)</script>", metrics={"loss": math.nan}, rate="<!--")
        text = make_document(Snapshot(project.environment, [run]), details=0)
        (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
        assert "<" not in data
        rows = json.loads(data)["rows"]
        assert "</script><script>alert(1)</script>" in rows[0]
        assert "<script>alert" not in text


class TestDashboard:
    def test_other_names_of_this_machine_are_turned_away(self, project: Project) -> None:
        client = self.make_client(project, "127.0.0.1")
        for name in ("127.0.0.1:8050", "localhost:8050", "[::1]:8050", "localhost"):
            assert client.get("/", headers={"Host": name}).status_code == 200, name
        for name in ("evil.example:8050", "evil.example", "127.0.0.1.evil.example", "localhost]evil.example"):
            assert client.get("/", headers={"Host": name}).status_code >= 400, name
        assert self.make_client(project, "10.0.0.1").get("/", headers={"Host": "node-7:8050"}).status_code == 200
        other = self.make_client(project, "127.0.0.2")
        assert other.get("/", headers={"Host": "127.0.0.2:8050"}).status_code == 200
        assert other.get("/", headers={"Host": "evil.example:8050"}).status_code == 403

    def test_it_serves_pictures_of_runs_and_nothing_else(self, project: Project) -> None:
        run = project.make_run()
        (run.folder / "figures").mkdir()
        (run.folder / "figures" / "a.png").write_bytes(b"picture")
        (run.folder / "figures" / "a.html").write_bytes(b"page")
        client = self.make_client(project, "127.0.0.1")
        answer = client.get(f"/file/{run.identifier}/figures/a.png")
        assert (answer.data, answer.mimetype) == (b"picture", "image/png")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("envelope.json", "figures/a.html", "figures/../envelope.json", "figures/%2e%2e/envelope.json"):
            assert client.get(f"/file/{run.identifier}/{path}").status_code == 404, path
        assert client.get("/file/../figures/a.png").status_code == 404

    def test_every_page_can_be_made_of_a_store(self, project: Project) -> None:
        for seed in range(2):
            run = project.make_run(seed=seed, rate=0.1)
            project.store.log_metric(run.identifier, ACCURACY, 0.5, step=1)
        snapshot = self.load(project)
        first, second = (run.identifier for run in project.made)
        for path, text in [
            ("/", "2 runs"),
            ("/relation", "2 runs"),
            ("/curves", "1 configuration"),
            ("/sweep", "No parameter differs between the 2 runs"),
            ("/recipe", "No recipe has been executed yet"),
            ("/compare", "seed"),
            (f"/run/{first}", "entry point"),
            (f"/figures/{first}", "There are none."),
            ("/elsewhere", "There is no such page."),
        ]:
            assert text in read_text(make_page(snapshot, path, Query(selected=(first, second)))), path

    @pytest.mark.parametrize("is_database", [True, False])
    def test_what_is_new_in_the_store_is_seen(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, *, is_database: bool
    ) -> None:
        if not is_database:
            monkeypatch.setattr("labkit.report.store.find_database", lambda _: None)
        run, gone = project.make_run(), project.make_run()
        snapshot = self.load(project)
        version = snapshot.version
        project.store.log_metric(run.identifier, ACCURACY, 0.5, step=1)
        project.store.delete_run(gone.identifier)
        other = project.make_run()
        assert snapshot.refresh() > version
        assert {found.identifier for found in snapshot.runs} == {run.identifier, other.identifier}
        found = snapshot.find(run.identifier)
        assert found is not None
        assert found.metrics == {ACCURACY: 0.5}

    def test_what_an_evaluation_adds_to_an_old_run_is_seen_too(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("labkit.report.store.NEWEST", 1)
        old, _ = project.make_run(), project.make_run()
        project.store.set_tag(old.identifier, "labkit.state", "finished")
        project.store.log_metric(old.identifier, ACCURACY, 0.5, step=1)
        snapshot = self.load(project)
        assert snapshot.read_curves([old.identifier], ACCURACY) == {old.identifier: ([1], [0.5])}
        project.store.log_metric(old.identifier, ACCURACY, 0.25, timestamp=1, step=2)  # long ago, and sent only now
        project.store.log_metric(old.identifier, "test/accuracy", 0.75, step=2)
        snapshot.refresh()
        found = snapshot.find(old.identifier)
        assert found is not None
        assert found.metrics == {ACCURACY: 0.25, "test/accuracy": 0.75}
        assert snapshot.read_curves([old.identifier], ACCURACY) == {old.identifier: ([1, 2], [0.5, 0.25])}

    def test_what_was_deleted_from_a_server_is_gone_as_far_as_it_is_looked_at(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("labkit.report.store.find_database", lambda _: None)
        monkeypatch.setattr("labkit.report.store.NEWEST", 2)
        runs = [project.make_run() for _ in range(4)]
        snapshot = self.load(project)
        for place in (0, 3):
            project.store.delete_run(runs[place].identifier)
        snapshot.refresh()
        assert {found.identifier for found in snapshot.runs} == {run.identifier for run in runs[1:3]}

    def test_what_is_entered_is_taken_over_from_the_first_page_on(self) -> None:
        query = Query(page=4, selected=("a",))
        assert apply_controls(query, {"filter": "cnn", "columns": ["rate"]}) == Query(
            filter="cnn", columns=("rate",), selected=("a",)
        )
        assert apply_controls(query, {"filter": "", "columns": None}) == query
        assert apply_controls(query, {"first": "b", "second": None}).selected == ("b",)

    def test_neither_torch_nor_lightning_is_imported(self) -> None:
        code = (
            "import sys, dash, optuna, labkit.report.dashboard, labkit.report.document, labkit.report.comparison;"
            "print({'torch', 'lightning', 'pandas'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"

    @staticmethod
    def load(project: Project) -> Snapshot:
        snapshot = Snapshot(project.environment)
        snapshot.load()
        return snapshot

    def make_client(self, project: Project, host: str) -> Any:
        server = make_application(self.load(project)).server
        guard(server, host)
        return server.test_client()


def test_a_band_is_drawn_only_around_several_runs() -> None:
    curve = (np.array([1.0, 2.0]), np.array([0.5, 0.25]))
    figure = plot_curves({"one": [curve]}, {"one": summarise([curve])}, title="loss", band="deviation")
    assert [trace["y"] for trace in figure["data"]] == [[0.5, 0.25]]
