"""A split is a manifest that keeps its promises: no sample twice, no group in two parts, the same each time."""

import collections
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.command import UsageError
from labkit.data.footprint import identify_data, measure_footprint
from labkit.data.record import record_path
from labkit.data.split import Split, data_split, make_folds, make_group_folds, make_split, read_split, write_split
from labkit.data.split.sample import parse_times, read_samples

LABELS = ["rare"] * 100 + ["common"] * 300
PATIENTS = [f"patient-{random.Random(number).randrange(40)}" for number in range(400)]


def sizes(split: Split, fold: int = 0) -> tuple[int, ...]:
    return tuple(len(part) for part in split.folds[fold].values())


def assert_apart(split: Split, groups: Sequence[str] | None = None, *, complete: bool = True) -> None:
    """Check independently what a split promises."""
    for number, fold in enumerate(split.folds):
        counts = collections.Counter(index for part in fold.values() for index in part)
        assert set(counts.values()) == {1}
        assert set(counts) == set(range(split.samples)) or not complete
        if groups is not None:
            of_part = {part: {groups[index] for index in indices} for part, indices in fold.items()}
            parts = list(of_part)
            assert not any(of_part[a] & of_part[b] for a in parts for b in parts if a != b)
            assert split.groups[number] == {part: sorted(names) for part, names in of_part.items()}


