"""Control flow from Python functions: `cond`, `scan`, `fori_loop` and `while_loop`, named and shaped as in JAX.

The functions are called once, with inputs that stand for their arguments, and what they return becomes the body of an
ONNX If, Scan or Loop. Tensors that they use from around them, parameters too, are captured. What in the body of a loop
does not depend on the iteration is computed once, before the loop.

Arguments and results may be tensors, or nested tuples, lists and dictionaries of them (with None for nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.functional.closure import close, formal, varying
from graphc.functional.elementwise import as_tensor, cast
from graphc.functional.layout import arange
from graphc.functional.nested import flatten, formals, restore, structure
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor, new_uid
from graphc.ir.origin import location
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names

__all__ = ["cond", "fori_loop", "scan", "while_loop"]

_COUNT = TensorType(as_dtype("int64"), ())
_TRUTH = TensorType(as_dtype("bool"), ())


# --- choice -------------------------------------------------------------------------------------------------------


def cond(predicate: Any, then_fn: Callable[..., Any], else_fn: Callable[..., Any], *operands: Any) -> Any:
    """`then_fn(*operands)` where `predicate` is true, else `else_fn(*operands)`: only one is computed (ONNX If).

    What both functions use from around them is computed before the choice, and so are the operands; what only one
    uses, only where it is chosen.

    Args:
        predicate: a bool tensor of one element.
        then_fn: a function of the operands.
        else_fn: another, with a result of the same structure and dtypes. Shapes may differ.
        operands: tensors, or nested tuples, lists and dictionaries of them.

    Returns:
        What the functions return; dimensions in which their results differ are unknown.

    Raises:
        DTypeError: the predicate is not bool.
        ShapeError: the predicate has more than one element.
        GraphError: the functions return different structures.
    """
    chosen = as_tensor(predicate)
    if chosen.dtype is not _TRUTH.dtype or chosen.tensor_type.size not in (1, None):
        error = DTypeError if chosen.dtype is not _TRUTH.dtype else ShapeError
        raise error(f"cond: the predicate is {chosen.type}; expected bool[]{location()}. Compare, as in x.sum() > 0.")
    since, names = new_uid(), Names()
    inputs, nested = formals(operands, "operand", names)
    results = then_fn(*nested), else_fn(*nested)
    if structure(results[0]) != structure(results[1]):
        raise GraphError(f"cond: then_fn returns {results[0]!r} and else_fn {results[1]!r}; expected alike{location()}")
    then, other = flatten(results[0]), flatten(results[1])
    if not then:
        raise GraphError(f"cond: the functions return {results[0]!r}; expected at least one tensor{location()}")
    own = varying([*then, *other], inputs, since)
    shared = set(topological(then)) & set(topological(other))

    def stays(node: Node) -> bool:
        return node in own or not (node.is_leaf or node.uid or node in shared)

    closed = close([*then, *other], stays, names)
    taken = [*inputs, *closed.inner]
    branches = {
        "then_branch": Graph(taken, closed.outputs[: len(then)], name="then"),
        "else_branch": Graph(taken, closed.outputs[len(then) :], name="else"),
    }
    made = apply("If", (chosen, *flatten(operands), *closed.captured), branches)
    return restore(results[0], list(made.outputs))


# --- loops --------------------------------------------------------------------------------------------------------


def scan(
    fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    *,
    length: int | Tensor | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Carry a state along the first axis of `xs`: `carry, y = fn(carry, x)` for each slice x (ONNX Scan).

    Args:
        fn: takes the carried state and one slice of `xs`; returns the next state, of the same structure, dtypes and
            shapes, and a result (None for nothing).
        init: the state before the first slice.
        xs: tensors with one length along their first axis; None passes None to `fn`, `length` times.
        length: how many steps, an integer or an int64 scalar; needed only without `xs`. onnxruntime wants one at least.
        reverse: whether to go from the last slice to the first; results keep the places of their slices.

    Returns:
        The last state, and the results stacked along a new first axis.

    Raises:
        ShapeError: a tensor of `xs` is a scalar, the lengths differ, or the state changes its shape.
        DTypeError: the state changes its dtype.
        GraphError: the state changes its structure, or there is neither `xs` nor `length`.
    """
    whole = flatten(xs)
    for t in whole:
        if t.ndim == 0:
            raise ShapeError(f"scan: xs holds a scalar, {t!r}; expected at least one axis{location()}")
    if (length is None) == (not whole):
        found = "both xs and length" if whole else "neither xs nor length"
        raise GraphError(f"scan: found {found}; expected one of them{location()}")
    since, names = new_uid(), Names()
    states, carry = formals(init, "carry", names)
    slices = [formal(names.unique("slice"), TensorType(t.dtype, t.shape[1:])) for t in whole]
    returned = fn(carry, restore(xs, list(slices)))
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise GraphError(f"scan: fn returned {returned!r}; expected the pair (carry, y){location()}")
    following = _same_state("scan", init, returned[0])
    if not whole:  # ONNX counts the steps by what it scans
        whole = [arange(as_tensor(length))]
        slices = [formal(names.unique("step"), _COUNT)]
    results = [*following, *flatten(returned[1])]
    own = varying(results, [*states, *slices], since)
    closed = close(results, own.__contains__, names)
    body = Graph([*states, *slices, *closed.inner], closed.outputs, name="step")
    outputs = len(results) - len(states)
    attrs = {
        "body": body,
        "num_scan_inputs": len(whole),
        "captures": len(closed.captured),
        "scan_input_directions": [1] * len(whole) if reverse else None,
        "scan_output_directions": [1] * outputs if reverse and outputs else None,
    }
    made = list(apply("Scan", (*flatten(init), *whole, *closed.captured), attrs).outputs)
    return restore(init, made[: len(states)]), restore(returned[1], made[len(states) :])


