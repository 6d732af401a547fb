"""Gradients of calls of a graph (:mod:`graphc.ir.call`): through the body, recomputed, or as the user says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant
from graphc.ir.call import instance
from graphc.ir.graph import Graph, leaves, substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names
from passes.vjp.registry import Contribution, Rule, selective

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


def _pull(node: Node, cotangents: Sequence[Tensor | None], wanted: Sequence[bool]) -> _Pulled:
    from passes.autodiff import pullback

    body = instance(node.attrs["body"], node.inputs)
    given = [(t, g) for t, g in zip(body.outputs, cotangents, strict=True) if g is not None]
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    seeds = [formal(names.unique(f"d_{t.name or t.op.lower()}"), t.type) for t, _ in given]
    chosen = [t for t, want in zip(body.inputs, wanted, strict=True) if want]
    found = iter(pullback([t for t, _ in given], chosen, seeds))
    arguments = [*(t for t in node.inputs if t is not None), *(g for _, g in given)]
    return _Pulled(list(body.inputs), seeds, [next(found) if want else None for want in wanted], arguments)


@selective
def _through(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """The gradient of the body; what it shares with the body is computed once."""
    pulled = _pull(node, cotangents, wanted)
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
    too. The inputs that have a gradient are the carried values of the loop: they have its dtype and shape.
    """
    pulled = _pull(node, cotangents, wanted)
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
