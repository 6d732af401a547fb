"""Models that PyTorch exports, by both of its exporters: their gradients and their training are PyTorch's."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.node import Tensor

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from torch_models import EXAMPLES, SIZES, build, torch_loss  # noqa: E402

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]

EXPORTERS = ["torchscript", "dynamo"]
OPTIMIZERS = {
    "SGD": (lambda: gc.optim.Momentum(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "Adam": (lambda: gc.optim.Adam(5e-3), lambda p: torch.optim.Adam(p, 5e-3)),
}
RTOL = 1e-4


@functools.cache
def exported(name: str, exporter: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The model as written, whose initializers bear PyTorch's names, and as the exporter optimizes it by default."""
    example = EXAMPLES[name]
    model = build(name).eval()
    x = (torch.tensor(example.batch(np.random.default_rng(0), SIZES[0])["x"]),)
    opened = {axis: d for axis, d in enumerate(example.shape) if isinstance(d, str)}
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["outputs"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about deprecations inside of it
        if exporter == "dynamo":
            program = torch.onnx.export(
                model, x, dynamo=True, optimize=False, dynamic_shapes=(opened,), verbose=False, **options
            )
            plain = onnx.load_from_string(program.model_proto.SerializeToString())
            program.optimize()
            return plain, program.model_proto
        files = io.BytesIO(), io.BytesIO()
        for file, fold in zip(files, (False, True), strict=True):
            torch.onnx.export(
                model, x, file, dynamo=False, do_constant_folding=fold, dynamic_axes={"x": opened}, **options
            )
        return onnx.load_from_string(files[0].getvalue()), onnx.load_from_string(files[1].getvalue())


def loss_of(model: gc.Model) -> Tensor:
    outputs = model.outputs["outputs"]
    if outputs.ndim == 4:
        return nn.mse_loss(outputs, gc.input("y", outputs.shape))
    return nn.cross_entropy(outputs, gc.input("y", outputs.shape[:1], "int64"))


def assert_close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * scale, err_msg=what)


def batches(name: str) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    fixed = [EXAMPLES[name].batch(rng, sizes) for sizes in SIZES]
    return (fixed[step % 2] for step in range(20))


def torch_gradients(name: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = build(name).eval()
    torch_loss(model(torch.tensor(batch["x"])), batch["y"]).backward()
    return {n: p.grad.numpy() for n, p in model.named_parameters()}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_of_all_parameters_equal_pytorchs_at_every_size(name: str, exporter: str) -> None:
    model = gc.load(exported(name, exporter)[0])
    assert set(model.graph.trainable) == {n for n, _ in build(name).named_parameters()}
    parameters = model.graph.trainable
    compute = gc.compile(gc.grad(loss_of(model), list(parameters.values())), state=model.state)
    for sizes in SIZES:
        batch = EXAMPLES[name].batch(np.random.default_rng(2), sizes)
        expected = torch_gradients(name, batch)
        for parameter, gradient in zip(parameters, compute(batch), strict=True):
            assert_close(gradient, expected[parameter], parameter)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_open_sizes_stay_open_in_the_gradient(name: str, exporter: str) -> None:
    model = gc.load(exported(name, exporter)[0])
    x = model.inputs["x"]
    assert [str(d) for d in x.shape] == [str(d) for d in EXAMPLES[name].shape]
    assert model.outputs["outputs"].shape[0] == x.shape[0]
    if EXAMPLES[name].floats:
        assert gc.grad(loss_of(model), x).type == x.type


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_models_optimized_by_the_exporter_have_the_same_gradients(name: str, exporter: str) -> None:
    """In the parameters that kept their names and values: others are folded."""
    model = gc.load(exported(name, exporter)[1])
    batch = EXAMPLES[name].batch(np.random.default_rng(3), SIZES[1])
    expected = torch_gradients(name, batch)
    values = {n: p.detach().numpy() for n, p in build(name).named_parameters()}
    kept = {n: t for n, t in model.graph.trainable.items() if np.array_equal(model.state[n], values.get(n, np.nan))}
    assert kept
    found = gc.evaluate(gc.grad(loss_of(model), list(kept.values())), batch, state=model.state)
    for parameter, gradient in zip(kept, found, strict=True):
        assert_close(gradient, expected[parameter], parameter)


def train_as_pytorch_does(model: gc.Model, theirs: Any, name: str, optimizer: str) -> gc.Trainer:
    """Train both on the same batches, and compare the losses; our trainer after that."""
    ours_of, theirs_of = OPTIMIZERS[optimizer]
    options = gc.RuntimeOptions(threads=1)
    trainer = gc.Trainer(loss_of(model), optimizer=ours_of(), state=model.state, device="cpu", options=options)
    update = theirs_of(theirs.parameters())
    found, expected = [], []
    for batch in batches(name):
        found.append(trainer.train_step(batch)["loss"])
        update.zero_grad()
        loss = torch_loss(theirs(torch.tensor(batch["x"])), batch["y"])
        loss.backward()
        update.step()
        expected.append(loss.item())
    np.testing.assert_allclose(found, expected, rtol=RTOL)
    assert expected[-1] < expected[1]
    return trainer


@pytest.mark.parametrize(
    ("exporter", "optimizer"),
    [
        ("torchscript", "SGD"),
        ("dynamo", "Adam"),
        pytest.param("torchscript", "Adam", marks=pytest.mark.nightly),
        pytest.param("dynamo", "SGD", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("name", EXAMPLES)
def test_training_follows_pytorchs_losses(name: str, exporter: str, optimizer: str) -> None:
    train_as_pytorch_does(gc.load(exported(name, exporter)[0]), build(name).eval(), name, optimizer)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_batch_norm_trains_with_statistics_of_the_batch_as_pytorchs(exporter: str) -> None:
    theirs = build("convnet").train()
    model = gc.load(exported("convnet", exporter)[0]).training()
    state = train_as_pytorch_does(model, theirs, "convnet", "SGD").state
    statistics = {n: b.numpy() for n, b in theirs.named_buffers() if n.endswith(("running_mean", "running_var"))}
    for buffer, expected in statistics.items():
        assert_close(state[buffer], expected, buffer)
