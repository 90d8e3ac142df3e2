"""A U-Net: each level passes on what it sees, and beside it what the level below makes of it at half the resolution.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.
"""

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """A level, and those below it."""

    def __init__(self, channels: int, features: int, levels: int = 2) -> None:
        """Make a level.

        :param channels: Those of an input.
        :param features: Those of the output; each level below has twice as many as the one above it.
        :param levels: How many times the resolution is halved.
        """
        super().__init__()
        below = UNet(features, 2 * features, levels - 1) if levels > 1 else convolve(features, 2 * features)
        self.down = convolve(channels, features)
        self.below = nn.Sequential(nn.MaxPool2d(2), below, nn.Upsample(scale_factor=2))
        self.up = convolve(3 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it.

        :param x: Images ``(batch, channels, height, width)``.
        :return: A representation of each pixel, ``(batch, features, height, width)``.
        """
        x = self.down(x)
        return self.up(torch.cat([x, self.below(x)], dim=1))


def convolve(channels: int, features: int) -> nn.Module:
    """Make a convolution of neighbouring pixels, its outputs brought to one scale."""
    return nn.Sequential(nn.Conv2d(channels, features, 3, padding=1, bias=False), nn.BatchNorm2d(features), nn.ReLU())
