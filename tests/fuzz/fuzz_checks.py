"""What must hold of every random graph. Failures show the program, its graph, its source and the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fuzz_programs import Built

import graphc as gc
from graphc.errors import BatchingError
from graphc.ir.build import leaf
from graphc.ir.graph import first_difference, graph, topological
from graphc.ir.node import INPUT, Tensor
from graphc.ir.types import TensorType, as_shape
from graphc.serial.export import to_model
from graphc.serial.load import from_model
from runtimes.testing import _Function

RTOL, ATOL = 1e-5, 1e-8
STEPS = (1e-5, 1e-6)
"""Finite differences are right when they are for one of these: a kink within the larger may be without the smaller."""

RUNTIME = "auto"
Values = dict[str, Any]


def fail(built: Built, message: str) -> None:
    """Raise an AssertionError that shows everything one needs to mend what is wrong."""
    raise AssertionError(
        f"{message}\n\n{built.program}\n\n{built.graph}\n\n{built.graph.to_python()}\nfeeds = {_readable(built.feeds)}"
    )


def _readable(feeds: Values) -> str:
    return "{" + ", ".join(f"{name!r}: np.{np.array(v)!r}" for name, v in feeds.items()) + "}"


def loss_of(built: Built) -> tuple[Tensor, Values]:
    """A scalar of all results, each weighted by an input of its shape; and the values of weights and leaves."""
    weights = [leaf(INPUT, f"weight{i}", t.tensor_type, {}) for i, t in enumerate(built.outputs)]
    terms = [gc.sum(t * w) for t, w in zip(built.outputs, weights, strict=True)]
    rng = np.random.default_rng(built.program.seed + 1)
    results = _Function(built.outputs, RUNTIME)(built.feeds)
    values = {f"weight{i}": rng.standard_normal(np.shape(r)) for i, r in enumerate(results)}
    return gc.op.Sum(*terms), built.feeds | values


def gradients(built: Built) -> tuple[Tensor, list[Tensor], Values]:
    """The scalar, its gradient with respect to every leaf, and what is fed."""
    loss, feeds = loss_of(built)
    return loss, gc.grad(loss, built.wrt, unused="zero"), feeds


# --- gradients against finite differences -------------------------------------------------------------------------


def check_gradient(built: Built) -> str | None:
    """The gradient agrees with finite differences. Returns why a graph cannot be judged, if so."""
    loss, found, feeds = gradients(built)
    forward = _Function([loss], RUNTIME)
    values = _Function(found, RUNTIME)(feeds)
    at = float(forward(feeds)[0])
    if not np.isfinite(at):
        return "the value is not finite"
    rng = np.random.default_rng(built.program.seed + 2)
    doubts = [_judge(built, forward, feeds, at, t, g, rng) for t, g in zip(built.wrt, values, strict=True)]
    return next((doubt for doubt in doubts if doubt), None)


def _judge(
    built: Built, forward: Any, feeds: Values, at: float, t: Tensor, gradient: Any, rng: np.random.Generator
) -> str | None:
    name = str(t.name)
    if gradient.shape != feeds[name].shape:
        fail(built, f"the gradient with respect to {name} has shape {gradient.shape}; expected {feeds[name].shape}")
    anywhere, lengths = rng.standard_normal((2, *gradient.shape))
    for direction in (anywhere, np.abs(lengths) * np.sign(gradient)) if gradient.size else ():
        symbolic = float((gradient * direction).sum())
        scale = float(np.abs(gradient * direction).sum())
        tried = []
        gaps = []
        for step in STEPS:
            above, below = (float(forward(feeds | {name: feeds[name] + s * step * direction})[0]) for s in (1, -1))
            central = (above - below) / (2 * step)
            tolerance = RTOL * max(scale, abs(central)) + ATOL * max(1.0, abs(at)) * (STEPS[0] / step)
            if abs(central - symbolic) <= tolerance:
                break
            slopes = sorted([(above - at) / step, (at - below) / step])
            if slopes[0] - tolerance <= symbolic <= slopes[1] + tolerance:
                return "a kink is near"
            gaps.append(slopes[1] - slopes[0])
            tried.append(f"step {step}: {central!r}, one-sided {slopes}, tolerance {tolerance:.2g}")
        else:
            if gaps[1] > 0.9 * gaps[0] > 100 * tolerance:  # that of curvature would shrink with the step
                return "kinks are at the point itself"
            fail(
                built,
                f"the gradient with respect to {name} is wrong: along a random direction it gives {symbolic!r}, finite "
                f"differences give\n  " + "\n  ".join(tried) + f"\nthe gradient is\n{gradient}",
            )
    return None


# --- simplification -----------------------------------------------------------------------------------------------


def check_simplify(built: Built) -> str | None:
    """Simplified, the results and their gradient have the same values, and simplify no further."""
    loss, found, feeds = gradients(built)
    whole = graph([*built.outputs, loss, *found])
    simple = gc.simplify(whole)
    if gc.simplify(simple) is not simple:
        fail(built, f"simplified, the gradient simplifies further: {first_difference(simple, gc.simplify(simple))}")
    before, after = (_Function(g.outputs, RUNTIME)(feeds) for g in (whole, simple))
    if not all(np.isfinite(a).all() for a in before):
        return "a value is not finite"
    _compare(built, "simplification changes", before, after)
    return None


def _compare(built: Built, what: str, expected: Sequence[Any], found: Sequence[Any], rtol: float = 1e-9) -> None:
    scale = max((float(np.abs(a).max(initial=0.0)) for a in expected), default=0.0)
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        if a.shape != b.shape:
            fail(built, f"{what} the shape of result {i}: {a.shape} and {b.shape}")
        tolerance = max(rtol, 1e-5) if _is_narrow(built) else rtol
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-3)):
            fail(built, f"{what} result {i} by {np.abs(a - b).max()}:\n{a}\nand\n{b}")


def _is_narrow(built: Built) -> bool:
    """Whether constants are folded in float32 somewhere: an operator of the graph takes no float64."""
    return bool(built.graph.find("Cast") or built.graph.find("CastLike"))


# --- round trips --------------------------------------------------------------------------------------------------

_NEW_IDENTITY = {"If", "Loop", "Scan"}
"""Their bodies have inputs of their own, whose names the exporter may change."""


def check_round_trips(built: Built) -> str | None:
    """The results, written to ONNX or Python and read back, are the same."""
    whole = built.graph
    read, _ = from_model(to_model(whole))
    namespace: dict[str, Any] = {}
    exec(whole.to_python(), namespace)
    rebuilt = namespace["build"](*whole.inputs)
    if _NEW_IDENTITY & whole.operators().keys():
        return None if whole.operators() == read.operators() == rebuilt.operators() else fail(built, "operators differ")
    difference = first_difference(whole, read)
    if difference is not None:
        fail(built, f"read back from ONNX, the graph differs: {difference}\n\n{read}")
    difference = first_difference(whole, rebuilt)
    if difference is not None:
        fail(built, f"rebuilt by its Python source, the graph differs: {difference}\n\n{rebuilt}")
    return None


# --- modes --------------------------------------------------------------------------------------------------------


def check_adjoint(built: Built) -> str | None:
    """`<J v, u> == <v, J^T u>`."""
    _, found, feeds = gradients(built)
    directions = [leaf(INPUT, f"direction{i}", t.tensor_type, {}) for i, t in enumerate(built.wrt)]
    rng = np.random.default_rng(built.program.seed + 3)
    tangents = {
        str(d.name): rng.standard_normal(feeds[str(t.name)].shape) for d, t in zip(directions, built.wrt, strict=True)
    }
    pushed = _Function(gc.jvp(built.outputs, built.wrt, directions), RUNTIME)(feeds | tangents)
    pulled = _Function(found, RUNTIME)(feeds)
    left = [p * feeds[f"weight{i}"] for i, p in enumerate(pushed)]
    right = [g * v for g, v in zip(pulled, tangents.values(), strict=True)]
    if not all(np.isfinite(a).all() for a in (*left, *right)):
        return "a derivative is not finite"
    sums = [sum(float(a.sum()) for a in side) for side in (left, right)]
    scale = max(sum(float(np.abs(a).sum()) for a in side) for side in (left, right))
    if abs(sums[0] - sums[1]) > 1e-9 * scale + 1e-12:
        fail(built, f"<J v, u> is {sums[0]!r}, <v, J^T u> is {sums[1]!r}")
    return None


def check_vmap(built: Built) -> str | None:
    """The gradient mapped over a batch of values of one leaf is the loop of gradients."""
    loss, found, feeds = gradients(built)
    chosen = built.wrt[built.program.seed % len(built.wrt)]
    name = str(chosen.name)
    size = ("batch", 2)[built.program.seed % 2]
    many = leaf(INPUT, "many", TensorType(chosen.dtype, (*as_shape((size,)), *chosen.shape)), {})
    try:
        mapped = gc.vmap([loss, *found], {chosen: many})
    except BatchingError as error:
        return f"vmap refuses: {error}"
    rng = np.random.default_rng(built.program.seed + 4)
    batch = rng.uniform(-2.0, 2.0, (2, *feeds[name].shape))
    one = _Function([loss, *found], RUNTIME)
    each = [one(feeds | {name: values}) for values in batch]
    expected = [np.stack(parts) for parts in zip(*each, strict=True)]
    if not all(np.isfinite(a).all() for a in expected):
        return "a value is not finite"
    runtime = "reference" if _multiplies_nothing(mapped, built.program.sizes) else RUNTIME
    together = _Function(mapped, runtime)(feeds | {"many": batch})
    _compare(built, "vmap changes", expected, together)
    return None


def _multiplies_nothing(outputs: Sequence[Tensor], sizes: Sequence[int]) -> bool:
    """Whether a batch of matrix products may be sums of no terms: onnxruntime sets the first of the batch to 0 only."""
    products = [n for n in topological(outputs) if n.op == "MatMul" and n.out().ndim > 2]
    inner = [t.shape[-1] for n in products for t in n.inputs[:1] if t is not None]
    return any(d == 0 or (0 in sizes and not isinstance(d, int)) for d in inner)


CHECKS: dict[str, Callable[[Built], str | None]] = {
    "gradient": check_gradient,
    "simplify": check_simplify,
    "round_trips": check_round_trips,
    "adjoint": check_adjoint,
    "vmap": check_vmap,
}
