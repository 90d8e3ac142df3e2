from functools import partial

import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import TensorDataset

from labkit.data.loading import Loader
from labkit.report.representation import VALUES, RepresentationPicture, look_inside
from labkit.tracking.run import Run
from labkit.training.duration import Duration
from labkit.training.seeding import seed_everything
from labkit.training.tasks import Classification
from labkit.training.trainer import fit
from tests.project import Project


def test_what_leaves_each_module_is_kept() -> None:
    model = nn.Sequential(first := nn.Linear(1, 1, bias=False), nn.Dropout(0.5), nn.ReLU()).eval()
    nn.init.constant_(first.weight, 2.0)
    representations, activations = look_inside(model, torch.tensor([[-1.0], [3.0]]))
    assert representations.tolist() == [[0.0], [6.0]]
    assert {name: values.tolist() for name, values in activations.items()} == {"0": [-2.0, 6.0], "2": [0.0, 6.0]}
    _, activations = look_inside(model, torch.ones(3 * VALUES + 1, 1))
    assert len(activations["0"]) <= VALUES


def test_it_is_drawn_at_the_first_and_the_fourth_validation_and_what_is_learned_stays_the_same(
    project: Project,
) -> None:
    points, numbers = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    data = TensorDataset(points, numbers)

    def train(run: Run, *pictures: RepresentationPicture) -> torch.Tensor:
        seed_everything(0, "initialisation")
        network = nn.Sequential(first := nn.Linear(2, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
        task = Classification(network, classes=3, optimizer=partial(SGD, lr=0.1))
        training, validation = Loader(data, batch_size=5, seed=0, shuffle=True), Loader(data, batch_size=20, seed=0)
        fit(task, run, training, validation, duration=Duration(5, "epochs"), callbacks=pictures)
        return first.weight

    run = project.make_run()
    weight = train(run, RepresentationPicture(run))
    assert sorted(path.name for path in (run.folder / "figures").iterdir()) == [
        *("activations-000004.png", "activations-000016.png", "embedding-000004.png", "embedding-000016.png"),
    ]
    assert torch.equal(weight, train(project.make_run()))
