"""Handwritten digits: the net of every tutorial, LeNet-5, and a small AlexNet.

A dense layer knows nothing of images: shuffle the pixels, and it learns as well. A convolution does: it looks at
neighbouring pixels alone, and in the same way at all places. So LeNet-5 needs a fifth of the dense net's weights and
makes fewer errors. AlexNet is the same idea with more of everything, and dropout against overfitting.

A fifth of the digits is held out for the verdict: rates, shifts and epochs were chosen by cross-validation on the rest.
Since accuracy depends on the random numbers that a net starts from, each is trained from five seeds.

Sources: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition" (1998);
A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks" (2012).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import onnxruntime
import rich
import typer
from digit_images import Data, batches, enlarged, mnist, scanned
from numpy.typing import NDArray
from rich.table import Table

import graphc as gc
from graphc import nn

BATCH = 32


def dense() -> nn.Module:
    """512-512-10."""
    hidden = (nn.Linear(512), nn.ReLU(), nn.Linear(512), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(10), name="dense")


def lenet() -> nn.Module:
    """LeNet-5 as it is written today: ReLU for tanh, the largest of 2x2 pixels for their mean."""
    return nn.Sequential(
        *(nn.Conv2d(6, 5), nn.ReLU(), nn.MaxPool2d(2)),  # 32x32 -> 28x28 -> 14x14
        *(nn.Conv2d(16, 5), nn.ReLU(), nn.MaxPool2d(2)),  # -> 10x10 -> 5x5
        nn.Flatten(),
        *(nn.Linear(120), nn.ReLU()),
        *(nn.Linear(84), nn.ReLU()),
        nn.Linear(10),
        name="lenet",
    )


def alexnet() -> nn.Module:
    """AlexNet's five convolutions, three overlapping poolings and three dense layers, with fewer channels."""
    init = {"weight_init": nn.init.KaimingNormal()}
    pool = {"stride": 2, "padding": 1}
    return nn.Sequential(
        *(nn.Conv2d(16, 5, stride=2, padding=2, **init), nn.ReLU(), nn.MaxPool2d(3, **pool)),  # 32x32 -> 16x16 -> 8x8
        *(nn.Conv2d(32, 5, padding=2, **init), nn.ReLU(), nn.MaxPool2d(3, **pool)),  # -> 4x4
        *(nn.Conv2d(48, 3, padding=1, **init), nn.ReLU()),
        *(nn.Conv2d(48, 3, padding=1, **init), nn.ReLU()),
        *(nn.Conv2d(32, 3, padding=1, **init), nn.ReLU(), nn.MaxPool2d(3, **pool)),  # -> 2x2
        nn.Flatten(),
        *(nn.Dropout(0.5), nn.Linear(256, **init), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(256, **init), nn.ReLU()),
        nn.Linear(10),
        name="alexnet",
    )


class Recipe(NamedTuple):
    """A net, pixels per side of its images (None: as they come), shifts in pixels, epochs, and learning rate."""

    build: Callable[[], nn.Module]
    side: int | None
    shift: int
    epochs: int
    rate: float


RECIPES = {
    "512-512-10": Recipe(dense, None, 0, 20, 1e-3),
    "LeNet-5": Recipe(lenet, 32, 2, 30, 3e-3),
    "small AlexNet": Recipe(alexnet, 32, 2, 15, 2e-3),
}


class Run(NamedTuple):
    """A net trained from one seed, and what it reads in the test digits."""

    trainer: gc.Trainer
    history: gc.History
    found: NDArray[np.int64]
    accuracy: float


class Net(NamedTuple):
    """A net, and its runs."""

    logits: gc.Tensor
    runs: list[Run]


class Result(NamedTuple):
    """The nets by name, and the test accuracy of the exported file."""

    nets: dict[str, Net]
    exported: float


