"""How long it takes from the command to the first step: Labkit's `train` beside scripts of bare Lightning.

Run by `make benchmark NAME=start`. All train the same multi-layer perceptron on the same digits. The scripts import
what they need and nothing else; the second one also records its metrics by Lightning's MLFlowLogger in an SQLite file,
which is what Labkit does besides sealing the code, naming every installed package and starting the sender. Each is a
process of its own; they take turns, and the best time of each counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "build" / "my-research"
LIGHTNING = """
import sys, time
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from sklearn.datasets import load_digits
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

class Digits(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        self.accuracy = MulticlassAccuracy(10)

    def training_step(self, batch):
        inputs, target = batch
        logits = self.model(inputs)
        self.accuracy(logits, target)
        loss = nn.functional.cross_entropy(logits, target)
        self.log_dict({"loss": loss, "accuracy": self.accuracy})
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())

class Say(Callback):
    def on_train_batch_end(self, *_):
        print("first step", time.time(), flush=True)

images, classes = load_digits(return_X_y=True)
data = TensorDataset(torch.from_numpy(images).float() / 16, torch.from_numpy(classes))
logger = MLFlowLogger(tracking_uri="sqlite:///mlflow.db") if "mlflow" in sys.argv else CSVLogger(".")
trainer = Trainer(max_steps=1, logger=logger, callbacks=[Say()], accelerator="cpu", enable_progress_bar=False)
trainer.fit(Digits(), DataLoader(data, batch_size=64, shuffle=True))
"""


def time_lightning(folder: Path, *words: str) -> float:
    """Return the seconds to the first step of a script."""
    began = time.time()
    command = [sys.executable, "-c", LIGHTNING, *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return float(done.stdout.partition("first step ")[2].split()[0]) - began


def time_labkit(folder: Path) -> float:
    """Return the seconds to the first step of `train`."""
    surroundings = {"RUNS_PATH": str(folder / "runs"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    began = time.time()
    command = [DEMO / ".venv" / "bin" / "train", "--architecture", "mlp", "--duration", "1 step"]
    subprocess.run(command, cwd=DEMO, check=True, capture_output=True, env={**os.environ, **surroundings})
    newest = max((folder / "runs").glob("*/spool.jsonl"), key=lambda path: path.stat().st_mtime)
    records = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    return min(record["time"] for record in records if "metrics" in record) / 1000 - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variants = {
            "bare Lightning": lambda: time_lightning(folder),
            "Lightning with MLFlowLogger": lambda: time_lightning(folder, "mlflow"),
            "Labkit": lambda: time_labkit(folder),
        }
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(options.repetitions):
            for variant, measure in variants.items():
                times[variant].append(measure())
    bare = min(times["bare Lightning"])
    for variant, seconds in times.items():
        print(f"{variant:<30}{min(seconds):7.2f} s{min(seconds) / bare:8.2f}")


if __name__ == "__main__":
    main()
