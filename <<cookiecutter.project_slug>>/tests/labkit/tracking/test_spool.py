import json
from pathlib import Path

import pytest

from labkit.tracking.spool import Spool, read_history, read_records


def read(folder: Path) -> list[object]:
    return [record for _, record in read_records(folder / "spool.jsonl")]


def test_records_are_read_in_the_order_in_which_they_were_appended(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"train/loss": 0.5, "train/accuracy": 1.0}, 1, 1000), ({"train/loss": 0.25}, 2, 2000)])
        spool.append({"tags": {"note": "ü\n="}})
        spool.append({"artifact": "figures/a.png", "folder": "figures"})
    assert read(tmp_path) == [
        {"metrics": {"train/loss": 0.5, "train/accuracy": 1.0}, "step": 1, "time": 1000},
        {"metrics": {"train/loss": 0.25}, "step": 2, "time": 2000},
        {"tags": {"note": "ü\n="}},
        {"artifact": "figures/a.png", "folder": "figures"},
    ]


def test_what_is_appended_can_be_read_at_once(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append({"tags": {"a": "b"}})
        assert read(tmp_path) == [{"tags": {"a": "b"}}]


def test_reading_goes_on_at_the_end_of_any_record(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for number in range(3):
            spool.append({"number": number})
    path = tmp_path / "spool.jsonl"
    ends = [end for end, _ in read_records(path)]
    assert ends[-1] == path.stat().st_size
    for count, end in enumerate(ends, start=1):
        assert [record["number"] for _, record in read_records(path, end)] == list(range(count, 3))


def test_steps_that_are_there_already_are_left_out(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"loss": 3.0}, 1, 0), ({"loss": 2.0, "accuracy": 0.5}, 2, 0)])
    with Spool(tmp_path) as resumed:  # from a checkpoint after the first step
        resumed.append_metrics([({"loss": 9.0, "accuracy": 0.9}, 2, 0), ({"loss": 1.0, "accuracy": 0.75}, 3, 0)])
    assert read_history(tmp_path / "spool.jsonl") == {
        "loss": ([1, 2, 3], [3.0, 2.0, 1.0]),
        "accuracy": ([2, 3], [0.5, 0.75]),
    }


def test_a_metric_that_lags_behind_another_is_completed(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"train/loss": 1.0}, 5, 0)])
        spool.append_metrics([({"validation/loss": 2.0}, 4, 0)])
    assert read_history(tmp_path / "spool.jsonl") == {"train/loss": ([5], [1.0]), "validation/loss": ([4], [2.0])}


def test_the_step_before_training_can_be_recorded(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"loss": 1.0}, 0, 0)])
    assert read_history(tmp_path / "spool.jsonl") == {"loss": ([0], [1.0])}


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
def test_a_line_that_a_process_died_in_the_middle_of_is_dropped(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "spool.jsonl"
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"loss": 1.0}, 1, 0)])
    whole = path.read_bytes()
    torn = json.dumps({"metrics": {"loss": 0.5}, "step": 2, "time": 0}).encode() + b"\n"
    path.write_bytes(whole + torn[:kept])

    assert read_history(path) == {"loss": ([1], [1.0])}
    with Spool(tmp_path) as resumed:
        resumed.append_metrics([({"loss": 0.25}, 2, 0)])
    assert read_history(path) == {"loss": ([1, 2], [1.0, 0.25])}


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 1e-308, -0.0, float("inf"), 2**53 + 1.0]
    with Spool(tmp_path) as spool:
        spool.append_metrics([({"loss": value}, step, 0) for step, value in enumerate(values)])
    assert [value.hex() for value in read_history(tmp_path / "spool.jsonl")["loss"][1]] == [
        value.hex() for value in values
    ]
