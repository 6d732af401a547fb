"""Assertions for tests: equal graphs, and gradients that agree with finite differences.

`gc.testing` holds what a test of a model, a pass or a gradient rule needs. Failures are AssertionErrors that show where
to look.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DifferentiationError, FeedError, UnavailableError
from graphc.functional import cast
from graphc.ir import dims
from graphc.ir.build import apply, constant, leaf
from graphc.ir.constant import Constant
from graphc.ir.graph import Graph, first_difference, graph, leaves, substitute, topological
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.origin import location
from graphc.ir.schema import spec
from graphc.ir.types import TensorType, Type, as_dtype
from passes.autodiff import vjp
from passes.vjp.function_body import expand, has_body
from passes.vjp.recurrent import lower
from runtimes.evaluate import Function, compile
from runtimes.feeds import FeedChecker, Feeds
from runtimes.session import RuntimeOptions

__all__ = ["assert_graphs_equal", "assert_same_graph", "check_grads"]

Runtime = Literal["auto", "onnxruntime", "reference"]
Floats = NDArray[np.float64]
Graphs = Graph | Tensor | Sequence[Tensor]

_SHOWN_LINES = 40
_SEARCHED_ELEMENTS = 400
_NO_FLOAT64 = frozenset({"MeanVarianceNormalization", "Shrink"})
"""Operators that onnxruntime computes in float32 for float64 data, or whose float64 form it does not load."""


# --- equality -----------------------------------------------------------------------------------------------------


def assert_graphs_equal(a: Graphs, b: Graphs) -> None:
    """Assert that two graphs (or tensors, with what they depend on) are equal in structure, types and names.

    Leaves are matched by position; see :meth:`graphc.Graph.structurally_equal`. The AssertionError says the first
    difference and shows both programs as a diff.
    """
    first, second = _as_graph(a), _as_graph(b)
    difference = first_difference(first, second)
    if difference is not None:
        raise AssertionError(f"the graphs differ: {difference}\n{_diff(first, second)}")


def assert_same_graph(a: Graphs, b: Graphs) -> None:
    """Assert that two graphs (or tensors) are the same objects: the same nodes of the same inputs.

    Interning makes equal expressions of equal leaves one object, so that this is the strictest equality there is.
    """
    first, second = _as_graph(a), _as_graph(b)
    if first == second:
        return
    difference = first_difference(first, second)
    if difference is None:
        pairs = zip(first.inputs, second.inputs, strict=True)
        others = "; ".join(f"{s.name!r} [{s.node.origin}] and [{t.node.origin}]" for s, t in pairs if s != t)
        raise AssertionError(
            f"the graphs are equal in structure, but they are not the same: {others or 'their random operators'} "
            "are different objects"
        )
    raise AssertionError(f"the graphs are not the same: {difference}\n{_diff(first, second)}")


def _as_graph(x: Graphs) -> Graph:
    return x if isinstance(x, Graph) else graph(x)


def _diff(a: Graph, b: Graph) -> str:
    left, right = str(a).splitlines(), str(b).splitlines()
    return "\n".join(difflib.unified_diff(left, right, "first", "second", lineterm=""))


# --- gradients ----------------------------------------------------------------------------------------------------


def check_grads(
    outputs: Tensor | Sequence[Tensor],
    wrt: Tensor | Sequence[Tensor] | None = None,
    feeds: Feeds | None = None,
    *,
    order: Literal[1, 2] = 1,
    seed: int = 0,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    eps: float = 1e-6,
    runtime: Runtime = "auto",
) -> None:
    """Assert that `gc.grad` of `outputs` agrees with central finite differences.

    The graph is rebuilt in float64 first, so that float32 graphs are checked as tightly. What is differentiated is a
    random projection of the outputs; for each tensor of `wrt`, it is differenced along random directions.

    Args:
        outputs: floating-point tensors.
        wrt: inputs or parameters; all floating-point inputs and trainable parameters when None.
        feeds: values by tensor or by name. Floating-point inputs without one are standard normal, so inputs that must
            avoid kinks or singularities, and integer inputs, need a value here.
        order: with 2, the gradient is checked likewise: its own gradient agrees with differences of it.
        seed: seeds the inputs, the projections and the directions.
        rtol: tolerance relative to the derivative.
        atol: absolute tolerance.
        eps: the step of the differences.
        runtime: "onnxruntime", "reference" (onnx's reference evaluator), or "auto": onnxruntime where it has kernels.

    Raises:
        AssertionError: a gradient is wrong; names the tensor, the worst element, both values, the tolerance.
        DifferentiationError: see :func:`graphc.grad`.
        FeedError: an integer input has no value, or shapes do not fit.
    """
    given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    found = leaves(given)
    if wrt is None:
        wrt = [t for t in found if t.tensor_type.dtype.is_float and t.node.attrs.get("trainable", True)]
    chosen = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    for t in chosen:
        if not t.node.is_leaf:
            raise DifferentiationError(f"check_grads: {t!r} is computed; expected inputs or parameters{location()}")
    rng = np.random.default_rng(seed)
    check = _Check(rng, rtol, atol, eps, runtime)
    check(given, chosen, _values(found, feeds or {}, rng), order)


class _Check:
    """One call of `check_grads`: how to draw, to run and to compare."""

    def __init__(self, rng: np.random.Generator, rtol: float, atol: float, eps: float, runtime: Runtime) -> None:
        self.rng, self.rtol, self.atol, self.eps, self.runtime = rng, rtol, atol, eps, runtime

    def __call__(self, outputs: list[Tensor], wrt: list[Tensor], feeds: dict[str, Any], order: int) -> None:
        """Check the gradient of `outputs`, and then, for a higher order, that of the gradient."""
        prefix = f"cotangent{order}."
        seeds = [leaf(INPUT, f"{prefix}{i}", t.tensor_type, {}) for i, t in enumerate(outputs)]
        gradients: list[Tensor] = vjp(outputs, wrt, seeds, unused="zero")
        forward = _Function(outputs, self.runtime)
        results = forward(feeds)
        for t, once, again in zip(outputs, results, forward(feeds), strict=True):
            if not np.array_equal(once, again, equal_nan=True):
                raise DifferentiationError(f"check_grads: {t!r} is random: two runs with the same feeds differ")
        projections = [np.asarray(self.rng.standard_normal(r.shape)) for r in results]
        feeds = feeds | {str(t.name): p for t, p in zip(seeds, projections, strict=True)}
        found = _Function(gradients, self.runtime)(feeds)
        for t, gradient in zip(wrt, found, strict=True):
            self._compare(forward, projections, t, gradient, feeds)
        if order > 1:
            self(gradients, [*wrt, *seeds], feeds, order - 1)

    def _compare(
        self, forward: _Function, projections: list[Floats], t: Tensor, gradient: Floats, feeds: dict[str, Any]
    ) -> None:
        name = str(t.name)
        at = feeds[name]
        anywhere, lengths = self.rng.standard_normal((2, *at.shape))
        uphill = np.abs(lengths) * np.sign(gradient)  # where nothing cancels, a wrong factor shows best
        for direction in (anywhere, uphill) if at.size else ():
            numeric = self._difference(forward, projections, feeds, name, direction)
            symbolic = float((gradient * direction).sum())
            scale = max(abs(numeric), float(np.abs(gradient * direction).sum()))
            tolerance = self.atol + self.rtol * scale
            if not abs(numeric - symbolic) <= tolerance:
                raise AssertionError(
                    f"the gradient with respect to {name!r} ({t.type}) is wrong: along a random direction finite "
                    f"differences give {numeric:.10g}, gc.grad gives {symbolic:.10g}; they differ by "
                    f"{abs(numeric - symbolic):.3g}, tolerance {tolerance:.3g}"
                    f"{self._worst(forward, projections, feeds, name, gradient)}\n{_shown(forward.graph)}"
                )

    def _difference(
        self, forward: _Function, projections: list[Floats], feeds: dict[str, Any], name: str, direction: Floats
    ) -> float:
        step = self.eps * direction
        above = forward(feeds | {name: np.asarray(feeds[name] + step)})
        below = forward(feeds | {name: np.asarray(feeds[name] - step)})
        total = sum(float((p * (a - b)).sum()) for p, a, b in zip(projections, above, below, strict=True))
        return total / (2.0 * self.eps)

    def _worst(
        self, forward: _Function, projections: list[Floats], feeds: dict[str, Any], name: str, gradient: Floats
    ) -> str:
        """Which element is most wrong, among the first ones of a large tensor."""
        worst, text = -1.0, ""
        for flat in range(min(gradient.size, _SEARCHED_ELEMENTS)):
            unit = np.zeros(gradient.size)
            unit[flat] = 1.0
            numeric = self._difference(forward, projections, feeds, name, unit.reshape(gradient.shape))
            position = tuple(int(i) for i in np.unravel_index(flat, gradient.shape))
            error = abs(numeric - gradient[position])
            if np.isnan(error) or error > worst:
                worst = np.inf if np.isnan(error) else error
                element = f"{name}[{', '.join(map(str, position))}]"
                text = f". Worst at {element}: {numeric:.10g} against {gradient[position]:.10g}"
        return text


def _shown(g: Graph) -> str:
    lines = str(g).splitlines()
    return "\n".join(lines if len(lines) <= _SHOWN_LINES else [*lines[:_SHOWN_LINES], "…"])


class _Function:
    """A graph ready to run, in whichever runtime has all of its operators."""

    def __init__(self, outputs: Sequence[Tensor], runtime: Runtime) -> None:
        self.graph = graph({f"result.{i}": t for i, t in enumerate(_in_float64(outputs))})
        self._compiled = _compile(self.graph, runtime)

    def __call__(self, feeds: Mapping[str, Any]) -> list[Any]:
        results = self._compiled({name: feeds[name] for name in self.graph.feeds})
        return list(results.values())


def _compile(g: Graph, runtime: Runtime) -> Function:
    if runtime == "reference" or (runtime == "auto" and not _NO_FLOAT64.isdisjoint(g.operators())):
        return compile(g, runtime="reference")
    try:
        return compile(g, options=RuntimeOptions(threads=1, optimization="disabled"))
    except UnavailableError:
        if runtime == "onnxruntime":
            raise
        return compile(g, runtime="reference")


def _values(found: list[Tensor], feeds: Feeds, rng: np.random.Generator) -> dict[str, Any]:
    """A value for every leaf: the one fed, else standard normal, symbolic dimensions of different sizes."""
    by_name = {str(t.name): t for t in found}
    named: dict[str, Any] = {}
    for key, value in feeds.items():
        name = str(key.name) if isinstance(key, Tensor) else str(key)
        if name not in by_name:
            raise FeedError(f"check_grads: unknown feed {name!r}; expected {', '.join(map(repr, by_name))}{location()}")
        dtype = by_name[name].tensor_type.dtype
        named[name] = np.asarray(value, np.float64 if dtype.is_float else dtype.numpy)
    fed = [t for name, t in by_name.items() if name in named]
    sizes = FeedChecker(fed).sizes({name: value.shape for name, value in named.items()})
    open_symbols = dims.symbols(d for t in found for d in t.tensor_type.shape or ()) - sizes.keys()
    sizes |= {symbol: 2 + i for i, symbol in enumerate(sorted(open_symbols))}
    for name, t in by_name.items():
        if name not in named:
            if not t.tensor_type.dtype.is_float:
                raise FeedError(f"check_grads: the input {name!r} is {t.type}; it needs a value in feeds{location()}")
            shape = [dims.evaluate(d, sizes) for d in t.shape]
            named[name] = np.asarray(rng.standard_normal(shape))
    return named


def _in_float64(outputs: Sequence[Tensor]) -> list[Tensor]:
    """`outputs` with every floating-point leaf and constant in float64."""
    while replaced := {t: new for node in topological(outputs) for t, new in _expanded(node)}:
        outputs = substitute(outputs, replaced)
    mapped: dict[Tensor, Tensor] = {}
    for node in topological(outputs):
        made = _node_in_float64(node, mapped)
        mapped.update(zip(node.outputs, made.outputs, strict=True))
    return [mapped[t] for t in outputs]


def _expanded(node: Node) -> list[tuple[Tensor, Tensor]]:
    """The outputs of a node, and what computes them in float64, if no kernel of its operator does."""
    if node.domain != "" or node.is_constant:
        return []
    if node.op in ("RNN", "GRU", "LSTM"):
        return list(zip(node.outputs, lower(node), strict=True))
    return list(zip(node.outputs, expand(node), strict=True)) if _is_too_narrow(node) else []


def _is_too_narrow(node: Node) -> bool:
    """Whether an operator takes no float64 (Celu) or computes in float32 within, but has a function body."""
    if not has_body(node.op):
        return False
    types = spec(node.op).input(0).types
    return "stash_type" in node.attrs or ("tensor(float)" in types and "tensor(double)" not in types)


def _acceptable(node: Node, position: int, t: Tensor) -> Tensor:
    """An input that stays float32 (the scales of Resize) as it is taken."""
    types = spec(node.op, node.domain).input(position).types
    is_double = isinstance(t.type, TensorType) and t.type.dtype.name == "float64"
    return cast(t, "float32") if is_double and "tensor(double)" not in types else t


def _type_in_float64(t: Type) -> Type:
    if isinstance(t, TensorType):
        return TensorType(as_dtype("float64") if t.dtype.is_float else t.dtype, t.shape)
    return type(t)(_type_in_float64(t.element))


def _node_in_float64(node: Node, mapped: Mapping[Tensor, Tensor]) -> Node:
    double = as_dtype("float64")
    if node.is_leaf:
        return leaf(INPUT, str(node.out().name), _type_in_float64(node.out().type), {}).node
    if node.is_constant:
        value = node.attrs["value"]
        return constant(value.array, double).node if value.dtype.is_float else node
    attrs = dict(node.attrs)
    if node.op == "SequenceEmpty":
        attrs.setdefault("dtype", as_dtype("float32").code)
    for name in ("to", "dtype"):
        if name in attrs and as_dtype(attrs[name]).is_float:
            attrs[name] = double.code
    for name, value in attrs.items():
        if isinstance(value, Graph):
            body = _in_float64([*value.inputs, *value.outputs])
            attrs[name] = Graph(body[: len(value.inputs)], body[len(value.inputs) :], name=value.name)
    if node.op == "ConstantOfShape":
        value = attrs.get("value", Constant(np.zeros(1, np.float32)))
        attrs["value"] = Constant(value.array, double) if value.dtype.is_float else value
    inputs = [None if t is None else _acceptable(node, i, mapped[t]) for i, t in enumerate(node.inputs)]
    outputs = len(node.types) if len(node.types) > 1 else None
    return apply(node.op, inputs, attrs, outputs=outputs, domain=node.domain)
