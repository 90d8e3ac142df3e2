"""Test a trained model: `evaluate --help`."""

import sys
from typing import Literal

from labkit.command import command


@command
def evaluate(
    *,
    run_id: str | None = None,
    checkpoint: Literal["best", "last"] = "best",
    split: Literal["training", "validation", "test"] = "test",
    export: Literal["torch", "onnx"] | None = None,
) -> None:
    """Compute the metrics of a trained model, by default on the test set, and keep them with its run.

    Examples: evaluate --checkpoint last --split validation, evaluate --export torch

    :param run_id: The run that trained the model; by default the one that finished last.
    :param checkpoint: Which of its checkpoints to evaluate.
    :param split: The part of the data to evaluate on; that for testing is for once, at the end.
    :param export: Write the network to a file that needs no code of yours: a program of torch.export, or ONNX.
    """
    # Imported here, so that `evaluate --help` answers at once.
    from labkit.data.loading import Loader
    from labkit.environment import Environment
    from labkit.report.results import plot_results
    from labkit.tracking.attempt import recording
    from labkit.tracking.run import find_newest_run, open_run
    from labkit.training.evaluation import evaluate_run

    from .data import find_parts
    from .train import make_task, train

    environment = Environment.read()
    run = open_run(environment, run_id) if run_id else find_newest_run(environment, train.study, "train")
    task = make_task(run.arguments["architecture"])
    parts = find_parts(environment, run.arguments.get("data"), run.arguments.get("fold", 0))
    run.check_footprint(parts.footprint)
    loader = Loader(getattr(parts, split), batch_size=256, seed=run.seed)
    with recording(run):
        evaluation = evaluate_run(task, run, loader, checkpoint=checkpoint, split=split, export=export)
        figures = [
            run.log_figure(f"{name}-{split}", figure) for name, figure in plot_results(evaluation.results).items()
        ]

    print(f"run         {run.identifier} ({run.name}, experiment {run.experiment_name})")
    print(f"checkpoint  {evaluation.checkpoint}")
    print(f"predictions {evaluation.predictions}")
    for figure in figures:
        print(f"figure      {figure}")
    if evaluation.exported:
        print(f"export      {evaluation.exported.path} (off by {evaluation.exported.deviation:.1e} at most)")
    for name, value in sorted(evaluation.metrics.items()):
        print(f"{split + '/' + name:<28}{value:.4f}")


if __name__ == "__main__":
    sys.exit(evaluate.main())
