"""Training steps to run elsewhere: exported, with batches to feed and the losses that graphc's own trainer has."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import graphc as gc
from graphc import nn

STEPS = 100
CLASSES = 5


def perceptron() -> tuple[gc.Tensor, gc.Tensor]:
    """Dense layers alone."""
    x = gc.input("x", ("batch", 12))
    return x, nn.Sequential(nn.Linear(24), nn.GELU(), nn.Linear(CLASSES), name="mlp")(x)


def dropout() -> tuple[gc.Tensor, gc.Tensor]:
    """Masks are drawn by integer arithmetic of 64 bits on the state `seed` and `step`."""
    x = gc.input("x", ("batch", 12))
    return x, nn.Sequential(nn.Linear(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(CLASSES), name="mlp")(x)


def convnet() -> tuple[gc.Tensor, gc.Tensor]:
    """Batch normalization advances running statistics; strided convolution and pooling have gradients of many forms."""
    x = gc.input("x", ("batch", 2, 8, 8))
    layers = [nn.Conv2d(6, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 3, stride=2, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return x, nn.Sequential(*layers, nn.Linear(CLASSES), name="convnet")(x)


def transformer() -> tuple[gc.Tensor, gc.Tensor]:
    """Attention, layer normalization and an embedding, whose gradient is scattered."""
    x = gc.input("x", ("batch", "length"), "int64")
    embedded = nn.Embedding(20, 12, name="embedding")(x)
    encoded = nn.TransformerEncoderLayer(12, 3, 24, dropout=0.0, batch_first=True, name="layer")(embedded)
    return x, nn.Linear(CLASSES, name="head")(gc.mean(encoded, axis=1))


class Kind(NamedTuple):
    build: Callable[[], tuple[gc.Tensor, gc.Tensor]]
    optimizer: Callable[[], gc.optim.Optimizer]
    schedule_updates: int | None = None


KINDS = {
    "perceptron": Kind(perceptron, lambda: gc.optim.Adam(5e-3)),
    "dropout": Kind(dropout, lambda: gc.optim.Adam(5e-3)),
    "convnet": Kind(
        convnet, lambda: gc.optim.Momentum(gc.optim.schedule.Cosine(0.05, STEPS), momentum=0.9), schedule_updates=STEPS
    ),
    "transformer": Kind(transformer, lambda: gc.optim.AdamW(3e-3)),
}


class Exported(NamedTuple):
    """`batches` are fed in turn, the learning rate among them where the file has none; `losses` are what to expect."""

    path: Path
    batches: list[dict[str, np.ndarray]]
    losses: list[float]


def export(kind: str, folder: Path) -> Exported:
    """Export a step into `folder`, as `step.onnx`, and train as it should."""
    build, make_optimizer, schedule_updates = KINDS[kind]
    x, logits = build()
    y = gc.input("y", ("batch",), "int64")
    optimizer = make_optimizer()
    options = gc.RuntimeOptions(threads=1)
    trainer = gc.Trainer(nn.cross_entropy(logits, y), optimizer=optimizer, seed=3, device="cpu", options=options)
    path = folder / "step.onnx"
    gc.export_step(trainer, path, schedule_updates=schedule_updates)
    rng = np.random.default_rng(0)
    batches = [_batch(x, size, rng) for size in (16, 16, 9)]
    losses = [trainer.train_step(batches[step % len(batches)])["loss"] for step in range(STEPS)]
    if schedule_updates is None:
        rate = np.float32(optimizer.learning_rate)
        batches = [{**batch, "learning_rate": np.array(rate)} for batch in batches]
    return Exported(path, batches, losses)


def _batch(x: gc.Tensor, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs, and labels that can be told from them."""
    shape = [d if isinstance(d, int) else {"batch": size, "length": 7}[str(d)] for d in x.shape]
    if x.dtype.is_float:
        values = rng.standard_normal(shape).astype(np.float32)
        score = values.reshape(size, -1)[:, 0]
        return {"x": values, "y": np.digitize(score, [-0.8, -0.2, 0.2, 0.8])}
    values = rng.integers(0, 20, shape)
    return {"x": values, "y": values[:, 0] % CLASSES}


def write_batches(exported: Exported) -> None:
    """Put the batches beside the step as `batches.json`, for what is not Python."""
    described = [
        {name: {"type": str(a.dtype), "dims": a.shape, "data": a.ravel().tolist()} for name, a in batch.items()}
        for batch in exported.batches
    ]
    (exported.path.parent / "batches.json").write_text(json.dumps({"batches": described, "steps": STEPS}))


@functools.cache
def shared(kind: str, folder: Path) -> Exported:
    """The export of that kind, made once in each process."""
    target = folder / kind
    target.mkdir()
    exported = export(kind, target)
    write_batches(exported)
    return exported


def assert_same_curve(found: list[float], exported: Exported, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(found, exported.losses, rtol=rtol)
    assert np.mean(exported.losses[-3:]) < 0.7 * np.mean(exported.losses[:3])
