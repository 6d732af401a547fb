"""The named pipelines: plain lists of passes, to read, to print, and to extend.

    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(), passes=[*gc.pipelines.train, my_pass])

`train` is what training steps go through: the passes marked `before_gradient` are applied to the loss before it is
differentiated, the others to the finished step. `inference` is what exported models go through; it fuses into operators
of the opset that the model needs anyway, and makes scattered sums safe for several threads. `debug` changes nothing, so
that what runs is what was written, and checks the invariants of graphs.
"""

from __future__ import annotations

import functools

from graphc.ir.graph import Graph
from passes.fission import split_scans
from passes.fold_update import fold_update
from passes.forms import to_inference
from passes.fusion import fuse, fuse_forward, split_losses
from passes.loops import merge_loops
from passes.lowering.convolution import lower_convolutions
from passes.lowering.recurrent import lower_recurrent
from passes.lowering.scatter import order_scatters
from passes.manager import Pass, before_gradient
from passes.simplify import simplify
from passes.verify import verify

__all__ = ["check", "debug", "fuse_portable", "inference", "train", "train_on"]


def check(graph: Graph) -> Graph:
    """The graph itself, its invariants checked. Raises VerificationError when one does not hold."""
    verify(graph)
    return graph


def fuse_portable(graph: Graph) -> Graph:
    """`graph` fused into operators of the opset that it needs anyway: :func:`passes.fusion.fuse`."""
    return fuse(graph, target="portable")


def train_on(device: str) -> list[Pass]:
    """`train` for a device: "cpu" and "cuda" choose the form of the gradients of convolutions and pooling.

    CUDA keeps recurrent layers fused: it has fast kernels for them, and starts each operator of a Scan anew.
    """
    if device not in ("cpu", "cuda"):
        return train
    lowering = functools.partial(lower_convolutions, provider=device)
    chosen = [lowering if p is lower_convolutions else p for p in train]
    return [p for p in chosen if p is not _recurrent_as_scans] if device == "cuda" else chosen


_recurrent_as_scans = before_gradient(lower_recurrent)
train: list[Pass] = [
    *(_recurrent_as_scans, before_gradient(fuse_forward), merge_loops, split_scans),
    *(split_losses, lower_convolutions, simplify, fuse, fold_update),
]
inference: list[Pass] = [to_inference, simplify, fuse_portable, order_scatters]
debug: list[Pass] = [check]
