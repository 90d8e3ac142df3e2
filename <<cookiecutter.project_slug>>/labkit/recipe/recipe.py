"""A recipe: an ordered list of steps over a study's data, task and models, and the command that goes through them."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from labkit.command import EXIT_DONE, EXIT_FAILED, EXIT_KILLED, UnavailableError, UsageError, report_error
from labkit.environment import Environment
from labkit.recipe.context import DataCache
from labkit.recipe.execution import OnStale, Plan, execute, find_failure, has_work, look, show
from labkit.recipe.experiment import Experiment
from labkit.recipe.record import RECIPE_TAG, ROLE_OF_RECIPE, ROLE_TAG, History
from labkit.recipe.step import Step
from labkit.tracking.entry_point import EntryPoint
from labkit.tracking.run import Run

PROGRAM: Final = "recipe"


class Recipe:
    """Steps from simple to complex, as a program."""

    def __init__(self, name: str, experiment: Experiment, *steps: Step, seed: int = 0) -> None:
        """Put the steps in order.

        :param name: The study's name, which is the recipe's.
        :param experiment: How the study trains.
        :param steps: From simple to complex.
        :param seed: Where all chance comes from.
        :raises ValueError: If two steps have one name.
        """
        names = [step.name for step in steps]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two steps are called '{twice[0]}': give one of them another name")
        self.name = name
        self.experiment = experiment
        self.steps = steps
        self.seed = seed
        self._entry = EntryPoint(self._make_function(), study=name)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Go through the recipe as a command line says.

        :param argv: The words of the command line without the program's name; ``sys.argv[1:]`` by default.
        :return: The exit code: 0 where every check holds, 1 where one does not, 2 for bad input, 75 interrupted.
        """
        words = _translate(sys.argv[1:] if argv is None else argv)
        try:
            given = self._entry.parse(words)
            if "run_id" not in given and (code := self._look(given)) is not None:
                return code
        except (UsageError, UnavailableError) as error:
            return report_error(PROGRAM, error)
        except KeyboardInterrupt:
            return EXIT_KILLED
        return self._entry.main(words)

    def seal(self, argv: Sequence[str], environment: Environment) -> Run:
        """Create a run that goes through the recipe, complete but for its execution: see :class:`EntryPoint`."""
        return self._entry.seal(_translate(argv), environment)

    def _make_function(self) -> Callable[..., None]:
        def recipe(
            run: Run,
            *,
            step: str | None = None,
            start: str | None = None,
            force: bool = False,
            on_stale: OnStale = "rerun",
            list: bool = False,  # noqa: A002  the name of the option
        ) -> None:
            """Go from simple to complex: execute the steps that need it, and check each.

            Examples: recipe, recipe --list, recipe --step overfit, recipe --from tune --force

            :param step: Only this step.
            :param start: Only this step and those after it; --from is the same.
            :param force: Execute steps that are up to date too.
            :param on_stale: Where a step has changed since: execute it again, warn and leave it, or fail.
            :param list: Show where the steps stand, and do nothing.
            """
            del list
            plan = self.plan(step=step, start=start, force=force, on_stale=on_stale)
            run.log_tags({RECIPE_TAG: self.name, ROLE_TAG: ROLE_OF_RECIPE})
            load = DataCache(run.environment)
            run.log_footprint(load(self.experiment.data).footprint)
            standings = execute(plan, run, History(run.environment, self.name, run.experiment_name), load)
            print(show(standings))
            if failure := find_failure(plan, standings):
                raise UnavailableError(failure)

        return recipe

    def _look(self, given: Mapping[str, Any]) -> int | None:
        """Show how the steps stand, if that is all there is to do.

        :param given: What the command line says.
        :return: The exit code, or None where there is something to do.
        """
        if "seed" in given:
            raise UsageError("--seed is no option here: a recipe has its own, as in Recipe(..., seed=1).")
        plan = self.plan(
            step=given.get("step"),
            start=given.get("start"),
            force=given.get("force", False),
            on_stale=given.get("on_stale", "rerun"),
        )
        environment = Environment.read()
        history = History(environment, self.name, given.get("experiment_name") or self.name)
        standings = look(plan, history, DataCache(environment))
        if not given.get("list") and has_work(plan, standings):
            return None
        print(show(standings))
        if failure := find_failure(plan, standings):
            print(f"{PROGRAM}: {failure}", file=sys.stderr)
            return EXIT_FAILED
        return EXIT_DONE

    def plan(
        self,
        *,
        step: str | None = None,
        start: str | None = None,
        force: bool = False,
        on_stale: OnStale = "rerun",
    ) -> Plan:
        """Say what is wanted, as the options of the command do.

        :param step: Only this step.
        :param start: Only this step and those after it.
        :param force: Whether steps that are up to date are executed too.
        :param on_stale: What becomes of steps that have changed.
        :return: The plan.
        :raises UsageError: If there is no such step, or both are given.
        """
        if step is not None and start is not None:
            raise UsageError("--step is one step, and --from a step and those after it: give one of the two.")
        return Plan(
            recipe=self.name,
            experiment=self.experiment,
            steps=self.steps,
            seed=self.seed,
            only=self._find_name(step),
            start=self._find_name(start),
            force=force,
            on_stale=on_stale,
        )

    def _find_name(self, text: str | None) -> str | None:
        """Return the name of the step that a user means, who may write ``overfit-one-batch``."""
        if text is None:
            return None
        for step in self.steps:
            if text.replace("-", " ") == step.name.replace("-", " "):
                return step.name
        known = ", ".join(f"'{step.name}'" for step in self.steps)
        raise UsageError(f"there is no step '{text}', but {known}.")


def _translate(words: Sequence[str]) -> list[str]:
    """Write ``--start`` for ``--from``, which is a word of Python's and no name of a parameter."""
    return [re.sub("^--from(?==|$)", "--start", word) for word in words]
