"""Calls of a graph (:mod:`graphc.ir.call`) for a whole batch: the call of a batched body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.call import call as make_call
from graphc.ir.call import instance
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.origin import location
from passes.batching.registry import Call, Result, Unbatched

__all__ = ["batch_call"]


def batch_call(call: Call) -> Sequence[Result]:
    """The batched body, differentiated as the body was; but a user's own rule is for one element, and refused then."""
    from passes.batching.engine import vectorize

    body = instance(call.node.attrs["body"], call.node.inputs)
    inputs = [f if t is None else t for f, t in zip(body.inputs, call.inputs, strict=True)]
    formals = [
        formal(str(f.name), t.type) if flag else f for f, t, flag in zip(body.inputs, inputs, call.flags, strict=True)
    ]
    replaced = {f: new for f, new, flag in zip(body.inputs, formals, call.flags, strict=True) if flag}
    found = vectorize(body.outputs, replaced)
    outputs = dict(zip(body.output_names, [t for t, _ in found], strict=True))
    gradient = call.node.attrs.get("gradient")
    if callable(gradient):
        gradient = None if getattr(gradient, "of_body", False) else _refuse
    made = make_call(call.node.op, Graph(formals, outputs, name=body.name), inputs, gradient)
    return [t if flag else Unbatched(t) for t, (_, flag) in zip(made.outputs, found, strict=True)]


def _refuse(node: Node, *cotangents: Any) -> NoReturn:
    raise DifferentiationError(
        f"grad: {node.op} [{node.origin}] has a gradient rule of its own, and was batched by vmap; expected vmap of "
        f"the gradient, not the gradient of vmap{location()}. Differentiate first."
    )
