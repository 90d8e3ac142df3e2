"""Looking into a training without editing the model: what to look at is given to a step, and seen in its runs.

.. code-block:: python

    Overfit(inspections=(SaveBatch(), TensorStatistics(modules=("model.0",)), ClassProbabilities(), Histograms()))
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from labkit.tracking.run import Run


class Inspection(ABC):
    """What to look at."""

    @abstractmethod
    def observe(self, run: "Run") -> "Callback":
        """Make what Lightning calls while a training goes on.

        :param run: The training's run, in which it is recorded what is seen.
        :return: The callback.
        """


@dataclass(frozen=True)
class SaveBatch(Inspection):
    """Save the first batch to learn from as pictures, each with its class: ``figures/batch.png``."""

    samples: int = 16

    def observe(self, run: "Run") -> "Callback":
        """Make the callback."""
        from labkit.recipe.observation import BatchPicture

        return BatchPicture(run, self.samples)


@dataclass(frozen=True)
class TensorStatistics(Inspection):
    """Record what leaves modules: mean, deviation, smallest, largest and the share of zeros, as metrics.

    They are called ``inspection/model.0/mean`` and so on.
    """

    modules: tuple[str, ...]
    """By name, as the task's ``named_modules`` has them: ``model.0``."""
    every: int = 10
    """Optimiser steps."""

    def observe(self, run: "Run") -> "Callback":
        """Make the callback."""
        from labkit.recipe.observation import TensorRecorder

        return TensorRecorder(run, self.modules, self.every)


@dataclass(frozen=True)
class ClassProbabilities(Inspection):
    """Record at every validation how probable the model finds the true class, for each class.

    As metrics, ``inspection/probability of class 3``, and over time as ``figures/class-probabilities.png``.
    """

    def observe(self, run: "Run") -> "Callback":
        """Make the callback."""
        from labkit.recipe.observation import ProbabilityRecorder

        return ProbabilityRecorder(run)


@dataclass(frozen=True)
class Histograms(Inspection):
    """Draw how the weights, and the sizes of their gradients, are distributed over time.

    They are ``figures/weights.png`` and ``figures/gradients.png``, one panel a tensor.
    """

    every: int = 10
    """Optimiser steps."""

    def observe(self, run: "Run") -> "Callback":
        """Make the callback."""
        from labkit.recipe.observation import HistogramRecorder

        return HistogramRecorder(run, self.every)
