"""Cases of reductions."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses


def _expand(x, like):
    return gc.op.Expand(x, gc.shape_of(like))


CASES: list[Case] = [
    *(
        matches("reduce-nothing", lambda x, op=op: op(x, 1, keepdims=True), lambda x: x, x="[n, 1, 3]")
        for op in (gc.sum, gc.mean, gc.max, gc.min, gc.prod)
    ),
    matches("reduce-nothing", lambda x: gc.sum(x, 1), lambda x: gc.squeeze(x, 1), x="[n, 1, 3]"),
    matches("reduce-nothing", lambda x: gc.sum(x), lambda x: gc.squeeze(x, [0, 1]), x="[1, 1]"),
    matches("reduce-nothing", lambda x: gc.op.ReduceSum(x, noop_with_empty_axes=1), lambda x: x, x="[n, 3]"),
    refuses("reduce-nothing", lambda x: gc.sum(x, 1), rtol=1e-5, x="[n, 3]"),
    refuses("reduce-nothing", lambda x: gc.sum(x, 0), rtol=1e-5, x="[n, 1]"),
    refuses("reduce-nothing", lambda x: gc.op.ReduceL1(x, np.array([1]), keepdims=1), x="[n, 1]"),
    *(  # not for n = 0: there the rule mends what onnxruntime makes of the expression
        matches(
            "reduce-axes-from-front",
            lambda x, op=op: getattr(gc.op, op)(x, np.array([-1, 0]), keepdims=1),
            lambda x, op=op: getattr(gc.op, op)(x, np.array([0, 2]), keepdims=1),
            x="[n, 3, 2]",
            sizes=(4,),
            rtol=1e-6,
        )
        for op in ("ReduceL1", "ReduceMean", "ReduceSum")
    ),
    refuses("reduce-axes-from-front", lambda x: gc.op.ReduceL1(x, np.array([1])), x="[n, 3]", rtol=1e-6),
    matches(
        "arg-axis-from-front",
        lambda x: gc.op.ArgMax(x, axis=-1),
        lambda x: gc.op.ArgMax(x, axis=1),
        x="[n, 3]",
        sizes=(4,),
        rtol=1e-6,
    ),
    refuses("arg-axis-from-front", lambda x: gc.op.ArgMax(x, axis=1), x="[n, 3]", rtol=1e-6),
    matches(
        "reduce-of-reduce", lambda x: gc.sum(gc.sum(x, 1), 1), lambda x: gc.sum(x, [1, 2]), rtol=1e-5, x="[n, 3, 2]"
    ),
    matches(
        "reduce-of-reduce",
        lambda x: gc.max(gc.max(x, 2, keepdims=True), 0, keepdims=True),
        lambda x: gc.max(x, [0, 2], keepdims=True),
        x="[4, 3, 2]",
    ),
    matches(
        "reduce-of-reduce",
        lambda x: gc.mean(gc.mean(x, 0, keepdims=True)),
        lambda x: gc.mean(x, [0, 1]),
        rtol=1e-5,
        x="[4, 3]",
    ),
    refuses("reduce-of-reduce", lambda x: gc.sum(gc.sum(x, 0, keepdims=True), 1), rtol=1e-5, x="[4, 3]"),
    refuses("reduce-of-reduce", lambda x: gc.sum(gc.sum(x, 0), 0, keepdims=True), rtol=1e-5, x="[4, 3]"),
    refuses("reduce-of-reduce", lambda x: gc.sum(gc.max(x, 0)), rtol=1e-5, x="[4, 3]"),
    refuses("reduce-of-reduce", lambda x: (gc.sum(gc.sum(x, 0)), gc.exp(gc.sum(x, 0))), rtol=1e-5, x="[4, 3]"),
    matches(
        "sum-of-repeated", lambda x, y: gc.sum(_expand(x, y), 0), lambda x, y: x * 4.0, rtol=1e-6, x="[n]", y="[4, n]"
    ),
    matches(
        "sum-of-repeated",
        lambda x, y: gc.sum(_expand(x, y), 1, keepdims=True),
        lambda x, y: x * 3.0,
        rtol=1e-6,
        x="[n, 1]",
        y="[n, 3]",
    ),
    matches("sum-of-repeated", lambda: gc.sum(gc.full((200, 100), 2.0)), lambda: gc.constant(2.0) * 20_000.0),
    refuses("sum-of-repeated", lambda x, y: gc.sum(_expand(x, y), 1), rtol=1e-5, x="[n]", y="[4, n]"),
    refuses("sum-of-repeated", lambda x, y: gc.sum(_expand(x, y), 0), rtol=1e-5, x="[3]", y="[n, 3]"),
    refuses("sum-of-repeated", lambda x, y: gc.sum(_expand(x, y), 0), rtol=1e-5, x="[3]", y="[0, 3]"),
    matches("mean-of-repeated", lambda x, y: gc.mean(_expand(x, y), 0), lambda x, y: x, rtol=1e-6, x="[n]", y="[4, n]"),
    refuses("mean-of-repeated", lambda x, y: gc.mean(_expand(x, y), 0), rtol=1e-5, x="[3]", y="[n, 3]"),
    refuses("mean-of-repeated", lambda x, y: gc.mean(_expand(x, y), 1), rtol=1e-5, x="[3]", y="[n, 3]"),
    matches(
        "keepdims-by-the-reduction",
        lambda x: gc.unsqueeze(gc.sum(x, 1), 1),
        lambda x: gc.sum(x, 1, keepdims=True),
        rtol=1e-5,
        x="[n, 3, 2]",
    ),
    matches(
        "keepdims-by-the-reduction",
        lambda x: gc.squeeze(gc.max(x, 1, keepdims=True), 1),
        lambda x: gc.max(x, 1),
        x="[n, 3, 2]",
    ),
    refuses("keepdims-by-the-reduction", lambda x: gc.unsqueeze(gc.sum(x, 1), 2), rtol=1e-5, x="[n, 3, 2]"),
    refuses("keepdims-by-the-reduction", lambda x: gc.unsqueeze(gc.argmax(x, 1), 1), x="[n, 3]"),
    refuses(
        "keepdims-by-the-reduction",
        lambda x: (gc.unsqueeze(gc.sum(x, 1), 1), gc.exp(gc.sum(x, 1))),
        rtol=1e-5,
        x="[n, 3]",
    ),
    refuses(
        "reduce-of-reduce",
        lambda x: gc.op.ReduceSum(gc.op.ReduceSum(x, noop_with_empty_axes=1), noop_with_empty_axes=1),
        x="[n, 3]",
    ),
    refuses("sum-of-repeated", lambda x, y: gc.sum(_expand(x, y), 1), rtol=1e-5, x="[]", y="[4, 3]"),
    refuses("sum-of-repeated", lambda x, y: gc.sum(_expand(x, y)), rtol=1e-5, x="[3]", y="[4, 3]"),
    refuses(
        "keepdims-by-the-reduction",
        lambda x: gc.op.Reshape(x, gc.prod(gc.constant(np.array([2, 3])), keepdims=True)),
        x="[2, 3]",
    ),
]
