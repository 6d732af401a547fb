"""Every gradient rule against finite differences in float64, to second order, on the cases of `vjp_cases`."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import onnx
import pytest
from vjp_cases import CASES, Case

import graphc as gc
from graphc.errors import DTypeError, UnavailableError
from graphc.ir.graph import leaves, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.schema import operator_names
from graphc.ir.types import TensorType
from graphc.serial.export import to_model
from passes.sequences import mapped
from passes.vjp import registry, rules, support
from passes.vjp.function_body import has_body, vjp_of_body

ELSEWHERE = {
    "If": "tests/vjp/test_controlflow.py",
    "Loop": "tests/vjp/test_controlflow.py",
    "Scan": "tests/vjp/test_controlflow.py",
    "DequantizeLinear": "tests/vjp/test_quantization.py",  # finite differences do not judge an estimator
}
OPERATORS = [op for op in operator_names() if support(op) in ("rule", "body") and op not in ELSEWHERE]


def _differentiable(inputs: list[Tensor]) -> list[Tensor]:
    return [t for t in inputs if t.dtype.is_float]


def _built(case: Case, dtype: str) -> tuple[list[Tensor], list[Tensor]] | None:
    """The case's graph in `dtype`, None where an operator of it does not take that."""
    inputs = case.inputs(dtype)
    try:
        return inputs, case.outputs(inputs)
    except DTypeError:
        return None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_and_its_gradient_agree_with_finite_differences(case: Case) -> None:
    inputs, outputs = _built(case, "float64") or _built(case, "float32")
    assert any(node.op == case.op for node in topological(outputs)), "the case does not hold its operator"
    runtime = "reference" if case.reference else "auto"
    gc.testing.check_grads(outputs, _differentiable(inputs), case.feeds(), order=2, runtime=runtime)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_has_the_dtype_of_its_input_and_exports(case: Case, dtype: str) -> None:
    built = _built(case, dtype)
    if built is None or not case.half:
        return
    inputs, outputs = built
    wrt = _differentiable(inputs)
    seeds = [gc.ones_like(t) for t in outputs]
    gradients = gc.vjp(outputs, wrt, seeds, unused="zero")
    assert [g.dtype for g in gradients] == [t.dtype for t in wrt]
    onnx.checker.check_model(to_model(gc.graph(gradients)), full_check=True)


def test_every_operator_has_a_rule_or_a_body_or_a_reason() -> None:
    kinds = {op: support(op) for op in operator_names()}
    for op, kind in kinds.items():
        claims = [op in rules(), op in registry._REASON]
        assert sum(claims) == (0 if kind == "body" else 1), op
        assert kind != "body" or has_body(op), op
    assert registry._REASON.keys() <= kinds.keys()


def test_operators_that_hold_graphs_and_estimators_are_tested_elsewhere() -> None:
    root = pathlib.Path(__file__).parents[2]
    for op, path in ELSEWHERE.items():
        assert re.search(rf"\b{op}\b", (root / path).read_text()), op


def test_every_rule_has_a_case() -> None:
    assert sorted(set(OPERATORS) - {case.op for case in CASES}) == []


