"""Networks in files: the same outputs, for batches of any size, without the code."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from labkit.command import UnavailableError
from labkit.training.export import export_network
from labkit.training.task import Task
from labkit.training.tasks import Autoencoding, Classification, SequenceClassification
from tests.labkit.training.test_tasks import (
    CLASSES,
    FEATURES,
    SAMPLES,
    Perceptron,
    Recurrent,
    make_clouds,
    make_sentences,
)

TASKS: dict[str, tuple[Task, tuple[Tensor, ...]]] = {
    "classification": (
        Classification(Perceptron(), nn.Linear(FEATURES, CLASSES), classes=CLASSES),
        make_clouds()[:1],
    ),
    "an average": (
        Classification(Perceptron(), nn.Linear(FEATURES, CLASSES), classes=CLASSES, average_decay=0.9),
        make_clouds()[:1],
    ),
    "autoencoding": (
        Autoencoding(Perceptron(), nn.Sequential(nn.Dropout(), nn.Linear(FEATURES, 8))),
        make_clouds()[:1],
    ),
    "sequence classification": (
        SequenceClassification(Recurrent(), nn.Linear(FEATURES, CLASSES), classes=CLASSES),
        (make_sentences()[0], torch.arange(SAMPLES) % 5 + 3),
    ),
}
READER = """
import sys, torch
network = torch.export.load(sys.argv[1]).module()
torch.save(network(torch.load(sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("name", TASKS)
def test_what_is_read_again_computes_the_same(name: str, tmp_path: Path) -> None:
    task, inputs = TASKS[name]
    if task.average is not None:
        for weight in task.model.parameters():
            nn.init.zeros_(weight)
    path, deviation = export_network(task, inputs, tmp_path / "folder" / "best")
    assert path == tmp_path / "folder" / "best.pt2"
    assert deviation < 1e-5
    some = [values[:3] for values in inputs]
    outputs = torch.export.load(path).module()(*some)
    torch.testing.assert_close(outputs, task.eval()(*some))
    assert outputs.any()


@pytest.mark.slow
def test_a_program_without_the_code_computes_the_same(tmp_path: Path) -> None:
    task, (inputs,) = TASKS["classification"]
    path, _ = export_network(task, (inputs,), tmp_path / "best")
    torch.save(inputs[:3], tmp_path / "inputs")
    words = [sys.executable, "-I", "-c", READER, path, tmp_path / "inputs", tmp_path / "outputs"]
    subprocess.run(words, cwd=tmp_path, check=True)
    torch.testing.assert_close(torch.load(tmp_path / "outputs"), task.eval()(inputs[:3]))


def test_a_file_that_computes_something_else_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def module(self) -> Any:
            return lambda inputs: torch.full((len(inputs), CLASSES), torch.nan)

    monkeypatch.setattr(torch.export, "load", lambda _: Other())
    with pytest.raises(UnavailableError, match="differs from its original by nan: it was deleted"):
        export_network(*TASKS["classification"], tmp_path / "best")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # inside torch itself
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="for ONNX: make add ARGS='onnx onnxscript onnxruntime'")
def test_onnx_computes_the_same(tmp_path: Path) -> None:
    assert export_network(*TASKS["classification"], tmp_path / "best", "onnx").path == tmp_path / "best.onnx"
