"""Functions whose gradient is not that of their operators: stopped, recomputed, straight through, or user-defined.

Each becomes a call (:mod:`graphc.ir.call`): a node that holds the function's graph and says how it is differentiated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

from graphc.errors import DifferentiationError, GraphError
from graphc.functional.closure import Closure, close, formal, varying
from graphc.functional.layout import zeros_like
from graphc.functional.nested import flatten, formals, restore
from graphc.ir.call import call
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, new_uid
from graphc.ir.origin import location
from graphc.ir.types import TensorType, Type
from graphc.serial.names import Names

__all__ = ["CustomFunction", "checkpoint", "custom_vjp", "stop_gradient", "straight_through"]

P = ParamSpec("P")
R = TypeVar("R")


# --- stopped ------------------------------------------------------------------------------------------------------


def stop_gradient(value: Any) -> Any:
    """`value` as a constant of differentiation: the same numbers, and no gradient flows back through them.

    Takes a tensor, or nested tuples, lists and dictionaries of tensors. A gradient with respect to what is reachable
    only through stopped values is refused, with the path: it does not silently vanish.
    """
    return restore(value, [_stopped(t) for t in flatten(value)])


def _stopped(t: Tensor) -> Tensor:
    if not _is_float(t):
        return t
    return call("stop_gradient", _identity(t.type), [t], "stop").out()


@functools.lru_cache(maxsize=256)
def _identity(t: Type) -> Graph:
    """The graph that returns its input. One for each type, so that equal calls are one node."""
    x = formal("x", t)
    return Graph([x], [x], name="stop_gradient")


# --- recomputed ---------------------------------------------------------------------------------------------------


def checkpoint(fn: Callable[P, R]) -> Callable[P, R]:
    """`fn`, computed again where its gradient needs values from inside it, which the forward pass need not keep then.

    Gradient checkpointing (Griewank and Walther 2000; Chen et al. 2016): memory for time. What is kept of each call are
    the operands, and the tensors around `fn` that it uses, such as the parameters of a layer. The gradient is the same
    numbers. `fn` is a function or a module of tensors, and nested tuples, lists and dictionaries of them:

        for block in blocks:
            x = gc.checkpoint(block)(x)

    The backward pass computes each call in an ONNX Loop of one step, so that no runtime can merge the recomputed values
    with those of the forward pass.

    Raises GraphError when `fn` returns no tensor.
    """

    @functools.wraps(fn, updated=())
    def checkpointed(*args: P.args, **kwargs: P.kwargs) -> R:
        name, closed, operands, result = _trace(fn, args, kwargs)
        body = Graph([*operands.inner, *closed.inner], closed.outputs, name=name)
        made = call(name, body, [*operands.captured, *closed.captured], "recompute")
        return _restored(result, made)

    return checkpointed


# --- user-defined -------------------------------------------------------------------------------------------------


class CustomFunction(Generic[P, R]):
    """A function with a gradient rule of its own; see :func:`custom_vjp`. `rule` is None until it is given."""

    def __init__(self, fn: Callable[P, R]) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        self.rule: Callable[..., Any] | None = None

    def defvjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the gradient rule; a decorator. See :func:`custom_vjp`."""
        self.rule = rule
        return rule

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Apply the function; tensors among the positional arguments are what the rule differentiates by."""
        name, closed, operands, result = _trace(self.fn, args, kwargs)
        outside = [t for t in closed.captured if _is_float(t)]
        if outside:
            listed = ", ".join(repr(t.name) if t.name else f"the result of {t.op} [{t.node.origin}]" for t in outside)
            raise GraphError(
                f"custom_vjp: {name} uses {listed} from outside; expected floating-point tensors among its arguments "
                f"only, since its rule gives gradients to these{location()}. Pass it as an argument, or stop its "
                "gradient with gc.stop_gradient."
            )
        body = Graph([*operands.inner, *closed.inner], closed.outputs, name=name)
        rule: Callable[..., Any] = self._apply
        if kwargs:
            rule = functools.partial(rule, **kwargs)
        made = call(name, body, [*operands.captured, *closed.captured], rule)
        return _restored(result, made)

    def _apply(self, node: Node, *cotangents: Tensor | None, **options: Any) -> Any:
        """The gradient rule of the node of a call."""
        if self.rule is None:
            raise DifferentiationError(
                f"grad: {node.op} [{node.origin}] has no gradient rule yet; expected one given by "
                f"@{node.op}.defvjp{location()}"
            )
        whole = [zeros_like(t) if g is None else g for t, g in zip(node.outputs, cotangents, strict=True)]
        return self.rule(node, *whole, **options)

    def __repr__(self) -> str:
        return f"<custom_vjp {getattr(self, '__name__', self.fn)}>"


def custom_vjp(fn: Callable[P, R]) -> CustomFunction[P, R]:
    """A decorator: a function of tensors whose gradient is what you say, not that of its operators.

    The rule has the form of every gradient rule: it takes the node of the call (`node.inputs` are the tensors among the
    positional arguments, `node.outputs` the results, nested ones in order) and the cotangent of each output, of its
    dtype and shape. It returns the cotangent of each input, or None for one without gradient; broadcasting is undone.
    Keyword arguments are passed on to both:

        @gc.custom_vjp
        def clip_gradient(x, *, limit):
            return x


        @clip_gradient.defvjp
        def _(node, g, *, limit):
            return gc.clip(g, -limit, limit)

    The rule is graph to graph, and its result is differentiated in turn. Tensors that the function uses without taking
    them as arguments must not be floating point: their gradient would vanish.

    Raises GraphError when the function returns no tensor or uses floating-point tensors from outside, and
    DifferentiationError, when a gradient is asked for, without a rule or where it returns something else.
    """
    return CustomFunction(fn)


def straight_through(fn: Callable[P, R]) -> Callable[P, R]:
    """`fn` with the gradient of the identity: the straight-through estimator (Hinton 2012; Bengio et al. 2013).

    `fn` takes a tensor first and returns one of its dtype and shape, which gets the cotangent of the result as it is;
    further arguments get none: `gc.straight_through(gc.round)(x)`.

    Raises GraphError when `fn` returns something else.
    """

    @functools.wraps(fn, updated=())
    def estimated(*args: P.args, **kwargs: P.kwargs) -> R:
        name, closed, operands, result = _trace(fn, args, kwargs)
        inputs = [*operands.captured, *closed.captured]
        found = [t.type for t in closed.outputs]
        if len(found) != 1 or not operands.captured or not _fits(found[0], inputs[0].type):
            expected = operands.captured[0].type if operands.captured else "a tensor as its first argument"
            listed = ", ".join(map(str, found))
            raise GraphError(
                f"straight_through: {name} returns {listed}; expected one tensor like its first argument, "
                f"{expected}{location()}"
            )
        body = Graph([*operands.inner, *closed.inner], closed.outputs, name=name)
        return _restored(result, call(name, body, inputs, _unchanged))

    return estimated


def _unchanged(node: Node, g: Tensor) -> Tensor:
    return g


def _fits(a: Type, b: Type) -> bool:
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.dtype is not b.dtype:
        return False
    return a.shape is None or b.shape is None or len(a.shape) == len(b.shape)


# --- tracing ------------------------------------------------------------------------------------------------------


def _trace(fn: Callable[..., R], args: Sequence[Any], kwargs: Any) -> tuple[str, Closure, Closure, R]:
    """`fn` called with stand-ins for the tensors in `args`: its name, its results, its operands, what it returned.

    Arguments that hold no tensor are passed as they are.
    """
    name = _name_of(fn)
    since, names = new_uid(), Names()
    operands: list[Tensor] = []
    inner: list[Tensor] = []
    given: list[Any] = []
    for arg in args:
        if _holds_tensors(arg):
            made, nested = formals(arg, "operand", names)
            operands += flatten(arg)
            inner += made
            given.append(nested)
        else:
            given.append(arg)
    result = fn(*given, **kwargs)
    outputs = flatten(result)
    if not outputs:
        raise GraphError(f"{name} returns {result!r}; expected at least one tensor{location()}")
    own = varying(outputs, inner, since)
    closed = close(outputs, own.__contains__, names)
    return name, closed, Closure(outputs, operands, inner), result


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_tensors, value.values()))
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor)


def _name_of(fn: Any) -> str:
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return re.sub(r"\W+", "_", name).strip("_") or "function"


def _restored(result: R, made: Node) -> R:
    """The outputs of a call in the structure of what the function returned."""
    restored: R = restore(result, list(made.outputs))
    return restored


def _is_float(t: Tensor) -> bool:
    return isinstance(t.type, TensorType) and t.type.dtype.is_float
