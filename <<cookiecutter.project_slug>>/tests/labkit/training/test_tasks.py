"""The tasks: what the loss of a batch is, and that one model learns under several."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import Dataset, TensorDataset

from labkit.data.loading import Loader
from labkit.data.order import Balanced, Order
from labkit.data.sequence import pad_sequences
from labkit.data.transform import Views
from labkit.tracking.run import Run
from labkit.training.duration import Duration
from labkit.training.seeding import seed_everything
from labkit.training.task import Task
from labkit.training.tasks import (
    Autoencoding,
    Classification,
    Contrastive,
    LanguageModelling,
    MultiLabelClassification,
    Regression,
    Segmentation,
    SemiSupervised,
    SequenceClassification,
    Similarity,
)
from labkit.training.tasks.contrastive import compute_contrastive_loss
from labkit.training.tasks.sequence_classification import compute_mean
from labkit.training.tasks.similarity import Mining, compute_triplet_loss
from labkit.training.trainer import evaluate, fit

FEATURES = 16
CLASSES = 4
SAMPLES = 64
TOKENS = 7


class Perceptron(nn.Module):
    """The one model of all tasks on vectors: from ``(batch, 8)`` to ``(batch, 16)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, FEATURES))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class Recurrent(nn.Module):
    """The one model of all tasks on tokens: from ``(batch, length)`` to ``(batch, length, 16)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.recurrence = nn.GRU(8, FEATURES, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.recurrence(self.embedding(tokens))[0]


def make_clouds() -> tuple[Tensor, Tensor]:
    """Points around a centre for each class: ``(64, 8)`` and ``(64,)``."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(SAMPLES) % CLASSES
    centres = torch.randn(CLASSES, 8, generator=generator)
    return centres[classes] + 0.3 * torch.randn(SAMPLES, 8, generator=generator), classes


def make_sentences() -> tuple[Tensor, Tensor]:
    """Tokens that count up, each from its own beginning, and which is the first ``(64, 9)``, ``(64,)``."""
    first = torch.arange(SAMPLES) % CLASSES
    return (first[:, None] + torch.arange(9)) % TOKENS, first


