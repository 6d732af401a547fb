"""Dropout and batch normalization put into a plain net by passes, and taken out again.

A graph is data: a function from graphs to graphs can put in what the net's author left out. `gc.insert_batchnorm` and
`gc.insert_dropout` find their places by operator, by layer or by name, in a net that one built or in one that was
loaded from a file. What they insert is the training form. The inference form of dropout is nothing at all; that of
batch normalization is z -> (z - μ) s + β, where s = γ / sqrt(σ² + ε), and μ and σ are constants. After a layer
z = W x + b it folds into the layer's own weights:

    (W x + b - μ) s + β  =  (s W) x + (b - μ) s + β

So the file that is exported has the operators of the plain net, and costs nothing more.

Sources: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014); S. Ioffe and
C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift" (2015).
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import onnxruntime
import rich
import typer
from digit_images import Split, scanned
from rich.table import Table

import graphc as gc
from graphc import nn


class Run(NamedTuple):
    """A trained net, and what it reads in the test digits."""

    trainer: gc.Trainer
    history: gc.History
    accuracy: float


class Result(NamedTuple):
    """The runs of each net, the operators of plain and exported net, and how far the file is off the trained net."""

    runs: dict[str, list[Run]]
    operators: dict[str, list[str]]
    difference: float


def plain_net(x: gc.Tensor) -> gc.Tensor:
    """Three hidden layers, and nothing that would help them to learn."""
    hidden = [layer for _ in range(3) for layer in (nn.Linear(128), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(10), name="net")(x)


def train(logits: gc.Tensor, split: Split, epochs: int, seed: int) -> Run:
    """Plain gradient descent on batches of 32, which are whole: the statistics of a smaller last one are noise."""
    y = gc.input("y", ("batch",), "int64")
    trainer = gc.Trainer(
        nn.cross_entropy(logits, y),
        optimizer=gc.optim.SGD(0.1),
        metrics={"accuracy": gc.metrics.accuracy(logits, y)},
        seed=seed,
        options=gc.RuntimeOptions(threads=1),
    )
    history = trainer.fit(
        split.train, batch_size=32, epochs=epochs, drop_last=True, validation=split.validation, verbose=False
    )
    return Run(trainer, history, trainer.evaluate(split.test)["accuracy"])


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures and of the exported net")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="one seed and fewer epochs")] = False,
) -> Result:
    """Insert, look, train, and export."""
    out.mkdir(parents=True, exist_ok=True)
    plain = plain_net(gc.input("x", ("batch", 1, 8, 8)))
    normalized = gc.insert_batchnorm(plain, before="Relu")
    nets = {
        "plain": plain,
        "dropout": gc.insert_dropout(plain, after="Relu", rate=0.3),
        "batch norm": normalized,
        "both": gc.insert_dropout(normalized, after="Relu", rate=0.3),
    }
    for name, logits in nets.items():
        print(f"{name}:", gc.graph(logits).operators())
    gc.draw(plain, out / "inserted_before.svg", engine="grandalf")
    gc.draw(nets["both"], out / "inserted_after.svg", engine="grandalf")

    split = scanned()
    epochs, seeds = (6, 1) if small else (20, 5)
    runs = {name: [train(logits, split, epochs, seed) for seed in range(seeds)] for name, logits in nets.items()}
    report(runs)
    draw(out / "inserted_by_passes.svg", runs)

    # What is inserted is gone in the inference form: dropout at once, batch normalization by being folded.
    assert gc.to_inference(nets["dropout"]) == plain
    path, trainer = out / "inserted.onnx", runs["both"][0].trainer
    gc.export({"logits": nets["both"]}, path, trainer.state, verify={"x": split.test["x"]})
    (folded,) = onnxruntime.InferenceSession(path).run(["logits"], {"x": split.test["x"]})
    difference = float(np.abs(folded - trainer.predict(nets["both"], {"x": split.test["x"]})).max())
    operators = {
        name: [node.op for node in graph.nodes if not node.is_leaf and not node.is_constant]
        for name, graph in (("plain", gc.simplify(gc.graph(plain))), ("exported", gc.load(path).graph))
    }
    print("exported:", " ".join(operators["exported"]))
    print(f"folded into the layers or not, the logits differ by {difference:.1g} at most")
    return Result(runs, operators, difference)


def report(runs: dict[str, list[Run]]) -> None:
    """A line for each net: losses after the last epoch, means over the seeds."""
    table = Table("net", "training loss", "validation loss", "test accuracy", "worst seed")
    for name, found in runs.items():
        losses = [np.mean([run.history[key][-1] for run in found]) for key in ("loss", "val_loss")]
        test = [run.accuracy for run in found]
        table.add_row(name, *(f"{loss:.3f}" for loss in losses), f"{np.mean(test):.1%}", f"{min(test):.1%}")
    rich.print(table)


def draw(path: Path, runs: dict[str, list[Run]]) -> None:
    """Loss in training and in validation, epoch by epoch: mean, least and most over the seeds."""
    with gc.plots.figure(path, columns=2) as panels:
        for axes, key, title in zip(panels, ("loss", "val_loss"), ("Training loss", "Validation loss"), strict=True):
            for name, found in runs.items():
                losses = np.array([run.history[key] for run in found])
                epochs = np.arange(1, losses.shape[1] + 1)
                axes.plot(epochs, losses.mean(axis=0), label=name)
                axes.fill_between(epochs, losses.min(axis=0), losses.max(axis=0), alpha=0.15, linewidth=0)
            axes.set(title=title, xlabel="epoch", ylim=(0, 1))
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[1].legend()


if __name__ == "__main__":
    typer.run(main)
