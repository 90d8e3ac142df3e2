"""Which parameters matter to a metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

FEWEST: Final = 8
"""Runs below which nothing is said."""
TWO_DECADES: Final = 100


def measure_importance(parameters: Mapping[str, Sequence[str | float]], scores: Sequence[float]) -> dict[str, float]:
    """Measure which share of a metric's variance each parameter explains: fANOVA (Hutter et al., ICML 2014).

    :param parameters: The values of each parameter, one a run; numbers, or texts.
    :param scores: The metric, one a run; finite numbers.
    :return: Shares that add up to one, by parameter; none where there are fewer than eight runs, or nothing varies.
    """
    import optuna

    varied = {name: values for name, values in parameters.items() if len(set(values)) > 1}
    if len(scores) < FEWEST or not varied or len(set(scores)) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    columns = {name: _prepare(values) for name, values in varied.items()}
    distributions = {name: distribution for name, (distribution, _) in columns.items()}
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.create_trial(
                params={name: values[index] for name, (_, values) in columns.items()},
                distributions=distributions,
                value=score,
            )
            for index, score in enumerate(scores)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: share for name, share in found.items() if math.isfinite(share)}


def _prepare(values: Sequence[str | float]) -> tuple[Any, list[Any]]:
    """Choose what values were drawn from: a range of numbers, logarithmic where they span decades, or texts."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) < len(values):
        texts = [str(value) for value in values]
        return CategoricalDistribution(sorted(set(texts))), list(texts)
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low >= TWO_DECADES), list(numbers)
