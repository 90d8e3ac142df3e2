"""A step: an experiment, followed by its checks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from labkit.recipe.check import Check
from labkit.recipe.configuration import describe
from labkit.recipe.result import Plain

if TYPE_CHECKING:
    from labkit.recipe.context import Context
    from labkit.recipe.inspection import Inspection


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One step of a recipe; a subclass says what is done, its fields how."""

    name: str
    checks: tuple[Check, ...] = ()
    """What has to hold afterwards. They are no part of the step's identity: to edit one costs no training."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the recipe's experiment, for this step alone."""
    inspections: "tuple[Inspection, ...]" = ()
    """What to look at while it trains."""

    uses_task: ClassVar[bool] = True
    """Whether more than the data of the recipe's experiment matters to it."""

    @abstractmethod
    def execute(self, context: "Context") -> Mapping[str, object]:
        """Do the step.

        :param context: What it works with.
        :return: Scores and other data by name. Those under ``changes`` are changes to the experiment from here on.
        """

    @property
    def configuration(self) -> dict[str, Plain]:
        """All fields but name and checks, as plain data."""
        return {
            own.name: describe(getattr(self, own.name)) for own in fields(self) if own.name not in {"name", "checks"}
        }


@dataclass(frozen=True, kw_only=True)
class FunctionStep(Step):
    """A step that is a function of the study."""

    function: "Callable[[Context], Mapping[str, object]]"

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Call the function."""
        return self.function(context)


def step(
    function: "Callable[[Context], Mapping[str, object]]", *checks: Check, name: str | None = None, **fields: Any
) -> FunctionStep:
    """Make a step of a function.

    :param function: Takes the context, and returns scores and other data by name.
    :param checks: What has to hold afterwards.
    :param name: The step's name; by default, the function's.
    :param fields: Further fields of :class:`Step`.
    :return: The step.
    """
    return FunctionStep(name=name or function.__name__.replace("_", " "), checks=checks, function=function, **fields)
