"""Several views of one sample, as learning without labels needs them."""

from collections.abc import Callable
from typing import Any

import torch


class Views:
    """Makes views of a sample's input, each by a transform that draws anew; its target stays one.

    ``Views(shift, shift)`` makes two alike, ``Views(shift, distort)`` a weak one and a strong one.
    """

    def __init__(self, *transforms: Callable[[Any, torch.Generator], Any]) -> None:
        """Take the transforms, one a view.

        :param transforms: Each makes a sample ``(input, target)`` of one.
        """
        self.transforms = transforms

    def __call__(self, sample: tuple[Any, ...], generator: torch.Generator) -> tuple[Any, ...]:
        """Make the views.

        :param sample: An input and its target, or the input alone ``(input,)``.
        :param generator: Where chance comes from.
        :return: The views of the input, and the target if there is one.
        """
        return (tuple(transform(sample, generator)[0] for transform in self.transforms), *sample[1:])
