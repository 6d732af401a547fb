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
from graphc.ir.collector import collector_paused
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.types import TensorType
from passes.flow import Flow, barriers, name_of
from passes.sequences import At, Cotangent, Partial, accumulate, settle
from passes.unbroadcast import can_unbroadcast, unbroadcast
from passes.vjp import is_differentiable, receivers, rule_of
from passes.vjp.registry import Contribution, is_selective

__all__ = ["grad", "pullback", "reached_from", "value_and_grad", "vjp"]

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
    no scalar, `cotangent` (of its dtype and shape) says which combination of its elements to differentiate. Gradients
    with respect to named tensors are named, such as `d_loss/d_layer1.weight`. The gradient of an integer or bool tensor
    is not defined. Where the output does not depend on a tensor, `unused="zero"` gives zeros instead of an error.

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


@overload
def vjp(
    outputs: Sequence[Tensor],
    wrt: Tensor,
    cotangents: Sequence[Tensor | None] | None = None,
    *,
    unused: str = "error",
) -> Tensor: ...
@overload
def vjp(
    outputs: Sequence[Tensor],
    wrt: Sequence[Tensor],
    cotangents: Sequence[Tensor | None] | None = None,
    *,
    unused: str = "error",
) -> list[Tensor]: ...
@overload
def vjp(
    outputs: Sequence[Tensor],
    wrt: Mapping[Name, Tensor],
    cotangents: Sequence[Tensor | None] | None = None,
    *,
    unused: str = "error",
) -> dict[Name, Tensor]: ...


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
                f"grad: {name_of(t)} is {t.type}; a gradient exists for floating-point tensors only{location()}"
            )
    found = pullback(outputs, wrt, _seeds(outputs, cotangents))
    gradients = [_unused(t, outputs, unused) if g is None else g for t, g in zip(wrt, found, strict=True)]
    if len(outputs) == 1:
        for t, g in zip(wrt, gradients, strict=True):
            _label(g, outputs[0], t)
    return gradients


def _label(g: Tensor, output: Tensor, t: Tensor) -> None:
    """Name a gradient that has no name yet, as in `d_loss/d_layer1.weight`."""
    if t.name and g.name is None and not g.node.is_leaf and not g.node.is_constant:
        g.named(f"d_{output.name or 'output'}/d_{t.name}")


def pullback(outputs: Sequence[Tensor], wrt: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor | None]:
    """What :func:`vjp` computes, for rules of operators that hold graphs: None where no gradient arrives.

    `cotangents` has the dtypes and shapes of `outputs`. Raises DifferentiationError for operators without a rule.
    """
    flow = Flow(topological(outputs), wrt)
    _check_rules(flow, outputs)
    sweep = _Sweep(flow)
    for output, cotangent in zip(outputs, cotangents, strict=True):
        sweep.receive(output, cotangent)
    with collector_paused():
        found = sweep.run()
    return [found.get(t) for t in wrt]


