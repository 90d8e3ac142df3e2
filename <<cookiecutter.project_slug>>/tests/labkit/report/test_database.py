"""The store's tables are read as MLflow itself would read them."""

import math
from pathlib import Path

import pytest
from mlflow.entities import Metric

from labkit.command import UnavailableError
from labkit.environment import Environment
from labkit.report.database import find_database
from labkit.report.store import read_curves, read_page, read_runs, refresh_runs
from tests.project import Project


def test_it_tells_what_mlflow_tells(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [project.make_run(seed=seed, rate=0.1, note="'quoted' ünï 數") for seed in range(4)]
    store, ids = project.store, [run.identifier for run in runs]
    values = [(1, 1, 0.5), (2, 2, math.nan), (3, 2, 0.25), (2, 3, math.inf), (4, 1, 0.75)]
    store.log_batch(ids[0], metrics=[Metric("loss", value, time, step) for time, step, value in values])
    store.log_metric(ids[1], "loss", math.nan)
    store.delete_run(ids[2])
    other = store.create_run(store.create_experiment("gone"))
    store.delete_experiment(other.info.experiment_id)

    def ask() -> str:
        environment = project.environment
        found = read_runs(environment)
        page = sorted(read_page(environment, None)[0], key=lambda run: run.identifier)
        newer = refresh_runs(environment, found[1:], place=0)
        again = sorted(newer[0], key=lambda run: run.identifier), newer[1]
        return repr([found, page, again, read_curves(environment, ids[:2], "loss")])

    said = ask()
    assert ids[3] in said
    assert ids[2] not in said
    monkeypatch.setattr("labkit.report.store.find_database", lambda _: None)
    assert said == ask()


def test_of_a_store_that_is_no_file_yet_mlflow_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert find_database(f"sqlite:///{path}") is None
    path.touch()
    assert find_database(f"sqlite:///{path}") == path
    assert find_database("http://127.0.0.1:5000") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "MLproject").touch()
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    with pytest.raises(UnavailableError, match=r"^the tracking store sqlite:///.* cannot be used \(DatabaseError: "):
        read_runs(Environment.read({}, tmp_path))
