"""Tables of models: the layers of a graph with their results, parameters and operations.

A layer is what one module built: its nodes carry the module's path (:mod:`graphc.nn.module`), and parameters are named
after it. So any graph has a summary, also one that passes have changed. Gradients, and updates of state, count as the
backward pass of the layer that they belong to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.errors import OperatorError
from graphc.functional.nested import flatten
from graphc.ir import build
from graphc.ir.graph import Graph, graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType, Type
from graphc.nn.module import Module
from passes.cost import Sizing, abbreviated, cost_of

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LayerSummary", "Summary", "summary"]


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer: its path, what it is (its class, or its operators), and what it computes.

    `output` is the type of its result, the last one that is used elsewhere, None if it computes nothing. `parameters`
    counts the trainable elements, `state` the others, each where it is named: a tied parameter once. `flops` are those
    of the forward pass, `backward_flops` those of gradients and updates.
    """

    path: str
    kind: str
    output: Type | None
    parameters: int
    state: int
    flops: int
    backward_flops: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The layers of a graph in the order in which they compute. `str(summary)` is a table; rich prints it as one.

    Operations are estimates (:mod:`passes.cost`) for `sizes`, and 1 for other symbolic dimensions: a batch of one.
    """

    name: str
    layers: tuple[LayerSummary, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[LayerSummary]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, path: str) -> LayerSummary:
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(path)

    @property
    def parameters(self) -> int:
        """The number of trainable elements."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def state(self) -> int:
        """The number of elements of state that is not trained, such as running statistics and frozen parameters."""
        return sum(layer.state for layer in self.layers)

    @property
    def flops(self) -> int:
        """The operations of the forward pass."""
        return sum(layer.flops for layer in self.layers)

    @property
    def backward_flops(self) -> int:
        """The operations of gradients and updates of state."""
        return sum(layer.backward_flops for layer in self.layers)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=200, no_color=True, highlight=False)
        with console.capture() as captured:
            console.print(self.__rich__())
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def __rich__(self) -> Table:
        from rich import box
        from rich.table import Table

        backward = ["backward FLOPs"] if self.backward_flops else []
        given = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        note = f"FLOPs for {given}" if given else "FLOPs for a batch of one"
        state = f", {self.state:,} elements of other state" if self.state else ""
        caption = f"{self.parameters:,} parameters{state}; {note}"
        table = Table(box=box.SIMPLE_HEAD, title=self.name, caption=caption, title_justify="left", show_footer=True)
        table.caption_justify = "left"
        footer = ["total", "", "", f"{self.parameters + self.state:,}", abbreviated(self.flops)]
        if backward:
            footer.append(abbreviated(self.backward_flops))
        for position, title in enumerate(["layer", "type", "output", "parameters", "FLOPs", *backward]):
            table.add_column(title, footer[position], justify="right" if position > 2 else "left", no_wrap=True)
        for layer in self.layers:
            table.add_row(*(_escaped(cell) for cell in _cells(layer, bool(backward))))
        return table


