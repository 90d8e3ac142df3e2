"""What is kept with a run of what its model makes of texts."""

from typing import TYPE_CHECKING, Final

import torch

from labkit.atomic import write_atomically
from labkit.report.figures import find_most_wrong, plot_confusion, plot_scores
from labkit.tracking.run import Run

from .data import Parts
from .passage import TOPICS

if TYPE_CHECKING:
    from labkit.training.task import Task

MOST_WRONG: Final = 16


def illustrate(task: "Task", run: Run, parts: Parts) -> None:
    """Keep pictures of the last validation, the passages that were judged the most wrongly, and the vocabulary.

    :param task: The task with its weights.
    :param run: The run that keeps them.
    :param parts: The data, of which the validation set is looked at.
    """
    if not run.is_led_here:
        return
    counts = task.results["validation"]["confusion"].numpy()
    run.log_figure("confusion-validation", plot_confusion(counts, TOPICS))
    run.log_figure("scores-validation", plot_scores(counts, TOPICS))
    inputs, classes = parts.validation.tensors
    with torch.no_grad():
        probabilities = task.eval()(inputs.to(task.device)).softmax(dim=1).cpu().numpy()
    wrong: list[str] = []
    for index in find_most_wrong(probabilities, classes.numpy(), MOST_WRONG).tolist():
        taken = int(probabilities[index].argmax())
        sure = f"{100 * probabilities[index, taken]:.0f}%"
        wrong.append(f"{TOPICS[taken]} ({sure}), not {TOPICS[classes[index]]}:\n{parts.texts[index]}\n")
    for name, lines in {"most-wrong-validation": wrong, "vocabulary": parts.vocabulary}.items():
        path = run.folder / "texts" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        with write_atomically(path) as file:
            file.write(("\n".join(lines) + "\n").encode())
        run.log_artifact(path, "texts")
