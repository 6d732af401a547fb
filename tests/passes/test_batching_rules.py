"""Every batching rule, alone and in the gradient of its operator, against a loop over the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from batching_cases import BATCH, CASES, Case
from running import REPRESENTATIVE, Runner, compiled, is_double, widest_dtype
from vjp_cases import CASES as VJP_CASES
from vjp_cases import Case as VjpCase

import graphc as gc
from graphc.ir.graph import topological
from graphc.ir.types import TensorType
from passes.batching import rules

# Measured worst relative error: 2e-15 in float64, 3e-6 in float32 (sums in another order).
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}


def assert_batched_equals_loop(
    inputs: Sequence[gc.Tensor],
    outputs: Sequence[gc.Tensor],
    values: Sequence[Any],
    variants: Sequence[tuple[tuple[int, ...], int | str]],
    one: Runner,
) -> None:
    """vmap of `outputs` over each variant's inputs == the outputs for one element after the other, stacked.

    A variant is which inputs have a batch axis, and its declared size. `one` computes the outputs for one element.
    """
    results: dict[str, gc.Tensor] = {}
    feeds = {str(t.name): v[0] for t, v in zip(inputs, values, strict=True)}
    for v, (chosen, size) in enumerate(variants):
        batch = {
            inputs[p]: gc.input(f"{inputs[p].name}.{v}", (size, *inputs[p].shape), inputs[p].dtype) for p in chosen
        }
        feeds |= {f"{inputs[p].name}.{v}": values[p] for p in chosen}
        results |= {f"{v}.{i}": t for i, t in enumerate(gc.vmap(outputs, batch))}
    batched = compiled(results, reference=one.reference)(feeds)
    tolerance = TOLERANCE["float64" if is_double(outputs) else "float32"]
    for v, (chosen, _) in enumerate(variants):
        each = [
            one({str(t.name): values[p][b if p in chosen else 0] for p, t in enumerate(inputs)}) for b in range(BATCH)
        ]
        for i in range(len(outputs)):
            found, expected = batched[f"{v}.{i}"], np.stack([e[i] for e in each])
            assert found.shape == expected.shape, f"inputs {chosen}, output {i}"
            assert found.dtype == expected.dtype
            where = f"inputs {chosen}, output {i}"
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=where)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_batched_operator_equals_a_loop(case: Case) -> None:
    inputs = case.inputs()
    outputs = case.outputs(inputs)
    assert any(node.op == case.op for node in topological(outputs)), "the case does not hold its operator"
    every = case.variants()
    variants = [(every[-1], BATCH), *([] if case.static else [(chosen, "B") for chosen in every])]
    one = compiled(outputs, reference=case.reference)
    assert_batched_equals_loop(inputs, outputs, case.values(), variants, one)


# onnxruntime's batched MatMul does not write its result when there is nothing to sum, and does not broadcast 0 with 1
EMPTY_SUMS = {"MatMul-no_inner", "MatMul-no_rows", "Gemm-no_rows"}
# these have sizes that depend on values, such as the number of samples in a region
LEFT_OUT = ("MatMul-empty_batch", "Range-start_and_step", "Unique-", "RoiAlign-adaptive", "MaxRoiPool-")
LEFT_OUT += ("MaxUnpool-to_shape",)  # refused: runtimes disagree on what its indices mean
# onnxruntime knows only a part of LRN, and writes statistics of BatchNormalization over old ones that others read
REFERENCE = ("LRN", "BatchNormalization-training")
STATIC = {"Conv", "ConvTranspose"}  # data and weights that both differ make groups, whose number is static


def with_gradient(case: VjpCase, dtype: str) -> tuple[list[gc.Tensor], list[gc.Tensor]]:
    """The inputs of a case and a factor of its cotangents; its outputs and their gradient."""
    inputs = case.inputs(dtype)
    outputs = case.outputs(inputs)
    factor = gc.input("factor", (), dtype)
    seeds = [gc.sin(t * 3.0 + 1.0) * gc.cast(factor, t.dtype) for t in outputs]
    wrt = [t for t in inputs if t.dtype.is_float]
    return [*inputs, factor], [*outputs, *gc.vjp(outputs, wrt, seeds, unused="zero")]


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if not str(c).startswith(LEFT_OUT)], ids=str)
def test_batched_gradient_equals_a_loop(case: VjpCase) -> None:
    """Each operator and its gradient: batched over everything, and over a factor of the cotangents alone."""
    nodes = topological(case.outputs(case.inputs("float32")))
    if any(isinstance(t, TensorType) and t.shape is None for node in nodes for t in node.types):
        pytest.skip("a rank is not known")
    inputs, outputs = with_gradient(case, widest_dtype(case))
    reference = case.reference or str(case) in EMPTY_SUMS or str(case).startswith(REFERENCE)
    one = compiled(outputs, reference=reference)
    if not reference and one.reference:  # onnxruntime has kernels for float32
        inputs, outputs = with_gradient(case, "float32")
        one = compiled(outputs)
    rng = np.random.default_rng(1)
    values = [
        np.asarray(rng.uniform(arg.low, arg.high, (BATCH, *arg.shape)), t.dtype.numpy)
        if arg.values is None
        else np.stack([arg.values] * BATCH)
        for t, arg in zip(inputs, case.args, strict=False)
    ]
    values.append(np.asarray(rng.uniform(1, 2, BATCH), inputs[-1].dtype.numpy))
    last = len(inputs) - 1
    everything = tuple(i for i, t in enumerate(inputs) if t.dtype.is_float)
    variants = [(everything, BATCH if case.op in STATIC else "B"), ((last,), "B")]
    assert_batched_equals_loop(inputs, outputs, values, variants, one)


def through_scan(w: gc.Tensor, xs: gc.Tensor) -> gc.Tensor:
    last, hs = gc.scan(lambda h, x: (gc.tanh(x + h @ w), h * x), gc.zeros_like(xs[0]), xs)
    return gc.sum(last) + gc.sum(gc.square(hs))


def through_loop(w: gc.Tensor, xs: gc.Tensor) -> gc.Tensor:
    return gc.sum(gc.fori_loop(3, lambda i, h: gc.tanh(h @ w) + xs[0] * gc.cast(i, "float64"), xs[1]))


def through_choice(w: gc.Tensor, xs: gc.Tensor) -> gc.Tensor:
    total = gc.sum(xs @ w)
    return gc.cond(total > 0.0, lambda: gc.sum(gc.exp(xs)) * total, lambda: gc.sum(gc.square(w)))


@pytest.mark.parametrize("function", [through_scan, through_loop, through_choice])
def test_batched_gradients_of_control_flow_equal_a_loop(function: Any) -> None:
    w, xs = gc.input("w", (2, 2), "float64"), gc.input("xs", ("steps", 2), "float64")
    loss = function(w, xs)
    tangent = gc.jvp(loss, [w, xs], [gc.cos(w), gc.sin(xs)])
    rng = np.random.default_rng(3)
    values = [rng.standard_normal((BATCH, 2, 2)), rng.standard_normal((BATCH, 4, 2))]
    variants = [((0,), "B"), ((1,), "B"), ((0, 1), BATCH)]
    outputs = [loss, *gc.grad(loss, [w, xs]), tangent]
    assert_batched_equals_loop([w, xs], outputs, values, variants, compiled(outputs))


DRAWN = {"Bernoulli", "RandomNormalLike", "RandomUniformLike"}


def test_every_rule_has_a_case() -> None:
    proved = {case.op for case in CASES} | {case.op for case in VJP_CASES} | DRAWN
    assert sorted(set(rules()) - proved) == []


@pytest.mark.parametrize("op", sorted(DRAWN))
def test_random_operators_draw_anew_for_each_element(op: str) -> None:
    x = gc.input("x", (50,))
    drawn = gc.vmap(getattr(gc.op, op)(x), {x: gc.input("xs", ("B", 50))})
    found = gc.evaluate(drawn, {"xs": np.full((2, 50), 0.5, "f")})
    assert not np.array_equal(found[0], found[1])


def test_dropout_in_training_masks_each_element_anew() -> None:
    x = gc.input("x", (50,))
    dropped = gc.op.Dropout(x, 0.5, True)
    found = gc.evaluate(gc.vmap(dropped, {x: gc.input("xs", ("B", 50))}), {"xs": np.ones((2, 50), "f")})
    assert set(np.unique(found)) == {0.0, 2.0}
    assert not np.array_equal(found[0], found[1])
