"""A training that goes on on a machine which has nothing of the one before ends with the same bits."""

import pytest
import torch

from labkit.environment import Environment
from labkit.tracking.attempt import attempt
from labkit.tracking.run import Run, open_run
from tests.labkit.training.test_trainer import follow, read_weights, signal_after, train
from tests.project import Project

SCRIPT = follow(1.0, 3.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, 10])
def test_a_training_goes_on_elsewhere_as_if_nothing_had_happened(run: Run, project: Project, step: int) -> None:
    train(run, "3 epochs", SCRIPT)
    stopped = project.make_run()
    with attempt(stopped) as outcome:
        train(stopped, "3 epochs", SCRIPT, callbacks=[signal_after(step)])
    assert outcome.exit_code == 75

    environment = Environment.read({"RUNS_PATH": str(project.path / "elsewhere")}, project.path)
    resumed = open_run(environment, stopped.identifier)
    with attempt(resumed) as outcome:
        train(resumed, "3 epochs", SCRIPT)
    assert outcome.exit_code == 0

    assert resumed.folder != stopped.folder
    assert resumed.history == run.history
    assert read_weights(resumed, "best")["global_step"] == 5
    truth = read_weights(run)
    for name, value in truth["state_dict"].items():
        assert torch.equal(read_weights(resumed)["state_dict"][name], value), name
    for metric, (steps, values) in run.history.items():
        assert project.read_metric(resumed.identifier, metric) == list(zip(steps, values, strict=True))
