"""Types of If, Loop and Scan. Their bodies are closed graphs; values captured from outside are trailing inputs.

`If(condition, *captured)`: both branches take the captured values as their inputs.
`Loop(count, condition, *carried, *captured)`: the body takes (iteration, condition, *carried, *captured).
`Scan(*states, *scanned, *captured)`: the body takes (*states, *slices, *captured).
Loop and Scan say with the attribute `captures` (of graphc, not of ONNX) how many trailing inputs are captured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.inference.elementwise import show
from graphc.inference.engine import Context, output_count, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type


@output_count("If")
def _if_count(c: Context) -> int | None:
    return len(c.attrs["then_branch"].outputs)


@output_count("Loop")
def _loop_count(c: Context) -> int | None:
    return len(c.attrs["body"].outputs) - 1


@output_count("Scan", "SequenceMap")
def _scan_count(c: Context) -> int | None:
    return len(c.attrs["body"].outputs)


@rule("If")
def _if(c: Context) -> Sequence[Any]:
    then, other = c.attrs["then_branch"], c.attrs["else_branch"]
    if len(then.outputs) != len(other.outputs):
        c.fail(f"then_branch has {len(then.outputs)} outputs, else_branch {len(other.outputs)}; expected as many")
    for branch in (then, other):
        if len(branch.inputs) != len(c.inputs) - 1:
            c.fail(f"a branch takes {len(branch.inputs)} inputs, but {len(c.inputs) - 1} values are captured")
    return [join(c, a.type, b.type) for a, b in zip(then.outputs, other.outputs, strict=True)]


def join(c: Context, a: Type, b: Type) -> Type:
    """The type of a value that is of type `a` or of type `b`."""
    if a == b:
        return a
    if isinstance(a, SequenceType) and isinstance(b, SequenceType):
        return SequenceType(join(c, a.element, b.element))
    if isinstance(a, OptionalType) or isinstance(b, OptionalType):
        inner = [t.element if isinstance(t, OptionalType) else t for t in (a, b)]
        return OptionalType(join(c, *inner))
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.dtype is not b.dtype:
        c.fail(f"the outcomes have types {a} and {b}; expected one type")
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return TensorType(a.dtype, None)
    return TensorType(a.dtype, tuple(p if p == q else dims.unknown() for p, q in zip(a.shape, b.shape, strict=True)))


@rule("SequenceMap")
def _sequence_map(c: Context) -> Sequence[Any]:
    body = c.attrs["body"]
    if len(body.inputs) != len(c.inputs):
        c.fail(f"the body takes {len(body.inputs)} inputs; expected {len(c.inputs)}")
    return [SequenceType(output.type) for output in body.outputs]


@rule("Loop")
def _loop(c: Context) -> Sequence[Any]:
    body = c.attrs["body"]
    captures: int = c.attrs["captures"]
    carried = len(c.inputs) - 2 - captures
    if len(body.inputs) != 2 + carried + captures:
        c.fail(f"the body takes {len(body.inputs)} inputs; expected {2 + carried + captures}")
    if len(body.outputs) < 1 + carried:
        c.fail(f"the body has {len(body.outputs)} outputs; expected the condition and {carried} carried values")
    count = c.integers(0) if c.has(0) else None
    trips: Dim = count[0] if count and not c.has(1) else dims.unknown()
    result: list[Any] = [join(c, c.input(2 + i).type, body.outputs[1 + i].type) for i in range(carried)]
    for output in body.outputs[1 + carried :]:
        t = output.tensor_type
        result.append(TensorType(t.dtype, None if t.shape is None else (trips, *t.shape)))
    return result


def _state(c: Context, first: Type, following: Type) -> Type:
    """The type of a state of Scan, whose shape no iteration changes."""
    joined = join(c, first, following)
    if not isinstance(joined, TensorType) or joined.shape is None:
        return joined
    before, after = (t.shape or () for t in (first, following) if isinstance(t, TensorType))
    if any(dims.provably_different(p, q) for p, q in zip(before, after, strict=True)):
        c.fail(f"a state of shape {show(before)} becomes {show(after)}; expected the same shape")
    return TensorType(joined.dtype, tuple(q if isinstance(q, int) else p for p, q in zip(before, after, strict=True)))


@rule("Scan")
def _scan(c: Context) -> Sequence[Any]:
    body = c.attrs["body"]
    captures: int = c.attrs["captures"]
    scanned: int = c.attrs["num_scan_inputs"]
    states = len(c.inputs) - scanned - captures
    if scanned < 1 or states < 0:
        c.fail(f"num_scan_inputs is {scanned}; expected 1 to {len(c.inputs) - captures}")
    if len(body.inputs) != len(c.inputs):
        c.fail(f"the body takes {len(body.inputs)} inputs; expected {len(c.inputs)}")
    axes = c.attrs.get("scan_input_axes") or (0,) * scanned
    if len(axes) != scanned:
        c.fail(f"scan_input_axes has {len(axes)} axes for {scanned} scanned inputs")
    lengths: list[Dim] = []
    for position in range(scanned):
        whole = c.input(states + position).tensor_type.shape
        lengths.append(dims.unknown() if whole is None else whole[c.axis(axes[position], len(whole))])
    for length in lengths[1:]:
        if dims.provably_different(length, lengths[0]):
            c.fail(f"the scanned inputs have lengths {show(tuple(lengths))}; expected one length")
    result: list[Any] = [_state(c, c.input(i).type, body.outputs[i].type) for i in range(states)]
    count = len(body.outputs) - states
    out_axes = c.attrs.get("scan_output_axes") or (0,) * count
    for position in range(count):
        t = body.outputs[states + position].tensor_type
        if t.shape is None:
            result.append(TensorType(t.dtype, None))
            continue
        axis = c.axis(out_axes[position], len(t.shape) + 1)
        shape: Shape = (*t.shape[:axis], lengths[0], *t.shape[axis:])
        result.append(TensorType(t.dtype, shape))
    return result
