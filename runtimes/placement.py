"""The placement audit: which operators of a graph would not run on CUDA, why, and which line they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graphc.ir.graph import Graph
from graphc.serial.export import to_model
from graphc.serial.nodes import origin_text
from passes.lowering.cuda import lower_for_cuda
from passes.lowering.cuda_kernels import gaps
from runtimes.audit import host_arithmetic, origins_of
from runtimes.options import RuntimeOptions
from runtimes.outputs import Outputs, as_graph
from runtimes.session import Session, cuda_works
from runtimes.trainer import Trainer

__all__ = ["Fallback", "Placement", "placement"]


class Fallback(NamedTuple):
    """An operator on the CPU: its kind, where it comes from (user line and layer), and why, as far as it is known."""

    operator: str
    origin: str
    reason: str


class Placement:
    """Where the operators of a graph run on CUDA. `str` tells it as text.

    `operators` is how many there are, `fallbacks` those that the CPU computes. `measured` is true where onnxruntime
    told, false where the table of its CUDA kernels did, since there is no GPU here.
    """

    def __init__(self, name: str, operators: int, fallbacks: tuple[Fallback, ...], *, measured: bool) -> None:
        self.name = name
        self.operators = operators
        self.fallbacks = fallbacks
        self.measured = measured

    def __str__(self) -> str:
        source = "as onnxruntime placed them" if self.measured else "by the list of its kernels; no GPU was asked"
        count = f"{len(self.fallbacks)} of {self.operators} operators"
        return "\n".join([f"{self.name} on CUDA: {count} run on the CPU ({source})", *self._lines()])

    def _lines(self) -> Iterator[str]:
        for operator, origin, reason in self.fallbacks:
            where = f" [{origin}]" if origin else ""
            yield f"  {operator}{where}{': ' if reason else ''}{reason}"


def placement(what: Outputs | Trainer, *, options: RuntimeOptions | None = None) -> Placement:
    """Which operators of `what` would fall back to the CPU on CUDA, after the lowering that CUDA gets.

    Each such operator waits for copies over the bus; `RuntimeOptions(strict=True)` makes it an error. Where CUDA works,
    onnxruntime is asked; elsewhere the table of :mod:`passes.lowering.cuda_kernels` is.

    Args:
        what: a trainer, whose training step is looked at, a tensor, several, or a graph.
        options: which GPU, and how onnxruntime optimizes.

    Raises GraphError for outputs that make no graph.
    """
    graph = lower_for_cuda(what.step.graph if isinstance(what, Trainer) else as_graph(what))
    options = options or RuntimeOptions()
    predicted = {gap.node: gap.reason for gap in gaps(graph)}
    if cuda_works(options.device_id):
        return _asked(graph, options, {origin_text(node): reason for node, reason in predicted.items()})
    found = tuple(Fallback(node.op, origin_text(node), reason) for node, reason in predicted.items())
    return Placement(graph.name, _count(graph), found, measured=False)


def _asked(graph: Graph, options: RuntimeOptions, reasons: dict[str, str]) -> Placement:
    """What onnxruntime says; the reasons are those of the table."""
    model = to_model(graph)
    assigned = Session(model, device="cuda", options=options).assignments()
    host, origins = host_arithmetic(model), origins_of(model)
    found = tuple(
        Fallback(a.operator, origins.get(a.name, ""), reasons.get(origins.get(a.name, ""), ""))
        for a in assigned
        if a.device == "cpu" and a.name not in host
    )
    return Placement(graph.name, len(assigned), found, measured=True)


def _count(graph: Graph) -> int:
    return sum(not (node.is_leaf or node.is_constant) for node in graph.nodes)