def _cells(layer: LayerSummary, backward: bool) -> list[str]:
    size = layer.parameters + layer.state
    cells = [layer.path or "(model)", layer.kind, "" if layer.output is None else str(layer.output)]
    cells += [f"{size:,}" if size else "", abbreviated(layer.flops) if layer.flops else ""]
    return [*cells, abbreviated(layer.backward_flops)] if backward else cells


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def summary(
    model: Module | Graph | Tensor | Sequence[Tensor],
    *inputs: Any,
    sizes: Mapping[str, int] | None = None,
    depth: int | None = None,
) -> Summary:
    """A table of the layers of a module, a graph or tensors: results, parameters, operations; also as data.

    Args:
        model: a module, which is called on `inputs`; or a graph or tensors, that is what they depend on.
        inputs: for a module, tensors, or shapes of float32 inputs such as `("batch", 784)`.
        sizes: values of symbolic dimensions by name for the operations, such as `{"batch": 64}`; 1 for others.
        depth: put layers together whose paths agree in so many parts; None for all layers by themselves.

    Raises:
        OperatorError: inputs are missing or too many, or `depth` is not positive.
        ShapeError, DTypeError: the module does not take such inputs.
    """
    if depth is not None and depth < 1:
        raise OperatorError(f"summary: depth is {depth!r}; expected a positive number or None{location()}")
    kinds: dict[str, str] = {}
    name = "model"
    if isinstance(model, Module):
        name = type(model).__name__
        found = _called(model, inputs)
        kinds = {str(m._path): type(m).__name__ for _, m in model.named_modules() if m._path is not None}
    elif inputs:
        raise OperatorError(f"summary: {type(model).__name__} takes no inputs here; only a module does{location()}")
    else:
        found = model if isinstance(model, Graph) else graph(model)
        name = found.name
    return Summary(name, tuple(_layers(found, kinds, Sizing(sizes, default=1), depth)), dict(sizes or {}))


def _called(model: Module, inputs: Sequence[Any]) -> Graph:
    if not inputs:
        raise OperatorError(
            f"summary: {type(model).__name__} needs inputs{location()}. Give tensors or shapes, as in "
            'model.summary(("batch", 784)).'
        )
    tensors = [x if isinstance(x, Tensor) else build.input(f"input_{k}", x) for k, x in enumerate(inputs)]
    results = model(*tensors)
    known = set(tensors)
    return graph([t for t in flatten(results) if t not in known] or flatten(results))


class _Layer:
    """What is counted of a layer."""

    def __init__(self) -> None:
        self.operators: Counter[str] = Counter()
        self.output: Type | None = None
        self.parameters = self.state = self.flops = self.backward_flops = 0


def _layers(found: Graph, kinds: Mapping[str, str], sizes: Sizing, depth: int | None) -> Iterable[LayerSummary]:
    layers: dict[str, _Layer] = {}
    paths: dict[Node, str] = {}
    for node in found.nodes:
        if not node.is_leaf and not node.is_constant:
            paths[node] = _cut(node.origin.layer if node.origin else "", depth)
            layer = layers.setdefault(paths[node], _Layer())
            operations = cost_of(node, sizes).flops
            if _is_backward(node):
                layer.backward_flops += operations
            else:
                layer.flops += operations
                layer.operators[node.op] += 1
    for node, index in _leaving(found, paths):
        layers[paths[node]].output = node.types[index]
    for label, t in found.parameters.items():
        layer = layers.setdefault(_cut(label.rpartition(".")[0], depth), _Layer())
        size = math.prod(sizes.shape(t))
        if t.node.attrs["trainable"]:
            layer.parameters += size
        else:
            layer.state += size
    for path, layer in layers.items():
        kind = kinds.get(path) or ", ".join(name for name, _ in layer.operators.most_common(3))
        yield LayerSummary(path, kind, layer.output, layer.parameters, layer.state, layer.flops, layer.backward_flops)


def _leaving(found: Graph, paths: Mapping[Node, str]) -> Iterator[tuple[Node, int]]:
    """The results of the forward pass that are used in another layer or are outputs, in order."""
    used = {(t.node, t.index) for t in found.outputs}
    for node, path in paths.items():
        if not _is_backward(node):
            used.update((t.node, t.index) for t in node.inputs if t is not None and paths.get(t.node, path) != path)
    for node in paths:
        if not _is_backward(node):
            for index, t in enumerate(node.types):
                if (node, index) in used and isinstance(t, TensorType) and not _is_size(node.out(index)):
                    yield node, index


def _is_size(t: Tensor) -> bool:
    """Whether a tensor is part of the computation of a shape."""
    return t.values is not None


def _is_backward(node: Node) -> bool:
    return node.origin is not None and node.origin.is_backward


def _cut(path: str, depth: int | None) -> str:
    return path if depth is None else ".".join(path.split(".")[:depth])
