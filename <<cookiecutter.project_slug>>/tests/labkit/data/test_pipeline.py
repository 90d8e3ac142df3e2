"""Preparing data in replaceable parts, and sending them to the bucket."""

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from labkit.data.catalogue import CATALOGUE, fetch
from labkit.data.footprint import measure_footprint, read_footprint
from labkit.data.pipeline import Pipeline, chain
from labkit.data.push import data_push
from labkit.data.split import Split, make_folds, read_split, write_split
from labkit.data.statistics import read_statistics
from labkit.data.storage import Storage
from labkit.environment import Environment
from tests.labkit.data.service import Bucket

Cell = tuple[str, str]
CELLS: list[Cell] = [(f"cell-{number}", f"patient-{number % 6}") for number in range(60)]


def by_sample(cells: Sequence[Cell]) -> Split:
    return make_folds(len(cells), 3)


def by_patient(cells: Sequence[Cell]) -> Split:
    return make_folds(len(cells), 3, groups=[patient for _, patient in cells])


def load(folder: Path, split: Split) -> Path:
    write_split(split, folder / f"{split.strategy}.json")
    return folder / f"{split.strategy}.json"


def count_shared_patients(path: Path) -> int:
    fold = read_split(path).folds[0]
    train, validation = ({CELLS[index][1] for index in fold[part]} for part in ("train", "validation"))
    return len(train & validation)


def test_folds_by_patient_replace_one_part(tmp_path: Path) -> None:
    pipeline = Pipeline(extract=lambda: CELLS, transform=by_sample, load=partial(load, tmp_path))
    assert count_shared_patients(pipeline()) > 0
    assert count_shared_patients(replace(pipeline, transform=by_patient)()) == 0


def test_steps_are_applied_in_their_order() -> None:
    assert chain(lambda number: number + 1, lambda number: number * 10, str)(1) == "20"
    assert chain()(1) == 1


def test_a_part_sees_only_what_the_part_before_returns() -> None:
    seen: list[object] = []
    pipeline = Pipeline(
        extract=lambda: "extracted",
        transform=lambda value: seen.append(value) or "transformed",
        load=lambda value: seen.append(value) or "loaded",
    )
    assert pipeline() == "loaded"
    assert seen == ["extracted", "transformed"]


@pytest.fixture
def settings(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment as commands read it."""
    monkeypatch.setenv("DATA_PATH", str(environment.data_path))
    monkeypatch.setenv("S3_ENDPOINT_URL", str(environment.s3_endpoint_url))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(environment.aws_access_key_id))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(environment.aws_secret_access_key))


def write_images(folder: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)
    for number, image in enumerate(images):
        (folder / f"class-{number % 2}").mkdir(parents=True, exist_ok=True)
        np.save(folder / f"class-{number % 2}" / f"{number}.npy", image)
    return folder


@pytest.mark.usefixtures("settings")
def test_a_pushed_folder_is_localized_with_footprint_and_statistics(
    storage: Storage, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_images(tmp_path / "cells")
    uri = bucket.uri("sets/cells")
    assert data_push.main([str(folder), uri]) == 0
    root = measure_footprint(folder).root
    assert capsys.readouterr().out.splitlines()[-1] == f"{uri}  {root}"
    copy = storage.localize(uri)
    footprint = read_footprint(copy)
    assert footprint is not None
    assert footprint.root == measure_footprint(copy).root == root
    statistics = read_statistics(copy, root)
    assert statistics is not None
    assert statistics.images == 10
    assert storage.localize(uri) == copy


@pytest.mark.usefixtures("settings")
def test_a_pushed_data_set_of_the_catalogue_has_statistics_of_its_archive(storage: Storage, bucket: Bucket) -> None:
    folder = fetch(CATALOGUE["digits"], storage)
    assert data_push.main([str(folder), bucket.uri("digits")]) == 0
    keys = bucket.list_keys()
    assert {"digits/images.zip", "digits/labels.csv", "digits/.labkit/footprint"} <= set(keys)
    record = json.loads(bucket.get("digits/.labkit/images.zip.statistics"))
    assert record["statistics"]["images"] == 1797


@pytest.mark.usefixtures("settings")
def test_a_pushed_file_has_its_records_beside_it(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert data_push.main([str(tmp_path / "table.csv"), bucket.uri("sets/table.csv")]) == 0
    assert bucket.list_keys() == ["sets/.labkit/table.csv.footprint", "sets/table.csv"]


@pytest.mark.usefixtures("settings")
def test_what_cannot_be_pushed_is_named(bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_push.main([str(tmp_path / "nothing"), bucket.uri("nothing")]) == 2
    (tmp_path / "table.csv").write_text("a\n1\n")
    assert data_push.main([str(tmp_path / "table.csv"), "s3://labkit-nowhere/table.csv"]) == 2
    assert "no bucket 's3://labkit-nowhere/table.csv'" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_data_that_changed_since_they_were_recorded_are_not_pushed(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_images(tmp_path / "cells")
    assert data_push.main([str(folder), bucket.uri("cells")]) == 0
    (folder / "class-0" / "0.npy").unlink()
    assert data_push.main([str(folder), bucket.uri("cells")]) == 2
    assert "0.npy" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_boto3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        data_push.main(["--help"])
    assert caught.value.code == 0
    assert "data-push data/cells s3://bucket/cells" in capsys.readouterr().out
    script = "import sys, labkit.data.push; print(sorted({'torch', 'boto3', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def test_a_pipeline_of_plain_functions_goes_to_other_processes() -> None:
    pipeline = Pipeline(extract=list, transform=tuple, load=len)
    assert pickle.loads(pickle.dumps(pipeline))() == 0  # noqa: S301
