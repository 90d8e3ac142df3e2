"""Tasks: each says how a batch is unpacked and what the loss is; all else is in :mod:`labkit.training.task`."""

from labkit.training.tasks.autoencoding import Autoencoding
from labkit.training.tasks.classification import Classification, MultiLabelClassification
from labkit.training.tasks.contrastive import Contrastive
from labkit.training.tasks.language_modelling import LanguageModelling
from labkit.training.tasks.regression import Regression
from labkit.training.tasks.segmentation import Segmentation
from labkit.training.tasks.semi_supervised import SemiSupervised
from labkit.training.tasks.sequence_classification import SequenceClassification
from labkit.training.tasks.similarity import Similarity

__all__ = [
    "Autoencoding",
    "Classification",
    "Contrastive",
    "LanguageModelling",
    "MultiLabelClassification",
    "Regression",
    "Segmentation",
    "SemiSupervised",
    "SequenceClassification",
    "Similarity",
]
