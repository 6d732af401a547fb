"""RNN, LSTM and GRU: the decomposition against onnxruntime's kernels, the gradient against finite differences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DifferentiationError
from graphc.ir.build import apply
from graphc.ir.graph import leaves
from graphc.ir.node import Node, Tensor
from passes.vjp.recurrent import lower

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
DIRECTIONS = ("forward", "reverse", "bidirectional")
STEPS, BATCH, INPUT, HIDDEN = 4, 3, 2, 3
STATES = ("hidden", "cell")


def layer(op: str, *optional: str, dtype: str = "float32", steps: int = STEPS, **attrs: Any) -> tuple[Node, Any]:
    """A layer with some of bias, lengths, hidden, cell, peephole, and values for its inputs."""
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    gates = GATES[op] * HIDDEN
    batch_first = attrs.get("layout", 0)
    state = ((BATCH, directions, HIDDEN), ("batch", directions, HIDDEN))
    state = state if batch_first else tuple((s[1], s[0], s[2]) for s in state)  # type: ignore[assignment]
    lead = ((BATCH, steps), ("batch", "steps")) if batch_first else ((steps, BATCH), ("steps", "batch"))
    shapes: dict[str, Any] = {
        "x": ((*lead[0], INPUT), (*lead[1], INPUT)),
        "w": ((directions, gates, INPUT),) * 2,
        "r": ((directions, gates, HIDDEN),) * 2,
        "bias": ((directions, 2 * gates),) * 2,
        "lengths": ((BATCH,), ("batch",)),
        "hidden": state,
        "cell": state,
        "peephole": ((directions, 3 * HIDDEN),) * 2,
    }
    rng = np.random.default_rng(1)
    inputs: list[Tensor | None] = []
    feeds: dict[str, Any] = {}
    for name in list(shapes)[: None if op == "LSTM" else 6]:
        shape, declared = shapes[name]
        given = name in ("x", "w", "r", *optional)
        kind = "int32" if name == "lengths" else dtype
        inputs.append(gc.input(name, declared, kind) if given else None)
        value = (0.5 * rng.normal(size=shape)).astype(dtype)
        if given:
            feeds[name] = np.array([0, steps, 2][:BATCH], np.int32) if name == "lengths" else value
    while inputs[-1] is None:
        inputs.pop()
    return apply(op, inputs, {"hidden_size": HIDDEN, **attrs}), feeds


def options(op: str) -> list[tuple[str, ...]]:
    cell = ("hidden", "cell") if op == "LSTM" else ("hidden",)
    return [(), ("bias", *cell), ("lengths",), ("bias", "lengths", *cell)]


def variants(op: str) -> list[dict[str, Any]]:
    more = {
        "RNN": [{}],
        "GRU": [{}, {"linear_before_reset": 1}],
        "LSTM": [{}, {"input_forget": 1}, {"peephole": 1}],
    }[op]
    return [v | clip for v in more for clip in ({}, {"clip": 0.5})]


GRID = [
    pytest.param(op, chosen, v, d, id=f"{op}-{d}-{'+'.join(chosen) or 'plain'}-{'+'.join(v) or 'standard'}")
    for op in GATES
    for chosen, v, d in itertools.product(options(op), variants(op), DIRECTIONS)
]


def built(op: str, chosen: tuple[str, ...], variant: dict[str, Any], direction: str, **more: Any) -> tuple[Node, Any]:
    attrs = {k: v for k, v in variant.items() if k != "peephole"}
    return layer(op, *chosen, *(["peephole"] if "peephole" in variant else []), direction=direction, **attrs, **more)


@pytest.mark.parametrize(("op", "chosen", "variant", "direction"), GRID)
def test_decomposition_computes_what_the_operator_computes(
    op: str, chosen: tuple[str, ...], variant: dict[str, Any], direction: str
) -> None:
    node, feeds = built(op, chosen, variant, direction)
    for found, expected in zip(gc.evaluate(lower(node), feeds), gc.evaluate([*node.outputs], feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


TAKES_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
TAKES_BETA = ("Affine", "ScaledTanh", "HardSigmoid")


@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("name", [*TAKES_ALPHA, "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"])
def test_every_activation_of_onnxruntime_is_decomposed(op: str, name: str, parameters: bool) -> None:
    others = ["HardSigmoid", "Tanh", "LeakyRelu"]
    for place in range(ACTIVATIONS[op]):
        names = others[: ACTIVATIONS[op]]
        names[place] = name
        names += names[::-1]
        attrs: dict[str, Any] = {}
        if parameters:  # each activation that takes one takes the next
            for key, takers in (("activation_alpha", TAKES_ALPHA), ("activation_beta", TAKES_BETA)):
                count = sum(n in takers for n in names)
                attrs[key] = [round(0.15 + 0.1 * i, 2) for i in range(count)]
        node, feeds = layer(op, "bias", direction="bidirectional", activations=names, **attrs)
        for found, expected in zip(gc.evaluate(lower(node), feeds), gc.evaluate([*node.outputs], feeds), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_an_activation_that_does_not_exist_is_refused_with_those_that_do() -> None:
    node, _ = layer("GRU", activations=["Sigmoid", "Swish"])
    with pytest.raises(
        DifferentiationError,
        match=r"GRU \[test_recurrent.py:\d+\] has the activations Sigmoid, Swish; expected 2 of affine, elu",
    ):
        gc.grad(node.out().sum(), node.inputs[1])
    node, _ = layer("LSTM", activations=["Sigmoid", "Tanh"])
    with pytest.raises(DifferentiationError, match="has the activations Sigmoid, Tanh; expected 3"):
        gc.grad(node.out().sum(), node.inputs[1])


CHECKED = [p for i, p in enumerate(GRID) if i % 5 == 0]


@pytest.mark.parametrize(("op", "chosen", "variant", "direction"), CHECKED)
def test_gradient_agrees_with_finite_differences(
    op: str, chosen: tuple[str, ...], variant: dict[str, Any], direction: str
) -> None:
    node, feeds = built(op, chosen, variant, direction, dtype="float64")
    order = 2 if direction == "bidirectional" else 1
    gc.testing.check_grads(
        node.outputs, feeds={k: v * (0.4 if v.dtype.kind == "f" else 1) for k, v in feeds.items()}, order=order
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("last", [False, True])
def test_gradient_of_the_operator_is_that_of_its_decomposition(op: str, last: bool) -> None:
    """In onnxruntime, where hidden states are read off the fused operator, for the stacked and the last states."""
    chosen = ("bias", "lengths", "hidden", *(["cell", "peephole"] if op == "LSTM" else []))
    node, feeds = layer(op, *chosen, direction="bidirectional")
    wrt = [t for t in leaves(node.outputs) if t.dtype.is_float]
    pick = slice(1, None) if last else slice(0, 1)
    loss, same = (
        sum(((t * t).sum() for t in outputs[pick]), start=gc.constant(0.0)) for outputs in (node.outputs, lower(node))
    )
    found = gc.evaluate(gc.grad(loss, wrt), feeds)
    expected = gc.evaluate(gc.grad(same, wrt), feeds)
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_gradient_of_a_layer_with_the_batch_first(op: str) -> None:
    chosen = ("lengths", "hidden", *(["cell"] if op == "LSTM" else []))
    node, feeds = layer(op, *chosen, direction="bidirectional", layout=1, dtype="float64")
    assert lower(node)[0].shape == node.out().shape
    gc.testing.check_grads(node.outputs, feeds=feeds)


@pytest.mark.parametrize("op", GATES)
def test_one_gradient_graph_serves_all_lengths_and_batches(op: str) -> None:
    node, _ = layer(op, "bias")
    wrt = [t for t in leaves([node.out()]) if t.dtype.is_float]
    compiled = gc.compile(gc.grad((node.out() * node.out()).sum(), wrt))
    reference = gc.compile(gc.grad((lower(node)[0] * lower(node)[0]).sum(), wrt))
    for steps in (1, 6):
        _, feeds = layer(op, "bias", steps=steps)
        for g, e in zip(compiled(feeds), reference(feeds), strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)


def test_stacked_layers_train_as_loops_and_differentiate_with_their_fused_operators() -> None:
    x, y = gc.input("x", ("batch", "steps", INPUT)), gc.input("y", ("batch", HIDDEN))
    rng = np.random.default_rng(0)

    def weights(name: str, gates: int, size: int) -> list[Tensor]:
        shapes = [(1, gates * HIDDEN, size), (1, gates * HIDDEN, HIDDEN), (1, 2 * gates * HIDDEN)]
        values = [(0.3 * rng.normal(size=s)).astype(np.float32) for s in shapes]
        return [gc.parameter(f"{name}.{k}", v.shape, v) for k, v in zip("wrb", values, strict=True)]

    first, *_ = gc.op.LSTM(gc.transpose(x, (1, 0, 2)), *weights("one", 4, INPUT), hidden_size=HIDDEN, outputs=3)
    _, last = gc.op.GRU(gc.squeeze(first, 1), *weights("two", 3, HIDDEN), hidden_size=HIDDEN, outputs=2)
    loss = gc.square(gc.squeeze(last, 0) - y).mean()
    counts = gc.train_step(loss, optimizer=gc.optim.SGD(0.5), passes=[]).graph.operators()
    assert (counts["LSTM"], counts["GRU"]) == (1, 1)
    counts = gc.train_step(loss, optimizer=gc.optim.SGD(0.5)).graph.operators()
    assert ("LSTM" in counts, "GRU" in counts, counts["Scan"]) == (False, False, 4)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.05))
    data = {"x": rng.normal(size=(16, 5, INPUT)).astype(np.float32)}
    data["y"] = np.tanh(data["x"][:, -1, :1] * np.array([[1.0, -1.0, 0.5]], np.float32))
    history = trainer.fit(data, batch_size=16, epochs=60)
    assert history["loss"][-1] < 0.05 * history["loss"][0]


@pytest.mark.parametrize("op", GATES)
def test_float16_gradient_runs_and_is_close(op: str) -> None:
    found, expected = [], []
    for dtype, results in (("float16", found), ("float32", expected)):
        node, feeds = layer(op, "bias", "lengths", dtype=dtype)
        wrt = [t for t in leaves([node.out()]) if t.dtype.is_float]
        half = {k: v if v.dtype.kind == "i" else v.astype(np.float16).astype(dtype) for k, v in feeds.items()}
        results += gc.evaluate(gc.grad(node.out().sum(), wrt), half)
    for g, e in zip(found, expected, strict=True):
        assert g.dtype == np.float16
        np.testing.assert_allclose(g, e, rtol=2e-2, atol=2e-2)


def test_the_backward_graph_has_one_scan_per_direction_and_one_more_for_the_cells_of_an_lstm() -> None:
    for op, scans in (("RNN", 1), ("GRU", 1), ("LSTM", 2)):
        node, _ = layer(op, "bias")
        g = gc.graph(gc.grad(node.out().sum(), [t for t in node.inputs[1:] if t is not None]))
        assert g.count("Scan") == scans
        assert g.count(op) == 1
        reverse = g.find("Scan")[-1].attrs["body"]
        assert reverse.count("MatMul") == {"RNN": 1, "LSTM": 1, "GRU": 3}[op]