def jitter(sample: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return sample[0] + 0.1 * torch.randn(sample[0].shape, generator=generator), sample[1]


class Ragged(Dataset[tuple[Tensor, int]]):
    """Sentences of different lengths."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        tokens, first = make_sentences()
        return tokens[index, : 3 + index % 5], int(first[index])


POINTS, NUMBERS = make_clouds()
PIXELS = POINTS.reshape(-1, 1, 2, 4).repeat(1, 1, 2, 1)
LABELS = torch.stack([NUMBERS % 2, NUMBERS // 2], dim=1)
HIDDEN = NUMBERS.where(torch.arange(SAMPLES) % 8 < 4, -1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, what it learns from, and what it shall reach."""

    make: Callable[..., Task]
    outputs: int
    data: Dataset[Any]
    metric: str
    threshold: float
    make_model: Callable[[], nn.Module] = Perceptron
    make_head: Callable[[int, int], nn.Module] = nn.Linear
    is_error: bool = False
    loading: dict[str, Any] = field(default_factory=dict)
    order: Order | None = None


CASES = {
    "classification": Case(
        make=partial(Classification, classes=CLASSES),
        outputs=CLASSES,
        data=TensorDataset(POINTS, NUMBERS),
        metric="accuracy",
        threshold=0.9,
    ),
    "multi-label": Case(
        make=partial(MultiLabelClassification, classes=2),
        outputs=2,
        data=TensorDataset(POINTS, LABELS),
        metric="exact_match",
        threshold=0.9,
    ),
    "regression": Case(
        make=Regression,
        outputs=1,
        data=TensorDataset(POINTS, POINTS.sum(dim=1)),
        metric="absolute_error",
        threshold=1.0,
        is_error=True,
    ),
    "autoencoding": Case(
        make=Autoencoding,
        outputs=8,
        data=TensorDataset(POINTS, NUMBERS),
        metric="absolute_error",
        threshold=0.5,
        is_error=True,
    ),
    "similarity": Case(
        make=Similarity,
        outputs=4,
        data=TensorDataset(POINTS, NUMBERS),
        metric="map",
        threshold=0.9,
        order=Balanced(NUMBERS.tolist()),
    ),
    "contrastive": Case(
        make=partial(Contrastive, labelled=False),
        outputs=8,
        data=TensorDataset(POINTS, NUMBERS),
        metric="map",
        threshold=0.7,
        loading={"transform": Views(jitter, jitter)},
    ),
    "contrastive, labelled": Case(
        make=Contrastive, outputs=8, data=TensorDataset(POINTS, NUMBERS), metric="precision_at_1", threshold=0.9
    ),
    "semi-supervised": Case(
        make=partial(SemiSupervised, classes=CLASSES),
        outputs=CLASSES,
        data=TensorDataset(POINTS, HIDDEN),
        metric="accuracy",
        threshold=0.9,
    ),
    "language modelling": Case(
        make=partial(LanguageModelling, vocabulary=TOKENS),
        make_model=Recurrent,
        outputs=TOKENS,
        data=TensorDataset(make_sentences()[0]),
        metric="perplexity",
        threshold=1.5,
        is_error=True,
    ),
    "sequence classification": Case(
        make=partial(SequenceClassification, classes=CLASSES),
        make_model=Recurrent,
        outputs=CLASSES,
        data=Ragged(),
        metric="accuracy",
        threshold=0.9,
        loading={"collate": pad_sequences},
    ),
    "segmentation": Case(
        make=partial(Segmentation, classes=2),
        make_model=partial(nn.Conv2d, 1, FEATURES, 3, padding=1),
        make_head=partial(nn.Conv2d, kernel_size=1),
        outputs=2,
        data=TensorDataset(PIXELS, (PIXELS[:, 0] > 0).long()),
        metric="iou",
        threshold=0.5,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_learns(name: str, run: Run) -> None:
    case = CASES[name]
    seed_everything(0, "initialisation")
    task = case.make(case.make_model(), case.make_head(FEATURES, case.outputs), optimizer=partial(AdamW, lr=0.01))
    training = Loader(case.data, batch_size=16, seed=0, shuffle=True, order=case.order, **case.loading)
    validation = Loader(case.data, batch_size=32, seed=0, **case.loading)
    fit(task, run, training, validation, duration=Duration(15, "epochs"), accelerator="cpu")
    value = run.history[f"validation/{case.metric}"][1][-1]
    assert value < case.threshold if case.is_error else value > case.threshold
    losses = run.history["validation/loss"][1]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", CASES)
def test_the_network_to_export_is_the_one_that_is_judged(name: str) -> None:
    case = CASES[name]
    seed_everything(0, "initialisation")
    task = case.make(case.make_model(), case.make_head(FEATURES, case.outputs)).eval()
    batch = next(iter(Loader(case.data, batch_size=8, seed=0, **case.loading)))
    outputs, prediction = task.make_network()(*task.select_inputs(batch)), task.compute(batch).prediction
    if isinstance(task, LanguageModelling):
        outputs = outputs[:, :-1].flatten(0, 1)  # after the last token there is none to foretell
    if not prediction.is_floating_point():
        outputs = outputs.argmax(dim=1)
    elif isinstance(task, Contrastive | Similarity):
        outputs = functional.normalize(outputs)
    torch.testing.assert_close(outputs.reshape(prediction.shape), prediction)


def test_the_same_model_class_runs_under_several_tasks() -> None:
    models = [case.make_model for case in CASES.values()]
    assert models.count(Perceptron) == 8
    assert models.count(Recurrent) == 2


def test_what_a_model_learned_under_one_task_it_takes_to_another() -> None:
    tokens, first = make_sentences()
    model = Recurrent()
    language = LanguageModelling(model, nn.Linear(FEATURES, TOKENS), vocabulary=TOKENS)
    sentences = SequenceClassification(model, nn.Linear(FEATURES, CLASSES), classes=CLASSES)
    for task, batch in ((language, [tokens]), (sentences, [tokens, first])):
        model.zero_grad()
        task.compute(batch).loss.backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_a_regression_does_not_compare_each_with_each() -> None:
    result = Regression(nn.Identity()).compute((torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])))
    assert result.loss == 0


def test_labels_may_be_several_or_none() -> None:
    logits = torch.tensor([[9.0, 9.0], [-9.0, -9.0], [9.0, -9.0]])
    result = MultiLabelClassification(nn.Identity(), classes=2).compute(
        (logits, torch.tensor([[1, 1], [0, 0], [1, 0]]))
    )
    assert float(result.loss) == pytest.approx(math.log1p(math.exp(-9)), rel=1e-2)


def test_pixels_that_are_ignored_count_neither_for_the_loss_nor_for_metrics() -> None:
    task = Segmentation(nn.Identity(), classes=2, ignored=255)
    logits = torch.tensor([0.0, 4.0])[None, :, None, None].expand(1, 2, 1, 3)
    target = torch.tensor([[[1, 255, 255]]])
    assert float(task.compute((logits, target)).loss) == pytest.approx(
        float(functional.cross_entropy(logits[:, :, 0, 0], torch.tensor([1])))
    )
    assert evaluate(task, Loader(TensorDataset(logits, target), batch_size=1, seed=0))["accuracy"] == 1


def test_the_loss_of_an_epoch_is_the_mean_of_its_pixels_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, target = torch.randn(6, 2, 3, 3, generator=generator), torch.randint(2, (6, 3, 3), generator=generator)
    target[0], target[4, 1:] = 255, 255
    task = Segmentation(nn.Identity(), classes=2, ignored=255)
    expected = functional.cross_entropy(logits, target, ignore_index=255)
    for batch_size in (1, 4):
        results = evaluate(task, Loader(TensorDataset(logits, target), batch_size=batch_size, seed=0))
        assert float(results["loss"]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("task", "batch"),
    [
        (Segmentation(nn.Conv2d(1, 2, 1), classes=2), [torch.ones(3, 1, 4, 4), torch.full((3, 4, 4), -100)]),
        (LanguageModelling(nn.Embedding(2, 2), vocabulary=2, padding=0), [torch.zeros(3, 4).long()]),
    ],
)
def test_a_batch_in_which_nothing_counts_teaches_nothing(task: Task, batch: list[Tensor]) -> None:
    loss = task.compute(batch).loss
    loss.backward()
    assert loss == 0
    assert all(weight.grad is not None and not weight.grad.any() for weight in task.parameters())


def compute_triplets_one_by_one(vectors: Tensor, target: Tensor, margin: float, mining: Mining) -> float:
    """Do by loops what is done by matrices."""

    def distance(one: int, other: int) -> float:
        return float((vectors[one] - vectors[other]).norm())

    losses: list[float] = []
    everyone = range(len(target))
    for anchor in everyone:
        positives = [other for other in everyone if other != anchor and target[other] == target[anchor]]
        negatives = [other for other in everyone if target[other] != target[anchor]]
        if not positives or not negatives:
            continue
        far = [distance(anchor, other) for other in negatives]
        near = [distance(anchor, other) for other in positives]
        if mining == "hard":
            losses.append(max(0, max(near) - min(far) + margin))
        elif mining == "semi-hard":
            for pair in near:
                farther = [each for each in far if each > pair]
                losses.append(max(0, pair - (min(farther) if farther else max(far)) + margin))
        else:
            losses.extend(pair - each + margin for pair in near for each in far if pair - each + margin > 0)
    return sum(losses) / max(len(losses), 1)


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_triplets_are_mined_as_one_by_one(mining: Mining, margin: float) -> None:
    generator = torch.Generator().manual_seed(3)
    vectors = functional.normalize(torch.randn(12, 5, generator=generator))
    target = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3])
    loss = compute_triplet_loss(vectors, target, margin, mining)
    assert float(loss) == pytest.approx(compute_triplets_one_by_one(vectors, target, margin, mining), rel=1e-5)


