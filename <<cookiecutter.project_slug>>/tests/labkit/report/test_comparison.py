import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from labkit.command import UsageError
from labkit.report.comparison import choose_mode, compare_runs, judge, make_table_of_groups, remark_on
from labkit.report.configuration import Group, find_differences, group_runs
from labkit.report.store import StoredRun, find_run, read_runs
from tests.project import Project

ACCURACY = "validation/accuracy"


def make_run(
    number: int,
    value: float,
    *,
    seed: int,
    tags: Mapping[str, str] | None = None,
    state: str = "finished",
    **parameters: str,
) -> StoredRun:
    return StoredRun(
        identifier=f"{number:032x}",
        name=f"run-{number}",
        experiment="digits",
        state=state,
        started=number,
        ended=number,
        parameters={"seed": str(seed), **parameters},
        metrics={ACCURACY: value},
        tags=tags or {},
    )


def make_groups(*values: list[float]) -> list[Group]:
    """Make a group of each list of values, with seeds 0, 1, ..."""
    runs = [
        make_run(100 * number + seed, value, seed=seed, rate=str(number))
        for number, row in enumerate(values)
        for seed, value in enumerate(row)
    ]
    return group_runs(runs[::-1])


class TestGrouping:
    def test_runs_that_differ_in_the_seed_alone_are_one_configuration(self) -> None:
        first, second = make_groups([1.0, 2.0], [3.0])
        assert [run.metrics[ACCURACY] for run in first.runs] == [1.0, 2.0]
        assert first.configuration == {"entry point": "", "rate": "0"}
        assert second.repetitions == (("0",),)
        assert find_differences([first.configuration, second.configuration]) == ["rate"]

    def test_seeds_are_in_the_order_of_numbers(self) -> None:
        (group,) = group_runs([make_run(seed, seed, seed=seed) for seed in (10, 9, 2)])
        assert group.repetitions == (("2",), ("9",), ("10",))

    def test_the_same_seed_again_is_no_further_evidence(self) -> None:
        (group,) = group_runs([make_run(2, 0.5, seed=0), make_run(1, 0.25, seed=0)])
        assert [run.metrics[ACCURACY] for run in group.runs] == [0.5]  # the newest
        assert [run.metrics[ACCURACY] for run in group.repeated] == [0.25]
        assert remark_on([group], (), left_out=0) == [
            "1 runs repeat a seed of their configuration: the newest of each counts, once."
        ]

    def test_what_has_finished_is_not_hidden_by_what_was_tried_again(self) -> None:
        (group,) = group_runs([make_run(2, 0.5, seed=0, state="failed"), make_run(1, 0.25, seed=0)])
        assert [run.metrics[ACCURACY] for run in group.runs] == [0.25]
        assert [run.state for run in group.repeated] == ["failed"]

    def test_folds_can_be_repetitions(self) -> None:
        runs = [make_run(fold, fold, seed=0, fold=str(fold), rate="1") for fold in range(3)]
        assert len(group_runs(runs)) == 3
        (group,) = group_runs(runs, over=("seed", "fold"))
        assert group.repetitions == (("0", "0"), ("0", "1"), ("0", "2"))

    def test_other_code_is_told_and_can_tell_apart(self) -> None:
        runs = [make_run(seed, 0.0, seed=seed, tags={"labkit.source": f"{seed}" * 64}) for seed in range(2)]
        (group,) = group_runs(runs)
        assert remark_on([group], (), left_out=0) == [
            "runs of one group had different code (group 1): --by code tells them apart."
        ]
        assert len(group_runs(runs, by=("code",))) == 2
        assert remark_on([group], ("code",), left_out=0) == []


