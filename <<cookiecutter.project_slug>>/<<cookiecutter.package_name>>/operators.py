"""An operator of one's own, done properly: the activation ``snake``, in one pass over the numbers instead of five.

Snake is x + sin²(ax) / a, with a frequency a for each feature that is learned (Ziyin, Hartwig and Ueda, "Neural
Networks Fail to Learn Periodic Functions and How to Fix It", 2020). :func:`reference` says what it is; the kernels
compute the same on all cores and on GPUs, and where neither applies, as to numbers of 16 bits, the reference does.
Write your own by this pattern:

1. a reference in plain PyTorch, to compare with;
2. kernels, one for CPUs and one for GPUs;
3. ``custom_op`` gives it a schema, ``register_kernel`` the kernels, ``register_fake`` the shapes for ``torch.compile``,
   and ``register_autograd`` the gradients;
4. ``torch.library.opcheck`` and ``torch.autograd.gradcheck`` in its test.
"""

import math
from typing import Any, Final

import numba.cuda
import torch
from numba import njit, prange
from torch import Tensor, nn
from torch.library import custom_op

cuda: Any = numba.cuda  # which knows no types
TYPES: Final = {torch.float32, torch.float64}
"""What the kernels compute with."""
ROWS_OF_A_PART: Final = 256
"""Rows over which one thread sums the gradients of frequencies, whatever the threads: so no sum depends on these."""
THREADS: Final = 256


def reference(x: Tensor, alpha: Tensor) -> Tensor:
    """Compute snake by operators of PyTorch.

    :param x: Numbers ``(..., features)``.
    :param alpha: The frequency of each feature ``(features,)``, not 0.
    :return: Numbers of the same shape.
    """
    return x + (alpha * x).sin().square() / alpha


