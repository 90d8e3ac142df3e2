import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from labkit.data.loading import Loader
from labkit.report.prediction import predict
from labkit.training.tasks import Autoencoding, Similarity


def test_what_a_task_predicts_is_what_it_would_be_judged_by_in_the_order_of_the_data() -> None:
    inputs, classes = torch.rand(5, 3), torch.arange(5)
    loader = Loader(TensorDataset(inputs, classes), batch_size=2, seed=0)
    seen, reconstructions, targets = predict(Autoencoding(nn.Dropout(0.5)), loader)
    for array in (seen, reconstructions, targets):  # nothing is dropped
        assert np.array_equal(array, inputs.numpy())
    _, vectors, numbers = predict(Similarity(nn.Identity()), loader)
    assert np.allclose(vectors, nn.functional.normalize(inputs).numpy())
    assert numbers.tolist() == [0, 1, 2, 3, 4]
