"""Embeddings for TensorBoard's projector: ``tensorboard --logdir``, then Projector."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CONFIGURATION = """embeddings {
  tensor_name: "features"
  tensor_path: "features.tsv"
  metadata_path: "classes.tsv"
}
"""


def write_projection(folder: Path, features: NDArray[np.floating], labels: Sequence[str]) -> None:
    """Write what the projector reads.

    :param folder: Receives the files; made where it is new.
    :param features: ``(samples, features)``.
    :param labels: What each sample is; a text on one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "features.tsv", features, fmt="%.6g", delimiter="\t")
    lines = [" ".join(label.split()) for label in labels]
    (folder / "classes.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "projector_config.pbtxt").write_text(CONFIGURATION, encoding="utf-8")