def reference_backward(gradient: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of ``x`` and ``alpha`` by operators of PyTorch.

    :param gradient: That of the result ``(rows, features)``.
    :param x: Numbers ``(rows, features)``.
    :param alpha: The frequency of each feature ``(features,)``.
    :return: The gradients of both.
    """
    wave = (2 * alpha * x).sin()
    of_alpha = gradient * (x * wave - (alpha * x).sin().square() / alpha) / alpha
    return gradient * (1 + wave), of_alpha.sum(dim=0)


@njit(parallel=True, cache=True)
def forward_on_cores(x: Any, alpha: Any, result: Any) -> None:
    """Compute snake, one row a thread."""
    for row in prange(x.shape[0]):
        for column in range(x.shape[1]):
            sine = math.sin(alpha[column] * x[row, column])
            result[row, column] = x[row, column] + sine * sine / alpha[column]


@njit(parallel=True, cache=True)
def backward_on_cores(gradient: Any, x: Any, alpha: Any, of_x: Any, of_alpha: Any) -> None:
    """Compute the gradients, some rows a thread."""
    for part in prange(of_alpha.shape[0]):
        for row in range(part * ROWS_OF_A_PART, min((part + 1) * ROWS_OF_A_PART, x.shape[0])):
            for column in range(x.shape[1]):
                value, frequency = x[row, column], alpha[column]
                sine = math.sin(frequency * value)
                wave = 2 * sine * math.cos(frequency * value)
                of_x[row, column] = gradient[row, column] * (1 + wave)
                slope = (value * wave - sine * sine / frequency) / frequency
                of_alpha[part, column] += gradient[row, column] * slope


@cuda.jit
def forward_on_gpu(x: Any, alpha: Any, result: Any) -> None:
    """Compute snake, one number a thread."""
    index = cuda.grid(1)
    row, column = index // x.shape[1], index % x.shape[1]
    if row < x.shape[0]:
        sine = math.sin(alpha[column] * x[row, column])
        result[row, column] = x[row, column] + sine * sine / alpha[column]


@cuda.jit
def backward_on_gpu(gradient: Any, x: Any, alpha: Any, of_x: Any, of_alpha: Any) -> None:
    """Compute the gradients, one feature of some rows a thread."""
    index = cuda.grid(1)
    part, column = index // x.shape[1], index % x.shape[1]
    if part < of_alpha.shape[0]:
        frequency = alpha[column]
        for row in range(part * ROWS_OF_A_PART, min((part + 1) * ROWS_OF_A_PART, x.shape[0])):
            value = x[row, column]
            sine = math.sin(frequency * value)
            wave = 2 * sine * math.cos(frequency * value)
            of_x[row, column] = gradient[row, column] * (1 + wave)
            slope = (value * wave - sine * sine / frequency) / frequency
            of_alpha[part, column] += gradient[row, column] * slope


@custom_op("<< cookiecutter.package_name >>::snake", mutates_args=())
def _snake(x: Tensor, alpha: Tensor) -> Tensor:
    return reference(x, alpha)


@custom_op("<< cookiecutter.package_name >>::snake_backward", mutates_args=())
def _snake_backward(gradient: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    return reference_backward(gradient, x, alpha)


def _on_cores(x: Tensor, alpha: Tensor) -> Tensor:
    if not _is_for_kernels(x, alpha):
        return reference(x, alpha)
    result = torch.empty_like(x)
    forward_on_cores(x.detach().numpy(), alpha.detach().numpy(), result.numpy())
    return result


def _backward_on_cores(gradient: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    if not _is_for_kernels(x, alpha):
        return reference_backward(gradient, x, alpha)
    of_x, of_alpha = torch.empty_like(x), _make_parts(x)
    inputs = (gradient.detach().numpy(), x.detach().numpy(), alpha.detach().numpy())
    backward_on_cores(*inputs, of_x.numpy(), of_alpha.numpy())
    return of_x, of_alpha.sum(dim=0)


def _on_gpu(x: Tensor, alpha: Tensor) -> Tensor:
    if not (_is_for_kernels(x, alpha) and cuda.is_available()):
        return reference(x, alpha)
    result = torch.empty_like(x)
    _launch(forward_on_gpu, x.numel(), x, alpha, result)
    return result


def _backward_on_gpu(gradient: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    if not (_is_for_kernels(x, alpha) and cuda.is_available()):
        return reference_backward(gradient, x, alpha)
    of_x, of_alpha = torch.empty_like(x), _make_parts(x)
    _launch(backward_on_gpu, of_alpha.numel(), gradient, x, alpha, of_x, of_alpha)
    return of_x, of_alpha.sum(dim=0)


def _shape(x: Tensor, alpha: Tensor) -> Tensor:
    del alpha
    return torch.empty_like(x)


def _backward_shape(gradient: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    del gradient
    return torch.empty_like(x), torch.empty_like(alpha)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    x, alpha = ctx.saved_tensors
    return _snake_backward(gradient.contiguous(), x, alpha)


_snake.register_kernel("cpu", _on_cores)
_snake.register_kernel("cuda", _on_gpu)
_snake.register_fake(_shape)
_snake.register_autograd(_differentiate, setup_context=_keep)
_snake_backward.register_kernel("cpu", _backward_on_cores)
_snake_backward.register_kernel("cuda", _backward_on_gpu)
_snake_backward.register_fake(_backward_shape)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Compute snake by the fastest means that there are.

    :param x: Numbers ``(..., features)``.
    :param alpha: The frequency of each feature ``(features,)``, not 0.
    :return: Numbers of the same shape.
    """
    return _snake(x.reshape(-1, x.shape[-1]).contiguous(), alpha).reshape(x.shape)


class Snake(nn.Module):
    """Snake as a layer that learns its frequencies."""

    def __init__(self, features: int) -> None:
        """Begin with a frequency of 1.

        :param features: The length of the last dimension.
        """
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to numbers ``(..., features)``."""
        return snake(x, self.alpha)


def _is_for_kernels(x: Tensor, alpha: Tensor) -> bool:
    return x.dtype in TYPES and alpha.dtype == x.dtype and x.numel() > 0 and alpha.is_contiguous()


def _make_parts(x: Tensor) -> Tensor:
    """Make room for the gradients of the frequencies, of each part of the rows ``(parts, features)``."""
    return x.new_zeros(-(-x.shape[0] // ROWS_OF_A_PART), x.shape[1])


def _launch(kernel: Any, threads: int, *tensors: Tensor) -> None:
    """Start a kernel on the GPU and in the stream that PyTorch uses now."""
    with cuda.gpus[tensors[0].device.index]:
        stream = cuda.external_stream(torch.cuda.current_stream(tensors[0].device).cuda_stream)
        arrays = (cuda.as_cuda_array(tensor.detach()) for tensor in tensors)
        kernel[-(-threads // THREADS), THREADS, stream](*arrays)
