"""The demonstration: a network learns to read handwritten digits; its exported files prove to do what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import graphc as gc
from graphc import nn
from graphc.errors import ExportError, UnavailableError, VerificationError
from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from runtimes.export import export
from runtimes.export_step import export_step
from runtimes.session import Device, Session
from runtimes.state import load_state
from runtimes.trainer import Trainer

__all__ = ["REQUIRED_ACCURACY", "demo"]

REQUIRED_ACCURACY = 0.97

_TOLERANCE = 1e-6
_BATCH = 32
_SEED = 0


def demo(folder: Path, device: Device, epochs: int, say: Callable[[str], None]) -> None:
    """Train on scikit-learn's 1,797 digits, test on a held-out fifth, export to `folder`, check the files.

    `say` gets lines for the user. Raises UnavailableError when a package is missing, VerificationError when the
    accuracy is below 97 % or a file does not do what the trainer does, ExportError when `folder` cannot be written.
    """
    began = time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    train, test = _digits()
    x = gc.input("x", ("batch", 64))
    y = gc.input("y", ("batch",), dtype="int64")
    logits = nn.Sequential(nn.Linear(256), nn.ReLU(), nn.Linear(10), name="mlp")(x)
    metrics = {"accuracy": gc.metrics.accuracy(logits, y)}
    loss = nn.cross_entropy(logits, y)
    trainer = Trainer(loss, optimizer=gc.optim.Adam(2e-3), metrics=metrics, seed=_SEED, device=device)
    count = sum(value.size for value in trainer.parameters.values())
    say(
        f"{len(train['x'])} digits to learn from, {len(test['x'])} held out; {count:,} parameters; "
        f"running on {_device_name(trainer.device)}"
    )
    trainer.fit(train, batch_size=_BATCH, epochs=epochs, validation=test, verbose=True)
    accuracy = trainer.evaluate(test)["accuracy"]
    say(f"accuracy on the held-out digits: {accuracy:.2%}")

    model, step = folder / "digits.onnx", folder / "digits_step.onnx"
    export(logits.named("logits"), model, trainer.state, verify=True)
    export_step(trainer, step)
    difference = _check_model(model, trainer, logits, test)
    say(f"{model}: the model; a fresh session predicts what the trainer predicts (largest difference {difference:.1g})")
    difference = _check_step(step, trainer, {name: array[:_BATCH] for name, array in train.items()})
    say(f"{step}: the training step; one step of it is one step of the trainer (largest difference {difference:.1g})")
    say(f"{step.with_suffix('.safetensors')}: the state that the step goes on from")
    if accuracy < REQUIRED_ACCURACY:
        raise VerificationError(f"the accuracy is {accuracy:.2%}; expected {REQUIRED_ACCURACY:.0%} or more")
    say(f"all checks passed on {_device_name(trainer.device)} in {time.perf_counter() - began:.1f} s")


def _digits() -> tuple[dict[str, Array], dict[str, Array]]:
    """Images scaled to [0, 1] and labels, as data to train on and a held-out fifth."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UnavailableError(
            'the demo needs the digits of scikit-learn. Install it with: pip install "graphc[demo]"'
        ) from error
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SEED).permutation(len(images))
    data = {"x": (images[order] / 16.0).astype(np.float32), "y": labels[order].astype(np.int64)}
    cut = len(images) // 5
    return {name: a[cut:] for name, a in data.items()}, {name: a[:cut] for name, a in data.items()}


def _device(trainer: Trainer) -> Device:
    return "cuda" if trainer.device == "cuda" else "cpu"


def _device_name(device: str) -> str:
    return {"cpu": "the CPU", "cuda": "the GPU (CUDA)"}[device]


def _check_model(path: Path, trainer: Trainer, logits: Tensor, data: Mapping[str, Array]) -> float:
    """The largest difference between the file's logits and the trainer's."""
    (found,) = Session(path, device=_device(trainer)).run({"x": data["x"]})
    expected = trainer.predict(logits, data, batch_size=None)
    if not np.array_equal(found.argmax(axis=1), expected.argmax(axis=1)):
        raise VerificationError(f"{path}: predictions differ from the trainer's")
    return _largest_difference(path, {"logits": found}, {"logits": expected})


def _check_step(path: Path, trainer: Trainer, batch: Mapping[str, Array]) -> float:
    """The largest difference between one step of the file and one step of the trainer, in loss and state."""
    session = Session(path, device=_device(trainer))
    state = load_state(path.with_suffix(".safetensors"), trainer.step.graph)
    rate = np.array(trainer.optimizer.learning_rate, np.float32)
    results = session.run({**batch, "learning_rate": rate, **state})
    found = dict(zip(session.output_names, results, strict=True))
    logs = trainer.train_step(batch)
    expected = {f"{name}.next": value for name, value in trainer.state.items()}
    expected |= {name: np.array(value) for name, value in logs.items()}
    return _largest_difference(path, found, expected)


def _largest_difference(path: Path, found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    largest = 0.0
    for name, value in expected.items():
        error = np.abs(found[name].astype(np.float64) - value.astype(np.float64)).max(initial=0.0)
        scale = max(1.0, np.abs(value.astype(np.float64)).max(initial=0.0))
        if not error <= _TOLERANCE * scale:
            raise VerificationError(f"{path}: {name} differs from the trainer's by {error:.3g}")
        largest = max(largest, float(error))
    return largest
