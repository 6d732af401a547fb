"""The pass that chooses how gradients of convolutions and pooling are computed on a provider."""

from __future__ import annotations

import functools

import numpy as np

from graphc import functional as F
from graphc.errors import UnavailableError
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from passes.lowering.autotune import fastest
from passes.lowering.costs import DEFAULT_SIZE, PRICES, cheapest, sizes_of
from passes.lowering.weight_gradient import FORMS, NAME, WeightGradient
from passes.lowering.windows import Window, reshaped
from passes.rewrite import ANY, RuleSet, rewrite, rule
from passes.rules.match import is_value

__all__ = ["is_gradient_call", "lower_convolutions"]


def lower_convolutions(
    graph: Graph, *, provider: str = "any", autotune: bool = False, default: int = DEFAULT_SIZE
) -> Graph:
    """`graph` with gradients of convolutions and pooling in the form that runs fastest on `provider`; a pass.

    - Gradients of convolutions in their weights, calls named `conv_weight_gradient`, become one of six forms
      (:mod:`passes.lowering.weight_gradient`).
    - Except for CUDA, `ConvTranspose` with stride 1, such as the gradient in the data, becomes `Conv` with the kernel
      turned round (or the data, where it is smaller), where that pads no more than the transposed convolution cuts off:
      1.1 to 3.4 times as fast.
    - For the CPU alone, what `ScatterElements` places by the indices of a MaxPool whose windows do not overlap is
      placed by `MaxUnpool`: three to five times as fast, but CUDA has no kernel for it.

    Run it before :func:`graphc.ir.call.inline`, which puts the form in place that the gradient rule chose for the CPU.

    Args:
        graph: what to lower.
        provider: "cpu" or "cuda", as onnxruntime's execution providers; "any" for operators that all have, in the form
            that is the fastest on the CPU.
        autotune: whether to measure the forms of weight gradients in onnxruntime instead of estimating them; once for
            each shape, as the results are kept on disk (:mod:`passes.lowering.autotune`).
        default: what symbolic sizes, such as that of the batch, are taken for.

    Raises:
        UnavailableError: the provider is another one, or `autotune` finds no onnxruntime that has it.
    """
    if provider not in ("any", *PRICES):
        raise UnavailableError(
            f"lower_convolutions: provider is {provider!r}; expected 'any', 'cpu' or 'cuda'{location()}"
        )
    return rewrite(graph, _rules(provider, autotune, default))


def is_gradient_call(node: Node) -> bool:
    """Whether a node is a call whose form this pass chooses."""
    return node.is_call and isinstance(node.attrs.get("gradient"), WeightGradient)


@functools.cache
def _rules(provider: str, autotune: bool, default: int) -> RuleSet:
    choose = fastest if autotune else cheapest

    @rule(ANY, name=NAME.replace("_", "-"))
    def weight_gradient(node: Node) -> Tensor | None:
        """The call -> its cheapest form."""
        if not is_gradient_call(node):
            return None
        what: WeightGradient = node.attrs["gradient"]
        x, g = [t for t in node.inputs if t is not None]
        return FORMS[choose(what, x, g, "cpu" if provider == "any" else provider, default)](what, x, g)

    others = {"any": [_TURNED], "cpu": [_TURNED, _UNPOOLED], "cuda": []}
    return RuleSet([weight_gradient, *others[provider]])


@rule("ConvTranspose", name="turned-convolution")
def _TURNED(node: Node) -> Tensor | None:
    """ConvTranspose(x, w) -> Conv(x, w turned round), with stride 1. What is smaller is turned: weight or data."""
    x, w, *bias = node.inputs
    assert x is not None
    assert w is not None
    attrs = node.attrs
    if not w.tensor_type.is_static or x.tensor_type.shape is None:
        return None
    kernel = tuple([k for k in w.shape[2:] if isinstance(k, int)])
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    window = Window(kernel, tuple(attrs.get("strides") or ones), tuple(attrs.get("dilations") or ones))
    if (
        window.strides != ones
        or attrs["auto_pad"] != "NOTSET"
        or attrs.get("output_shape")
        or any(attrs.get("output_padding") or zeros)
    ):
        return None
    cut = tuple(attrs.get("pads") or zeros * 2)
    pads = [reach - 1 - p for reach, p in zip(window.reach * 2, cut, strict=True)]
    if not all(0 <= new <= old for new, old in zip(pads, cut, strict=True)):
        return None
    groups = attrs["group"]
    made = {"strides": ones, "dilations": window.dilations, "pads": pads, "group": groups}
    moved = sum(float(np.prod(sizes_of(t))) for t in (x, node.out()))
    if moved < np.prod(w.shape):  # turn the data round, and the result back
        made["pads"] = [*pads[len(kernel) :], *pads[: len(kernel)]]
        return _turned(apply("Conv", (_turned(x, kernel), _exchanged(w, groups), *bias), made).out(), kernel)
    return apply("Conv", (x, _exchanged(_turned(w, kernel), groups), *bias), made).out()


def _turned(t: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """`t` with the spatial axes along which the kernel extends turned round."""
    return t[:, :, *(slice(None, None, -1) if k > 1 else slice(None) for k in kernel)]


def _exchanged(w: Tensor, groups: int) -> Tensor:
    """The weight with input and output channels exchanged, in each group."""
    if groups == 1:
        return F.swapaxes(w, 0, 1)
    rows, columns, *kernel = [d for d in w.shape if isinstance(d, int)]
    apart = reshaped(w, [groups, rows // groups, columns, *kernel])
    return reshaped(F.swapaxes(apart, 1, 2), [groups * columns, rows // groups, *kernel])


@rule("ScatterElements", name="max-unpool", below=("Reshape",))
def _UNPOOLED(node: Node) -> Tensor | None:
    """ScatterElements(zeros, indices of MaxPool, g) -> MaxUnpool(g, indices), of windows that do not overlap."""
    zeros, indices, updates = node.inputs
    assert zeros is not None
    assert indices is not None
    assert updates is not None
    pool, g = _source(indices), _source(updates)
    if pool is None or g is None or pool.node.op != "MaxPool" or pool.index != 1 or node.attrs["reduction"] != "none":
        return None
    if (
        updates.dtype.name != "float32"
        or not is_value(zeros, 0)
        or g.shape != pool.shape
        or pool.node.attrs["ceil_mode"]
    ):
        return None
    x = pool.node.inputs[0]
    assert x is not None
    attrs = pool.node.attrs
    kernel = tuple(attrs["kernel_shape"])
    strides = tuple(attrs.get("strides") or (1,) * len(kernel))
    whole = all(
        dims.multiply(count, stride) == size
        for count, stride, size in zip(g.shape[2:], strides, x.shape[2:], strict=True)
    )
    if not whole or kernel != strides or attrs["storage_order"]:
        return None
    made = apply("MaxUnpool", (g, pool), {"kernel_shape": kernel, "strides": strides}).out()
    return reshaped(made, [-1])


def _source(t: Tensor) -> Tensor | None:
    """What `t` flattens to a vector."""
    return t.node.inputs[0] if t.node.op == "Reshape" and t.ndim == 1 else None
