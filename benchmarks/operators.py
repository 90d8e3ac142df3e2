"""The study's own operator beside the same in plain PyTorch, forward and backward, on all cores.

Run by `make benchmark NAME=operators`. Both compute the same numbers; the best of several times counts.
"""

import argparse
import time
from collections.abc import Callable

import torch
from my_research.operators import reference, snake
from torch import Tensor

SIZES = ((1_000, 64), (10_000, 256), (100_000, 256))


def measure(operator: Callable[[Tensor, Tensor], Tensor], x: Tensor, alpha: Tensor, repetitions: int) -> float:
    """Return the seconds of one forward and backward pass."""
    times: list[float] = []
    for _ in range(repetitions):
        start = time.perf_counter()
        operator(x, alpha).sum().backward()
        times.append(time.perf_counter() - start)
        x.grad = alpha.grad = None
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    for rows, features in SIZES:
        x = torch.randn(rows, features, requires_grad=True)
        alpha = torch.ones(features, requires_grad=True)
        torch.testing.assert_close(snake(x, alpha), reference(x, alpha))  # which also compiles the kernels
        plain, own = (measure(operator, x, alpha, options.repetitions) for operator in (reference, snake))
        print(
            f"{rows:>8,} rows of {features:>3}   PyTorch {plain * 1e3:8.2f} ms   own {own * 1e3:8.2f} ms"
            f"   {plain / own:5.2f} times as fast"
        )


if __name__ == "__main__":
    main()
