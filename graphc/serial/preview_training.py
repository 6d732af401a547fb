"""The operator Gradient of ONNX's preview training domain, which refers to tensors by name.

In a file, Gradient has the values at which a gradient is taken as its inputs; the tensors that they stand for, and the
one that is differentiated, are named in the attributes `xs`, `zs` and `y`. In a graph, where names mean nothing, these
are inputs too: a node has the n given values, the n tensors that `xs` and `zs` name, and `y`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.errors import ModelImportError
from graphc.ir import schema
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.schema import TRAINING_DOMAIN

__all__ = ["is_gradient", "named_operands", "written_gradient"]


def is_gradient(op: str, domain: str) -> bool:
    """Whether an operator is the preview training domain's Gradient."""
    return op == "Gradient" and domain == TRAINING_DOMAIN


def named_operands(attributes: Mapping[str, Any], given: int, get: Callable[[str], Tensor]) -> list[Tensor]:
    """The tensors that the attributes of a Gradient with `given` inputs name, `get` tells by name: xs, zs, y.

    Raises ModelImportError when the attributes name other tensors than there are inputs.
    """
    xs, zs = (schema.normalize("STRINGS", attributes.get(name, ())) for name in ("xs", "zs"))
    y = schema.normalize("STRING", attributes.get("y", ""))
    if given != len(xs) + len(zs) or not xs or not y:
        raise ModelImportError(
            f"Gradient: {given} inputs for xs={list(xs)}, zs={list(zs)}, y={y!r}; expected an input for each tensor of "
            f"xs and zs{location()}"
        )
    return [get(name) for name in (*xs, *zs, y)]


def written_gradient(
    node: Node, inputs: Sequence[str], attributes: Sequence[tuple[str, Any]]
) -> tuple[list[str], list[tuple[str, Any]]]:
    """The inputs and attributes of a Gradient in a file where the inputs of `node` bear the names `inputs`."""
    count, given = len(node.attrs["xs"]), len(inputs) // 2
    names = inputs[given:-1]
    told = {"xs": tuple(names[:count]), "zs": tuple(names[count:]), "y": inputs[-1]}
    return list(inputs[:given]), [(name, told[name]) for name, _ in attributes if told[name]]
