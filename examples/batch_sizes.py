"""One example at a time, all at once, or mini-batches: what a batch costs, how noisy its gradient is, what it achieves.

The gradient of a mini-batch of B examples is an estimate of that of all N. Its squared distance is, on average over the
choices of the batch,

    E |g_B - g|² = tr(Σ) / B · (N - B) / (N - 1),

where Σ is the covariance of the gradients of single examples. `gc.per_example_grad` gives these gradients, and so the
right-hand side; gradients of random mini-batches give the left-hand side. Noise falls as 1 / B, and the cost of a step
grows with B at most: small batches make more progress with each example seen, larger ones use the machine better.
Mini-batches are the compromise.

The factor (N - B) / (N - 1) is that of drawing without replacement, as an epoch does (Cochran, "Sampling Techniques").
For the rest see Bottou, Curtis and Nocedal, "Optimization Methods for Large-Scale Machine Learning" (2018).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import rich
import typer
from numpy.typing import NDArray
from rich.table import Table
from sklearn.datasets import load_digits

import graphc as gc
from graphc import nn

Arrays = dict[str, NDArray[Any]]


class Result(NamedTuple):
    """By batch size: noise of gradients, measured and by theory; seconds of an epoch; best rate and losses of SGD."""

    measured: dict[int, float]
    theory: dict[int, float]
    seconds: dict[int, float]
    rates: dict[int, float]
    losses: dict[int, list[float]]


def network() -> tuple[gc.Tensor, list[gc.Tensor]]:
    """The loss of a small net on digits, and its inputs."""
    x, y = gc.input("x", ("batch", 64)), gc.input("y", ("batch",), "int64")
    logits = nn.Sequential(nn.Linear(32), nn.Tanh(), nn.Linear(10), name="net")(x)
    return nn.cross_entropy(logits, y), [x, y]


def noise(state: Arrays, data: Arrays, sizes: list[int], draws: int) -> tuple[dict[int, float], dict[int, float]]:
    """The mean squared distance of mini-batch gradients to the gradient of all data: measured, and by theory."""
    loss, inputs = network()
    weights = list(gc.graph(loss).trainable.values())
    g = gc.concat([gc.reshape(gradient, (-1,)) for gradient in gc.grad(loss, weights)])
    each = gc.concat([gc.flatten(gradient, 1) for gradient in gc.per_example_grad(loss, weights, inputs)], 1)
    gradient, trace = (gc.compile(t, state=state) for t in (g, gc.sum(gc.var(each, 0))))

    count = len(data["y"])
    whole, sigma = gradient(data), float(trace(data))
    rng = np.random.default_rng(0)
    measured = {}
    for size in sizes:
        batches = (rng.choice(count, size, replace=False) for _ in range(draws))
        errors = [gradient({name: array[rows] for name, array in data.items()}) - whole for rows in batches]
        measured[size] = float(np.mean(np.sum(np.square(errors), axis=1)))
    return measured, {size: sigma / size * (count - size) / (count - 1) for size in sizes}


def train(data: Arrays, batch_size: int, rate: float, epochs: int) -> gc.History:
    """SGD on the net; "val_loss" is the loss on all data after each epoch."""
    trainer = gc.Trainer(network()[0], optimizer=gc.optim.SGD(rate), seed=0, device="cpu")
    return trainer.fit(data, batch_size=batch_size, epochs=epochs, validation=data, verbose=False)


def seconds_of_an_epoch(data: Arrays, batch_size: int) -> float:
    """The least time of five epochs."""
    trainer = gc.Trainer(network()[0], optimizer=gc.optim.SGD(0.01), device="cpu")
    return float(min(trainer.fit(data, batch_size=batch_size, epochs=5, verbose=False)["seconds"]))


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer batches and epochs")] = False,
) -> Result:
    """Compare sizes of batches: noise, cost, and progress with each example seen."""
    out.mkdir(parents=True, exist_ok=True)
    images, labels = load_digits(return_X_y=True)
    data = {"x": (images / 16).astype("float32"), "y": labels}
    count = len(labels)
    sizes = [1, 4, 16, 64, 256, 1024, count]
    epochs, draws, rates = (3, 100, [0.03, 0.3]) if small else (10, 400, [0.01, 0.03, 0.1, 0.3, 1.0, 3.0])

    start = gc.Trainer(network()[0], optimizer=gc.optim.SGD(0.1), seed=0, device="cpu")
    start.fit(data, batch_size=32, epochs=1, verbose=False)  # neither random nor finished
    measured, theory = noise(start.parameters, data, sizes, draws)

    seconds = {size: seconds_of_an_epoch(data, size) for size in sizes}
    best_rates, losses = {}, {}
    for size in (1, 32, count):
        runs = {rate: train(data, size, rate, epochs)["val_loss"] for rate in rates}
        best_rates[size] = min(runs, key=lambda rate: runs[rate][-1])
        losses[size] = runs[best_rates[size]]
    result = Result(measured, theory, seconds, best_rates, losses)

    table = Table("batch", "|g_B - g|², measured", "theory", "time of an epoch", title=f"{count} digits")
    for size in sizes:
        ratio = f"{seconds[size] / seconds[count]:.1f} x"
        table.add_row(str(size), f"{measured[size]:.2e}", f"{theory[size]:.2e}", ratio)
    rich.print(table)
    for size, found in losses.items():
        rich.print(f"batches of {size}, rate {best_rates[size]}: loss {found[-1]:.4f} after {epochs} epochs")
    draw(out / "batch_sizes.svg", result)
    return result


def draw(path: Path, result: Result) -> None:
    """Noise and time over the size of the batch, and loss over epochs."""
    with gc.plots.figure(path, columns=3, size=(12, 3.6)) as (noises, times, progress):
        sizes = list(result.seconds)[:-1]
        noises.plot(sizes, [result.theory[size] for size in sizes], label="tr(Σ) / B · (N - B) / (N - 1)")
        noises.plot(sizes, [result.measured[size] for size in sizes], "o", label="measured")
        noises.set(xscale="log", yscale="log", xlabel="batch size B", ylabel="E |g_B - g|²", title="Noise of gradients")
        noises.legend()
        whole = list(result.seconds.values())[-1]
        times.plot(list(result.seconds), [s / whole for s in result.seconds.values()], "o-")
        times.set(
            xscale="log", yscale="log", xlabel="batch size B", ylabel="relative to one batch", title="Time per epoch"
        )
        for size, found in result.losses.items():
            progress.plot(range(1, len(found) + 1), found, label=f"B = {size}, rate {result.rates[size]:g}")
        progress.set(
            yscale="log", xlabel="epoch", ylabel="loss on all data", title="Progress per example seen", ylim=(None, 30)
        )
        progress.legend(loc="upper right")


if __name__ == "__main__":
    typer.run(main)
