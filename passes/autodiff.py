"""Reverse-mode automatic differentiation, graph to graph.

The result of `grad` is ordinary tensors: print them, test them, simplify them, differentiate them again, export them.
The method is the reverse accumulation of Linnainmaa (1970) and Speelpenning (1980): a sweep from the output to the
inputs that multiplies cotangents by local Jacobians (`passes/vjp`) and sums what reaches a tensor by several ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.ir import dims
from graphc.ir.build import constant
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.types import TensorType
from passes.unbroadcast import unbroadcast
from passes.vjp import is_differentiable, nondifferentiable, rule_of
from passes.vjp.registry import Contribution

__all__ = ["grad", "value_and_grad", "vjp"]

Name = TypeVar("Name", bound=object)


@overload
def grad(output: Tensor, wrt: Tensor, cotangent: Tensor | None = None, *, unused: str = "error") -> Tensor: ...
@overload
def grad(
    output: Tensor, wrt: Sequence[Tensor], cotangent: Tensor | None = None, *, unused: str = "error"
) -> list[Tensor]: ...
@overload
def grad(
    output: Tensor, wrt: Mapping[Name, Tensor], cotangent: Tensor | None = None, *, unused: str = "error"
) -> dict[Name, Tensor]: ...


def grad(
    output: Tensor,
    wrt: Tensor | Sequence[Tensor] | Mapping[Name, Tensor],
    cotangent: Tensor | None = None,
    *,
    unused: str = "error",
) -> Tensor | list[Tensor] | dict[Name, Tensor]:
    """The gradient of a scalar `output` with respect to `wrt`: a tensor, a sequence or a mapping of tensors.

    The result has the structure of `wrt`, and each gradient the dtype and shape of its tensor. For an output that is
    no scalar, `cotangent` (of its dtype and shape) says which combination of its elements to differentiate. The
    gradient of an integer or bool tensor is not defined. Where the output does not depend on a tensor, `unused="zero"`
    gives zeros instead of an error.

    Raises:
        DifferentiationError: the output is no scalar and there is no cotangent; an operator on the way has no
            gradient (all of them are named); the output does not depend on a tensor of `wrt`.
    """
    return vjp([output], wrt, None if cotangent is None else [cotangent], unused=unused)


def value_and_grad(
    output: Tensor, wrt: Tensor | Sequence[Tensor] | Mapping[Name, Tensor]
) -> tuple[Tensor, Tensor | list[Tensor] | dict[Name, Tensor]]:
    """`(output, grad(output, wrt))`: what a training step needs. Raises DifferentiationError as :func:`grad` does."""
    return output, grad(output, wrt)


def vjp(
    outputs: Sequence[Tensor],
    wrt: Tensor | Sequence[Tensor] | Mapping[Name, Tensor],
    cotangents: Sequence[Tensor | None] | None = None,
    *,
    unused: str = "error",
) -> Tensor | list[Tensor] | dict[Name, Tensor]:
    """The vector-Jacobian product: the sum over `outputs` of cotangent times Jacobian, with respect to `wrt`.

    `cotangents` has one entry for each output, of its dtype and shape, or None for 1 (scalars only). The result has
    the structure of `wrt`. Raises DifferentiationError as :func:`grad` does.
    """
    if isinstance(wrt, Tensor):
        return _backward(outputs, [wrt], cotangents, unused)[0]
    if isinstance(wrt, Mapping):
        return dict(zip(wrt, _backward(outputs, list(wrt.values()), cotangents, unused), strict=True))
    return _backward(outputs, list(wrt), cotangents, unused)


def _backward(
    outputs: Sequence[Tensor], wrt: list[Tensor], cotangents: Sequence[Tensor | None] | None, unused: str
) -> list[Tensor]:
    if unused not in ("error", "zero"):
        raise DifferentiationError(f"grad: unused={unused!r}; expected 'error' or 'zero'{location()}")
    for t in wrt:
        if not is_differentiable(t):
            raise DifferentiationError(
                f"grad: {_name(t)} is {t.type}; a gradient exists for floating-point tensors only{location()}"
            )
    order = topological(outputs)
    active = _active(order, wrt)
    pending: dict[Tensor, list[Tensor]] = {}
    for output, seed in zip(outputs, _seeds(outputs, cotangents), strict=True):
        pending.setdefault(output, []).append(seed)
    _check_rules(order, active, outputs)
    found: dict[Tensor, Tensor] = {}
    wanted = set(wrt)
    for node in reversed(order):
        received: list[Tensor | None] = []
        for t in node.outputs:
            contributions = pending.pop(t, None)
            received.append(None if contributions is None else _total(contributions))
            if contributions is not None and t in wanted:
                found[t] = received[-1]  # type: ignore[assignment]
        if node not in active or node.is_leaf or all(g is None for g in received):
            continue
        with inherit(node.origin, f"gradient of {node.op}"):
            _apply_rule(node, received, active, wanted, pending)
    return [found[t] if t in found else _unused(t, outputs, active, unused) for t in wrt]


def _name(t: Tensor) -> str:
    return repr(t.name) if t.name else f"the result of {t.node.op} [{t.node.origin}]"


def _active(order: list[Node], wrt: list[Tensor]) -> set[Node]:
    """The nodes through which a gradient may flow to `wrt`, theirs included."""
    active = {t.node for t in wrt}
    for node in order:
        if node in active or nondifferentiable(node.op) is not None or not any(map(is_differentiable, node.outputs)):
            continue
        if any(t is not None and t.node in active and is_differentiable(t) for t in node.inputs):
            active.add(node)
    return active


def _seeds(outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None] | None) -> list[Tensor]:
    given = [None] * len(outputs) if cotangents is None else list(cotangents)
    if len(given) != len(outputs):
        raise DifferentiationError(f"vjp: {len(given)} cotangents for {len(outputs)} outputs{location()}")
    return [_seed(output, cotangent) for output, cotangent in zip(outputs, given, strict=True)]


def _seed(output: Tensor, cotangent: Any) -> Tensor:
    if not is_differentiable(output):
        raise DifferentiationError(
            f"grad: the output {_name(output)} is {output.type}; expected a floating-point scalar{location()}"
        )
    t = output.tensor_type
    if cotangent is None:
        if t.size != 1:
            raise DifferentiationError(
                f"grad: the output {_name(output)} is {t}; expected a scalar{location()}. Reduce it to a scalar (such "
                f"as .mean()), or pass a cotangent of its shape."
            )
        return constant(np.ones([1] * output.ndim, t.dtype.numpy))
    seed: Tensor = cotangent if isinstance(cotangent, Tensor) else constant(cotangent, t.dtype)
    c = seed.tensor_type
    if c.dtype is not t.dtype or not _same_shape(c, t):
        raise DifferentiationError(f"grad: the cotangent is {c}; expected {t}, as the output{location()}")
    return seed


def _same_shape(a: TensorType, b: TensorType) -> bool:
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and not any(
        dims.provably_different(p, q) for p, q in zip(a.shape, b.shape, strict=True)
    )


def _check_rules(order: list[Node], active: set[Node], outputs: Sequence[Tensor]) -> None:
    """Raise an error that names every operator between `wrt` and the outputs that has no rule."""
    missing = [node for node in order if node in active and not node.is_leaf and rule_of(node) is None]
    if missing:
        lines = "".join(f"\n  {n.op} [{n.origin}] -> {', '.join(map(str, n.types))}" for n in missing)
        raise DifferentiationError(
            f"grad: {len(missing)} operator{'s' if len(missing) > 1 else ''} between the output and the inputs "
            f"{'have' if len(missing) > 1 else 'has'} no gradient rule{location()}:{lines}\n"
            "Register one with passes.vjp.vjp, or differentiate with respect to tensors behind it."
        )


def _total(contributions: list[Tensor]) -> Tensor:
    total = contributions[0]
    for c in contributions[1:]:
        total = F.add(total, c)
    return total


def _apply_rule(
    node: Node,
    received: list[Tensor | None],
    active: set[Node],
    wanted: set[Tensor],
    pending: dict[Tensor, list[Tensor]],
) -> None:
    """Run the rule of `node` and hand its contributions to the inputs that need them."""
    rule = rule_of(node)
    assert rule is not None, f"{node.op} passed the check for rules"
    result = rule(node, *received)
    contributions: list[Contribution] = list(result) if isinstance(result, (tuple, list)) else [result]  # type: ignore[list-item]
    # a rule may speak of optional inputs that are not given
    for t, contribution in zip(node.inputs, contributions, strict=False):
        if t is None or contribution is None or (t.node not in active and t not in wanted) or not is_differentiable(t):
            continue
        g = contribution if isinstance(contribution, Tensor) else contribution()
        if g is None:
            continue
        assert g.dtype is t.dtype, f"the rule of {node.op} returned {g.type} for an input {t.type}"
        pending.setdefault(t, []).append(unbroadcast(g, t))


def _unused(t: Tensor, outputs: Sequence[Tensor], active: set[Node], unused: str) -> Tensor:
    if unused == "zero":
        return F.zeros_like(t)
    below = topological(outputs)
    if t.node not in below:
        raise DifferentiationError(
            f"grad: the output {_name(outputs[0])} does not depend on {_name(t)}{location()}. "
            "Leave it out, or pass unused='zero' for a gradient of zeros."
        )
    blocked = [n for n in below if n not in active and any(i is not None and i.node in active for i in n.inputs)]
    reasons = "".join(
        f"\n  {n.op} [{n.origin}]: {nondifferentiable(n.op) or 'its result is no number'}" for n in blocked
    )
    raise DifferentiationError(
        f"grad: no gradient reaches {_name(t)}; the output depends on it only through{location()}:{reasons}\n"
        "Leave it out, or pass unused='zero' for a gradient of zeros."
    )
