"""What a training step costs: an MLP 784-512-512-10 on batches of 64, against the bare session and PyTorch.

A second table shows what the driver costs: the time of a step outside of onnxruntime, and what several steps in one
call and data that stay on the device win. A third shows what the update of the parameters costs, and what folding it
into the products of the gradients wins: processor time on one thread, which other programs disturb least.
"""

import contextlib
import functools
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import onnxruntime

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

BATCH, STEPS, REPEATS, THREADS = 64, 100, 15, 2
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


def bare_round(trainer: gc.Trainer, batch: dict[str, np.ndarray], steps: int) -> Round:
    """Milliseconds a step takes when its prepared session is run on one batch again, and nothing else is done.

    As in training, the state goes from one set of buffers to the other: always to read the same one is faster.
    """
    executor = trainer._executor
    feeds = {**batch, "learning_rate": np.float32(1e-3)}
    frame = executor.frame({name: np.shape(value) for name, value in feeds.items()})
    for name, source in frame.inputs.items():
        source.feed(np.asarray(feeds[name]))

    def run() -> float:
        start = time.perf_counter()
        for step in range(steps):
            executor.session.raw.run_with_iobinding(frame._bindings[step % 2])
        return (time.perf_counter() - start) / steps * 1e3

    return run


def loop_round(trainer: gc.Trainer) -> Round:
    """Milliseconds a step takes in a loop over the session alone: an epoch of shuffled rows, gathered and run."""
    executor = trainer._executor
    frame = executor.frame({"x": (BATCH, SIZES[0]), "y": (BATCH,), "learning_rate": ()})
    frame.inputs["learning_rate"].feed(np.asarray(1e-3, np.float32))
    first, second = frame.inputs["x"].buffer, frame.inputs["y"].buffer

    def run() -> float:
        start = time.perf_counter()
        order = RNG.permutation(len(X))
        for at in range(0, len(X), BATCH):
            rows = order[at : at + BATCH]
            np.take(X, rows, 0, out=first, mode="clip")
            np.take(Y, rows, 0, out=second, mode="clip")
            executor.session.raw.run_with_iobinding(frame._bindings[at // BATCH % 2])
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
    """The third table: gradients alone, and each optimizer as written and with its update folded."""
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


class Driven(NamedTuple):
    """A net to drive: its loss, its data, and how many rows make a batch."""

    loss: gc.Tensor
    data: dict[str, np.ndarray]
    batch: int


def exclusive_or() -> Driven:
    """A net 2-16-1 that learns the exclusive or."""
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    net = nn.Sequential(nn.Linear(16), nn.Tanh(), nn.Linear(1))
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    data = {"x": np.tile(points, (2000, 1)), "y": np.tile(np.float32([0, 1, 1, 0]), 2000)}
    return Driven(nn.binary_cross_entropy_with_logits(gc.squeeze(net(x), 1), y), data, 4)


def two_layers() -> Driven:
    """An MLP 64-64-10 on batches of 16."""
    x, y = gc.input("x", ("batch", 64)), gc.input("y", ("batch",), "int64")
    net = nn.Sequential(nn.Linear(64), nn.ReLU(), nn.Linear(10))
    data = {"x": RNG.normal(size=(16000, 64)).astype("float32"), "y": RNG.integers(0, 10, 16000)}
    return Driven(nn.cross_entropy(net(x), y), data, 16)


DRIVEN = {
    "2-16-1 (XOR), batch 4": exclusive_or,
    "64-64-10, batch 16": two_layers,
    "784-512-512-10, batch 64": lambda: Driven(model(), {"x": X, "y": Y}, BATCH),
}
FORMS = {
    "fit": {},
    "fit, resident": {"resident": True},
    "fit, 16 steps per call": {"steps_per_call": 16},
    "fit, 16 steps per call, resident": {"steps_per_call": 16, "resident": True},
}


@contextlib.contextmanager
def session_seconds() -> Iterator[list[float]]:
    """The sum of the seconds that calls of onnxruntime take inside the `with` block."""
    spent = [0.0]
    run = onnxruntime.InferenceSession.run_with_iobinding

    def timed(session, *arguments):
        start = time.perf_counter()
        run(session, *arguments)
        spent[0] += time.perf_counter() - start

    onnxruntime.InferenceSession.run_with_iobinding = timed
    try:
        yield spent
    finally:
        onnxruntime.InferenceSession.run_with_iobinding = run


def driver_rounds(net: Driven) -> dict[str, Callable[[], tuple[float, float]]]:
    """Microseconds of a step, and those of it inside of onnxruntime, of each form and of the bare session loop."""
    trainer = gc.Trainer(net.loss, optimizer=gc.optim.SGD(1e-2), device="cpu", options=RuntimeOptions(threads=THREADS))
    steps = len(net.data["y"]) // net.batch
    batch = {name: array[: net.batch] for name, array in net.data.items()}
    alone = bare_round(trainer, batch, steps)

    def timed(work):
        with session_seconds() as inside:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) / steps * 1e6, inside[0] / steps * 1e6

    def single():
        for _ in range(steps):
            trainer.train_step(batch)

    def fit(options):
        trainer.fit(net.data, batch_size=net.batch, verbose=False, **options)

    return {
        "the session alone": lambda: (alone() * 1e3,) * 2,
        "train_step": lambda: timed(single),
        **{name: functools.partial(timed, functools.partial(fit, options)) for name, options in FORMS.items()},
    }


def show_driver() -> None:
    """The second table."""
    rows = []
    for net, make in DRIVEN.items():
        rounds = driver_rounds(make())
        for run in rounds.values():
            run()  # warm up
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in rounds}
        for _ in range(REPEATS):
            for name, run in rounds.items():
                found[name].append(run())
        for name, times in found.items():
            whole = statistics.median(total for total, _ in times)
            outside = statistics.median(total - inside for total, inside in times)
            ratios = [t / b for (t, _), (b, _) in zip(times, found["the session alone"], strict=True)]
            figures = (f"{whole:.1f}", f"{1e6 / whole:,.0f}", f"{outside:.1f}", f"{statistics.median(ratios):.2f}")
            rows.append([net, name, *figures])
    show(
        f"What the driver costs, {THREADS} threads",
        ["net", "what", "µs per step", "steps/s", "of it outside of onnxruntime, µs", "times the session alone"],
        rows,
    )


def main() -> None:
    """Print the tables."""
    show_steps()
    show_driver()
    show_updates()


def show_steps() -> None:
    """The first table."""
    rows = []
    for optimizer in OPTIMIZERS:
        fit, trainer = trainer_round(optimizer)
        alone = bare_round(trainer, {"x": X[:BATCH], "y": Y[:BATCH]}, STEPS)
        rounds = {"Trainer.fit": fit, "a loop over the session": loop_round(trainer), "the session alone": alone}
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
