"""Modes of differentiation beyond the gradient: forward mode, Hessian products, and whole Jacobians and Hessians.

All are made of two parts: the vector-Jacobian product (`passes/autodiff.py`), and the vectorizing map
(`passes/vmap.py`). The results are ordinary graphs without loops, which can be simplified, differentiated and exported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError, ShapeError
from graphc.functional.closure import formal
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.graph import leaves, substitute, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType
from passes.autodiff import grad, pullback, vjp
from passes.batching.shapes import move_axis
from passes.flow import name_of
from passes.vjp import is_differentiable
from passes.vmap import vmap

__all__ = ["hessian", "hvp", "jacobian", "jvp"]

Name = TypeVar("Name", bound=object)
Tensors = Tensor | Sequence[Tensor] | Mapping[Any, Tensor]


@overload
def jvp(outputs: Tensor, wrt: Tensors, tangents: Any) -> Tensor: ...
@overload
def jvp(outputs: Sequence[Tensor], wrt: Tensors, tangents: Any) -> list[Tensor]: ...


def jvp(outputs: Tensor | Sequence[Tensor], wrt: Tensors, tangents: Any) -> Tensor | list[Tensor]:
    """The Jacobian-vector product, forward mode: how `outputs` change as `wrt` moves along `tangents`.

    `tangents` has the structure of `wrt` (a tensor, a sequence or a mapping), and each tangent (a tensor or an array)
    the dtype and shape of its tensor. The result has the structure of `outputs`, and each entry the dtype and shape of
    its output; it is zero where an output does not depend on `wrt`.

    The product is the vector-Jacobian product transposed once more: `J^T u` is linear in `u`, and its own
    vector-Jacobian product with respect to `u` is `J t`. Only the operators of the derivative remain in the result.

    Raises:
        DifferentiationError: a tangent does not fit its tensor, a tensor is not of floating point, or an operator on
            the way has no gradient.
    """
    given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    sources, directions = _paired("jvp", wrt, "tangents", tangents)
    for t in given:
        _check_differentiable("jvp", t)
    cotangents = [formal(f"cotangent_{i}", t.type) for i, t in enumerate(given)]
    changes = _transposed(given, cotangents, pullback(given, sources, cotangents), directions)
    return changes[0] if isinstance(outputs, Tensor) else changes


def _transposed(
    outputs: list[Tensor], cotangents: list[Tensor], pulled: Sequence[Tensor | None], directions: list[Tensor]
) -> list[Tensor]:
    """`J v` for the outputs, where `pulled` is `J^T u` for these cotangents u, and the directions are v."""
    reached = [(g, v) for g, v in zip(pulled, directions, strict=True) if g is not None]
    found = pullback([g for g, _ in reached], cotangents, [v for _, v in reached])
    changes = [F.zeros_like(t) if g is None else g for t, g in zip(outputs, found, strict=True)]
    return _without(cotangents, changes, outputs)


def _without(cotangents: list[Tensor], results: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
    """`results`, linear in the cotangents before they were differentiated, without them: they mention only shapes.

    These are read off tensors that are there anyway, where the types tell which; zeros stand in for the rest.
    """
    dependent = {u.node for u in cotangents}
    replaced: dict[Tensor, Tensor] = {}
    everything = [t for node in topological(outputs) for t in node.outputs]
    sources = [_of_symbolic_shapes(tensors) for tensors in (leaves(outputs), everything)]
    for node in topological(results):
        if any(t is not None and t.node in dependent for t in node.inputs):
            shape = _read_elsewhere(node, sources)
            if shape is None:
                dependent.add(node)
            else:
                replaced[node.out()] = shape
    zeros = {u: F.zeros_like(t) for u, t in zip(cotangents, outputs, strict=True)}
    return substitute(results, replaced | zeros)


def _of_symbolic_shapes(tensors: Iterable[Tensor]) -> list[Tensor]:
    """One tensor for each shape that is not static."""
    found: dict[dims.Shape, Tensor] = {}
    for t in tensors:
        if isinstance(t.type, TensorType) and t.type.shape is not None and not t.type.is_static:
            found.setdefault(t.type.shape, t)
    return list(found.values())


def _read_elsewhere(node: Node, sources: list[list[Tensor]]) -> Tensor | None:
    """What a node that reads a shape gives, computed from the shapes of the first `sources` that tell it, or None."""
    if node.op not in ("Shape", "Size") or node.domain or node.values is None or node.values[0] is None:
        return None
    shape = tuple(node.values[0].ravel())
    for known in sources:
        with contextlib.suppress(ShapeError):  # a dimension that cannot be computed from these
            found = F.shape_tensor(shape, known)
            return found if node.op == "Shape" else F.reshape(found, ())
    return None


@overload
def hvp(output: Tensor, wrt: Tensor, vectors: Any) -> Tensor: ...
@overload
def hvp(output: Tensor, wrt: Sequence[Tensor], vectors: Sequence[Any]) -> list[Tensor]: ...
@overload
def hvp(output: Tensor, wrt: Mapping[Name, Tensor], vectors: Mapping[Name, Any]) -> dict[Name, Tensor]: ...


def hvp(output: Tensor, wrt: Tensors, vectors: Any) -> Any:
    """The Hessian-vector product of a scalar `output`: the change of its gradient as `wrt` moves along `vectors`.

    `vectors` and the result have the structure of `wrt`, and each entry the dtype and shape of its tensor. The Hessian
    is never formed: since it is symmetric, the product is the gradient of the inner product of gradient and vectors
    (Pearlmutter 1994), and costs about as much as two gradients.

    Raises:
        DifferentiationError: see :func:`graphc.grad`; a vector does not fit its tensor.
    """
    sources, directions = _paired("hvp", wrt, "vectors", vectors)
    products = vjp(grad(output, sources), sources, directions, unused="zero")
    return _structured(wrt, products)


@overload
def jacobian(output: Tensor, wrt: Tensor, *, unused: str = "error") -> Tensor: ...
@overload
def jacobian(output: Tensor, wrt: Sequence[Tensor], *, unused: str = "error") -> list[Tensor]: ...
@overload
def jacobian(output: Tensor, wrt: Mapping[Name, Tensor], *, unused: str = "error") -> dict[Name, Tensor]: ...


def jacobian(output: Tensor, wrt: Tensors, *, unused: str = "error") -> Any:
    """All derivatives of the elements of `output` with respect to those of `wrt`: shape `output.shape + wrt.shape`.

    The result has the structure of `wrt`, and each entry the dtype of its tensor. It is one loop-free graph: the
    vector-Jacobian product, batched (:func:`graphc.vmap`) over the standard basis of the output; where the output is
    known to have more elements than the tensor, the Jacobian-vector product over the basis of the tensor. Sizes may be
    symbolic. Where `output` does not depend on a tensor, `unused="zero"` gives zeros instead of an error.

    Raises:
        DifferentiationError: see :func:`graphc.grad`.
        BatchingError: an operator of the gradient cannot be applied to a batch at once.
    """
    sources = _listed(wrt)
    _check_differentiable("jacobian", output)
    for t in sources:
        _check_differentiable("jacobian", t)
    return _structured(wrt, [_jacobian(output, t, unused) for t in sources])


def _jacobian(output: Tensor, t: Tensor, unused: str) -> Tensor:
    rows, columns = output.tensor_type.size, t.tensor_type.size
    if rows == 1:
        row = vjp([output], [t], [F.ones_like(output)], unused=unused)[0]
        return _reshaped(row, [output, t])
    cotangent = formal("cotangent", output.type)
    (row,) = vjp([output], [t], [cotangent], unused=unused)
    if isinstance(rows, int) and isinstance(columns, int) and columns < rows:
        tangent = formal("tangent", t.type)
        (column,) = _transposed([output], [cotangent], [row], [tangent])
        return _reshaped(move_axis(vmap(column, {tangent: _basis(t)}), 0, -1), [output, t])
    return _reshaped(vmap(row, {cotangent: _basis(output)}), [output, t])


@overload
def hessian(output: Tensor, wrt: Tensor) -> Tensor: ...
@overload
def hessian(output: Tensor, wrt: Sequence[Tensor]) -> list[list[Tensor]]: ...
@overload
def hessian(output: Tensor, wrt: Mapping[Name, Tensor]) -> dict[Name, dict[Name, Tensor]]: ...


def hessian(output: Tensor, wrt: Tensors) -> Any:
    """All second derivatives of a scalar `output`: the Jacobian of its gradient, of shape `wrt.shape + wrt.shape`.

    For a sequence (a mapping) of tensors the result is a list of lists (a mapping of mappings) of blocks: entry i, j
    has the shape of tensor i followed by that of tensor j. One loop-free graph; sizes may be symbolic.

    Raises:
        DifferentiationError: see :func:`graphc.grad`.
        BatchingError: an operator of the second derivative cannot be applied to a batch at once.
    """
    gradients = grad(output, _listed(wrt))
    return _structured(wrt, [jacobian(g, wrt, unused="zero") for g in gradients])


# --- what they share ----------------------------------------------------------------------------------------------


def _basis(like: Tensor) -> Tensor:
    """The standard basis of the tensors of one shape: (size, *shape), entry i with a 1 at its i-th element."""
    count = like.tensor_type.size
    size = constant(np.int64(count)) if isinstance(count, int) else apply("Size", (like,), {}).out()
    each = constant(np.arange(count)) if isinstance(count, int) else F.arange(size)
    identity = F.cast(F.equal(F.unsqueeze(each, 1), F.unsqueeze(each, 0)), like.dtype)
    return _reshaped(identity, [each, like])


def _reshaped(x: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The elements of `x` in the shape of all `parts`, one after the other."""
    shape = tuple(d for part in parts for d in part.shape)
    if shape == x.shape:
        return x
    if all(isinstance(d, int) for d in shape):
        return F.reshape(x, shape)
    return apply("Reshape", (x, F.concat([F.shape_of(part) for part in parts])), {"allowzero": 1}).out()


