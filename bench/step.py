"""What a training step costs: an MLP 784-512-512-10 on batches of 64, against the bare session and PyTorch."""

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np

import graphc as gc
from bench.table import show
from graphc import nn
from runtimes.session import RuntimeOptions

BATCH, STEPS, REPEATS, THREADS = 64, 100, 7, 2
SIZES = (784, 512, 512, 10)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH * STEPS, SIZES[0])).astype("float32")
Y = RNG.integers(0, SIZES[-1], BATCH * STEPS)

Round = Callable[[], float]
OPTIMIZERS = {"SGD": lambda: gc.optim.SGD(1e-2), "Adam": lambda: gc.optim.Adam(1e-3)}


def model() -> gc.Tensor:
    """The loss."""
    x, y = gc.input("x", ("batch", SIZES[0])), gc.input("y", ("batch",), "int64")
    layers = [nn.Linear(512), nn.ReLU(), nn.Linear(512), nn.ReLU(), nn.Linear(10)]
    return nn.cross_entropy(nn.Sequential(*layers)(x), y)


def trainer_round(optimizer: str) -> tuple[Round, gc.Trainer]:
    """Milliseconds a step of `Trainer.fit` takes over one epoch, shuffling included."""
    trainer = gc.Trainer(
        model(), optimizer=OPTIMIZERS[optimizer](), device="cpu", options=RuntimeOptions(threads=THREADS)
    )

    def run() -> float:
        start = time.perf_counter()
        trainer.fit({"x": X, "y": Y}, batch_size=BATCH, verbose=False)
        return (time.perf_counter() - start) / STEPS * 1e3

    return run, trainer


def bare_round(trainer: gc.Trainer) -> Round:
    """Milliseconds a step takes when its prepared session is run on one batch again, and nothing else is done."""
    executor = trainer._executor
    feeds = {"x": X[:BATCH], "y": Y[:BATCH], "learning_rate": np.float32(1e-3)}
    frame = executor.frame({name: np.shape(value) for name, value in feeds.items()})
    for name, source in frame.inputs.items():
        source.feed(np.asarray(feeds[name]))

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            executor.session.raw.run_with_iobinding(frame._bindings[0])
        return (time.perf_counter() - start) / STEPS * 1e3

    return run


def torch_round(optimizer: str) -> Round:
    """Milliseconds an eager PyTorch step takes."""
    import torch

    torch.set_num_threads(THREADS)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    net = torch.nn.Sequential(linear(784, 512), relu(), linear(512, 512), relu(), linear(512, 10))
    update = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[optimizer](net.parameters(), lr=1e-3)
    data, labels = torch.tensor(X), torch.tensor(Y)

    def run() -> float:
        start = time.perf_counter()
        for rows in torch.randperm(len(data)).split(BATCH):
            update.zero_grad()
            torch.nn.functional.cross_entropy(net(data[rows]), labels[rows]).backward()
            update.step()
        return (time.perf_counter() - start) / STEPS * 1e3

    return run


def main() -> None:
    """Print the table."""
    rows = []
    for optimizer in OPTIMIZERS:
        fit, trainer = trainer_round(optimizer)
        rounds = {"Trainer.fit": fit, "the session alone": bare_round(trainer)}
        if importlib.util.find_spec("torch"):
            rounds["PyTorch eager"] = torch_round(optimizer)
        for run in rounds.values():
            run()  # warm up
        times: dict[str, list[float]] = {name: [] for name in rounds}
        for _ in range(REPEATS):  # interleaved, so that a slow moment hits all alike
            for name, run in rounds.items():
                times[name].append(run())
        for name, found in times.items():
            ratio = statistics.median(t / f for t, f in zip(found, times["Trainer.fit"], strict=True))
            rows.append([optimizer, name, f"{statistics.median(found):.2f}", f"{min(found):.2f}", f"{ratio:.2f}"])
    show(
        f"Training step, MLP {'-'.join(map(str, SIZES))}, batch {BATCH}, {THREADS} threads",
        ["optimizer", "what", "ms per step (median)", "least", "times Trainer.fit (median of ratios)"],
        rows,
    )
