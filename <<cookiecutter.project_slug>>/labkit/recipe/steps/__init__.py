"""The steps that most studies need, from simple to complex."""

from labkit.recipe.steps.evaluate_baseline import EvaluateBaseline
from labkit.recipe.steps.explore_data import ExploreData
from labkit.recipe.steps.loss_at_initialisation import LossAtInitialisation

__all__ = [
    "EvaluateBaseline",
    "ExploreData",
    "LossAtInitialisation",
]
