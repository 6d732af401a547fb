"""The named pipelines: plain lists of passes, to read, to print, and to extend.

    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(), passes=[*gc.pipelines.train, my_pass])

`train` is what training steps go through, `inference` what exported models do; `debug` changes nothing, so that what
runs is what was written, and checks the invariants of graphs.
"""

from __future__ import annotations

from graphc.ir.graph import Graph
from passes.forms import to_inference
from passes.manager import Pass
from passes.simplify import simplify
from passes.verify import verify

__all__ = ["check", "debug", "inference", "train"]


def check(graph: Graph) -> Graph:
    """The graph itself, its invariants checked. Raises VerificationError when one does not hold."""
    verify(graph)
    return graph


train: list[Pass] = [simplify]
inference: list[Pass] = [to_inference, simplify]
debug: list[Pass] = [check]
