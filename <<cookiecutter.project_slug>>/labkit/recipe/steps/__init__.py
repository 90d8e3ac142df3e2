"""The steps that most studies need, from simple to complex."""

from labkit.recipe.steps.evaluate_baseline import EvaluateBaseline
from labkit.recipe.steps.explore_data import ExploreData
from labkit.recipe.steps.loss_at_initialisation import LossAtInitialisation
from labkit.recipe.steps.overfit import Overfit
from labkit.recipe.steps.overfit_one_batch import OverfitOneBatch
from labkit.recipe.steps.regularise import Regularise
from labkit.recipe.steps.squeeze import Squeeze
from labkit.recipe.steps.transfer_learning import TransferLearning
from labkit.recipe.steps.tune import Choice, Range, Tune

__all__ = [
    "Choice",
    "EvaluateBaseline",
    "ExploreData",
    "LossAtInitialisation",
    "Overfit",
    "OverfitOneBatch",
    "Range",
    "Regularise",
    "Squeeze",
    "TransferLearning",
    "Tune",
]
