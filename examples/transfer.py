"""Transfer: what a net has learned of the digits 0 to 4 helps it to read the digits 5 to 9.

The digits stand anywhere in the image. That a digit is the same digit elsewhere takes many examples to learn, and it is
the same lesson for all digits. So a net learns one half of the classes, of which there is plenty, and is exported.
Somebody else loads the .onnx file, knows nothing of how it was made, and has only a few labelled examples of five
classes that the net has never seen. A new head comes on its features. Three ways to train are compared:

- frozen: the body stays as it is, only the new head learns; the gradient goes no further down than to the head;
- full fine-tuning: the body learns, too, ten times more slowly than the head;
- from scratch: the same net without the file.

Source: J. Yosinski, J. Clune, Y. Bengio and H. Lipson, "How transferable are features in deep neural networks?" (2014).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import rich
import typer
from digit_images import Data, batches, enlarged, scanned, shifted
from numpy.typing import NDArray
from rich.table import Table

import graphc as gc
from graphc import nn

MOVE = 4  # pixels: as far as there is background around a digit
COUNTS = (1, 2, 5, 10, 20)
WAYS = ("frozen", "full fine-tuning", "from scratch")


class Result(NamedTuple):
    """Accuracy on the digits 5 to 9 by way, an array (seeds, counts); seconds per step of 100 images by way."""

    accuracy: dict[str, NDArray[np.floating]]
    seconds: dict[str, float]


def body(x: gc.Tensor) -> gc.Tensor:
    """120 features: LeNet-5 without its last two layers."""
    return nn.Sequential(
        *(nn.Conv2d(6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(120), nn.ReLU()),
        name="body",
    )(x)


def half(data: Data, high: bool) -> Data:
    """The digits 5 to 9, labelled 0 to 4, or the digits 0 to 4."""
    chosen = (data["y"] >= 5) == high
    return {"x": data["x"][chosen], "y": data["y"][chosen] % 5}


def trainer_of(features: gc.Tensor, rate: float, **options: Any) -> gc.Trainer:
    """A head for five classes on the features, and what trains it."""
    y = gc.input("y", ("batch",), "int64")
    logits = nn.Linear(5, name="head")(features)
    return gc.Trainer(
        nn.cross_entropy(logits, y),
        optimizer=gc.optim.Adam(rate),
        metrics={"accuracy": gc.metrics.accuracy(logits, y)},
        options=gc.RuntimeOptions(threads=1),
        **options,
    )


def pretrain(path: Path, train: Data, epochs: int) -> float:
    """Learn the digits 0 to 4, and write the body to a file; the accuracy in training."""
    features = body(gc.input("x", ("batch", 1, 32, 32))).named("features")
    trainer = trainer_of(features, 2e-3)
    history = trainer.fit(batches(train, 32, MOVE, seed=0), epochs=epochs, verbose=False)
    gc.export({"features": features}, path, trainer.state)
    return history["accuracy"][-1]


def ready(way: str, path: Path, seed: int) -> gc.Trainer:
    """A new head, and what shall learn."""
    if way == "from scratch":
        return trainer_of(body(gc.input("x", ("batch", 1, 32, 32))), 2e-3, seed=seed)
    model = gc.load(path)
    if way == "frozen":
        return trainer_of(model.freeze("*").outputs["features"], 1e-2, state=model.state, seed=seed)
    groups = {"head.*": {"learning_rate_scale": 10.0}}
    return trainer_of(model.outputs["features"], 1e-3, state=model.state, seed=seed, groups=groups)


def examples(data: Data, count: int, seed: int) -> Data:
    """`count` examples of each class. The seed draws them; those of a smaller count are among them."""
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    rows = np.concatenate([order[data["y"][order] == digit][:count] for digit in range(5)])
    return {name: array[rows] for name, array in data.items()}


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure and of the net")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer seeds, counts and steps")] = False,
) -> Result:
    """Train on the digits 0 to 4, and transfer to the digits 5 to 9."""
    out.mkdir(parents=True, exist_ok=True)
    counts, seeds, steps, epochs = ((2, 20), 2, 50, 15) if small else (COUNTS, 5, 80, 30)
    split, path = scanned(), out / "pretrained.onnx"
    train, test = (enlarged(enlarged(data, 32 - 2 * MOVE), 32) for data in (split.train, split.test))
    reached = pretrain(path, half(train, high=False), epochs)
    print(f"{path}: reads {reached:.1%} of the digits 0 to 4 that it learns from")

    place = np.random.default_rng(0)
    train, test = (half({**data, "x": shifted(data["x"], MOVE, place)}, high=True) for data in (train, test))
    accuracy = {way: np.zeros((seeds, len(counts))) for way in WAYS}
    seconds = {}
    for way in WAYS:
        for seed in range(seeds):
            trainer = ready(way, path, seed)
            start = trainer.state
            for column, count in enumerate(counts):
                trainer.state = start
                few = examples(train, count, seed)
                history = trainer.fit(few, batch_size=None, epochs=steps, verbose=False)
                accuracy[way][seed, column] = trainer.evaluate(test)["accuracy"]
        seconds[way] = float(np.median(history["seconds"]))
    report(counts, accuracy, seconds)
    draw(out / "transfer.svg", counts, accuracy)
    return Result(accuracy, seconds)


def report(counts: tuple[int, ...], accuracy: dict[str, NDArray[np.floating]], seconds: dict[str, float]) -> None:
    """Mean accuracies by number of examples, and what a step costs."""
    table = Table("examples per class", *map(str, counts), "ms per step", title="Accuracy on the digits 5 to 9")
    for way, values in accuracy.items():
        table.add_row(way, *(f"{mean:.1%}" for mean in values.mean(axis=0)), f"{1e3 * seconds[way]:.1f}")
    rich.print(table)


def draw(path: Path, counts: tuple[int, ...], accuracy: dict[str, NDArray[np.floating]]) -> None:
    """Accuracy over the number of examples: mean, least and most over the seeds."""
    with gc.plots.figure(path) as axes:
        for way, values in accuracy.items():
            axes.plot(counts, 100 * values.mean(axis=0), marker="o", label=way)
            axes.fill_between(counts, 100 * values.min(axis=0), 100 * values.max(axis=0), alpha=0.15, linewidth=0)
        axes.set(xlabel="labelled examples per class", ylabel="read correctly, %", xscale="log", ylim=(0, 100))
        axes.set_xticks(counts, map(str, counts))
        axes.minorticks_off()
        axes.legend(loc="lower right")


if __name__ == "__main__":
    typer.run(main)
