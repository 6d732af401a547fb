"""What a training step costs: an MLP 784-512-512-10 on batches of 64, against the bare session and PyTorch.

A second table shows what the update of the parameters costs, and what folding it into the products of the gradients
wins: processor time on one thread, which other programs on the machine disturb least.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np

import graphc as gc
from bench.table import show
from graphc import nn
from graphc.nn.init import initialize
from graphc.serial.export import to_model
from passes.fold_update import fold_update
from passes.train_step import train_step
from runtimes.device_state import DeviceState
from runtimes.executor import Executor
from runtimes.session import RuntimeOptions, Session

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


UPDATES = {
    "SGD": (gc.optim.SGD, {}),
    "SGD, weight decay": (lambda: gc.optim.SGD(weight_decay=0.1), {}),
    "SGD, clipped norm": (gc.optim.SGD, {"clip_norm": 1.0}),
    "SGD, accumulated": (gc.optim.SGD, {"accumulate": 4}),
    "Momentum": (gc.optim.Momentum, {}),
    "RMSProp": (gc.optim.RMSProp, {}),
    "Lion": (gc.optim.Lion, {}),
    "Adam": (gc.optim.Adam, {}),
    "Adam, averages": (gc.optim.Adam, {"ema": 0.99}),
}


def processor_round(graph: gc.Graph, steps: int = 15) -> Round:
    """Milliseconds of processor time of a run of `graph` on one thread."""
    session = Session(to_model(graph), device="cpu", options=RuntimeOptions(threads=1))
    executor = Executor(graph, session, DeviceState(graph, initialize(graph), "cpu"))
    feeds = {"x": X[:BATCH], "y": Y[:BATCH], "learning_rate": np.float32(1e-3)}
    frame = executor.frame({name: np.shape(feeds[name]) for name in graph.feeds})
    for name, source in frame.inputs.items():
        source.feed(np.asarray(feeds[name]))

    def run() -> float:
        start = time.process_time()
        for _ in range(steps):
            frame.run()
        return (time.process_time() - start) / steps * 1e3

    return run


def show_updates() -> None:
    """The second table: gradients alone, and each optimizer as written and with its update folded."""
    loss = model()
    rounds: dict[tuple[str, bool], Round] = {}
    pipeline = [p for p in gc.pipelines.train if p is not fold_update]
    for name, (make, options) in UPDATES.items():
        plain = train_step(loss, optimizer=make(), passes=pipeline, **options).graph
        rounds[name, False] = processor_round(plain)
        folded = fold_update(plain)
        if folded is not plain:
            rounds[name, True] = processor_round(folded)
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in rounds}
    for run in rounds.values():
        run()  # warm up
    for _ in range(REPEATS):
        for key, run in rounds.items():
            times[key].append(run())
    rows = []
    for name in UPDATES:
        plain, folded = times[name, False], times.get((name, True))
        ratio = statistics.median(p / f for p, f in zip(plain, folded, strict=True)) if folded else None
        columns = (f"{statistics.median(folded):.2f}", f"{ratio:.2f}") if folded else ("-", "-")
        rows.append([name, f"{statistics.median(plain):.2f}", *columns])
    show(
        "The same step in processor time on one thread, the update folded into the gradients or not",
        ["optimizer", "ms per step as written", "folded", "times faster (median of ratios)"],
        rows,
    )


def main() -> None:
    """Print the tables."""
    show_steps()
    show_updates()


def show_steps() -> None:
    """The first table."""
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
