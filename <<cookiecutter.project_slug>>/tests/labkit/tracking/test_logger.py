import torch

from labkit.tracking import logger as module
from labkit.tracking.logger import RunLogger
from labkit.tracking.run import Run


def test_numbers_and_tensors_are_recorded_alike(run: Run) -> None:
    logger = RunLogger(run)
    logger.log_metrics({"train/loss": torch.tensor(0.5), "train/rate": 0.1}, step=1)
    logger.log_metrics({"train/loss": torch.tensor(0.25, requires_grad=True), "train/rate": 0.2}, step=2)
    logger.save()
    assert run.history == {"train/loss": ([1, 2], [0.5, 0.25]), "train/rate": ([1, 2], [0.1, 0.2])}


def test_a_tensor_of_half_precision_is_recorded_as_the_number_it_is(run: Run) -> None:
    logger = RunLogger(run)
    logger.log_metrics({"a": torch.tensor(0.1, dtype=torch.bfloat16), "b": torch.tensor(3)}, step=1)
    logger.save()
    assert run.history == {"a": ([1], [0.10009765625]), "b": ([1], [3.0])}


def test_metrics_are_gathered_and_then_written_many_at_a_time(run: Run) -> None:
    module_limit = module.ROWS_BEFORE_WRITING
    logger = RunLogger(run)
    for step in range(module_limit):
        logger.log_metrics({"loss": float(step)}, step=step)
    assert run.history["loss"] == (list(range(module_limit)), [float(step) for step in range(module_limit)])


def test_nothing_gathered_is_nothing_written(run: Run) -> None:
    RunLogger(run).save()
    assert run.history == {}


def test_what_is_left_is_written_at_the_end(run: Run) -> None:
    logger = RunLogger(run)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert run.history == {"loss": ([1], [1.0])}


def test_lightning_finds_its_way_to_the_run(run: Run) -> None:
    logger = RunLogger(run)
    assert (logger.name, logger.version, logger.save_dir) == ("experiment", run.identifier, str(run.folder))
