"""Looking into a training without editing the model."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from labkit.tracking.run import Run


class Inspection(ABC):
    """What to look at."""

    @abstractmethod
    def observe(self, run: "Run") -> "Callback":
        """Make a callback that records in a run what is seen."""
