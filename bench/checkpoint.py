"""What gradient checkpointing saves and costs: a deep residual net, each block marked with `gc.checkpoint` or not."""

import json
import subprocess
import sys

from bench.table import show

BATCH, WIDTH, DEPTH, INNER = 8192, 256, 24, 4
STEPS = 3


def _measure(marked: bool) -> None:
    """Train some steps in this process; print the loss, the peak memory in MiB and the seconds per step."""
    import resource
    import time

    import numpy as np

    import graphc as gc
    from graphc import nn

    def block(h: gc.Tensor, k: int) -> gc.Tensor:
        a = h
        for j in range(INNER):
            a = gc.tanh(nn.Linear(WIDTH, name=f"block{k}.{j}")(a))
        return h + a

    x = gc.input("x", ("batch", WIDTH))
    h = x
    for k in range(DEPTH):
        h = (gc.checkpoint(block) if marked else block)(h, k)
    trainer = gc.Trainer(gc.mean(h * h), optimizer=gc.optim.SGD(1e-3))
    data = {"x": np.random.default_rng(0).standard_normal((BATCH, WIDTH)).astype(np.float32)}
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = trainer.train_step(data)["loss"]
    seconds = (time.perf_counter() - start) / STEPS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"loss": loss, "peak": peak, "seconds": seconds}))


def main() -> None:
    """Print the table; each form runs in a process of its own, whose peak memory it is."""
    found = {}
    for marked in (False, True):
        command = [sys.executable, "-c", f"from bench.checkpoint import _measure; _measure({marked})"]
        found[marked] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    plain, marked = found[False], found[True]
    if plain["loss"] != marked["loss"]:
        raise AssertionError(f"the losses differ: {plain['loss']} and {marked['loss']}")
    rows = [
        ["plain", f"{plain['peak']:.0f}", "1.00", "1.00"],
        [
            "each block checkpointed",
            f"{marked['peak']:.0f}",
            f"{marked['peak'] / plain['peak']:.2f}",
            f"{marked['seconds'] / plain['seconds']:.2f}",
        ],
    ]
    title = f"Gradient checkpointing: {DEPTH} residual blocks of {INNER} layers, width {WIDTH}, batch {BATCH}, SGD"
    show(title, ["form", "peak memory of the process, MiB", "ratio", "time ratio"], rows)
