"""A trained network as a file that needs neither its code nor Labkit, checked against the network."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from labkit.command import UnavailableError
from labkit.training.task import Task

Format = Literal["torch", "onnx"]

ENDINGS: Final[dict[Format, str]] = {"torch": ".pt2", "onnx": ".onnx"}
NEEDED_FOR_ONNX: Final = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE: Final = 1e-4
"""Of outputs that another engine computes, in relation to their size."""


class Export(NamedTuple):
    """A file that was written, and how near its outputs are to those of the network."""

    path: Path
    deviation: float
    """The largest difference of any output."""


def export_network(task: Task, inputs: tuple[Tensor, ...], path: Path, kind: Format = "torch") -> Export:
    """Write a task's network to a file, read it, and compare what both make of some inputs.

    :param task: The task with its weights; where a moving average of these is kept, that is what is written.
    :param inputs: Arguments of the network, each ``(batch, ...)`` of at least two. The file's takes batches of any
        size, in all else like these.
    :param path: The file, without an ending.
    :param kind: ``torch`` for a program of :mod:`torch.export`, which :func:`torch.export.load` reads, or ``onnx``.
    :return: What was written.
    :raises UnavailableError: If packages are missing, or outputs are not the same.
    """
    network = task.eval().make_network().eval().cpu()  # of which only the parts are the task's
    path = path.with_name(path.name + ENDINGS[kind])
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        expected = network(*inputs)
        outputs = (_through_torch if kind == "torch" else _through_onnx)(network, inputs, path)
    deviation = float((outputs - expected).abs().max())
    if not deviation <= TOLERANCE * max(1.0, float(expected.abs().max())):
        path.unlink()
        raise UnavailableError(f"the network in {path} differs from its original by {deviation:.3g}: it was deleted.")
    return Export(path, deviation)


def _through_torch(network: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*_flat_weights")  # torch's own recurrent layers
        program = torch.export.export(network, inputs, dynamic_shapes=_of_any_batch(inputs))
    torch.export.save(program, path)
    return torch.export.load(path).module()(*inputs)


def _through_onnx(network: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Tensor:
    if missing := [name for name in NEEDED_FOR_ONNX if importlib.util.find_spec(name) is None]:
        raise UnavailableError(f"ONNX needs {', '.join(missing)}, which is not installed: make init installs all.")
    import onnxruntime

    shapes = _of_any_batch(inputs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated")  # what torch itself asks
        torch.onnx.export(network, inputs, path, dynamic_shapes=shapes, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]
    (outputs,) = session.run(None, {name: values.numpy() for name, values in zip(names, inputs, strict=True)})
    return torch.from_numpy(outputs)


def _of_any_batch(inputs: tuple[Tensor, ...]) -> tuple[dict[int, Any], ...]:
    return ({0: torch.export.Dim("batch", min=1)},) * len(inputs)
