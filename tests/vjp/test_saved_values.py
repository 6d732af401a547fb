"""What loops keep of their steps for their gradients, and how products by matrices are gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.loops import merge_loops
from passes.vjp import reverse
from passes.vjp.recurrent import lower
from runtimes.testing import check_grads

SHAPES: dict[str, tuple[Any, ...]] = {"x": ("T", 4, 2), "h": (4, 2), "c": (4, 2), "w": (4, 4)}
X, H, C, W = (gc.input(name, shape, "float64") for name, shape in SHAPES.items())


def loops(outputs: list[Tensor], wrt: list[Tensor]) -> list[Node]:
    """The forward and the reverse Scan of the gradients of the outputs' squares, merged with what computes these."""
    loss = gc.sum(gc.concat([gc.reshape(t * t, (-1,)) for t in outputs]))
    return merge_loops(gc.graph([*outputs, *gc.grad(loss, wrt)])).find("Scan")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of any size count as large."""
    monkeypatch.setattr(reverse, "_SMALL", 1)


def layer(op: str, gates: int, **attrs: Any) -> tuple[list[Tensor], list[Tensor], dict[str, Any]]:
    """The outputs of a layer written as Scans, its inputs that have gradients, and values for all of them."""
    rng = np.random.default_rng(0)
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    shapes = {"x": (4, 2, 2), "w": (directions, 3 * gates, 2), "r": (directions, 3 * gates, 3)}
    shapes["b"] = (directions, 6 * gates)
    inputs = [gc.input(name, shape, "float64") for name, shape in shapes.items()]
    feeds: dict[str, Any] = {name: 0.4 * rng.normal(size=shape) for name, shape in shapes.items()}
    lengths = [gc.input("lengths", (2,), "int32")] if attrs.pop("lengths", False) else []
    node = apply(op, [*inputs, *lengths], {"hidden_size": 3, **attrs})
    return lower(node), inputs, feeds | ({"lengths": np.array([4, 2], np.int32)} if lengths else {})


@pytest.mark.usefixtures("large")
def test_what_does_not_wait_for_cotangents_is_computed_on_the_way_forward() -> None:
    outputs, wrt, _ = layer("LSTM", 4)
    forward, backward = loops(outputs[:1], wrt)
    assert backward.attrs["body"].operators() == {"Add": 2, "Mul": 3, "Concat": 1, "MatMul": 1}
    assert [t.shape[1:] for t in forward.outputs[2:]] == [(3, 2), (3, 2), (12, 2), (3, 2)]


def test_small_steps_save_what_they_compute_anyway() -> None:
    outputs, wrt, _ = layer("LSTM", 4)
    forward, backward = loops(outputs[:1], wrt)
    assert forward.attrs["body"].count("Sub") == 0
    assert backward.attrs["body"].count("Sub") > 0


@pytest.mark.usefixtures("large")
def test_what_a_loop_stacks_anyway_is_not_saved_in_another_form() -> None:
    last, stacked = gc.scan(lambda h, v: ((n := gc.tanh(W @ h + v)), n), H, X)
    forward, _ = loops([last, stacked], [H, W, X])
    assert len(forward.outputs) == 2


@pytest.mark.usefixtures("large")
def test_values_are_saved_rather_than_more_that_is_computed_of_them() -> None:
    last, _ = gc.scan(lambda h, v: (C * gc.tanh(h + v), None), H, X)
    forward, backward = loops([last], [H, C, X])
    assert [t.op for t in forward.attrs["body"].outputs] == ["Mul", "Tanh"]
    assert backward.attrs["body"].count("Tanh") == 0


@pytest.mark.usefixtures("large")
def test_what_a_loop_stacks_along_another_axis_is_saved_once_more() -> None:
    last, stacked = gc.scan(lambda h, v: ((n := gc.tanh(h + v)), n), H, X)
    (node,) = gc.graph(last).find("Scan")
    last, stacked = apply("Scan", node.inputs, {**node.attrs, "scan_output_axes": [1]}).outputs
    forward, _ = loops([last, stacked], [H, X])
    assert forward.attrs["body"].count("Sub") == 1  # in the form that the gradient reads
    check_grads([last, stacked], [H, X])


@pytest.mark.usefixtures("large")
def test_what_has_another_length_in_each_step_is_computed_again() -> None:
    h, x = gc.input("h", (4, 20), "float64"), gc.input("x", ("T", 4, 20), "float64")

    def step(h: Tensor, v: Tensor) -> tuple[Tensor, None]:
        chosen = gc.op.Compress(gc.sin(h), gc.reshape(v, (-1,)) > 0.0)
        gates = gc.sin(h) * gc.cos(h) * gc.tanh(h) * gc.sigmoid(h)  # less to save in the form that gradients read
        return gates * gc.sum(gc.sin(chosen) * chosen) + v, None

    last, _ = gc.scan(step, h, x)
    check_grads(last, [h, x], {"x": np.random.default_rng(0).normal(size=(3, 4, 20))})


VARIANTS = [
    ("RNN", 1, {}),
    ("GRU", 3, {}),
    ("GRU", 3, {"linear_before_reset": 1}),
    ("LSTM", 4, {}),
    ("LSTM", 4, {"input_forget": 1}),
    ("LSTM", 4, {"clip": 0.5}),
]


@pytest.mark.parametrize("lengths", [False, True], ids=["all", "lengths"])
@pytest.mark.parametrize(
    ("op", "gates", "attrs"), VARIANTS, ids=lambda v: "-".join(v) if isinstance(v, dict) else str(v)
)
def test_layers_have_the_same_gradients_whatever_is_saved(
    op: str, gates: int, attrs: dict[str, Any], lengths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for small in (1, 10**9):
        monkeypatch.setattr(reverse, "_SMALL", small)
        outputs, wrt, feeds = layer(op, gates, direction="bidirectional", lengths=lengths, **attrs)
        found.append(
            gc.evaluate(gc.grad(sum(((t * t).sum() for t in outputs), start=gc.constant(0.0, "float64")), wrt), feeds)
        )
    for g, e in zip(*found, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reverse_order", [False, True])
def test_gradients_of_a_matrix_before_a_state_and_a_slice_are_products_of_all_steps(reverse_order: bool) -> None:
    u = gc.input("u", (4, 4), "float64")
    last, stacked = gc.scan(lambda h, v: ((n := gc.tanh(W @ h + u @ v)), n), H, X, reverse=reverse_order)
    _, backward = loops([last, stacked], [H, W, X, u])
    body = backward.attrs["body"]
    assert body.count("MatMul") == 1
    assert body.count("ReduceSum") == 0
    assert len(body.outputs) == 3  # the cotangent of the state, and those of both products
    assert gc.graph(gc.grad(stacked.sum(), [W, u])).count("ReduceSum") == 0
    check_grads([last, stacked], [H, W, X, u], order=2)


def test_gradient_of_a_matrix_before_a_state_of_several_matrices() -> None:
    h, x = gc.input("h", (3, 4, 2), "float64"), gc.input("x", ("T", 3, 4, 2), "float64")
    last, _ = gc.scan(lambda h, v: (gc.tanh(W @ h + v), None), h, x)
    assert loops([last], [W])[-1].attrs["body"].count("ReduceSum") == 0
    check_grads(last, [h, W, x])


def test_gradient_of_a_matrix_before_a_batch_of_matrices_is_one_product() -> None:
    x, w = gc.input("x", ("s", "T", 4, "b"), "float64"), gc.input("w", (5, 4), "float64")
    product = w @ x
    g = gc.graph(gc.grad((product * product).sum(), w))
    assert g.count("ReduceSum") == 0
    assert g.find("MatMul")[-1].out().shape == (5, 4)
    check_grads(product, [w, x], order=2)
