"""Layers that PyTorch does not have as the models need them."""

from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution along sequences of representations, without a bias, so that nothing comes of padding alone."""

    def __init__(self, features: int, width: int = 3) -> None:
        """Make the layer.

        :param features: The length of a representation, before and after.
        :param width: How many neighbours are looked at together, an odd number.
        """
        super().__init__()
        self.convolution = nn.Conv1d(features, features, width, padding=width // 2, bias=False)

    def forward(self, representations: Tensor) -> Tensor:
        """Compute ``(batch, length, features)`` of the same."""
        return self.convolution(representations.transpose(1, 2)).transpose(1, 2)