class TestJudging:
    def test_a_clear_difference_is_claimed(self) -> None:
        (judged,) = judge(make_groups([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]), [ACCURACY])
        assert judged.difference == pytest.approx(0.4)
        assert judged.p_value == judged.corrected == pytest.approx(2 / 70)
        assert judged.verdict == "2 is better than 1"

    def test_of_a_loss_the_smaller_is_better(self) -> None:
        (judged,) = judge(make_groups([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]), [ACCURACY], mode="min")
        assert judged.verdict == "1 is better than 2"
        assert [choose_mode(name) for name in ("validation/loss", "test/top_1_error", ACCURACY)] == [
            "min",
            "min",
            "max",
        ]

    def test_below_three_seeds_nothing_is_claimed(self) -> None:
        (judged,) = judge(make_groups([0.1, 0.2], [0.8, 0.8, 0.8, 0.8, 0.8]), [ACCURACY])
        assert judged.verdict == "no claim: 2 seeds, and it takes 3"
        assert (judged.p_value, judged.corrected) == (None, None)

    def test_where_no_result_could_be_claimed_that_is_said(self) -> None:
        (judged,) = judge(make_groups([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]), [ACCURACY])
        assert judged.verdict == "no claim: p (Holm) is at least 0.1 with so few seeds"
        assert judged.p_value == pytest.approx(0.1)

    def test_so_it_is_where_it_is_the_number_of_comparisons_that_leaves_none(self) -> None:
        groups = make_groups([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.9, 1.0, 1.1, 1.2])
        judged = judge(groups, [ACCURACY])
        assert [entry.pair for entry in judged] == [(1, 2), (1, 3), (2, 3)]
        assert [entry.corrected for entry in judged] == pytest.approx([3 * 2 / 70] * 3)
        assert [entry.verdict for entry in judged] == ["no claim: p (Holm) is at least 0.086 with so few seeds"] * 3
        alone = judge(groups[:2], [ACCURACY])
        assert alone[0].verdict == "2 is better than 1"

    def test_many_comparisons_are_corrected(self) -> None:
        low, high = [0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9, 1.0]
        judged = judge(make_groups(low, high, [value + 0.05 for value in low]), [ACCURACY])
        assert [entry.verdict for entry in judged] == [
            "2 is better than 1",
            "no difference shown",
            "2 is better than 3",
        ]
        assert [judged[index].corrected for index in (0, 2)] == pytest.approx([3 * 2 / 252] * 2)
        assert judged[1].corrected == judged[1].p_value  # the largest of them, which is tested last

    def test_a_baseline_is_compared_with_each_other(self) -> None:
        groups = make_groups([0.1, 0.2, 0.3], [0.5, 0.6, 0.7], [0.1, 0.2, 0.3])
        assert [entry.pair for entry in judge(groups, [ACCURACY], baseline=1)] == [(2, 1), (2, 3)]

    def test_pairs_are_runs_with_the_same_seed(self) -> None:
        groups = make_groups([1, 20, 300, 4000, 50000, 600000], [2, 21, 301, 4001, 50001, 600001, 0])
        (judged,) = judge(groups, [ACCURACY], paired=True)
        assert (judged.difference, judged.p_value) == (1.0, pytest.approx(2 / 64))
        assert judged.verdict == "2 is better than 1"
        (unpaired,) = judge(groups, [ACCURACY])
        assert unpaired.verdict == "no difference shown"

    @pytest.mark.parametrize("value", [math.nan, math.inf, 1.7976931348623157e308])
    def test_a_run_that_diverged_is_not_passed_over(self, value: float) -> None:
        groups = make_groups([0.1, 0.2, 0.3, value], [0.5, 0.6, 0.7, 0.8])
        (judged,) = judge(groups, [ACCURACY])
        assert judged.verdict == "no claim: a run has diverged"
        row = make_table_of_groups(groups, ACCURACY, 0.95).rows[0]
        assert row[2] == "3 (and 1 diverged)"
        assert row[3] == pytest.approx(0.2)


def record(project: Project, value: float | None, *, seed: int, state: str = "finished", **arguments: object) -> str:
    """Make a run in the store, with a value."""
    run = project.make_run(seed=seed, **arguments)
    if value is not None:
        project.store.log_metric(run.identifier, ACCURACY, value, step=1)
    project.store.set_tag(run.identifier, "labkit.state", state)
    return run.identifier


