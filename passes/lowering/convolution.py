"""The pass that chooses how gradients of convolutions and pooling are computed on a provider."""

from __future__ import annotations

import functools

import numpy as np

from graphc import functional as F
from graphc.errors import UnavailableError
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from passes.lowering.autotune import fastest
from passes.lowering.costs import DEFAULT_SIZE, PRICES, cheapest, sizes_of
from passes.lowering.pooling import MAX_UNPOOL
from passes.lowering.weight_gradient import FORMS, NAME, WeightGradient
from passes.lowering.windows import Window, reshaped
from passes.rewrite import ANY, RuleSet, rewrite, rule

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
      placed by `MaxUnpool`: three to five times as fast, but CUDA has no kernel for it. Where windows fill the data,
      the indices are computed from the parts of the windows: a MaxPool without indices is 12 times as fast.

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

    others = {"any": [_TURNED], "cpu": [_TURNED, MAX_UNPOOL], "cuda": []}
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
