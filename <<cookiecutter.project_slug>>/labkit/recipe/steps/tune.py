"""The search for better hyperparameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.command import UsageError
from labkit.recipe.check import Check, exists
from labkit.recipe.step import Step

if TYPE_CHECKING:
    from optuna import Trial

    from labkit.recipe.context import Context


@dataclass(frozen=True)
class Range:
    """Numbers between two others."""

    low: float
    high: float
    log: bool = False
    """Whether orders of magnitude count, rather than differences."""

    def suggest(self, trial: "Trial", name: str) -> float:
        """Choose one; a whole number where the limits are."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of them."""
        kinds = int if isinstance(self.low, int) and isinstance(self.high, int) else int | float
        return isinstance(value, kinds) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """Some values."""

    values: Sequence[Any]

    def suggest(self, trial: "Trial", name: str) -> Any:
        """Choose one."""
        return trial.suggest_categorical(name, list(self.values))

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of them."""
        return value in self.values


@dataclass(frozen=True, kw_only=True)
class Tune(Step):
    """Search with Optuna for the changes with the best metric of the validation; later steps go on with these.

    Nothing but the validation is looked at: a recipe does not have the data to test on. The first trial is the
    experiment as it is, where the space holds it.

    Scores: the best value, and the metrics of its trial. Data: all ``trials``, each with changes, value and metrics.
    """

    name: str = "tune"
    space: Mapping[str, Range | Choice]
    """What to choose from, by the name of what is changed."""
    trials: int = 10
    metric: str = "validation/accuracy"
    smaller_is_better: bool = False
    checks: tuple[Check, ...] = (exists("best"),)

    def execute(self, context: "Context") -> Mapping[str, object]:
        """Search."""
        import optuna

        if not self.metric.startswith("validation/"):
            raise UsageError(f"'{self.metric}' is no metric of the validation, and nothing else is there to tune by.")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        trials: list[dict[str, Any]] = []

        def try_out(trial: "Trial") -> float:
            changes = {name: choices.suggest(trial, name) for name, choices in self.space.items()}
            number = len(trials)
            training = context.train(context.experiment.changed(changes), name=f"trial {number}", index=number)
            if self.metric not in training.scores:
                known = ", ".join(name for name in training.scores if name.startswith("validation/"))
                raise UsageError(f"there is no metric '{self.metric}' to tune by, but {known}.")
            value = training.scores[self.metric]
            trials.append({"changes": changes, "value": value, "scores": training.scores})
            return value

        study = optuna.create_study(
            direction="minimize" if self.smaller_is_better else "maximize",
            sampler=optuna.samplers.TPESampler(seed=context.seed % 2**32),
        )
        settings = context.experiment.settings
        if all(choices.holds(settings.get(name)) for name, choices in self.space.items()):
            study.enqueue_trial({name: settings[name] for name in self.space})
        study.optimize(try_out, n_trials=self.trials)
        best = trials[study.best_trial.number]
        return {"best": best["value"], **best["scores"], "trials": trials, "changes": best["changes"]}
