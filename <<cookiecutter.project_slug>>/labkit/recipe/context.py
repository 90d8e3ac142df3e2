"""What a step works with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.recipe.configuration import describe
from labkit.recipe.experiment import Data, Experiment
from labkit.recipe.record import ROLE_OF_EXPERIMENT, create_part
from labkit.recipe.result import Result
from labkit.seed import derive_seed
from labkit.tracking.run import Run

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch.utils.data import Dataset

    from labkit.environment import Environment
    from labkit.recipe.inspection import Inspection
    from labkit.training.task import Task


@dataclass(frozen=True)
class Training:
    """A training that has come to its end."""

    run_id: str
    task: "Task"
    """With the weights of the end."""
    scores: Mapping[str, float]
    """The metrics of the end, such as ``validation/accuracy``."""
    series: Mapping[str, list[float]]
    """The course of every metric."""
    checkpoint: Path
    """Of the best weights, by the loss of the validation."""


class DataCache:
    """Loads the data of experiments, each once in a process."""

    def __init__(self, environment: "Environment") -> None:
        """Load nothing yet."""
        self.environment = environment
        self._loaded: list[tuple[Callable[[Environment], Data], Data]] = []

    def __call__(self, load: "Callable[[Environment], Data]") -> Data:
        """Return the data that a function loads."""
        for known, data in self._loaded:
            if known == load:
                return data
        self._loaded.append((load, load(self.environment)))
        return self._loaded[-1][1]


class Context:
    """What a step works with.

    :ivar run: The step's run; figures and files of the step belong there.
    :ivar experiment: How to train, with what earlier steps and the step itself have changed.
    :ivar seed: Where all chance of the step comes from.
    :ivar earlier: What the steps before have left, by their names.
    :ivar trainings: The ids of the runs that this step has trained.
    """

    def __init__(
        self,
        run: Run,
        *,
        recipe: str,
        step: str,
        experiment: Experiment,
        seed: int,
        earlier: Mapping[str, Result],
        load: DataCache,
        inspections: "Sequence[Inspection]" = (),
    ) -> None:
        """Take all that comes from the recipe."""
        self.run = run
        self.recipe = recipe
        self.step = step
        self.experiment = experiment
        self.seed = seed
        self.earlier = earlier
        self.trainings: list[str] = []
        self._load = load
        self._inspections = inspections

    def data(self, experiment: Experiment | None = None) -> Data:
        """Return the data of an experiment, by default the recipe's."""
        return self._load((experiment or self.experiment).data)

    def make_task(self, experiment: Experiment | None = None, *, index: int = 0) -> "Task":
        """Make a task with fresh weights.

        :param experiment: How it is made; by default, the recipe's.
        :param index: Which one of several, each with weights of its own.
        :return: The task.
        """
        from labkit.training.seeding import seed_everything

        seed_everything(derive_seed(self.seed, "experiment", index), "initialisation")
        return (experiment or self.experiment).make_task()

    def evaluate(self, task: "Task", dataset: "Dataset[Any]", *, batch_size: int = 256) -> dict[str, float]:
        """Compute the metrics of a task on a data set.

        :param task: A task with its weights.
        :param dataset: What to judge by.
        :param batch_size: The samples of one batch; no metric may depend on it.
        :return: Metrics by name, without a stage.
        """
        from labkit.data.loading import Loader
        from labkit.training.trainer import evaluate

        results = evaluate(task, Loader(dataset, batch_size=batch_size, seed=self.seed))
        return {name: float(value) for name, value in results.items() if value.numel() == 1}

    def train(
        self,
        experiment: Experiment | None = None,
        *,
        name: str,
        index: int = 0,
        data: Data | None = None,
        task: "Task | None" = None,
        callbacks: "Sequence[Callback]" = (),
    ) -> Training:
        """Train once, as a run of its own.

        :param experiment: How; by default, as the recipe does.
        :param name: What this training is, in a word or two.
        :param index: Which one of several: the seed of its chance.
        :param data: Other data than the experiment's.
        :param task: A task that has learned already, rather than fresh weights; it is changed.
        :param callbacks: Further callbacks of Lightning.
        :return: What came out.
        """
        from labkit.data.loading import Loader
        from labkit.tracking.attempt import partial_attempt
        from labkit.training.checkpoint import path_of
        from labkit.training.trainer import fit

        experiment = experiment or self.experiment
        seed = derive_seed(self.seed, "experiment", index)
        arguments: Any = describe(experiment)
        run = create_part(
            self.run,
            recipe=self.recipe,
            role=ROLE_OF_EXPERIMENT,
            step=self.step,
            name=f"{self.step}: {name}",
            seed=seed,
            arguments=arguments["Experiment"],
        )
        self.trainings.append(run.identifier)
        with partial_attempt(run, self.run):
            data = data or self.data(experiment)
            run.log_footprint(data.footprint)
            task = task or self.make_task(experiment, index=index)
            training = Loader(
                data.training,
                batch_size=experiment.batch_size,
                seed=run.seed,
                shuffle=True,
                transform=data.augmentation if experiment.augment else None,
            )
            validation = Loader(data.validation, batch_size=256, seed=run.seed)
            fit(
                task,
                run,
                training,
                validation,
                duration=experiment.duration,
                validation_every=experiment.validation_every,
                shows_progress=False,
                callbacks=[*callbacks, *(inspection.observe(run) for inspection in self._inspections)],
            )
            series = {metric: values for metric, (_, values) in run.history.items()}
        scores = {
            metric: values[-1]
            for metric, values in series.items()
            if metric.startswith(("train/", "validation/")) and not metric.endswith("_step")
        }
        shown = "  ".join(
            f"{metric} {value:.4f}" for metric, value in sorted(scores.items()) if metric.startswith("validation/")
        )
        print(f"  {name}: {shown}", flush=True)
        return Training(run.identifier, task, scores, series, path_of(run.folder, "best"))
