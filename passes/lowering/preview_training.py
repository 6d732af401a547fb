"""ONNX's preview training operators in terms of standard ones: Gradient, Adagrad, Adam and Momentum.

No runtime implements them. The formulas are those of the operators' documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc import functional as F
from graphc.inference.training import GROUPS
from graphc.ir.build import constant
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.schema import TRAINING_DOMAIN
from passes.autodiff import vjp
from passes.rewrite import ANY, RuleSet, rewrite, rule

__all__ = ["lower_preview_training"]


def lower_preview_training(graph: Graph) -> Graph:
    """`graph` without operators of the domain `ai.onnx.preview.training`; the same graph when it has none.

    A Gradient of a tensor that is no scalar is that of the sum of its elements. Before other passes: they may rewrite
    the tensor that is differentiated so that one of those it is differentiated by is gone.

    Raises DifferentiationError when a Gradient does not exist.
    """
    return rewrite(graph, _RULES) if _has_any(graph) else graph


def _has_any(graph: Graph) -> bool:
    graphs = [graph]
    for g in graphs:
        for node in g.nodes:
            if node.domain == TRAINING_DOMAIN:
                return True
            graphs.extend(value for value in node.attrs.values() if isinstance(value, Graph))
    return False


@rule(ANY, name="preview-training")
def _lowered(node: Node) -> Sequence[Tensor] | None:
    """An operator of the preview training domain -> what it computes."""
    if node.domain != TRAINING_DOMAIN:
        return None
    return _gradient(node) if node.op == "Gradient" else _optimizer(node)


_RULES = RuleSet([_lowered])


def _gradient(node: Node) -> Sequence[Tensor]:
    operands = [t for t in node.inputs if t is not None]
    given = len(operands) // 2
    values, named, y = operands[:given], operands[given:-1], operands[-1]
    wrt = named[: len(node.attrs["xs"])]
    found = vjp([y], wrt, [F.ones_like(y)], unused="zero")
    moved = {t: value for t, value in zip(named, values, strict=True) if t != value}
    return substitute(found, moved) if moved else found


def _optimizer(node: Node) -> Sequence[Tensor]:
    rate, step, *tensors = (t for t in node.inputs if t is not None)
    count = len(tensors) // GROUPS[node.op][0]
    update = _UPDATES[node.op]
    rows = []
    for i in range(count):
        x, *others = tensors[i::count]
        scalars = [F.cast(F.reshape(t, ()), x.dtype) for t in (rate, step)]
        rows.append(update(node, *scalars, x, *others))
    return [t for column in zip(*rows, strict=True) for t in column]


def _regularized(node: Node, x: Tensor, g: Tensor) -> Tensor:
    norm: float = node.attrs["norm_coefficient"]
    return norm * x + g if norm else g


def _adagrad(node: Node, rate: Tensor, step: Tensor, x: Tensor, g: Tensor, squares: Tensor) -> Sequence[Tensor]:
    rate = rate / (1.0 + step * node.attrs["decay_factor"])
    g = _regularized(node, x, g)
    squares = squares + g * g
    return x - rate * g / (F.sqrt(squares) + node.attrs["epsilon"]), squares


def _adam(
    node: Node, rate: Tensor, step: Tensor, x: Tensor, g: Tensor, mean: Tensor, squares: Tensor
) -> Sequence[Tensor]:
    alpha, beta = node.attrs["alpha"], node.attrs["beta"]
    g = _regularized(node, x, g)
    mean = alpha * mean + (1.0 - alpha) * g
    squares = beta * squares + (1.0 - beta) * g * g
    unbiased = rate * F.sqrt(1.0 - _power(beta, step)) / (1.0 - _power(alpha, step))
    rate = F.where(F.greater(step, 0.0), unbiased, rate)
    following = x - rate * mean / (F.sqrt(squares) + node.attrs["epsilon"])
    return (1.0 - node.attrs["norm_coefficient_post"]) * following, mean, squares


def _power(base: float, exponent: Tensor) -> Tensor:
    return F.pow(constant(base, exponent.dtype), exponent)


def _momentum(node: Node, rate: Tensor, step: Tensor, x: Tensor, g: Tensor, velocity: Tensor) -> Sequence[Tensor]:
    alpha = node.attrs["alpha"]
    g = _regularized(node, x, g)
    beta = F.where(F.greater(step, 0.0), node.attrs["beta"], constant(1.0, x.dtype))
    velocity = alpha * velocity + beta * g
    direction = g + alpha * velocity if node.attrs["mode"] == "nesterov" else velocity
    return x - rate * direction, velocity


_UPDATES: Mapping[str, Callable[..., Sequence[Tensor]]] = {
    "Adagrad": _adagrad,
    "Adam": _adam,
    "Momentum": _momentum,
}
