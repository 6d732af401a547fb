"""Every fusion: what it makes of an expression, why it leaves another alone, and that values and gradients stay."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from fusion_cases import CASES, Fused
from rule_cases.case import tensors

import graphc as gc
from graphc import nn
from graphc.errors import OperatorError
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Tensor
from passes.fusion import FUSIONS, TARGETS, cross_entropy, fuse, fuse_forward, split_losses
from passes.pattern import PatternRule
from passes.rewrite import RuleSet, count_uses, rewrite_tensors
from passes.simplify import simplify
from passes.verify import verify
from runtimes.session import RuntimeOptions

RULES = {rule.name: rule for rule in (*(f.rule for f in FUSIONS), cross_entropy)}
IDS = [f"{c.case.rule}-{position}" for position, c in enumerate(CASES)]
FUSED = [pytest.param(c, id=name) for c, name in zip(CASES, IDS, strict=True) if c.reason is None]
KEPT = [pytest.param(c, id=name) for c, name in zip(CASES, IDS, strict=True) if c.reason is not None]
PLAIN = RuntimeOptions(threads=1, spinning=False, optimization="disabled")


def rewritten(c: Fused, leaves: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    before = tensors(c.case.before(*leaves.values()))
    return before, rewrite_tensors(before, RuleSet([RULES[c.case.rule]]))


@pytest.mark.parametrize("c", FUSED)
def test_a_fusion_makes_of_an_expression_what_its_case_says(c: Fused) -> None:
    leaves = c.case.leaves()
    before, found = rewritten(c, leaves)
    assert c.case.after is not None
    expected = tensors(c.case.after(*leaves.values()))
    programs = {"original": before, "rewritten": found, "expected": expected}
    shown = "".join(f"\n{name}:\n{gc.graph(outputs)}" for name, outputs in programs.items())
    assert found == expected, shown


@pytest.mark.parametrize("c", KEPT)
def test_a_fusion_leaves_an_expression_alone_and_says_why(c: Fused) -> None:
    rule, leaves = RULES[c.case.rule], c.case.leaves()
    before, found = rewritten(c, leaves)
    assert found == before
    uses = count_uses(before, topological(before))
    miss = rule.why_not(before[0].node, uses)
    assert miss is not None
    assert c.reason is not None
    assert re.search(c.reason, miss.reason), miss.reason


def with_gradients(outputs: list[Tensor], leaves: dict[str, Tensor]) -> list[Tensor]:
    """The outputs, and the gradients of a weighted sum of them."""
    total = gc.sum(gc.stack([gc.sum(gc.sin(t)) for t in outputs]))
    return [*outputs, *gc.grad(total, list(leaves.values()))]


@pytest.mark.parametrize("c", FUSED)
def test_values_and_gradients_stay(c: Fused) -> None:
    leaves = c.case.leaves()
    before, after = rewritten(c, leaves)
    old, new = with_gradients(before, leaves), with_gradients(after, leaves)
    graph = Graph(list(leaves.values()), {f"out{i}": t for i, t in enumerate([*old, *new])})
    verify(graph)
    compute = gc.compile(graph, options=PLAIN)
    for feeds in c.case.feeds(leaves):
        values = list(compute(feeds).values())
        for expected, found in zip(values[: len(old)], values[len(old) :], strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(
                found, expected, rtol=2e-5, atol=2e-5 * max(1.0, np.abs(expected).max(initial=0))
            )


@pytest.mark.parametrize("c", FUSED)
def test_fusions_find_what_simplification_leaves(c: Fused) -> None:
    leaves = c.case.leaves()
    before = tensors(c.case.before(*leaves.values()))
    simplified = simplify(before)
    found = rewrite_tensors(simplified, RuleSet(RULES.values()))
    assert len(topological(found)) < len(topological(simplified))


def test_every_fusion_has_a_case_that_matches_and_one_with_a_reason() -> None:
    assert {c.case.rule for c in CASES if c.reason is None} == set(RULES)
    assert {c.case.rule for c in CASES if c.reason is not None} == set(RULES)


def test_fusions_have_names_of_their_own_and_say_what_they_do() -> None:
    assert len(RULES) == len(FUSIONS) + 1
    assert all("->" in rule.doc for rule in RULES.values())


@pytest.mark.parametrize("position", range(len(FUSIONS)), ids=[f.rule.name for f in FUSIONS])
def test_a_fusion_makes_the_operator_that_the_table_states_from_the_opset_that_has_it(position: int) -> None:
    import onnx.defs

    fusion = FUSIONS[position]
    case = next(c.case for c in CASES if c.case.rule == fusion.rule.name and c.case.after)
    leaves = case.leaves()
    assert case.after is not None
    (made,) = tensors(case.after(*leaves.values()))
    assert made.op == fusion.operator
    assert onnx.defs.has(fusion.operator, fusion.opset, "")
    assert not onnx.defs.has(fusion.operator, fusion.opset - 1, "")


def example() -> Graph:
    """What every fusion applies to."""
    outputs = {}
    for fusion in FUSIONS:
        case = next(c.case for c in CASES if c.case.rule == fusion.rule.name and c.case.after)
        prefix = fusion.rule.name.replace("-", "_")
        leaves = [gc.input(f"{prefix}_{name}", t.shape, t.dtype) for name, t in case.leaves().items()]
        (outputs[prefix],) = tensors(case.before(*leaves))
    return gc.graph(outputs)


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_gets_an_operator_that_it_lacks(target: Any) -> None:
    g = example()
    made = set(fuse(g, target=target, opset=23).operators()) - set(g.operators())
    assert made <= TARGETS[target]
    assert made == {f.operator for f in FUSIONS if f.operator in TARGETS[target]} - set(g.operators())


@pytest.mark.parametrize("opset", [18, 20, 21, 23])
def test_a_portable_graph_keeps_to_the_opset_of_its_export(opset: int) -> None:
    made = fuse(example(), target="portable", opset=opset)
    assert {f.operator for f in FUSIONS if f.opset <= opset} <= set(made.operators())
    assert not {f.operator for f in FUSIONS if f.opset > opset} & set(made.operators())


def test_without_an_opset_a_portable_graph_asks_for_no_younger_one() -> None:
    x = gc.input("x", ("n", 3))
    written = [x * 0.5 * (1.0 + gc.erf(x / 2**0.5)), x]
    old = gc.graph(written)
    assert fuse(old, target="portable") is old
    young = gc.graph([*written, gc.op.Gelu(gc.exp(x))])
    assert fuse(young, target="portable").count("Gelu") == 2
    assert fuse(old).count("Gelu") == 1


def test_an_unknown_target_is_an_error_that_lists_the_targets() -> None:
    with pytest.raises(OperatorError, match=r"target='gpu'; expected one of portable, onnxruntime, onnxruntime-cuda"):
        fuse(example(), target="gpu")  # type: ignore[arg-type]


def test_a_graph_with_nothing_to_fuse_is_returned_itself() -> None:
    g = gc.graph(gc.exp(gc.input("x", ("n",))))
    assert fuse(g) is g
    assert fuse_forward(g) is g
    assert split_losses(g) is g


def test_gelu_by_erf_is_not_fused_ahead_of_its_gradient_but_normalizations_are() -> None:
    made = fuse_forward(example())
    assert made.operators()["LayerNormalization"] == 2
    assert made.count("Gelu") == 1
    assert made.count("Attention") == 0


# --- cross entropy ------------------------------------------------------------------------------------------------

LABELS = np.array([0, 5, 3, 2, 3])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore", [None, 3], ids=["all", "ignored"])
def test_a_cross_entropy_splits_into_operators_of_the_same_value(reduction: str, ignore: int | None) -> None:
    x, y = gc.input("x", ("n", 6)), gc.input("y", ("n",), "int64")
    loss, log_p = gc.op.SoftmaxCrossEntropyLoss(x, y, ignore_index=ignore, reduction=reduction, outputs=2)
    total = gc.sum(gc.sin(loss))
    g = gc.graph({"loss": loss, "log_p": log_p, "gradient": gc.grad(total, x)})
    split = split_losses(g)
    assert split.count("SoftmaxCrossEntropyLoss") == 0
    assert split.count("LogSoftmax") == 1
    verify(split)
    feeds = {"x": np.random.default_rng(0).normal(size=(5, 6)).astype("float32"), "y": LABELS}
    old, new = (gc.compile(h, options=PLAIN)(feeds) for h in (g, split))
    for name in old:
        np.testing.assert_allclose(new[name], old[name], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["weighted", "images", "half"])
def test_other_cross_entropies_are_left_alone(kind: str) -> None:
    x = gc.input("x", ("n", 6, 4) if kind == "images" else ("n", 6), "float16" if kind == "half" else "float32")
    y = gc.input("y", ("n", 4) if kind == "images" else ("n",), "int64")
    w = gc.input("w", (6,)) if kind == "weighted" else None
    g = gc.graph(gc.op.SoftmaxCrossEntropyLoss(x, y, w))
    assert split_losses(g) is g


def test_log_softmax_and_nll_get_the_short_gradient_of_the_cross_entropy() -> None:
    x, y = gc.input("x", ("n", 6)), gc.input("y", ("n",), "int64")
    written = fuse_forward(gc.graph(nn.nll_loss(gc.log_softmax(x, 1), y))).outputs[0]
    assert written == nn.cross_entropy(x, y)
    short, long = (gc.grad(t, x) for t in (written, nn.nll_loss(gc.log_softmax(x, 1), y)))
    assert len(topological(simplify([short]))) < len(topological(simplify([long])))


def test_all_fusions_are_pattern_rules_with_a_reason_for_every_node() -> None:
    x = gc.input("x", ("n",))
    for rule in RULES.values():
        assert isinstance(rule, PatternRule)
        miss = rule.why_not(gc.exp(x).node)
        assert miss is not None
        assert miss.depth == 0


def pooled(x: Tensor, *, relu_first: bool) -> Tensor:
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]}
    return gc.op.MaxPool(gc.relu(x), **attrs) if relu_first else gc.relu(gc.op.MaxPool(x, **attrs))


def test_a_relu_ahead_of_a_max_pool_moves_behind_it_and_keeps_the_gradient() -> None:
    x = gc.input("x", ("batch", 2, 5, 6))
    before, after = pooled(x, relu_first=True), pooled(x, relu_first=False)
    assert fuse_forward(gc.graph(before)).outputs == (after,)
    values = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype(np.float32)
    values[0] = -np.abs(values[0])
    weighted = [gc.grad(gc.sum(t * gc.exp(t)), x) for t in (before, after)]
    found = gc.evaluate([before, after, *weighted], {"x": values})
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])
    assert np.count_nonzero(found[2][0]) == 0


def test_a_relu_that_is_used_elsewhere_and_places_that_are_asked_for_stay() -> None:
    x = gc.input("x", ("batch", 2, 4, 4))
    hidden = gc.relu(x)
    shared = gc.graph([gc.op.MaxPool(hidden, kernel_shape=[2, 2]), hidden])
    assert fuse_forward(shared) is shared
    places = gc.graph(gc.op.MaxPool(gc.relu(x), kernel_shape=[2, 2], outputs=2)[1])
    assert gc.graph(fuse_forward(places).outputs).operators() == {"Relu": 1, "MaxPool": 1}