def test_distances_of_triplets_are_computed_exactly_in_any_precision() -> None:
    vectors = functional.normalize(torch.randn(12, 64, generator=torch.Generator().manual_seed(3))).bfloat16()
    target = torch.arange(12) % 3
    exact = compute_triplet_loss(vectors.float(), target, 0.2, "all")
    assert compute_triplet_loss(vectors, target, 0.2, "all") == exact
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_triplet_loss(vectors.float(), target, 0.2, "all") == exact


def test_a_mining_that_there_is_not_is_refused() -> None:
    wrong: Any = "semihard"
    with pytest.raises(ValueError, match="there is no mining 'semihard': there are all, hard, semi-hard"):
        Similarity(nn.Identity(), mining=wrong)


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
@pytest.mark.parametrize("target", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_triplets_has_no_loss_but_a_gradient(mining: Mining, target: list[int]) -> None:
    vectors = torch.ones(3, 2, requires_grad=True)
    loss = compute_triplet_loss(vectors, torch.tensor(target), 0.2, mining)
    loss.backward()
    assert loss == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_the_contrastive_loss_is_that_of_the_papers() -> None:
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    identity = torch.tensor([0, 0, 0, 1, 1, 2])
    unit = functional.normalize(vectors)
    losses: list[float] = []
    for anchor in range(5):  # the last one has nothing that belongs to it
        others = [other for other in range(6) if other != anchor]
        denominator = sum(math.exp(float(unit[anchor] @ unit[other]) / 0.5) for other in others)
        positives = [other for other in others if identity[other] == identity[anchor]]
        probabilities = [math.exp(float(unit[anchor] @ unit[other]) / 0.5) / denominator for other in positives]
        losses.append(-sum(map(math.log, probabilities)) / len(positives))
    assert float(compute_contrastive_loss(vectors, identity, 0.5)) == pytest.approx(sum(losses) / 5)


def test_without_labels_only_views_of_one_input_belong_together() -> None:
    views = list(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)))
    expected = compute_contrastive_loss(torch.cat(views), torch.arange(5).repeat(2), 0.1)
    assert Contrastive(nn.Identity(), labelled=False).compute((views, torch.zeros(5))).loss == expected
    with pytest.raises(ValueError, match="contrastive learning without labels needs two views of each input"):
        Contrastive(nn.Identity(), labelled=False).compute((views[0], torch.zeros(5)))


