"""Several training steps as one graph: one call of the runtime for all of them.

A step of a small network is done sooner than a call of it is prepared. The steps are iterations of a Scan: one costs
onnxruntime no more than a copy of its operators in a row would (0.95 of it for a net of 65 parameters, on a CPU), and
the graph for any number of steps is loaded as fast as that of one.
"""

from __future__ import annotations

from graphc import functional as F
from graphc.errors import GraphError
from graphc.functional.closure import formal
from graphc.ir import dims
from graphc.ir.build import input
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType
from graphc.serial.names import Names
from passes.cost import Sizes, cost
from passes.iteration import Iteration, Result, Slices, State, run_scan

__all__ = ["multi_step", "worthwhile_count"]

_CALL = 20e-6  # seconds that a call costs beside its operators: half in onnxruntime, half around it
_OPERATOR = 0.5e-6  # seconds to start one
_FLOPS, _BYTES = 5e10, 2e10  # a second, on data in the cache of a core
_SHARE = 0.02  # of its time that a step may lose to the call
_MOST = 32  # beyond, there is nothing to win


def multi_step(step: Graph) -> Graph:
    """The graph that makes any number of steps, each going on from the state that the one before it leaves.

    Every input and every output gains a first axis, with an entry for each step: what is fed to it (for the learning
    rate, a vector), and what it gives. The updates are the state after the last step. The operators of a step are those
    of `step`, on the same numbers.

    Raises GraphError when there is no input to count steps by, or the rank of one is not known.
    """
    if not step.feeds:
        raise GraphError(f"multi_step: {step.name} has no input; expected one to count the steps by{location()}")
    names, count = Names(), _free_symbol(step)
    whole = {t: _stacked(name, t, count) for name, t in step.feeds.items()}
    places = F.arange(F.shape_of(next(iter(whole.values())))[0])
    place = formal(names.unique("step"), TensorType(places.dtype, ()))
    slices = [Slices(place, places)]
    states = {t: formal(names.unique(str(t.name)), t.type) for t in step.updates}
    known = dict(states)
    for t, fed in whole.items():
        if t.ndim:  # a slice would start anywhere in memory, where kernels sum in another order: copied, it is aligned
            known[t] = F.take(fed, place)
        else:
            known[t] = formal(names.unique(str(t.name)), t.type)
            slices.append(Slices(known[t], fed))
    results = substitute([*step.outputs, *step.updates.values()], known)
    stacked = [Result(t) for t in results[: len(step.outputs)]]
    following = [
        State(item, t, value) for (t, item), value in zip(states.items(), results[len(stacked) :], strict=True)
    ]
    last, outputs = run_scan(Iteration(following, slices, stacked), names)
    return Graph(
        [whole.get(t, t) for t in step.inputs],
        dict(zip(step.output_names, outputs, strict=True)),
        dict(zip(step.updates, last, strict=True)),
        f"several_{step.name}",
    )


def worthwhile_count(step: Graph, sizes: Sizes | None = None) -> int:
    """How many steps to make in one call, so that a step loses no more than 2 % to it: 32 for a tiny net, 1 for a step
    that takes a millisecond. An estimate, for symbolic dimensions of these sizes.
    """
    estimate = cost(step, sizes)
    seconds = max(step.count(), 1) * _OPERATOR + estimate.flops / _FLOPS + estimate.bytes / _BYTES
    return max(1, min(_MOST, round(_CALL / (_SHARE * seconds))))


def _free_symbol(step: Graph) -> str:
    """A name for the number of steps that no dimension of an input has."""
    names = Names()
    for t in step.feeds.values():
        for name in dims.symbols(t.tensor_type.shape or ()):
            names.reserve(name)
    return names.unique("steps")


def _stacked(name: str, t: Tensor, count: str) -> Tensor:
    """The input that holds what `t` is fed in all steps."""
    shape = t.tensor_type.shape
    if shape is None:
        raise GraphError(f"multi_step: the input {name!r} is {t.type}; expected a known rank{location()}")
    return input(name, (count, *shape), t.dtype)
