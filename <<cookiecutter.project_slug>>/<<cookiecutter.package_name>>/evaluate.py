"""Test a trained model: `evaluate --help`."""

import sys
from typing import Literal

from labkit.command import command


@command
def evaluate(*, run_id: str | None = None, checkpoint: Literal["best", "last"] = "best") -> None:
    """Compute the metrics of a trained model on the test set, and record them in its run.

    An example: evaluate --checkpoint last

    :param run_id: The run that trained the model; by default the one that finished last.
    :param checkpoint: Which of its checkpoints to test.
    """
    # Imported here, so that `evaluate --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.environment import Environment
    from labkit.report.figures import plot_confusion
    from labkit.tracking.attempt import recording
    from labkit.tracking.run import find_newest_run, open_run
    from labkit.training import trainer
    from labkit.training.checkpoint import load_weights

    from .data import find_parts
    from .train import make_task, train

    environment = Environment.read()
    run = open_run(environment, run_id) if run_id else find_newest_run(environment, train.study, "train")
    task = make_task(run.arguments["architecture"])
    path = run.checkpoint(checkpoint)
    step = load_weights(task, path)

    parts = find_parts(environment, run.arguments.get("data"), run.arguments.get("fold", 0))
    run.check_footprint(parts.footprint)
    results = trainer.evaluate(task, Loader(parts.test, batch_size=256, seed=run.seed))
    metrics = {f"test/{name}": float(value) for name, value in results.items() if value.numel() == 1}
    with recording(run):
        run.log_metrics(metrics, step=step)
        figure = run.log_figure("confusion-test", plot_confusion(results["confusion"].numpy()))

    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})")
    print(f"checkpoint  {path}")
    print(f"figure      {figure}")
    for name, value in sorted(metrics.items()):
        print(f"{name:<28}{value:.4f}")


if __name__ == "__main__":
    sys.exit(evaluate.main())
