"""Gradients of calls of a graph (:mod:`graphc.ir.call`): through the body, recomputed, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant
from graphc.ir.call import instance
from graphc.ir.graph import Graph, leaves, substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names
from passes.randomness import is_random
from passes.randomness.dropout import dropout_factor
from passes.vjp.registry import Contribution, Rule, operand, optional, selective
from passes.vjp.reverse import refuse_random

__all__ = ["rule_of_call"]


def rule_of_call(node: Node) -> Rule:
    """The gradient rule of a call."""
    gradient = node.attrs.get("gradient")
    if gradient is None:
        return _through
    return _recomputed if gradient == "recompute" else _user_defined


def _user_defined(node: Node, *cotangents: Tensor | None) -> Sequence[Contribution]:
    """What the user's rule returns, checked; the engine checks dtypes and shapes."""
    result = node.attrs["gradient"](node, *cotangents)
    given = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(given) > len(node.inputs) or not all(g is None or isinstance(g, Tensor) for g in given):
        raise DifferentiationError(
            f"grad: the gradient rule of {node.op} [{node.origin}] returned {result!r}; expected a tensor or None for "
            f"each of its {len(node.inputs)} inputs"
        )
    return given


class _Pulled(NamedTuple):
    """The gradient of the body of a call, as a function of its `inputs` and of `seeds`, the cotangents of its outputs.

    `found` has an entry for each input; `arguments` are what the inputs, and then the seeds, stand for.
    """

    inputs: list[Tensor]
    seeds: list[Tensor]
    found: list[Tensor | None]
    arguments: list[Tensor]


def _pull(
    body: Graph, inputs: Sequence[Tensor | None], cotangents: Sequence[Tensor | None], wanted: Sequence[bool]
) -> _Pulled:
    from passes.autodiff import pullback

    given = [(t, g) for t, g in zip(body.outputs, cotangents, strict=True) if g is not None]
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    seeds = [formal(names.unique(f"d_{t.name or t.op.lower()}"), t.type) for t, _ in given]
    chosen = [t for t, want in zip(body.inputs, wanted, strict=True) if want]
    found = iter(pullback([t for t, _ in given], chosen, seeds))
    arguments = [*(t for t in inputs if t is not None), *(g for _, g in given)]
    return _Pulled(list(body.inputs), seeds, [next(found) if want else None for want in wanted], arguments)


@selective
def _through(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """The gradient of the body; what it shares with the body is computed once."""
    pulled = _pull(instance(node.attrs["body"], node.inputs), node.inputs, cotangents, wanted)
    made = iter(
        substitute(
            [g for g in pulled.found if g is not None],
            dict(zip([*pulled.inputs, *pulled.seeds], pulled.arguments, strict=True)),
        )
    )
    return [None if g is None else next(made) for g in pulled.found]


@selective
def _recomputed(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """The gradient of the body, computed from the inputs alone in a Loop of one step.

    Out here, the recomputed nodes would be those of the forward pass: nodes are interned, and runtimes merge equal ones
    too. The inputs that have a gradient are the carried values of the loop: they have its dtype and shape. Random
    numbers are not drawn again: those of the forward pass (of Dropout, the mask) are inputs of the loop.
    """
    drawn = _drawn(instance(node.attrs["body"], node.inputs), node.inputs)
    pulled = _pull(
        drawn.body, drawn.arguments, cotangents, [*wanted, *([False] * (len(drawn.arguments) - len(wanted)))]
    )
    carried = [k for k, g in enumerate(pulled.found) if g is not None]
    if not carried:
        return []
    formals = [*pulled.inputs, *pulled.seeds]
    gradients = [g for g in pulled.found if g is not None]
    read = set(leaves(gradients))
    captured = [k for k, t in enumerate(formals) if k not in carried and t in read]
    step = formal("recompute_step", TensorType(as_dtype("int64"), ()))
    go_on = formal("recompute_condition", TensorType(as_dtype("bool"), ()))
    body = Graph(
        [step, go_on, *(formals[k] for k in [*carried, *captured])],
        [constant(True), *gradients],
        name="recompute",
    )
    inputs = [constant(1, "int64"), None, *(pulled.arguments[k] for k in [*carried, *captured])]
    made = apply("Loop", inputs, {"body": body, "captures": len(captured)})
    contributions: list[Contribution] = [None] * len(node.inputs)
    for k, g in zip(carried, made.outputs, strict=True):
        contributions[k] = g
    return contributions


class _Drawn(NamedTuple):
    """A body that draws no random numbers: they are further inputs of it, for which `arguments` stand."""

    body: Graph
    arguments: list[Tensor | None]


def _drawn(body: Graph, inputs: Sequence[Tensor | None]) -> _Drawn:
    """`body` with what its random operators draw, applied to `inputs`, as inputs of its own."""
    random = [node for node in body.nodes if is_random(node)]
    refuse_random(nested for node in body.nodes for nested in _nested(node))
    if not random:
        return _Drawn(body, list(inputs))
    outer = {f: t for f, t in zip(body.inputs, inputs, strict=True) if t is not None}
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    replaced: dict[Tensor, Tensor] = {}
    formals: list[Tensor] = []
    drawn: list[Tensor] = []
    for node in random:
        source = node.out(1) if node.op == "Dropout" else node.out()
        formals.append(formal(names.unique(f"{node.op.lower()}_drawn"), source.type))
        drawn += substitute([source], outer)
        if node.op == "Dropout":
            replaced[node.out(1)] = formals[-1]
            replaced[node.out()] = _masked(node, formals[-1], replaced)
        else:
            replaced[source] = formals[-1]
    outputs = dict(zip(body.output_names, substitute(body.outputs, replaced), strict=True))
    return _Drawn(Graph([*body.inputs, *formals], outputs, name=body.name), [*inputs, *drawn])


def _masked(node: Node, mask: Tensor, replaced: Mapping[Tensor, Tensor]) -> Tensor:
    """What a Dropout computes of its replaced inputs when it draws that mask."""
    ratio, training = optional(node, 1), optional(node, 2)
    assert training is not None, "a Dropout without training_mode draws nothing"
    rate = constant(np.float32(0.5)) if ratio is None else ratio
    x, rate, training = substitute([operand(node), rate, training], replaced)
    dropped = x * dropout_factor(mask, 1.0 - rate, x.dtype)
    return dropped if training.node.is_constant else F.where(training, dropped, x)


def _nested(node: Node) -> list[Node]:
    return [inner for value in node.attrs.values() if isinstance(value, Graph) for inner in value.nodes]
