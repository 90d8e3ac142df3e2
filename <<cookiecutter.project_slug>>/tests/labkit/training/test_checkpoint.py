import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from labkit.command import UsageError
from labkit.training.checkpoint import find_newest, is_complete, link, load_weights, path_of, read, write

CONTENT = {"state_dict": {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}, "global_step": 7}


MANY = "it lacks '0', '1', '2', '3', '4' and 2 more; the model lacks 'weight', 'bias'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    write(CONTENT, path)
    return path


def test_a_checkpoint_is_read_as_it_was_written(path: Path) -> None:
    content = read(path)
    assert content.keys() == CONTENT.keys()
    assert content["global_step"] == 7
    assert torch.equal(content["state_dict"]["weight"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(content["state_dict"]["bias"], torch.zeros(2))
    assert is_complete(path)


def test_torch_alone_reads_it_too(path: Path) -> None:
    assert torch.load(path, weights_only=True)["global_step"] == 7


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[list[str]]]:
            return subprocess.run, (["touch", f"{tmp_path}/executed"],)

    write({"trap": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        read(tmp_path / "trap.ckpt")
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_that_is_cut_short_anywhere_is_not_complete(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert not is_complete(path), f"cut after {length} of {len(whole)} bytes"
    path.write_bytes(whole[:-1])
    assert not is_complete(path)


def test_a_checkpoint_with_a_wrong_byte_anywhere_is_not_complete(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert not is_complete(path), f"byte {place} of {len(whole)} is wrong"


def test_what_is_not_there_is_not_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path / "last.ckpt")


def test_a_damaged_checkpoint_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])
    sentence = f"^the checkpoint {path} is damaged or cut short: use another one, or an earlier run's\\.$"
    with pytest.raises(UsageError, match=sentence):
        read(path)


def test_a_failure_while_writing_leaves_the_checkpoint_before(path: Path) -> None:
    with pytest.raises(Exception, match="pickle"):
        write({"a": torch.zeros(3), "b": lambda: None}, path)
    assert read(path)["global_step"] == 7
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_process_that_dies_while_writing_leaves_the_checkpoint_before(path: Path) -> None:
    program = """
import os, pathlib, signal, sys, torch
from labkit.training import checkpoint
def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = die  # all is written, and not yet in its place
checkpoint.write({"global_step": 8}, pathlib.Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.part"]
    assert read(path)["global_step"] == 7

    write({"global_step": 9}, path)
    assert read(path)["global_step"] == 9
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_the_checkpoint_before_is_kept_under_another_name(path: Path) -> None:
    previous = path.with_name("previous.ckpt")
    for step in (8, 9):
        write({"global_step": step}, path, previous=previous)
    assert (read(previous)["global_step"], read(path)["global_step"]) == (8, 9)
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_training_goes_on_from_the_newest_checkpoint(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = path.parents[1]
    link(path, path_of(run_folder, "previous"))
    assert find_newest(run_folder) == path_of(run_folder, "last") == path
    assert capsys.readouterr().err == ""


def test_if_the_newest_is_damaged_training_goes_on_from_the_one_before(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    previous = path.with_name("previous.ckpt")
    previous.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-1])
    assert find_newest(path.parents[1]) == previous
    assert capsys.readouterr().err == f"The checkpoint {path} is damaged: going on from the one before.\n"


def test_without_a_checkpoint_training_begins(path: Path, tmp_path: Path) -> None:
    path.rename(path.with_name("best.ckpt"))
    assert find_newest(path.parents[1]) is None
    assert find_newest(tmp_path / "nothing") is None


def test_weights_are_given_to_a_module(path: Path) -> None:
    module = nn.Linear(3, 2)
    assert load_weights(module, path) == 7
    assert torch.equal(module.weight, torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Linear(4, 2), "it has in another shape 'weight' ((2, 3), not (2, 4))"),
        (nn.Linear(3, 2, bias=False), "the model lacks 'bias'"),
        (nn.Sequential(nn.Linear(3, 2)), "it lacks '0.weight', '0.bias'; the model lacks 'weight', 'bias'"),
        (nn.ParameterDict({f"{number}": torch.zeros(1) for number in range(7)}), MANY),
    ],
)
def test_weights_of_another_architecture_are_refused_in_one_sentence_that_names_them(
    path: Path, module: nn.Module, reason: str
) -> None:
    before = [parameter.clone() for parameter in module.parameters()]
    sentence = f"the checkpoint {path} is of another architecture: {reason}."
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        load_weights(module, path)
    assert all(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