def fori_loop(count: Any, fn: Callable[[Any, Any], Any], init: Any) -> Any:
    """`carry = fn(i, carry)` for i = 0, 1, … `count` - 1, with `carry = init` at first (ONNX Loop).

    Args:
        count: how often, an integer or an integer scalar tensor; 0 is allowed.
        fn: takes the number of the iteration (int64) and the state; returns the next state, alike.
        init: the state before the first iteration.

    Returns:
        The last state.

    Raises:
        ShapeError, DTypeError, GraphError: the count is no integer scalar, or the state changes its shape, dtype or
            structure.
    """
    trips = as_tensor(count)
    if not trips.dtype.is_integer or trips.ndim:
        raise DTypeError(f"fori_loop: the count is {trips.type}; expected an integer scalar{location()}")
    return _loop("fori_loop", cast(trips, "int64"), None, lambda i, carry: (None, fn(i, carry)), init)


def while_loop(
    predicate: Callable[[Any], Any], fn: Callable[[Any], Any], init: Any, *, limit: int | Tensor | None = None
) -> Any:
    """`carry = fn(carry)` while `predicate(carry)` is true, with `carry = init` at first (ONNX Loop).

    Args:
        predicate: takes the state; returns a bool scalar.
        fn: takes the state; returns the next one, alike.
        init: the state before the first iteration.
        limit: how many iterations at most, an integer or an int64 scalar; any number when None.

    Returns:
        The last state.

    Raises:
        ShapeError, DTypeError, GraphError: the predicate is no bool scalar, or the state changes its shape, dtype or
            structure.
    """

    def step(_: Tensor, carry: Any) -> tuple[Tensor, Any]:
        following = fn(carry)
        return _truth(predicate(following)), following

    trips = None if limit is None else cast(as_tensor(limit), "int64")
    return _loop("while_loop", trips, _truth(predicate(restore(init, flatten(init)))), step, init)


def _truth(value: Any) -> Tensor:
    found = as_tensor(value)
    if found.type != _TRUTH:
        raise DTypeError(f"while_loop: the predicate is {found.type}; expected bool[]{location()}")
    return found


def _loop(
    caller: str,
    count: Tensor | None,
    condition: Tensor | None,
    step: Callable[[Tensor, Any], tuple[Tensor | None, Any]],
    init: Any,
) -> Any:
    since, names = new_uid(), Names()
    iteration = formal(names.unique("iteration"), _COUNT)
    going = formal(names.unique("condition"), _TRUTH)
    states, carry = formals(init, "carry", names)
    again, returned = step(iteration, carry)
    following = _same_state(caller, init, returned)
    results = [constant(True) if again is None else again, *following]
    own = varying(results, [iteration, going, *states], since)
    closed = close(results, own.__contains__, names)
    body = Graph([iteration, going, *states, *closed.inner], closed.outputs, name="step")
    attrs = {"body": body, "captures": len(closed.captured)}
    made = apply("Loop", (count, condition, *flatten(init), *closed.captured), attrs)
    return restore(init, list(made.outputs))


def _same_state(caller: str, before: Any, after: Any) -> Sequence[Tensor]:
    """The tensors of the state after a step, which must be like those before."""
    if structure(before) != structure(after):
        raise GraphError(
            f"{caller}: the carried state is {before!r} before a step and {after!r} after it; expected the same "
            f"structure{location()}"
        )
    found = flatten(after)
    for old, new in zip(flatten(before), found, strict=True):
        a, b = old.tensor_type, new.tensor_type
        if a.dtype is not b.dtype:
            raise DTypeError(f"{caller}: the carried state is {a} before a step and {b} after it{location()}. Cast it.")
        if a.shape is not None and b.shape is not None and _differ(a.shape, b.shape):
            raise ShapeError(
                f"{caller}: the carried state is {a} before a step and {b} after it; expected one shape{location()}. "
                "Start from a state of the final shape, as broadcast_to gives it."
            )
    return found


def _differ(a: dims.Shape, b: dims.Shape) -> bool:
    return len(a) != len(b) or any(dims.provably_different(p, q) for p, q in zip(a, b, strict=True))