def reached_from(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> list[bool]:
    """For each output, whether a gradient may flow from it to one of `wrt`, as far as operators and types tell."""
    flow = Flow(topological(outputs), wrt)
    return [flow.leads_to_wrt(t) for t in outputs]


def _check_rules(flow: Flow, outputs: Sequence[Tensor]) -> None:
    """Raise an error that names every operator between the outputs and `wrt` that has no rule."""
    missing = flow.without_rule(outputs)
    if missing:
        many = len(missing) > 1
        lines = "".join(f"\n  {path} [{n.origin}] -> {', '.join(map(str, n.types))}" for path, n in missing)
        raise DifferentiationError(
            f"grad: {len(missing)} operator{'s' if many else ''} between the output and the inputs "
            f"{'have' if many else 'has'} no gradient rule{location()}:{lines}\n"
            "Register one with passes.vjp.vjp, or differentiate with respect to tensors behind it."
        )


class _Sweep:
    """The reverse sweep: what each tensor on the way from the outputs to `wrt` has received so far."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.received: dict[Node, list[Cotangent | None]] = {}

    def receive(self, t: Tensor, cotangent: Tensor | At) -> None:
        """Add a contribution to what `t` has received."""
        slots = self.received.get(t.node)
        if slots is None:
            slots = self.received[t.node] = [None] * len(t.node.types)
        slots[t.index] = accumulate(slots[t.index], cotangent)

    def run(self) -> dict[Tensor, Tensor]:
        """Run the rules, outputs first; the gradient of each tensor of `wrt` that one reaches."""
        found: dict[Tensor, Tensor] = {}
        flow = self.flow
        for node in reversed(flow.order):
            received = self.received.pop(node, None)
            if received is None:
                continue
            slots = [settle(node.out(i), r) if isinstance(r, Partial) else r for i, r in enumerate(received)]
            if node in flow.sources:
                found.update((t, g) for t, g in zip(node.outputs, slots, strict=True) if g is not None)
            if node in flow.passed:
                with inherit(node.origin, f"gradient of {node.op}"):
                    self._apply_rule(node, slots)
        return found

    def _apply_rule(self, node: Node, slots: list[Tensor | None]) -> None:
        rule = rule_of(node)
        if rule is None:  # only what cannot be reached has none; see _check_rules
            return
        if is_selective(rule):
            result = rule(node, *slots, wanted=[t is not None and self.flow.leads_to_wrt(t) for t in receivers(node)])
        else:
            result = rule(node, *slots)
        contributions: Sequence[Contribution] = result if isinstance(result, (tuple, list)) else (result,)
        # a rule may speak of optional inputs that are not given
        for t, contribution in zip(receivers(node), contributions, strict=False):
            if t is None or contribution is None or not self.flow.leads_to_wrt(t):
                continue
            g = contribution if isinstance(contribution, (Tensor, At)) else contribution()
            if g is not None:
                self.receive(t, _fit(node, g, t))


def _fit(node: Node, g: Tensor | At, t: Tensor) -> Tensor | At:
    """The cotangent `g` that the rule of `node` returned for its input `t`, in the shape of `t`."""
    if isinstance(g, At) or not isinstance(t.type, TensorType):  # sequences and optionals do not broadcast
        return g
    found, expected = g.tensor_type, t.tensor_type
    if found.dtype is expected.dtype:
        if found.shape is not None and found.shape == expected.shape:
            return g
        if can_unbroadcast(found.shape, expected.shape):
            return unbroadcast(g, t)
    raise DifferentiationError(
        f"grad: the gradient rule of {node.op} returned {found} for an input {expected} [{node.origin}]; expected its "
        "dtype, and its shape or one that it broadcasts to"
    )


def _seeds(outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None] | None) -> list[Tensor]:
    given = [None] * len(outputs) if cotangents is None else list(cotangents)
    if len(given) != len(outputs):
        raise DifferentiationError(f"vjp: {len(given)} cotangents for {len(outputs)} outputs{location()}")
    return [_seed(output, cotangent) for output, cotangent in zip(outputs, given, strict=True)]


def _seed(output: Tensor, cotangent: Any) -> Tensor:
    if not is_differentiable(output):
        raise DifferentiationError(
            f"grad: the output {name_of(output)} is {output.type}; expected a floating-point scalar{location()}"
        )
    t = output.tensor_type
    if cotangent is None:
        if t.size != 1:
            raise DifferentiationError(
                f"grad: the output {name_of(output)} is {t}; expected a scalar{location()}. Reduce it to a scalar "
                f"(such as .mean()), or pass a cotangent of its shape."
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


def _unused(t: Tensor, outputs: Sequence[Tensor], unused: str) -> Tensor:
    if unused == "zero":
        return F.zeros_like(t)
    order = topological(outputs)
    hint = "Leave it out, or pass unused='zero' for a gradient of zeros."
    if t.node not in order:
        raise DifferentiationError(
            f"grad: the output {name_of(outputs[0])} does not depend on {name_of(t)}{location()}. {hint}"
        )
    stops = "".join(f"\n  {stop}" for stop in barriers(t, order))
    raise DifferentiationError(
        f"grad: no gradient reaches {name_of(t)}; the output depends on it only through{location()}:{stops}\n{hint}"
    )
