"""Transforms of nested samples: what belongs together moves together, by chance that belongs to the sample."""

from labkit.data.transform.colour import ColourJitter, GaussianBlur, Normalise, ToDtype
from labkit.data.transform.compose import ComposeTree, Kind, Transform
from labkit.data.transform.geometry import (
    CentreCrop,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomRotation,
    Resize,
    have_area,
)
from labkit.data.transform.views import Views

__all__ = [
    "CentreCrop",
    "ColourJitter",
    "ComposeTree",
    "GaussianBlur",
    "Kind",
    "Normalise",
    "RandomCrop",
    "RandomFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "Resize",
    "ToDtype",
    "Transform",
    "Views",
    "have_area",
]
