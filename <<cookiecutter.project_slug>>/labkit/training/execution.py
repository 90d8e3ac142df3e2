"""How a training is executed, whatever it trains: on what, in which precision, and how much of it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from labkit.command import Limits, UsageError
from labkit.option_group import OptionGroup

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]


@dataclass(frozen=True, kw_only=True)
class Execution(OptionGroup):
    """How a training is executed.

    :param precision: The numbers to compute with; mixed ones keep the weights in 32 bits.
    :param compile: Let torch compile model and head.
    :param accumulate: The batches whose gradients make one optimiser step, of which each counts as much as another.
    :param devices: The processes on each machine, each with its accelerator where there is one; they share each step,
        and one's part counts as much as another's, whatever is ignored or weighted in it. By default, as many as
        torchrun or Slurm's ``srun`` has started, or one.
    :param nodes: The machines; by default, those on which torchrun or ``srun`` has started them, or one.
    :param fast_dev_run: Take one step, judge by one batch and end as usual, to see that all works.
    :param limit_batches: Take only so many batches of each epoch and of each validation.
    :param overfit_batches: Learn from so many batches only, the same in each epoch: they can be learned by heart.
    :param detect_anomaly: Name the operation whose gradient is not a number; this is slow.
    :param profile: Keep a trace of the first steps with the run, and a table of what took how long.
    """

    precision: Precision = "32-true"
    compile: bool = False
    accumulate: Annotated[int, Limits(least=1)] = 1
    devices: Annotated[int | None, Limits(least=1)] = None
    nodes: Annotated[int | None, Limits(least=1)] = None
    fast_dev_run: bool = False
    limit_batches: Annotated[int | None, Limits(least=1)] = None
    overfit_batches: Annotated[int | None, Limits(least=1)] = None
    detect_anomaly: bool = False
    profile: bool = False

    def __post_init__(self) -> None:
        """Refuse two answers to one question.

        :raises UsageError: If the batches of an epoch are limited in two ways.
        """
        if self.overfit_batches and self.limit_batches:
            raise UsageError(
                "--overfit-batches and --limit-batches both say how many batches to take: give one of them."
            )

    @property
    def batches(self) -> int | None:
        """The batches that there may be in an epoch, if there is a limit."""
        return 1 if self.fast_dev_run else self.overfit_batches or self.limit_batches
