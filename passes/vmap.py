"""Vectorizing map: a graph for one element of a batch becomes a graph for the whole batch, without a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, overload

from graphc import functional as F
from graphc.errors import BatchingError, DTypeError, GraphcError, GraphError, ShapeError
from graphc.functional.closure import formal
from graphc.ir import dims
from graphc.ir.graph import leaves, substitute
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType
from passes.autodiff import vjp
from passes.batching.engine import vectorize
from passes.batching.shapes import dim_of, repeat
from passes.flow import name_of

__all__ = ["per_example_grad", "vmap"]

Name = TypeVar("Name", bound=object)


@overload
def vmap(outputs: Tensor, batched: Mapping[Tensor, Tensor], *, expand: bool = True) -> Tensor: ...
@overload
def vmap(outputs: Sequence[Tensor], batched: Mapping[Tensor, Tensor], *, expand: bool = True) -> list[Tensor]: ...


def vmap(
    outputs: Tensor | Sequence[Tensor], batched: Mapping[Tensor, Tensor], *, expand: bool = True
) -> Tensor | list[Tensor]:
    """`outputs`, functions of some tensors, for a whole batch of values of these tensors.

    `batched` maps each such tensor (an input, a parameter or a computed tensor) to its values: a tensor of its dtype
    and of its shape behind a new first axis, the batch, whose size may be symbolic. Each result has the batch as a new
    first axis: what one would get by stacking the outputs for one element after the other. It is one graph of batched
    operators, not a loop, and can be differentiated, exported and batched again.

    An output that depends on no batched tensor is repeated along the batch, or with `expand=False` returned as it is.
    Random operators draw anew for each element where their operands differ along the batch.

    Raises:
        BatchingError: operators that cannot be applied to a batch at once; all of them are named.
        DTypeError, ShapeError: a replacement does not fit its tensor, or batches differ in size.
    """
    _check(batched)
    given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    size = dim_of(next(iter(batched.values())), 0)
    made = [t if flag or not expand else repeat(t, size) for t, flag in vectorize(given, batched)]
    return made[0] if isinstance(outputs, Tensor) else made


def _check(batched: Mapping[Tensor, Tensor]) -> None:
    if not batched:
        raise BatchingError(f"vmap: no tensor is batched; expected at least one{location()}")
    first: Tensor | None = None
    for t, values in batched.items():
        have, want = values.tensor_type, t.tensor_type
        if have.dtype is not want.dtype:
            raise DTypeError(f"vmap: {name_of(t)} is {want}, its batch {have}; expected the same dtype{location()}")
        if len(values.shape) != 1 + t.ndim or any(map(dims.provably_different, values.shape[1:], t.shape)):
            raise ShapeError(
                f"vmap: {name_of(t)} is {want}, its batch {have}; expected one axis more, in front{location()}"
            )
        first = values if first is None else first
        if dims.provably_different(first.shape[0], values.shape[0]):
            raise ShapeError(f"vmap: found batches of sizes {first.shape[0]} and {values.shape[0]}{location()}")


@overload
def per_example_grad(loss: Tensor, wrt: Tensor, batch_inputs: Tensor | Sequence[Tensor]) -> Tensor: ...
@overload
def per_example_grad(loss: Tensor, wrt: Sequence[Tensor], batch_inputs: Tensor | Sequence[Tensor]) -> list[Tensor]: ...
@overload
def per_example_grad(
    loss: Tensor, wrt: Mapping[Name, Tensor], batch_inputs: Tensor | Sequence[Tensor]
) -> dict[Name, Tensor]: ...


def per_example_grad(
    loss: Tensor,
    wrt: Tensor | Sequence[Tensor] | Mapping[Name, Tensor],
    batch_inputs: Tensor | Sequence[Tensor],
) -> Tensor | list[Tensor] | dict[Name, Tensor]:
    """The gradient of `loss` for each example of a batch: of the loss of a batch that holds this example alone.

    `batch_inputs` are the inputs that carry the batch as their first axis, labels and weights of examples included. The
    result has the structure of `wrt`, and each gradient the batch in front of the shape of its tensor. For a loss that
    is the mean over examples, the mean of the result over its first axis is the gradient. One loop-free graph.

    What depends on the whole batch, such as the statistics of a batch normalization in training mode, is taken of the
    one example.

    Raises:
        DifferentiationError: see :func:`graphc.grad`.
        BatchingError: operators that cannot be applied to a batch at once; all of them are named.
        GraphError, ShapeError: `batch_inputs` are no inputs with a batch axis, or lack one that carries the batch.
    """
    inputs = [batch_inputs] if isinstance(batch_inputs, Tensor) else list(batch_inputs)
    _check_inputs(loss, inputs)
    rows = {x: formal(str(x.name), TensorType(x.dtype, (1, *x.shape[1:]))) for x in inputs}
    tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt.values() if isinstance(wrt, Mapping) else wrt)
    try:
        restricted, *of_row = substitute([loss, *tensors], rows)
    except GraphcError as error:
        raise ShapeError(f"per_example_grad: the loss cannot be taken of one example: {error}") from error
    gradients = vmap(vjp([restricted], of_row), {row: F.unsqueeze(x, 1) for x, row in rows.items()})
    if isinstance(wrt, Tensor):
        return gradients[0]
    return dict(zip(wrt, gradients, strict=True)) if isinstance(wrt, Mapping) else gradients


def _check_inputs(loss: Tensor, inputs: Sequence[Tensor]) -> None:
    for x in inputs:
        if not x.node.is_input or not x.ndim:
            raise GraphError(
                f"per_example_grad: found {x!r} among the batch inputs; expected inputs whose first axis is the "
                f"batch{location()}"
            )
        if dims.provably_different(x.shape[0], inputs[0].shape[0]):
            raise ShapeError(
                f"per_example_grad: the batch is {inputs[0].shape[0]} in {inputs[0].name!r} and {x.shape[0]} in "
                f"{x.name!r}{location()}"
            )
    batch = dims.symbols(x.shape[0] for x in inputs)
    for other in leaves([loss]):
        shape = other.tensor_type.shape
        if other not in inputs and shape is not None and batch & dims.symbols(shape):
            raise ShapeError(
                f"per_example_grad: the input {other.name!r} is {other.type} and carries the batch too; expected it "
                f"among the batch inputs{location()}"
            )