class TestCommand:
    @pytest.fixture(autouse=True)
    def _in_the_project(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(project.path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", project.environment.mlflow_tracking_uri)

    def test_it_says_which_is_better_and_what_it_left_out(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seed in range(4):
            record(project, 0.5 + seed / 100, seed=seed, rate=0.1, model="a_b|<i>")
            record(project, 0.25 + seed / 100, seed=seed, rate=0.2, model="a_b|<i>")
        record(project, 0.9, seed=9, rate=0.1, model="a_b|<i>", state="running")
        project.store.set_tag(
            record(project, 0.9, seed=9, rate=0.3, model="a_b|<i>"), "labkit.recipe.role", "experiment"
        )
        project.store.log_metric(project.made[0].identifier, "test/loss", 7.0, step=1)
        assert compare_runs.main([ACCURACY]) == 0
        out, err = capsys.readouterr()
        assert out == (
            "| group | rate |   n | validation/accuracy | deviation | 95% from | 95% to | interquartile mean |\n"
            "| ----: | ---- | --: | ------------------: | --------: | -------: | -----: | -----------------: |\n"
            "|     1 | 0.1  |   4 |               0.515 |     0.013 |    0.505 |  0.525 |              0.515 |\n"
            "|     2 | 0.2  |   4 |               0.265 |     0.013 |    0.255 |  0.275 |              0.265 |\n"
            "\n"
            "| groups | difference |       p | p (Holm) | verdict            |\n"
            "| ------ | ---------: | ------: | -------: | ------------------ |\n"
            "| 1, 2   |      -0.25 | 0.02857 |  0.02857 | 1 is better than 2 |\n"
        )
        assert err == ("compare-runs: 2 runs are left out: not finished, without such a metric, or part of a recipe.\n")
        assert compare_runs.main([ACCURACY, "--with-recipes", "--confidence", "0.975"]) == 0
        out, _ = capsys.readouterr()
        assert "| 97.5% from |" in out
        assert "|     3 | 0.3" in out

        def read_csv(*words: str) -> list[dict[str, str]]:
            assert compare_runs.main([*words, "--table-format", "csv"]) == 0
            return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

        groups = read_csv(ACCURACY)
        assert list(groups[0])[:4] == ["group", "rate", "n", ACCURACY]
        assert [float(row[ACCURACY]) for row in groups] == pytest.approx([0.515, 0.265])
        (difference,) = read_csv(ACCURACY, "--table", "differences")
        assert (difference["groups"], difference["verdict"]) == ("1, 2", "1 is better than 2")
        several = read_csv(ACCURACY, "test/loss")
        assert [row["metric"] for row in several] == [ACCURACY, ACCURACY, "test/loss", "test/loss"]
        assert [row["mean"] for row in several][2:] == ["7.0", ""]

        words = ["--table-format", "latex", "--baseline", project.made[1].identifier, "--figure", "curves.svg"]
        assert compare_runs.main([ACCURACY, *words]) == 0
        drawn = Path("curves.svg").read_text()
        assert all(f"<!-- {name} -->" in drawn for name in ("1: rate 0.1 (n = 4)", "2: rate 0.2 (n = 4)", ACCURACY))
        assert "2, 1 & 0.25 & 0.02857 & 0.02857 & 1 is better than 2" in capsys.readouterr().out

    def test_a_session_is_compared_alone(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        inside = record(project, 0.5, seed=0, rate=0.1)
        record(project, 0.25, seed=1, rate=0.1)
        project.store.set_tag(inside, "labkit.session", "rates-1")
        assert [run.identifier for run in read_runs(project.environment, session="rates-1")] == [inside]
        assert compare_runs.main([ACCURACY, "--session", "rates-1"]) == 0
        assert "|     1 |   1 |" in capsys.readouterr().out

    @pytest.mark.parametrize("is_database", [True, False])
    def test_a_session_is_named_by_its_id_the_beginning_of_it_or_its_name(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, *, is_database: bool
    ) -> None:
        if not is_database:
            monkeypatch.setattr("labkit.report.store.find_database", lambda _: None)
        session, inside, other, another = (project.make_run(seed=seed) for seed in range(4))
        project.store.set_tag(session.identifier, "labkit.entry_point", "session")
        for run in (session, inside):
            project.store.set_tag(run.identifier, "labkit.session", session.identifier)
        project.store.set_tag(other.identifier, "labkit.session", "rates-1")
        project.store.set_tag(another.identifier, "labkit.session", "rates-2")
        for name in (session.identifier, session.identifier[:6], session.name):
            found = read_runs(project.environment, session=name)
            assert {run.identifier for run in found} == {session.identifier, inside.identifier}
        with pytest.raises(UsageError, match=r"^there is no session 'nothing'\.$"):
            read_runs(project.environment, session="nothing")
        with pytest.raises(UsageError, match=r"^there are 2 sessions 'rates': give the id of one, rates-1, rates-2\.$"):
            read_runs(project.environment, session="rates")

    def test_what_does_not_exist_is_told_with_what_does(
        self, project: Project, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seed in range(2):
            record(project, 0.5, seed=seed)
        for words, sentence in [
            ([], "say by which metrics to compare; the 2 finished runs have validation/accuracy."),
            (["validation/loss"], "no finished run has a metric 'validation/loss'; they have validation/accuracy."),
            ([ACCURACY, "--experiment-name", "x"], "there is no experiment 'x' in the tracking store, but"),
            ([ACCURACY, "--session", "x' or ''='"], "there is no session"),
            ([ACCURACY, "--figure", "a.txt"], "--figure a.txt takes one metric, and a file that ends in .png or .pdf"),
            ([ACCURACY, "--baseline", "x"], "none of the 2 runs has an id that begins with 'x': give the id of one."),
            ([ACCURACY, "--baseline", ""], "none of the 2 runs has an id that begins with '': give the id of one."),
        ]:
            assert compare_runs.main(words) == 2
            assert f"compare-runs: {sentence}" in capsys.readouterr().err


def test_an_id_has_to_be_that_of_one_run() -> None:
    runs = [make_run(number, 0.0, seed=number) for number in (1, 2, 0xA << 124)]
    assert find_run(runs, "a0") is runs[2]
    with pytest.raises(UsageError, match=r"^2 of the 3 runs have an id that begins with '00': give the id of one\.$"):
        find_run(runs, "00")


def test_more_runs_than_fit_a_page_are_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {project.make_run(seed=seed).identifier for seed in range(5)}
    monkeypatch.setattr("labkit.report.store.find_database", lambda _: None)  # as of a server
    monkeypatch.setattr("labkit.report.store.PAGE", 2)
    assert {run.identifier for run in read_runs(project.environment)} == made
    with pytest.raises(UsageError, match="there is no experiment 'other'"):
        read_runs(project.environment, experiment_name="other")
