"""From simple to complex: `recipe --help`."""

import math
import sys
from typing import TYPE_CHECKING

from labkit.recipe.check import at_least, at_most, better_than, equal
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.inspection import ClassProbabilities, Histograms
from labkit.recipe.recipe import Recipe
from labkit.recipe.steps import (
    EvaluateBaseline,
    ExploreData,
    LossAtInitialisation,
    Overfit,
    OverfitOneBatch,
    Range,
    Regularise,
    Squeeze,
    Tune,
)
from labkit.recipe.steps.evaluate_baseline import commonest_class
from labkit.training.duration import Duration

from .passage import TOPICS
from .train import make_task

if TYPE_CHECKING:
    from torch import Tensor

    from labkit.environment import Environment


def load(environment: "Environment") -> Data:
    """Load the passages to learn from and to judge by; those to test on stay where they are."""
    from .data import find_parts

    parts = find_parts(environment)
    return Data(parts.training, parts.validation, parts.footprint)


def naive_bayes(data: Data) -> dict[str, float]:
    """Answer with the class that the words, as if each came by itself, make the most probable."""
    from sklearn.naive_bayes import MultinomialNB

    from labkit.recipe.steps.explore_data import read_samples

    (known, labels), (judged, classes) = read_samples(data.training), read_samples(data.validation)
    model = MultinomialNB().fit(count_words(known), labels)
    return {"accuracy": float(model.score(count_words(judged), classes))}


def count_words(texts: "Tensor") -> "Tensor":
    """Count how often each word is in each text ``(texts, length)``; padding is none."""
    from torch import zeros

    from .data import VOCABULARY

    counts = zeros(len(texts), VOCABULARY)
    return counts.scatter_add(1, texts, counts.new_ones(texts.shape))[:, 1:]


recipe = Recipe(
    "<< cookiecutter.package_name >>",
    Experiment(
        data=load,
        task=make_task,
        arguments={"architecture": "cnn", "learning_rate": 0.01},
        duration=Duration(8, "epochs"),
    ),
    # Of the few that are in both, the texts differ in words that are too rare to be told apart.
    ExploreData(checks=(equal("inputs/not finite", 0), at_most("validation/also in training", 9))),
    EvaluateBaseline(
        methods={"commonest class": commonest_class, "naive Bayes": naive_bayes},
        checks=(better_than("naive Bayes/accuracy", "commonest class/accuracy", margin=0.3, step=""),),
    ),
    LossAtInitialisation(expected=math.log(len(TOPICS))),
    OverfitOneBatch(),
    Overfit(
        inspections=(ClassProbabilities(), Histograms(every=20)),
        checks=(
            at_least("train/accuracy", 0.99),
            better_than("validation/accuracy", "commonest class/accuracy", margin=0.3),
        ),
    ),
    Regularise(
        candidates={"dropout": {"dropout": 0.5}, "more dropout": {"dropout": 0.7}},
        until=at_least("validation/accuracy", 0.75),
    ),
    Tune(
        space={"learning_rate": Range(0.003, 0.03, log=True)},
        trials=2,
        metric="validation/loss",
        smaller_is_better=True,
    ),
    Squeeze(longer=1),  # after more epochs they are only surer of what they get wrong
)

if __name__ == "__main__":
    sys.exit(recipe.main())
