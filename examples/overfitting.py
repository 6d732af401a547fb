"""Overfitting, and what cures it.

A net with more weights than it has examples can learn all of them by heart: the loss on what it is trained on goes to
zero, while the loss on digits that it has not seen falls at first, and then rises. Four cures:

- dropout: in each step a part of the units is silent, at random, so that none can rely on a certain other one;
- batch normalization: each unit is normalized over the batch, whose other members, drawn at random, act as noise;
- weight decay: each step shrinks the weights by a factor, so that those stay small which the data do not need;
- early stopping: training ends, and returns to the best weights, when the validation loss no longer falls.

Sources: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014); S. Ioffe and
C. Szegedy, "Batch normalization" (2015); I. Loshchilov and F. Hutter, "Decoupled weight decay regularization" (2019);
L. Prechelt, "Early stopping - but when?" (1998).
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import rich
import typer
from digit_images import Data, scanned
from rich.table import Table

import graphc as gc
from graphc import nn

EXAMPLES = 100
CURES = ("nothing", "dropout", "batch norm", "weight decay", "early stopping")


def network(x: gc.Tensor, cure: str) -> gc.Tensor:
    """Logits of 512-512-10, with dropout after, or batch normalization before, each hidden activation."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(512), *([nn.BatchNorm1d()] if cure == "batch norm" else []), nn.ReLU()]
        layers += [nn.Dropout(0.8)] if cure == "dropout" else []
    return nn.Sequential(*layers, nn.Linear(10), name="net")(x)


class TrainingLoss(gc.Callback):
    """After each epoch, the loss on the training data in inference form: no unit is silent, as in validation."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.losses: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float], trainer: gc.Trainer) -> None:
        """Record it."""
        self.losses.append(trainer.evaluate(self.data)["loss"])


class Run(NamedTuple):
    """The losses by epoch, the epoch whose weights are kept, and loss and accuracy of these on the test digits."""

    train: list[float]
    validation: list[float]
    kept: int
    test: float
    accuracy: float


def train(cure: str, seed: int, epochs: int) -> Run:
    """Learn from a hundred digits, drawn by the seed."""
    split = scanned()
    rows = np.random.default_rng(seed).permutation(len(split.train["y"]))[:EXAMPLES]
    few = {name: array[rows] for name, array in split.train.items()}

    x, y = gc.input("x", ("batch", 1, 8, 8)), gc.input("y", ("batch",), "int64")
    logits = network(x, cure)
    trainer = gc.Trainer(
        nn.cross_entropy(logits, y),
        optimizer=gc.optim.AdamW(1e-3, weight_decay=3.0 if cure == "weight decay" else 0.0),
        metrics={"accuracy": gc.metrics.accuracy(logits, y)},
        seed=seed,
        options=gc.RuntimeOptions(threads=1),
    )
    recorder, stopping = TrainingLoss(few), gc.EarlyStopping("val_loss", patience=10)
    callbacks = [recorder, stopping] if cure == "early stopping" else [recorder]
    history = trainer.fit(
        few, batch_size=25, epochs=epochs, validation=split.validation, callbacks=callbacks, verbose=False
    )
    kept = len(recorder.losses) - 1 if stopping.best_epoch is None else stopping.best_epoch
    test = trainer.evaluate(split.test)
    return Run(recorder.losses, history["val_loss"], kept, test["loss"], test["accuracy"])


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="one seed and fewer epochs")] = False,
) -> dict[str, list[Run]]:
    """Let a net of 300,000 weights learn a hundred digits, and then with each cure."""
    out.mkdir(parents=True, exist_ok=True)
    epochs, seeds = (50, 1) if small else (100, 3)
    runs = {cure: [train(cure, seed, epochs) for seed in range(seeds)] for cure in CURES}

    table = Table("cure", "training", "validation", "test", "test accuracy", title="Losses, mean over seeds")
    for cure, found in runs.items():
        rows = [(run.train[run.kept], run.validation[run.kept], run.test, run.accuracy) for run in found]
        *losses, accuracy = np.mean(rows, axis=0)
        table.add_row(cure, *(f"{loss:.3f}" for loss in losses), f"{accuracy:.1%}")
    rich.print(table)
    draw(out / "overfitting.svg", {cure: found[0] for cure, found in runs.items()})
    return runs


def draw(path: Path, runs: dict[str, Run]) -> None:
    """Training and validation loss side by side, one panel for each cure."""
    with gc.plots.figure(path, columns=len(runs), size=(12, 3)) as panels:
        for axes, (cure, run) in zip(panels, runs.items(), strict=True):
            epochs = np.arange(1, len(run.train) + 1)
            axes.plot(epochs, run.train, label="training")
            axes.plot(epochs, run.validation, label="validation")
            if run.kept + 1 < len(epochs):
                axes.axvline(run.kept + 1, color="black", linestyle=":", label="weights kept")
            axes.set(title=cure, xlabel="epoch", xlim=(0, len(runs["nothing"].train)), ylim=(0, 1.2))
            axes.legend(loc="upper right")
        panels[0].set_ylabel("loss")


if __name__ == "__main__":
    typer.run(main)