def test_views_need_no_class_numbers_where_nothing_is_searched_for() -> None:
    loader = Loader(TensorDataset(POINTS), batch_size=8, seed=0, transform=Views(*[lambda sample, _: sample] * 2))
    batch = next(iter(loader))
    alone = Contrastive(nn.Identity(), labelled=False, metrics={})
    assert alone.compute(batch).loss == alone.compute([*batch, torch.zeros(8)]).loss
    for task in (Contrastive(nn.Identity(), labelled=False), Contrastive(nn.Identity(), metrics={})):
        with pytest.raises(ValueError, match=r"without class numbers needs labelled=False and metrics=\{\}$"):
            task.compute(batch)


def test_views_are_drawn_each_by_itself_and_again_the_same() -> None:
    sample = (torch.zeros(3), torch.tensor(2))
    views = Views(jitter, jitter)
    (one, other), target = views(sample, torch.Generator().manual_seed(5))
    assert not torch.equal(one, other)
    assert target == 2
    assert torch.equal(views(sample, torch.Generator().manual_seed(5))[0][1], other)


def test_only_what_is_sure_teaches_and_it_teaches_the_strong_view() -> None:
    task = SemiSupervised(nn.Identity(), classes=2, confidence=0.9, weight=0.5)
    weak = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 0.1], [1.0, 0.0]])
    strong = torch.tensor([[0.0, 0.0], [2.0, 1.0], [5.0, 0.0], [0.0, 0.0]], requires_grad=True)
    result = task.compute(((weak, strong), torch.tensor([-1, -1, -1, 1])))
    labelled = functional.cross_entropy(weak[3:], torch.tensor([1]))
    sure = functional.cross_entropy(strong[:2], torch.tensor([0, 1]), reduction="sum")
    assert result.loss.item() == pytest.approx((labelled + 0.5 * sure / 3).item())
    result.loss.backward()
    assert strong.grad is not None
    assert strong.grad.any(dim=1).tolist() == [True, True, False, False]


def test_known_classes_are_smoothed_and_have_no_other_loss() -> None:
    logits, target = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    task = SemiSupervised(nn.Identity(), classes=2, label_smoothing=0.3)
    assert task.compute((logits, target)).loss == functional.cross_entropy(logits, target, label_smoothing=0.3)
    with pytest.raises(TypeError, match="multiple values for keyword argument 'loss'"):
        SemiSupervised(nn.Identity(), classes=2, loss=functional.cross_entropy)


def test_padding_is_not_foretold() -> None:
    task = LanguageModelling(nn.Embedding(TOKENS, TOKENS), vocabulary=TOKENS, padding=0)
    short, long = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3, 0, 0]])
    assert task.compute(long).loss.item() == pytest.approx(task.compute(short).loss.item())
    assert task.compute(long).target.tolist() == [2, 3]


def test_the_perplexity_is_that_of_the_epoch() -> None:
    derived = LanguageModelling(nn.Identity(), vocabulary=TOKENS).derive({"loss": torch.tensor(2.0)})
    assert float(derived["perplexity"]) == pytest.approx(math.e**2)


def test_the_mean_of_a_sequence_leaves_its_padding_out() -> None:
    values = torch.arange(6.0).reshape(2, 3, 1)
    assert compute_mean(values, torch.tensor([1, 3])).tolist() == [[0.0], [4.0]]
    assert compute_mean(values).tolist() == [[1.0], [4.0]]
    (tokens, lengths), target = pad_sequences([(torch.tensor([5]), 1), (torch.tensor([6, 7]), 0)], padding=9)
    assert (tokens.tolist(), lengths.tolist(), target.tolist()) == ([[5, 9], [6, 7]], [1, 2], [1, 0])