class TestRandom:
    def test_keeps_shares_and_numbers_to_the_sample(self) -> None:
        assert sizes(make_split(1000)) == (800, 100, 100)
        assert sizes(make_split(999, validation=0.25, test=7)) == (742, 250, 7)
        assert sizes(make_split(1000, train=500, validation=1, test=0.1)) == (500, 1, 100)
        assert sizes(make_split(1000, validation=0, test=0.5)) == (500, 0, 500)
        assert sizes(make_split(1000, train=0.8, validation=0.1, test=0.1)) == (800, 100, 100)

    def test_has_every_sample_once(self) -> None:
        split = make_split(1000)
        assert_apart(split)
        assert split.strategy == "random"
        assert split.groups == []
        assert split.train != list(range(800))

    def test_is_the_same_for_a_seed_and_another_for_another(self) -> None:
        assert make_split(1000, seed=5) == make_split(1000, seed=5)
        tests = [tuple(make_split(1000, seed=seed).test) for seed in range(20)]
        assert len(set(tests)) == 20

    def test_is_the_same_in_every_process(self) -> None:
        code = "from labkit.data.split import make_split; print(make_split(50, groups=list('abcde') * 10).to_json())"
        expected = make_split(50, groups=list("abcde") * 10).to_json().encode() + b"\n"
        for seed in ("1", "2"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            result = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
            assert result.stdout == expected

    @pytest.mark.parametrize("test", [-1, -0.1, 1.0, 1.5, 1000, 2000, 0.0001])
    def test_refuses_sizes_that_leave_or_take_nothing(self, test: float) -> None:
        with pytest.raises(UsageError, match="The size of test is"):
            make_split(1000, test=test)

    def test_refuses_parts_larger_than_what_is_left(self) -> None:
        with pytest.raises(UsageError, match=r"The size of validation is 0\.5"):
            make_split(1000, validation=0.5, test=0.5)
        with pytest.raises(UsageError, match="The size of train is 900"):
            make_split(1000, train=900)
        with pytest.raises(UsageError, match="The size of train is 900, but only 800 are left"):
            make_split(1000, train=900, times=list(range(1000)))
        assert sizes(make_split(15, train=0.8)) == (11, 2, 2)

    def test_refuses_no_samples_and_labels_for_others(self) -> None:
        with pytest.raises(UsageError, match="There are no samples"):
            make_split(0)
        with pytest.raises(UsageError, match="There are 2 labels and 3 samples"):
            make_split(3, labels=["a", "b"])


class TestStratified:
    def test_keeps_classes_in_proportion(self) -> None:
        split = make_split(400, labels=LABELS, validation=0.1, test=100)
        assert_apart(split)
        assert split.strategy == "stratified"
        for part, rare in ((split.train, 65), (split.validation, 10), (split.test, 25)):
            assert sum(LABELS[index] == "rare" for index in part) == rare

    def test_refuses_a_class_of_one(self) -> None:
        with pytest.raises(UsageError, match=r"The samples cannot be split so: .*class"):
            make_split(10, labels=["a"] * 9 + ["b"], test=2)


class TestGrouped:
    @pytest.mark.parametrize("labels", [None, LABELS])
    @pytest.mark.parametrize("seed", range(5))
    def test_keeps_groups_together(self, labels: list[str] | None, seed: int) -> None:
        split = make_split(400, groups=PATIENTS, labels=labels, validation=0.2, test=0.2, seed=seed)
        assert_apart(split, PATIENTS)
        assert split.strategy == ("grouped" if labels is None else "stratified-grouped")
        assert all(60 <= len(part) <= 100 for part in (split.validation, split.test))

    def test_counts_groups_where_a_number_is_given(self) -> None:
        for labels in (None, LABELS):
            split = make_split(400, groups=PATIENTS, labels=labels, validation=4, test=10)
            assert_apart(split, PATIENTS)
            assert len(split.groups[0]["validation"]) == 4
            assert len(split.groups[0]["test"]) == 10

    def test_meets_a_share_as_nearly_as_groups_allow(self) -> None:
        groups = [f"{number // 10}" for number in range(1000)]
        assert sizes(make_split(1000, groups=groups, validation=0.15, test=0.25)) == (600, 150, 250)

    def test_keeps_classes_in_proportion_too(self) -> None:
        patients = [f"{index // 4}" for index in range(400)]
        split = make_split(400, groups=patients, labels=LABELS, validation=0.2, test=0.2)
        assert_apart(split, patients)
        assert sum(LABELS[index] == "rare" for index in split.test) == 20

    @pytest.mark.parametrize("test", [0.1, 1])
    def test_refuses_fewer_groups_than_parts(self, test: float) -> None:
        with pytest.raises(UsageError, match="The size of"):
            make_split(10, groups=["one"] * 10, test=test)

    @settings(max_examples=60)
    @given(
        groups=st.lists(st.sampled_from("abcdefghijkl"), min_size=4, max_size=60),
        labels=st.none() | st.just("xy"),
        validation=st.sampled_from([0, 0.1, 0.3, 1]),
        test=st.sampled_from([0, 0.1, 0.3, 2]),
        seed=st.integers(0, 2**70),
    )
    @pytest.mark.filterwarnings("ignore:The least populated class")
    def test_never_parts_a_group(
        self, groups: list[str], labels: str | None, validation: float, test: float, seed: int
    ) -> None:
        classes = None if labels is None else [labels[ord(group) % 2] for group in groups]
        try:
            split = make_split(len(groups), groups=groups, labels=classes, validation=validation, test=test, seed=seed)
        except UsageError:
            return
        assert_apart(split, groups)


class TestByTime:
    def test_parts_past_and_future(self) -> None:
        times = list(range(1000))
        random.Random(0).shuffle(times)
        split = make_split(1000, times=times, validation=0.1, test=50)
        assert_apart(split)
        assert sorted(times[index] for index in split.train) == list(range(850))
        assert sorted(times[index] for index in split.validation) == list(range(850, 950))
        assert sorted(times[index] for index in split.test) == list(range(950, 1000))

    def test_takes_the_latest_of_the_past_for_a_smaller_part_for_training(self) -> None:
        split = make_split(100, times=list(range(100)), train=30, validation=10, test=10)
        assert split.train == list(range(50, 80))

    def test_keeps_samples_of_one_time_together(self) -> None:
        days = [index // 30 for index in range(300)]
        split = make_split(300, times=days, validation=0.12, test=0.12)
        assert sizes(split) == (240, 30, 30)
        with pytest.raises(UsageError, match="parts samples of one time: give 30 or 60, or a share"):
            make_split(300, times=days, validation=0, test=40)
        assert sizes(make_split(300, times=days, validation=0, test=60)) == (240, 0, 60)
        with pytest.raises(UsageError, match="The size of test"):
            make_split(300, times=[1] * 300)

    def test_reads_numbers_and_dates(self) -> None:
        assert parse_times(["10", " 9.5", "-1"]) == [10.0, 9.5, -1.0]
        times = parse_times(["2026-01-01T01:00:00+02:00", "2026-01-01", "2025-12-31T23:30:00Z"])
        assert times == [1767222000.0, 1767225600.0, 1767223800.0]
        with pytest.raises(UsageError, match="The time 'yesterday' cannot be read"):
            parse_times(["2026-01-01", "yesterday"])

    def test_refuses_labels_and_groups_and_missing_times(self) -> None:
        with pytest.raises(UsageError, match="A split by time cannot also"):
            make_split(3, times=[1, 2, 3], groups=["a", "b", "c"])
        with pytest.raises(UsageError, match="A time is not a finite number"):
            make_split(3, times=[1, float("nan"), 3])


class TestFolds:
    @pytest.mark.parametrize(("labels", "groups"), [(None, None), (LABELS, None), (None, PATIENTS), (LABELS, PATIENTS)])
    def test_have_each_sample_for_validation_once(self, labels: list[str] | None, groups: list[str] | None) -> None:
        split = make_folds(400, 5, labels=labels, groups=groups, test=0.2)
        assert_apart(split, groups)
        held = [index for fold in split.folds for index in fold["validation"]]
        assert sorted([*held, *split.test]) == list(range(400))
        assert all(fold["test"] == split.test for fold in split.folds)
        assert split == make_folds(400, 5, labels=labels, groups=groups, test=0.2)
        assert split != make_folds(400, 5, labels=labels, groups=groups, test=0.2, seed=1)

    def test_need_no_part_for_testing(self) -> None:
        split = make_folds(10, 5)
        assert [sizes(split, fold) for fold in range(5)] == [(8, 2, 0)] * 5

    def test_keep_classes_in_proportion(self) -> None:
        split = make_folds(400, 5, labels=LABELS)
        assert all(sum(LABELS[index] == "rare" for index in fold["validation"]) == 20 for fold in split.folds)

    def test_are_cut_out_of_tensors(self) -> None:
        split = make_folds(10, 4, test=0.2)
        squares = torch.arange(10) ** 2
        parts = split.cut(3, torch.arange(10), squares)
        for part, name in zip(parts, ("train", "validation", "test"), strict=True):
            assert part.tensors[0].tolist() == split.folds[3][name]
            assert torch.equal(part.tensors[1], squares[split.folds[3][name]])

    def test_refuse_more_folds_than_samples_or_groups(self) -> None:
        for folds, groups in ((1, None), (11, None), (3, ["a", "b"] * 5)):
            with pytest.raises(UsageError, match=r"number of (folds|splits)"):
                make_folds(10, folds, groups=groups)

    def test_leave_one_group_out(self) -> None:
        split = make_group_folds(PATIENTS, validation=0.1)
        assert_apart(split, PATIENTS)
        assert [fold["test"] for fold in split.groups] == [[name] for name in sorted(set(PATIENTS))]
        assert all(fold["validation"] for fold in split.folds)
        assert all(fold["validation"] == [] for fold in make_group_folds(PATIENTS).folds)
        with pytest.raises(UsageError, match="The samples cannot be split so"):
            make_group_folds(["one"] * 5)


class TestManifest:
    def test_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        split = make_folds(400, 3, labels=LABELS, groups=PATIENTS, test=0.2, seed=7)
        write_split(split, tmp_path / "split.json")
        assert read_split(tmp_path / "split.json") == split
        record = json.loads((tmp_path / "split.json").read_bytes())
        assert (record["seed"], record["samples"], record["strategy"]) == (7, 400, "stratified-grouped")

    def test_is_never_overwritten_by_another(self, tmp_path: Path) -> None:
        path = tmp_path / "split.json"
        write_split(make_split(100), path)
        before = path.read_bytes()
        write_split(make_split(100), path)
        with pytest.raises(UsageError, match="There is another split at"):
            write_split(make_split(100, seed=1), path)
        assert path.read_bytes() == before

    def test_of_other_data_is_refused(self, tmp_path: Path) -> None:
        write_split(make_split(100), tmp_path / "split.json")
        with pytest.raises(UsageError, match="is of other data, of the root None, and these have abc"):
            read_split(tmp_path / "split.json", root="abc")

    @pytest.mark.parametrize(
        ("part", "change", "message"),
        [
            ("test", {"test": [0], "train": [0, 1]}, "In fold 0 the sample 0 is both in train and in test"),
            ("test", {"test": [9], "train": [0]}, "the group a is both in train and in test"),
            ("test", {"test": [10]}, "counts further than 10 samples"),
            ("test", {"test": [1, 1]}, "repeats a sample"),
        ],
    )
    def test_that_breaks_the_rules_is_refused(
        self, tmp_path: Path, part: str, change: dict[str, list[int]], message: str
    ) -> None:
        fold = {"train": [0], "validation": [], "test": [1]} | change
        groups = {"train": ["a"], "validation": [], part: ["a" if "group" in message else "b"]}
        fields = {"strategy": "grouped", "samples": 10, "seed": 0, "folds": [fold], "groups": [groups]}
        (tmp_path / "split.json").write_text(json.dumps({"format": "labkit split 1", **fields}))
        with pytest.raises(UsageError, match=message):
            read_split(tmp_path / "split.json")

    def test_that_is_missing_or_damaged_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"split\.json cannot be read \(No such file"):
            read_split(tmp_path / "split.json")
        for damaged in ("", "[]", "{}", '{"format": "labkit split 1"}', '{"format": "other"}', "\xff"):
            (tmp_path / "split.json").write_text(damaged, encoding="latin-1")
            with pytest.raises(UsageError, match=r"damaged|another format"):
                read_split(tmp_path / "split.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(60):
        path = (
            tmp_path / "data" / f"{'ab'[number % 2]}" / f"patient-{number % 12}_2026-01-{number % 28 + 1:02d}.{number}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    (tmp_path / "data" / "README.txt").write_text("No sample.")
    return tmp_path / "data"


class TestCommand:
    def test_splits_a_folder_and_moves_nothing(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = measure_footprint(folder)
        arguments = [str(folder), "--pattern", "*patient*", "--stratify-by", "folder", "--group-by", r"patient-(\d+)"]
        assert data_split.main([*arguments, "--test", "0.25", "--validation", "2"]) == 0
        split = read_split(record_path(folder, "split.json"), root=before.root)
        samples = read_samples(folder, pattern=split.pattern)
        assert_apart(split, samples.values(r"patient-(\d+)"))
        assert split.samples == 60
        assert split.footprint == before.root == measure_footprint(folder).root
        assert "train 35 in 7 groups, validation 10 in 2 groups, test 15 in 3 groups" in capsys.readouterr().out

    def test_gives_the_same_when_repeated_and_refuses_to_replace_it(self, folder: Path) -> None:
        path = record_path(folder, "split.json")
        assert data_split.main([str(folder)]) == 0
        before = path.read_bytes()
        assert data_split.main([str(folder)]) == 0
        assert data_split.main([str(folder), "--seed", "1"]) == 2
        assert path.read_bytes() == before
        assert data_split.main([str(folder), "--seed", "1", "--output", str(folder.parent / "other.json")]) == 0
        assert read_split(folder.parent / "other.json").seed == 1

    def test_splits_archives_as_it_does_folders(self, folder: Path, tmp_path: Path) -> None:
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as zipped, tarfile.open(tmp_path / "data.tar", "w") as tar:
            for name in names:
                zipped.write(folder / name, name)
                tar.add(folder / name, name)
        splits: list[Split] = []
        for data in (folder, tmp_path / "data.zip", tmp_path / "data.tar"):
            output = tmp_path / f"{data.name}.json"
            assert data_split.main([str(data), "--pattern", "?/*", "--group-by", "(.)/", "--validation", "0",
                                    "--test", "1", "--output", str(output)]) == 0  # fmt: skip
            splits.append(read_split(output, root=identify_data(data).root))
        assert splits[0].folds == splits[1].folds == splits[2].folds
        assert splits[0].groups == splits[1].groups == splits[2].groups

    def test_splits_tables_by_their_columns(self, tmp_path: Path) -> None:
        table = tmp_path / "cells.csv"
        rows = [f'"{index}, a",{PATIENTS[index]},{LABELS[index]},2026-{index % 12 + 1:02d}-01' for index in range(400)]
        table.write_text("\n".join(["name,patient,label,date", *rows]))
        assert data_split.main([str(table), "--group-by", "patient", "--stratify-by", "label"]) == 0
        split = read_split(record_path(table, "split.json"))
        assert_apart(split, PATIENTS)
        assert split.strategy == "stratified-grouped"
        assert data_split.main([str(table), "--time-by", "date", "--output", str(tmp_path / "time.json")]) == 0
        assert all(index % 12 == 11 for index in read_split(tmp_path / "time.json").test)

    def test_makes_folds_and_leaves_groups_out(self, folder: Path, tmp_path: Path) -> None:
        by_patient = ["--group-by", r"patient-(\d+)", "--pattern", "*patient*"]
        assert data_split.main([str(folder), *by_patient, "--folds", "4", "--output", str(tmp_path / "k.json")]) == 0
        assert len(read_split(tmp_path / "k.json").folds) == 4
        arguments = [str(folder), *by_patient, "--leave-one-group-out", "--output", str(tmp_path / "l.json")]
        assert data_split.main(arguments) == 0
        assert len(read_split(tmp_path / "l.json").folds) == 12

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--group-by", r"patient-(\d+)"], "is not found in README.txt: every sample needs a value"),
            (["--group-by", "patient"], "has no group: put what is meant in brackets"),
            (["--group-by", "("], "is no regular expression"),
            (["--pattern", "*.png"], "There are no samples in .* that match"),
            (["--folds", "3", "--validation", "0.1"], "--folds and --validation cannot be given together"),
            (["--leave-one-group-out"], "needs --group-by"),
            (["--leave-one-group-out", "--folds", "3"], "--leave-one-group-out and --folds cannot"),
            (["--test", "2.0"], "The size of test is 2.0"),
            (["--test", "many"], "--test"),
        ],
    )
    def test_exits_with_two_on_bad_input(
        self, folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert data_split.main([str(folder), *arguments]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert re.search(message, error)

    def test_exits_with_two_where_nothing_can_be_written(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder.parent / "file").write_bytes(b"")
        assert data_split.main([str(folder), "--output", str(folder.parent / "file" / "split.json")]) == 2
        assert "cannot be written (" in capsys.readouterr().err

    def test_exits_with_two_on_bad_tables(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for content, message in (
            ("", "unreadable"),
            ("a,b\n", "at least one row"),
            ("a,a\n1,2\n", "different names"),
            ("a,b\n1\n", "Row 1 of the table .* has 1 values, and should have 2"),
            ('a,b\n"1,2\n', "unreadable"),
        ):
            table = tmp_path / f"{len(content)}.csv"
            table.write_text(content)
            assert data_split.main([str(table)]) == 2
            assert re.search(message, capsys.readouterr().err)
        (tmp_path / "good.tsv").write_text("a\tb\n" + "1\t2\n" * 20)
        assert data_split.main([str(tmp_path / "good.tsv"), "--group-by", "c"]) == 2
        assert "has no column 'c'; it has a, b" in capsys.readouterr().err


def test_help_imports_neither_numpy_nor_sklearn() -> None:
    code = (
        "import sys, contextlib, io; from labkit.data.split import data_split\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    data_split.main(['--help'])\n"
        "print(sorted({'numpy', 'numba', 'torch', 'PIL', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"[]\n"
