"""Shape rules of convolutions, pooling, normalization, losses and recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import check_expands, show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.types import TensorType, as_dtype


def _windows(c: Context, sizes: Shape, kernel: Sequence[Dim], *, ceil_mode: bool = False) -> list[Dim]:
    """The spatial sizes after sliding a window: padding, strides, dilations and `auto_pad` considered."""
    rank = len(sizes)
    strides = c.attrs.get("strides") or (1,) * rank
    dilations = c.attrs.get("dilations") or (1,) * rank
    pads = c.attrs.get("pads") or (0,) * (2 * rank)
    for name, given, expected in (("strides", strides, rank), ("dilations", dilations, rank), ("pads", pads, 2 * rank)):
        if len(given) != expected:
            c.fail(f"{name} has {len(given)} entries; expected {expected} for {rank} spatial axes")
        if name != "pads" and min(given, default=1) < 1:
            c.fail(f"{name} is {list(given)}; expected positive numbers")
    mode = c.attrs.get("auto_pad", "NOTSET")
    result: list[Dim] = []
    for axis, size in enumerate(sizes):
        reach = dims.add(dims.multiply(dilations[axis], dims.subtract(kernel[axis], 1)), 1)
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            result.append(dims.ceil_div(size, strides[axis]))
            continue
        padded = size if mode == "VALID" else dims.add(size, pads[axis] + pads[axis + rank])
        room = dims.subtract(padded, reach)
        if isinstance(room, int) and room < 0:
            c.fail(f"a window of {reach} does not fit {padded} padded elements of spatial axis {axis}")
        steps = dims.ceil_div(room, strides[axis]) if ceil_mode else dims.floor_div(room, strides[axis])
        count = dims.add(steps, 1)
        end = 0 if mode == "VALID" else pads[axis + rank]
        beyond = dims.subtract(end + strides[axis], reach)
        if ceil_mode and not (beyond <= 0 if isinstance(beyond, int) else beyond.is_nonpositive):
            # a window may not start in the padding
            before_end = size if mode == "VALID" else dims.add(size, pads[axis])
            count = dims.minimum(count, dims.ceil_div(before_end, strides[axis]))
        result.append(count)
    return result


def _image(c: Context) -> Shape:
    shape = c.shape(0)
    if len(shape) < 3:
        c.fail(f"found shape {show(shape)}; expected (batch, channels, spatial...)")
    return shape


@rule("Conv", "ConvInteger")
def _conv(c: Context) -> Sequence[Shape]:
    return [convolution(c, c.shape(1), 2 if c.spec.name == "Conv" else None)]


@rule("QLinearConv")
def _quantized_conv(c: Context) -> Sequence[Shape]:
    return [convolution(c, c.shape(3), 8)]


@rule("DeformConv")
def _deform_conv(c: Context) -> Sequence[Shape]:
    return [convolution(c, c.shape(1), 3)]


def convolution(c: Context, w: Shape, bias: int | None) -> Shape:
    """The result of a convolution of the first input with a weight `w`; `bias` is the position of that input."""
    x = _image(c)
    if len(w) != len(x):
        c.fail(f"found input {show(x)} and weight {show(w)}; expected equal ranks")
    groups = c.attrs["group"]
    if dims.provably_different(x[1], dims.multiply(w[1], groups)):
        c.fail(
            f"the input {show(x)} has {x[1]} channels, but the weight {show(w)} with group={groups} "
            f"takes {dims.multiply(w[1], groups)}"
        )
    kernel = _kernel(c, w[2:])
    _check_bias(c, bias, w[0])
    return (x[0], w[0], *_windows(c, x[2:], kernel))


def _kernel(c: Context, found: Shape) -> Sequence[Dim]:
    stated = c.attrs.get("kernel_shape")
    if stated is not None:
        if len(stated) != len(found) or any(dims.provably_different(s, f) for s, f in zip(stated, found, strict=True)):
            c.fail(f"kernel_shape={list(stated)}, but the weight has {show(found)}")
        return tuple(stated)
    return found


def _check_bias(c: Context, position: int | None, channels: Dim) -> None:
    if position is None or not c.has(position):
        return
    shape = c.shape(position)
    if len(shape) != 1 or dims.provably_different(shape[0], channels):
        c.fail(f"the bias is {show(shape)}; expected ({channels},)")


@rule("ConvTranspose")
def _conv_transpose(c: Context) -> Sequence[Shape]:
    x, w = _image(c), c.shape(1)
    if len(w) != len(x):
        c.fail(f"found input {show(x)} and weight {show(w)}; expected equal ranks")
    if dims.provably_different(x[1], w[0]):
        c.fail(f"the input {show(x)} has {x[1]} channels, but the weight {show(w)} takes {w[0]}")
    rank = len(x) - 2
    kernel = _kernel(c, w[2:])
    strides = c.attrs.get("strides") or (1,) * rank
    dilations = c.attrs.get("dilations") or (1,) * rank
    pads = c.attrs.get("pads") or (0,) * (2 * rank)
    extra = c.attrs.get("output_padding") or (0,) * rank
    channels = dims.multiply(w[1], c.attrs["group"])
    _check_bias(c, 2, channels)
    stated = c.attrs.get("output_shape")
    if stated:
        return [(x[0], channels, *stated[-rank:])]
    result: list[Dim] = []
    for axis, size in enumerate(x[2:]):
        stride = strides[axis]
        if c.attrs["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
            result.append(dims.multiply(size, stride))
            continue
        reach = dims.add(dims.multiply(dilations[axis], dims.subtract(kernel[axis], 1)), 1)
        full = dims.add(dims.add(dims.multiply(stride, dims.subtract(size, 1)), extra[axis]), reach)
        padding = 0 if c.attrs["auto_pad"] == "VALID" else pads[axis] + pads[axis + rank]
        result.append(dims.subtract(full, padding))
    return [(x[0], channels, *result)]


@rule("MaxPool", "AveragePool", "LpPool")
def _pool(c: Context) -> Sequence[Shape]:
    x = _image(c)
    kernel = c.attrs["kernel_shape"]
    if len(kernel) != len(x) - 2:
        c.fail(f"kernel_shape has {len(kernel)} entries; expected {len(x) - 2} for the input {show(x)}")
    result = (*x[:2], *_windows(c, x[2:], kernel, ceil_mode=bool(c.attrs["ceil_mode"])))
    return [result] * c.outputs


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(c: Context) -> Sequence[Shape]:
    x = _image(c)
    return [x[:2] + (1,) * (len(x) - 2)]


@rule("BatchNormalization")
def _batch_norm(c: Context) -> Sequence[Shape]:
    x = c.shape(0)
    channels: Dim = x[1] if len(x) > 1 else 1
    for position in range(1, 5):
        shape = c.shape(position)
        if len(shape) != 1 or dims.provably_different(shape[0], channels):
            c.fail(f"{c.spec.input(position).name!r} is {show(shape)}; expected ({channels},)")
    return [x, c.shape(3), c.shape(4)]


@rule("InstanceNormalization", "GroupNormalization", "RMSNormalization")
def _keep(c: Context) -> Sequence[Shape]:
    return [c.shape(0)]


@rule("LayerNormalization")
def _layer_norm(c: Context) -> Sequence[Shape | TensorType]:
    x = c.shape(0)
    axis = c.axis(c.attrs["axis"], len(x))
    for position in (1, 2):
        if c.has(position):
            check_expands(c, position, x[axis:])
    statistics = x[:axis] + (1,) * (len(x) - axis)
    stash = TensorType(as_dtype(c.attrs["stash_type"]), statistics)
    if c.dtype(0).name == "float64":
        stash = TensorType(as_dtype("float32"), statistics)
    return [x, stash, stash]


@rule("SoftmaxCrossEntropyLoss")
def _softmax_cross_entropy(c: Context) -> Sequence[Shape]:
    scores = c.shape(0)
    return [_loss_shape(c, scores), scores]


@rule("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(c: Context) -> Sequence[Shape]:
    return [_loss_shape(c, c.shape(0))]


def _loss_shape(c: Context, scores: Shape) -> Shape:
    labels = c.shape(1)
    if len(scores) < 2:
        c.fail(f"the scores are {show(scores)}; expected (batch, classes, ...)")
    expected = scores[:1] + scores[2:]
    if len(labels) != len(expected) or any(
        dims.provably_different(a, b) for a, b in zip(labels, expected, strict=True)
    ):
        c.fail(f"the labels are {show(labels)}; expected class indices of shape {show(expected)}")
    if c.has(2) and (len(c.shape(2)) != 1 or dims.provably_different(c.shape(2)[0], scores[1])):
        c.fail(f"the class weights are {show(c.shape(2))}; expected ({scores[1]},)")
    return labels if c.attrs["reduction"] == "none" else ()


@rule("LSTM", "GRU", "RNN")
def _recurrent(c: Context) -> Sequence[Shape]:
    x, w = c.shape(0), c.shape(1)
    if len(x) != 3:
        c.fail(f"the input is {show(x)}; expected three axes")
    hidden: Dim = c.attrs.get("hidden_size") or c.shape(2)[-1]
    directions = w[0]
    if c.attrs["layout"]:
        batch, length = x[0], x[1]
        every: Shape = (batch, length, directions, hidden)
        last: Shape = (batch, directions, hidden)
    else:
        length, batch = x[0], x[1]
        every, last = (length, directions, batch, hidden), (directions, batch, hidden)
    return [every, *([last] * (c.outputs - 1))]
