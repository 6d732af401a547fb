"""Several training steps as one graph: one call of the runtime for all of them.

A step of a small network is done sooner than a call of it is prepared. The steps are copies of one another, not a Loop:
for a net of 33 parameters, onnxruntime takes 4 times as long for an iteration of a Loop as for a copy, and a graph of
16 copies of its 31 operators is loaded in a tenth of a second.
"""

from __future__ import annotations

from graphc import functional as F
from graphc.errors import GraphError, OperatorError
from graphc.ir import dims
from graphc.ir.build import apply, input
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit, location
from passes.cost import Sizes, cost

__all__ = ["multi_step", "worthwhile_count"]

_CALL = 20e-6  # seconds that a call costs beside its operators: half in onnxruntime, half around it
_OPERATOR = 0.5e-6  # seconds to start one
_FLOPS, _BYTES = 5e10, 2e10  # a second
_SHARE = 0.02  # of its time that a step may lose to the call
_MOST_STEPS, _MOST_NODES = 16, 4000  # beyond, there is little to win, and loading takes long


def multi_step(step: Graph, count: int) -> Graph:
    """The graph that makes `count` steps, each going on from the state that the one before it leaves.

    An input holds what the single steps are fed, one after the other along its first axis: `count` times as many rows,
    and for a scalar (the learning rate) a vector of `count` elements. An output gains a first axis of that size. The
    updates give the state after the last step. What is computed is what single steps compute, in the same operators.

    Raises:
        OperatorError: `count` is no positive integer.
        GraphError: the rank of an input is not known.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise OperatorError(f"multi_step: count is {count!r}; expected an integer >= 1{location()}")
    whole = {t: _whole(str(name), t, count) for name, t in step.feeds.items()}
    parts = {t: _parts(t, fed, count) for t, fed in whole.items()}
    state = {t: t for t in step.updates}
    results: list[list[Tensor]] = [[] for _ in step.outputs]
    for position in range(count):
        known = {t: made[position] for t, made in parts.items()} | {t: v for t, v in state.items() if t != v}
        if position:
            _draw_again(step, known)
        made = substitute([*step.outputs, *step.updates.values()], known)
        for stacked, value in zip(results, made, strict=False):
            stacked.append(value)
        state = dict(zip(step.updates, made[len(results) :], strict=True))
    outputs = {name: F.stack(values, 0) for name, values in zip(step.output_names, results, strict=True)}
    return Graph([whole.get(t, t) for t in step.inputs], outputs, state, f"{step.name} x {count}")


def worthwhile_count(step: Graph, sizes: Sizes | None = None) -> int:
    """How many steps to make in one call, so that a step loses no more than 2 % to it: 16 for a tiny net, 1 for a step
    that takes a millisecond. An estimate, for symbolic dimensions of these sizes.
    """
    nodes, estimate = max(step.count(), 1), cost(step, sizes)
    seconds = nodes * _OPERATOR + estimate.flops / _FLOPS + estimate.bytes / _BYTES
    return max(1, min(_MOST_STEPS, _MOST_NODES // nodes, round(_CALL / (_SHARE * seconds))))


def _whole(name: str, t: Tensor, count: int) -> Tensor:
    """The input that holds what `t` is fed in all steps."""
    shape = t.tensor_type.shape
    if shape is None:
        raise GraphError(f"multi_step: the input {name!r} is {t.type}; expected a known rank{location()}")
    return input(name, (dims.multiply(shape[0], count), *shape[1:]) if shape else (count,), t.dtype)


def _parts(t: Tensor, whole: Tensor, count: int) -> tuple[Tensor, ...]:
    """What each step reads of it."""
    if not t.ndim:
        return tuple([F.take(whole, position) for position in range(count)])
    return apply("Split", [whole], {"axis": 0, "num_outputs": count}).outputs


def _draw_again(step: Graph, known: dict[Tensor, Tensor]) -> None:
    """Replace the random operators by new ones, as copies of a node of equal inputs would be that node."""
    for node in step.nodes:
        if node.uid and not node.is_leaf:
            given = iter(substitute([t for t in node.inputs if t is not None], known))
            inputs = [None if t is None else next(given) for t in node.inputs]
            with inherit(node.origin):
                again = apply(node.op, inputs, node.attrs, outputs=len(node.types), domain=node.domain)
            known.update(zip(node.outputs, again.outputs, strict=True))