def train(logits: gc.Tensor, recipe: Recipe, data: Data, test: Data, epochs: int, seed: int) -> Run:
    """Train a net: Adam with decoupled weight decay; the learning rate rises, and then falls to nothing."""
    y = gc.input("y", ("batch",), "int64")
    steps = epochs * -(-len(data["y"]) // BATCH)
    trainer = gc.Trainer(
        nn.cross_entropy(logits, y),
        optimizer=gc.optim.AdamW(gc.optim.schedule.OneCycle(recipe.rate, steps), weight_decay=0.01),
        metrics={"accuracy": gc.metrics.accuracy(logits, y)},
        seed=seed,
        options=gc.RuntimeOptions(threads=1),
    )
    history = trainer.fit(batches(data, BATCH, recipe.shift, seed), epochs=epochs, validation=test, verbose=False)
    found = trainer.predict(logits, {"x": test["x"]}).argmax(axis=1)
    return Run(trainer, history, found, float((found == test["y"]).mean()))


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures and of the exported net")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="one seed and few epochs")] = False,
    mnist_folder: Annotated[Path | None, typer.Option("--mnist", help="a folder with the files of MNIST")] = None,
) -> Result:
    """Train three nets on digits, compare them, export LeNet-5, and look at what it cannot read."""
    out.mkdir(parents=True, exist_ok=True)
    parts = scanned() if mnist_folder is None else mnist(mnist_folder)
    data = {name: np.concatenate([parts.train[name], parts.validation[name]]) for name in ("x", "y")}
    print(f"{len(data['y']):,} digits to learn from, {len(parts.test['y']):,} held out")

    nets = {}
    for name, recipe in RECIPES.items():
        images, test = (part if recipe.side is None else enlarged(part, recipe.side) for part in (data, parts.test))
        logits = recipe.build()(gc.input("x", ("batch", *test["x"].shape[1:])))
        epochs, seeds = (recipe.epochs // 3, 1) if small else (recipe.epochs, 5)
        nets[name] = Net(logits, [train(logits, recipe, images, test, epochs, seed) for seed in range(seeds)])
    report(nets)

    logits, runs = nets["LeNet-5"]
    path, test = out / "lenet.onnx", enlarged(parts.test, 32)
    gc.export({"logits": logits}, path, runs[0].trainer.state, verify={"x": test["x"][:100]})
    (found,) = onnxruntime.InferenceSession(path).run(["logits"], {"x": test["x"]})  # nothing of graphc is needed here
    exported = float((found.argmax(axis=1) == test["y"]).mean())
    print(f"{path} reads {exported:.2%} of the digits held out")

    draw_curves(out / "digits.svg", nets)
    draw_missed(out / "digits_missed.svg", parts.test, [run.found for run in runs])
    return Result(nets, exported)


def report(nets: dict[str, Net]) -> None:
    """A line for each net: operations for one image, seconds to train, accuracies as means over the seeds."""
    table = Table("net", "parameters", "MFLOPs", "seconds", "train", "test", "worst seed", title="Digits")
    for name, (logits, runs) in nets.items():
        size = gc.summary(logits)
        seconds = np.mean([sum(run.history["seconds"]) for run in runs])
        train, test = np.mean([(run.history["accuracy"][-1], run.accuracy) for run in runs], axis=0)
        numbers = (f"{value:.2%}" for value in (train, test, min(run.accuracy for run in runs)))
        table.add_row(name, f"{size.parameters:,}", f"{size.flops / 1e6:.2f}", f"{seconds:.1f}", *numbers)
    rich.print(table)


def draw_curves(path: Path, nets: dict[str, Net]) -> None:
    """Loss in training and misread held-out digits, epoch by epoch: mean, least and most over the seeds."""
    with gc.plots.figure(path, columns=2) as (left, right):
        for name, (_, runs) in nets.items():
            losses = np.array([run.history["loss"] for run in runs])
            errors = 100 - 100 * np.array([run.history["val_accuracy"] for run in runs])
            epochs = np.arange(1, losses.shape[1] + 1)
            for axes, values in ((left, losses), (right, errors)):
                axes.plot(epochs, values.mean(axis=0), label=name)
                axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), alpha=0.15, linewidth=0)
        left.set(title="Loss in training", xlabel="epoch", yscale="log")
        right.set(title="Misread test digits, %", xlabel="epoch", ylim=(0, 12))
        right.legend()
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)


def draw_missed(path: Path, test: Data, found: list[NDArray[np.int64]]) -> None:
    """The test digits that most seeds misread, what they are, and what is read."""
    wrong = np.array(found) != test["y"]
    worst = [i for i in np.argsort(-wrong.sum(axis=0), kind="stable") if wrong[:, i].any()]
    with gc.plots.figure(path, columns=6, size=(9, 2)) as panels:
        for axes in panels:
            axes.set_axis_off()
        for axes, i in zip(panels, worst, strict=False):
            axes.imshow(test["x"][i, 0], cmap="gray_r", vmin=0, vmax=1)
            readings = sorted({str(digits[i]) for digits in found if digits[i] != test["y"][i]})
            title = f"a {test['y'][i]}, read as {' or '.join(readings)}\nby {wrong[:, i].sum()} of {len(found)}"
            axes.set_title(title, size="small")


if __name__ == "__main__":
    typer.run(main)