@pytest.mark.parametrize("op", OPERATORS)
def test_a_rule_that_is_wrong_by_one_in_ten_thousand_is_noticed(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules().get(op, vjp_of_body)

    def wrong(node: Node, *cotangents: Tensor | None, **options: Any) -> Any:
        return right(node, *[None if g is None else _enlarged(g) for g in cotangents], **options)

    monkeypatch.setitem(registry._RULES, op, wrong)
    if registry.is_selective(right):
        monkeypatch.setattr(registry, "_SELECTIVE", {*registry._SELECTIVE, wrong})
    case = next(case for case in CASES if case.op == op)
    inputs, outputs = _built(case, "float64") or _built(case, "float32")
    with pytest.raises(AssertionError, match="is wrong: along a random direction"):
        gc.testing.check_grads(outputs, _differentiable(inputs), case.feeds())


def _enlarged(g: Tensor) -> Tensor:
    return g * 1.0001 if isinstance(g.type, TensorType) else mapped(lambda item: item * 1.0001, g)


@pytest.mark.parametrize("op", OPERATORS)
def test_float16_gradient_runs_in_onnxruntime(op: str) -> None:
    case = next(case for case in CASES if case.op == op)
    half, double = _built(case, "float16"), _built(case, "float64") or _built(case, "float32")
    if half is None or not case.half:
        pytest.skip(f"{op} takes no float16")
    feeds = {k: v.astype(np.float16).astype(v.dtype) for k, v in case.feeds().items()}
    try:
        found = _gradients(*half, feeds)
    except UnavailableError:
        pytest.skip(f"onnxruntime has no float16 kernel for the gradient of {op}")
    try:
        expected = _gradients(*double, feeds)
    except UnavailableError:
        expected = _gradients(*double, feeds, runtime="reference")
    for g, e in zip(found, expected, strict=True):
        assert g.dtype == np.float16
        np.testing.assert_allclose(g.astype(np.float64), e, rtol=2e-2, atol=2e-2 * max(1.0, np.abs(e).max(initial=0.0)))


def _gradients(inputs: list[Tensor], outputs: list[Tensor], feeds: dict[str, Any], **options: Any) -> list[Any]:
    gradients = gc.vjp(outputs, _differentiable(inputs), [gc.ones_like(t) for t in outputs], unused="zero")
    typed = {t: feeds[t.name].astype(t.dtype.numpy) for t in inputs if t in leaves(gradients)}
    return gc.evaluate(gradients, typed, **options)


@pytest.mark.parametrize("ratio", [None, 0.25, 0.0])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fed", [True, False])
def test_dropout_passes_the_cotangents_of_kept_elements(ratio: float | None, training: bool, fed: bool) -> None:
    x, flag = gc.input("x", ("n", 50)), gc.input("flag", (), "bool")
    share = None if ratio is None else gc.constant(np.float32(ratio))
    y, mask = gc.op.Dropout(x, share, flag if fed else gc.constant(np.array(training)), outputs=2)
    feeds = {"x": np.ones((4, 50))} | ({"flag": np.array(training)} if fed else {})
    value, kept, g = gc.evaluate([y, mask, gc.grad(y.sum(), x)], feeds)
    np.testing.assert_array_equal(g, value)  # y is x times a factor, and x is 1
    assert kept.all() == (not training or ratio == 0.0)


def test_the_mean_of_more_elements_than_float16_can_count_has_a_gradient() -> None:
    for shape in [(70_000,), ("n",)]:
        x = gc.input("x", shape, "float16")
        g = gc.evaluate(gc.grad(x.mean(), x), {"x": np.zeros(70_000)} if shape == ("n",) else {})
        np.testing.assert_allclose(g, 1 / 70_000, rtol=2e-3)


def test_a_product_with_zeros_has_the_products_of_the_others() -> None:
    x = gc.input("x", (3, 3))
    g = gc.grad(gc.prod(x, 1).sum(), x)
    found = gc.evaluate(g, {"x": np.array([[2, 0, 3], [0, 0, 1], [1, 2, 4]])})
    np.testing.assert_array_equal(found, [[0, 6, 0], [0, 0, 0], [8, 4, 2]])


def test_extrema_share_their_cotangent_evenly() -> None:
    x = gc.input("x", (4,))
    found = gc.evaluate(gc.grad(x.max(), x), {"x": np.array([1, 2, 2, 0])})
    np.testing.assert_array_equal(found, [0, 0.5, 0.5, 0])
    both = gc.evaluate(gc.grad(gc.maximum(x, 2.0).sum(), x), {"x": np.array([1, 2, 3, 2])})
    np.testing.assert_array_equal(both, [0, 0.5, 1, 0.5])