def _listed(wrt: Tensors) -> list[Tensor]:
    if isinstance(wrt, Tensor):
        return [wrt]
    return list(wrt.values() if isinstance(wrt, Mapping) else wrt)


def _structured(wrt: Tensors, results: Sequence[Any]) -> Any:
    """`results` in the structure of `wrt`: one, a list, or a mapping by the same names."""
    if isinstance(wrt, Tensor):
        return results[0]
    return dict(zip(wrt, results, strict=True)) if isinstance(wrt, Mapping) else list(results)


def _paired(name: str, wrt: Tensors, what: str, vectors: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of `wrt` and a vector for each, checked. Raises DifferentiationError."""
    sources = _listed(wrt)
    if isinstance(wrt, Tensor):
        given = [vectors]
    elif isinstance(wrt, Mapping):
        if not isinstance(vectors, Mapping) or vectors.keys() != wrt.keys():
            found = sorted(map(str, vectors)) if isinstance(vectors, Mapping) else type(vectors).__name__
            raise DifferentiationError(
                f"{name}: the {what} are {found}; expected one for each of {sorted(map(str, wrt))}{location()}"
            )
        given = [vectors[key] for key in wrt]
    else:
        given = list(vectors) if isinstance(vectors, (list, tuple)) else [vectors]
        if len(given) != len(sources):
            raise DifferentiationError(f"{name}: {len(given)} {what} for {len(sources)} tensors{location()}")
    pairs = zip(sources, given, strict=True)
    return sources, [_vector(name, t, what[:-1], value) for t, value in pairs]


def _vector(name: str, t: Tensor, what: str, value: Any) -> Tensor:
    _check_differentiable(name, t)
    v = value if isinstance(value, Tensor) else constant(np.asarray(value), t.dtype)
    have, want = v.tensor_type, t.tensor_type
    fits = have.dtype is want.dtype
    if fits and have.shape is not None and want.shape is not None:
        fits = len(have.shape) == len(want.shape) and not any(map(dims.provably_different, have.shape, want.shape))
    if not fits:
        raise DifferentiationError(f"{name}: the {what} of {name_of(t)} is {have}; expected {want}{location()}")
    return v


def _check_differentiable(name: str, t: Tensor) -> None:
    if not is_differentiable(t):
        raise DifferentiationError(
            f"{name}: {name_of(t)} is {t.type}; derivatives exist for floating-point tensors only{location()}"
        )
