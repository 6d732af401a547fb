"""Convolution and transposed convolution over one to three axes.

Weights have PyTorch's layouts, which are ONNX's: (out, in / groups, *kernel), and (in, out / groups, *kernel) where
transposed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.module import Module

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "PADDING_MODES",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "check_image",
    "per_axis",
    "without_defaults",
]

Sizes: TypeAlias = int | Sequence[int]

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""ONNX's names of PyTorch's modes."""


def per_axis(title: str, name: str, value: Sizes, rank: int, least: int = 1) -> tuple[int, ...]:
    """`value`, one size or one for each of `rank` axes, as one for each. Raises OperatorError."""
    sizes: tuple[Any, ...] = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(sizes) != rank or not all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in sizes):
        raise OperatorError(
            f"{title}: {name} is {value!r}; expected an integer of at least {least}, or {rank} of them{location()}"
        )
    return sizes


def check_image(title: str, x: Tensor, rank: int) -> None:
    """Raise ShapeError unless `x` has samples, channels and `rank` further axes."""
    if x.ndim != rank + 2:
        raise ShapeError(
            f"{title}: the input is {x.type}; expected {rank + 2} axes, samples and channels first{location()}"
        )


def without_defaults(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without those that say what ONNX assumes, so that a printed graph says what is particular."""
    defaults = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
    return {name: v for name, v in attrs.items() if name not in defaults or any(n != defaults[name] for n in v)}


# --- functions ----------------------------------------------------------------------------------------------------


def _conv(
    title: str,
    rank: int,
    given: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    x, kernel = F.as_tensor(given), F.as_tensor(weight)
    check_image(title, x, rank)
    attrs: dict[str, Any] = {
        "strides": per_axis(title, "stride", stride, rank),
        "dilations": per_axis(title, "dilation", dilation, rank),
        "group": groups,
    }
    attrs["pads"] = _pads(title, padding, kernel, attrs)
    return apply("Conv", (x, kernel, bias), without_defaults(attrs)).out()


def _pads(title: str, padding: Sizes | str, kernel: Tensor, attrs: Mapping[str, Any]) -> tuple[int, ...]:
    """ONNX's pads: all beginnings, then all ends."""
    rank = len(attrs["strides"])
    if padding == "valid":
        return (0,) * (2 * rank)
    if padding != "same":
        return per_axis(title, "padding", padding, rank, least=0) * 2  # type: ignore[arg-type]
    if any(s != 1 for s in attrs["strides"]):
        raise OperatorError(f"{title}: padding='same' needs a stride of 1; found {attrs['strides']}{location()}")
    sizes = kernel.shape[2:]
    if not all(isinstance(n, int) for n in sizes):
        raise ShapeError(f"{title}: padding='same' needs a kernel of known size; found {kernel.type}{location()}")
    total = [d * (int(str(n)) - 1) for d, n in zip(attrs["dilations"], sizes, strict=True)]
    return (*(n // 2 for n in total), *(n - n // 2 for n in total))


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of `x` (N, C, L) with `weight` (out, C / groups, k); see :func:`conv2d`."""
    return _conv("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of `x` (N, C, H, W) with `weight` (out, C / groups, kh, kw), plus `bias` (out,).

    `stride`, `padding` (zeros on both sides) and `dilation` are one number or one for each axis; `padding="same"` keeps
    the size at stride 1, `"valid"` is 0. ONNX Conv. Raises ShapeError, DTypeError, or OperatorError for an option.
    """
    return _conv("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of `x` (N, C, D, H, W) with `weight` (out, C / groups, kd, kh, kw); see :func:`conv2d`."""
    return _conv("conv3d", 3, x, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    title: str,
    rank: int,
    given: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    x = F.as_tensor(given)
    check_image(title, x, rank)
    strides, dilations = per_axis(title, "stride", stride, rank), per_axis(title, "dilation", dilation, rank)
    begins, added = (
        per_axis(title, name, value, rank, least=0)
        for name, value in (("padding", padding), ("output_padding", output_padding))
    )
    if any(a >= max(s, d) for a, s, d in zip(added, strides, dilations, strict=True)):
        raise OperatorError(
            f"{title}: output_padding is {added}; expected less than the stride {strides} or the dilation {dilations} "
            f"of its axis{location()}"
        )
    # onnxruntime wants less than the stride; to add to the end is to take less off it, and to add zeros beyond
    beyond = [a if a >= s else 0 for a, s in zip(added, strides, strict=True)]
    ends = [max(p - n, 0) for p, n in zip(begins, beyond, strict=True)]
    attrs = {
        "strides": strides,
        "pads": (*begins, *ends),
        "output_padding": tuple(a - n for a, n in zip(added, beyond, strict=True)),
        "dilations": dilations,
        "group": groups,
    }
    zeros = [max(n - p, 0) for p, n in zip(begins, beyond, strict=True)]
    if not any(zeros):
        return apply("ConvTranspose", (x, weight, bias), without_defaults(attrs)).out()
    made = apply("ConvTranspose", (x, weight), without_defaults(attrs)).out()
    padded = F.pad(made, [(0, 0), (0, 0), *((0, n) for n in zeros)])
    return padded if bias is None else padded + F.unsqueeze(bias, list(range(1, rank + 1)))


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transposed convolution of `x` (N, C, L); see :func:`conv_transpose2d`."""
    return _conv_transpose("conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transposed convolution (the gradient of a convolution) of `x` (N, C, H, W), ONNX ConvTranspose.

    `weight` has the shape (C, out / groups, kh, kw). `padding` is taken off both sides of the result, `output_padding`
    added to its end. Raises ShapeError, DTypeError, or OperatorError for an option.
    """
    return _conv_transpose("conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transposed convolution of `x` (N, C, D, H, W); see :func:`conv_transpose2d`."""
    return _conv_transpose("conv_transpose3d", 3, x, weight, bias, stride, padding, output_padding, groups, dilation)


# --- layers -------------------------------------------------------------------------------------------------------


class _Convolution(Module):
    """The layers below. Parameters are made for the channels of the first input where in_channels is not given."""

    rank: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        *sizes: Sizes,
        in_channels: int | None = None,
        out_channels: int | None = None,
        kernel_size: Sizes | None = None,
        stride: Sizes = 1,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: object = "float32",
        weight_init: object = None,
        bias_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        self.in_channels, self.out_channels, kernel = _sizes(title, sizes, in_channels, out_channels, kernel_size)
        self.kernel_size = per_axis(title, "kernel_size", kernel, self.rank)
        self.stride = per_axis(title, "stride", stride, self.rank)
        self.dilation = per_axis(title, "dilation", dilation, self.rank)
        (self.groups,) = per_axis(title, "groups", groups, 1)
        self.dtype = as_dtype(dtype)
        self._inits = (weight_init, bias_init)
        if not bias:
            self.bias = None
        if self.out_channels % self.groups:
            raise OperatorError(
                f"{title}: out_channels is {self.out_channels}; expected a multiple of groups={groups}{location()}"
            )
        if self.in_channels is not None:
            self._make(self.in_channels)

    def _make(self, channels: int) -> None:
        if channels % self.groups:
            raise OperatorError(
                f"{self._title()}: the input has {channels} channels; expected a multiple of groups={self.groups}"
                f"{location()}"
            )
        into, outof = (channels, self.out_channels) if self.transposed else (self.out_channels, channels)
        shape = (into, outof // self.groups, *self.kernel_size)
        weight_init, bias_init = self._inits
        default = init.KaimingUniform(a=math.sqrt(5))
        self.parameter("weight", shape, default if weight_init is None else weight_init, dtype=self.dtype)
        if vars(self).get("bias", True) is not None:
            bound = 1 / math.sqrt(math.prod(shape[1:])) if math.prod(shape[1:]) else 0.0
            bias_init = init.Uniform(-bound, bound) if bias_init is None else bias_init
            self.parameter("bias", (self.out_channels,), bias_init, dtype=self.dtype)
        self._built = True

    def build(self, x: Any, output_size: object = None) -> None:
        """Make the parameters for the channels of `x`."""
        channels = self._checked(x).shape[1]
        if not isinstance(channels, int):
            raise ShapeError(
                f"{self._title()}: axis 1 of the input, the channels, is {channels!s}, a symbol{location()}. Give it a "
                "size in gc.input, or state in_channels."
            )
        self._make(channels)
        self.in_channels = channels

    def _checked(self, given: Any) -> Tensor:
        x = F.as_tensor(given)
        check_image(self._title(), x, self.rank)
        typed(self._title(), x, self.dtype)
        if self.in_channels is not None and dims.provably_different(x.shape[1], self.in_channels):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.in_channels} channels in axis 1{location()}. "
                "A layer keeps its sizes; make a second one for other inputs."
            )
        return x

    def extra_repr(self) -> str:
        """The sizes and the options that are not the default ones."""
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for option, default in (("padding", 0), ("output_padding", 0), ("dilation", 1), ("groups", 1)):
            value = vars(self).get(option, default)
            if value not in (default, (default,) * self.rank):
                shown.append(f"{option}={value!r}")
        if vars(self).get("bias", True) is None:
            shown.append("bias=False")
        return ", ".join(shown)


def _sizes(
    title: str, sizes: tuple[Sizes, ...], in_channels: int | None, out_channels: int | None, kernel: Sizes | None
) -> tuple[int | None, int, Sizes]:
    """in_channels (None where it is to be inferred), out_channels and kernel_size."""
    given: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel}
    open_ = [name for name, value in given.items() if value is None]
    if len(sizes) == len(open_) - 1 and in_channels is None:
        open_.remove("in_channels")
    if len(sizes) != len(open_):
        raise OperatorError(
            f"{title}: the sizes are {list(sizes)}; expected out_channels and kernel_size, or in_channels before them"
            f"{location()}. Options such as stride=2 are keywords."
        )
    given.update(zip(open_, sizes, strict=True))
    for name in ("in_channels", "out_channels"):
        channels = given[name]
        if channels is not None and (isinstance(channels, bool) or not isinstance(channels, int) or channels < 1):
            raise OperatorError(f"{title}: {name} is {channels!r}; expected a positive integer{location()}")
    return given["in_channels"], given["out_channels"], given["kernel_size"]


class _Conv(_Convolution):
    def __init__(self, *sizes: Sizes, padding: Sizes | str = 0, padding_mode: str = "zeros", **options: Any) -> None:
        super().__init__(*sizes, **options)
        title = type(self).__name__
        if padding_mode not in PADDING_MODES:
            raise OperatorError(
                f"{title}: padding_mode is {padding_mode!r}; expected one of {', '.join(PADDING_MODES)}{location()}"
            )
        if not isinstance(padding, str):
            padding = per_axis(title, "padding", padding, self.rank, least=0)
        elif padding not in ("same", "valid"):
            raise OperatorError(f"{title}: padding is {padding!r}; expected numbers, 'same' or 'valid'{location()}")
        self.padding, self.padding_mode = padding, padding_mode

    def forward(self, x: Any) -> Tensor:
        """The result, with out_channels in axis 1."""
        x = self._checked(x)
        padding: Sizes | str = self.padding
        if self.padding_mode != "zeros":
            pads = _pads(self._title(), padding, self.weight, {"strides": self.stride, "dilations": self.dilation})
            widths = [(0, 0), (0, 0), *zip(pads[: self.rank], pads[self.rank :], strict=True)]
            x, padding = F.pad(x, widths, mode=PADDING_MODES[self.padding_mode]), 0
        options = (self.stride, padding, self.dilation, self.groups)
        return _conv(self._title(), self.rank, x, self.weight, self.bias, *options)


class Conv1d(_Conv):
    """The cross-correlation of (N, C, L) with learned kernels; see :class:`Conv2d`."""

    rank = 1


class Conv2d(_Conv):
    """The cross-correlation of (N, C, H, W) with learned kernels, to (N, out_channels, H', W').

    `Conv2d(out_channels, kernel_size)` takes in_channels from its first input, `Conv2d(in_channels, out_channels,
    kernel_size)` checks it. `weight` has the shape (out_channels, in_channels / groups, *kernel_size); `bias` has
    (out_channels,), or is None.

    Args:
        sizes: as above; they may be keywords.
        stride: the step between positions, one number or one for each axis; so are kernel_size, padding and dilation.
        padding: what is added on both sides of each axis, or "same" (at stride 1), or "valid".
        padding_mode: what is added: "zeros", "reflect", "replicate" or "circular".
        dilation: the step between elements of the kernel.
        groups: into how many parts the channels are split, each with kernels of its own.
        bias: whether to add a bias.
        dtype: that of the parameters and of the input.
        weight_init: an initializer or an array; by default PyTorch's, uniform on ±1/sqrt(fan_in).
        bias_init: likewise.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: sizes or options that do not fit together.
        ShapeError: an input of another rank or number of channels, or whose channels are a symbol.
        DTypeError: an input of another dtype.
    """

    rank = 2


class Conv3d(_Conv):
    """The cross-correlation of (N, C, D, H, W) with learned kernels; see :class:`Conv2d`."""

    rank = 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(self, *sizes: Sizes, padding: Sizes = 0, output_padding: Sizes = 0, **options: Any) -> None:
        super().__init__(*sizes, **options)
        title = type(self).__name__
        self.padding = per_axis(title, "padding", padding, self.rank, least=0)
        self.output_padding = per_axis(title, "output_padding", output_padding, self.rank, least=0)

    def forward(self, given: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """The result, with out_channels in axis 1.

        `output_size`, the last axes or the whole shape, chooses output_padding; the input needs known sizes then.
        Raises ShapeError for a size that the result cannot have.
        """
        x = self._checked(given)
        added = self.output_padding if output_size is None else self._added(x, output_size)
        options = (self.stride, self.padding, added, self.groups, self.dilation)
        return _conv_transpose(self._title(), self.rank, x, self.weight, self.bias, *options)

    def _added(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that makes the result as large as `output_size` says."""
        wanted = tuple(output_size)[-self.rank :]
        if len(output_size) not in (self.rank, self.rank + 2) or not all(isinstance(n, int) for n in x.shape[2:]):
            raise ShapeError(
                f"{self._title()}: output_size is {list(output_size)} for an input {x.type}; expected {self.rank} "
                f"sizes, and known ones of the input{location()}"
            )
        axes = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(int(str(n)) - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in axes]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if not all(a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)):
            raise ShapeError(
                f"{self._title()}: output_size is {list(wanted)}; expected sizes from {least} to {most} for the input "
                f"{x.type}{location()}"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """The transposed convolution of (N, C, L); see :class:`ConvTranspose2d`."""

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """The transposed convolution of (N, C, H, W): the gradient of a :class:`Conv2d`, which enlarges.

    Sizes and options are those of `Conv2d`, but for padding, which is taken off both sides of the result, and
    output_padding, which is added to its end; a call may state the size of the result instead, `layer(x,
    output_size=(28, 28))`. `weight` has the shape (in_channels, out_channels / groups, *kernel_size). Raises as
    `Conv2d`.
    """

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """The transposed convolution of (N, C, D, H, W); see :class:`ConvTranspose2d`."""

    rank = 3
