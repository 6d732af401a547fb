"""The pass that writes recurrent layers as Scans, before they are differentiated."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import DifferentiationError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.rewrite import RuleSet, rewrite, rule
from passes.vjp.recurrent import lower

__all__ = ["lower_recurrent"]


def lower_recurrent(graph: Graph) -> Graph:
    """`graph` with Scans in place of RNN, GRU and LSTM, for graphs that are to be differentiated; a pass.

    The fused operators give no gates, so that their gradients compute them again; a Scan stacks what the gradient reads
    (:func:`passes.loops.merge_loops`). Features come first in its steps, `(hidden, batch)`, which is for batches of 16
    and more: with 256 hidden units, a batch of 32 gains by it, one of 8 does not, and one of 4 takes 1.3 times as long.
    Run it before the gradient is taken.
    """
    return rewrite(graph, _RULES)


@rule("GRU", "LSTM", "RNN", name="recurrent-as-scan")
def _recurrent(node: Node) -> Sequence[Tensor] | None:
    """RNN, GRU, LSTM -> Scan, unless their activations have no gradient: whoever asks for it is told."""
    try:
        return lower(node)
    except DifferentiationError:
        return None


_RULES = RuleSet([_recurrent])
