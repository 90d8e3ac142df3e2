"""The study's own operator: the same numbers and gradients as its reference, by whatever means."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from << cookiecutter.package_name >> import operators
from << cookiecutter.package_name >>.operators import Snake, reference, reference_backward, snake

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
OPERATORS = torch.ops.<< cookiecutter.package_name >>


def make_inputs(rows: int = 5, features: int = 3, device: str = "cpu") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(rows, features, generator=generator, dtype=torch.float64)
    alpha = 0.5 + torch.rand(features, generator=generator, dtype=torch.float64)
    return x.to(device).requires_grad_(), alpha.to(device).requires_grad_()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (700, 3), (2, 4, 3), (0, 3)])
def test_numbers_and_gradients_are_those_of_the_reference(shape: tuple[int, ...], device: str) -> None:
    (x, alpha), (x_again, alpha_again) = (make_inputs(700, shape[-1], device) for _ in range(2))
    rows = torch.Size(shape[:-1]).numel()
    result, expected = snake(x[:rows].view(shape), alpha), reference(x_again[:rows].view(shape), alpha_again)
    torch.testing.assert_close(result, expected)
    weights = torch.arange(result.numel(), dtype=x.dtype, device=device).reshape(shape)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, x_again.grad)
    torch.testing.assert_close(alpha.grad, alpha_again.grad)


@pytest.mark.parametrize("device", DEVICES)
def test_torch_finds_nothing_to_object_to(device: str) -> None:
    x, alpha = make_inputs(device=device)
    opcheck(OPERATORS.snake.default, (x, alpha))
    opcheck(OPERATORS.snake_backward.default, (torch.ones_like(x), x.detach(), alpha.detach()))
    assert torch.autograd.gradcheck(snake, (x, alpha))
    assert torch.autograd.gradcheck(reference, (x, alpha))


def test_the_gradients_of_the_reference_are_those_that_autograd_finds() -> None:
    x, alpha = make_inputs()
    gradients = torch.autograd.grad(reference(x, alpha).sum(), (x, alpha))
    torch.testing.assert_close(reference_backward(torch.ones_like(x), x, alpha), gradients)


def test_what_no_kernel_takes_is_left_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a kernel was called")

    monkeypatch.setattr(operators, "forward_on_cores", refuse)
    x, alpha = (tensor.detach().bfloat16() for tensor in make_inputs())
    assert torch.equal(snake(x, alpha), reference(x, alpha))
    with pytest.raises(AssertionError, match="a kernel was called"):
        snake(x.float(), alpha.float())


def test_a_layer_learns_the_frequency() -> None:
    x, alpha = (tensor.detach().float() for tensor in make_inputs(64))
    layer = Snake(3)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (layer(x) - reference(x, alpha)).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(layer.alpha.detach(), alpha, atol=0.01, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # inside torch itself
def test_it_can_be_compiled() -> None:
    x, alpha = make_inputs()
    compiled = torch.compile(lambda x, alpha: 2 * snake(x + 1, alpha), fullgraph=True)
    torch.testing.assert_close(compiled(x, alpha), 2 * reference(x + 1, alpha))
    compiled(x, alpha).sum().backward()
    gradients = torch.autograd.grad(2 * reference(x + 1, alpha).sum(), (x, alpha))
    torch.testing.assert_close((x.grad, alpha.grad), gradients)


SIMULATION = """
import numpy as np, torch
from numba import cuda
from << cookiecutter.package_name >>.operators import (
    ROWS_OF_A_PART, backward_on_gpu, forward_on_gpu, reference, reference_backward
)

x, alpha = torch.randn(ROWS_OF_A_PART + 3, 2, dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
gradient, result, of_x, of_alpha = torch.randn_like(x), torch.empty_like(x), torch.empty_like(x), x.new_zeros(2, 2)
forward_on_gpu[9, 64](x.numpy(), alpha.numpy(), result.numpy())
backward_on_gpu[1, 8](gradient.numpy(), x.numpy(), alpha.numpy(), of_x.numpy(), of_alpha.numpy())
torch.testing.assert_close(result, reference(x, alpha))
torch.testing.assert_close((of_x, of_alpha.sum(dim=0)), reference_backward(gradient, x, alpha))
print("the same")
"""


@pytest.mark.slow
def test_the_kernels_for_gpus_compute_the_same_in_a_simulation() -> None:
    variables = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SIMULATION], env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout == "the same\n", done.stderr
