"""`graphc inspect`: what is in a model, and what can be differentiated in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from graphc.serial.load import open_proto
from graphc.serial.model import Model
from runtimes.cli.arguments import Dims, ModelPath, open_model

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["inspect"]

_WIDTH = 200
"""Columns where no terminal tells."""


def inspect(file: ModelPath, dim: Dims = None) -> None:
    """Summarize a model: what it takes and computes, operators, parameters, and what can be differentiated."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    model = open_model(file, dim)
    _head(console, file, open_proto(file)[0], model)
    values = [(name, str(t.type), "in") for name, t in model.inputs.items()]
    values += [(name, str(t.type), "out") for name, t in model.outputs.items()]
    values += [(f"{t.name}", str(value.type), "next") for t, value in model.graph.updates.items()]
    _table(console, "values", ("name", "type", ""), values)
    _table(console, "operators", ("operator", "count", "gradient"), _operators(model.graph), right=1)
    _table(console, "parameters", ("name", "type", "elements", ""), _parameters(model), right=2)
    _differentiability(console, model)


def _head(console: Console, file: Path, proto: onnx.ModelProto, model: Model) -> None:
    from passes.cost import abbreviated, cost

    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in proto.opset_import)
    producer = " ".join(filter(None, (proto.producer_name, proto.producer_version))) or "an unknown producer"
    nodes, held = model.graph.count(), sum(array.nbytes for array in model.state.values())
    operations = abbreviated(cost(model.graph, _ones(model.graph)).flops)
    lines = [
        f"{file}: {model.graph.name}, by {producer}, format {proto.ir_version}, opset {opsets}",
        f"{nodes:,} nodes, {held / 2**20:,.1f} MiB of parameters, {operations} operations for a batch of 1",
    ]
    if proto.training_info:
        lines.append("with a training step (training_info): gc.load_step reads it")
    elif model.graph.updates:
        lines.append(f"a training step: {len(model.graph.updates)} states have next values; gc.load_step reads it")
    lines += [f"{key}: {_short(value)}" for key, value in model.metadata.items()]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _ones(graph: Graph) -> dict[str, int]:
    from graphc.ir import dims

    shapes = [t.type.shape for t in graph.inputs if isinstance(t.type, TensorType)]
    return dict.fromkeys(dims.symbols(d for shape in shapes for d in shape or ()), 1)


def _short(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _operators(graph: Graph) -> list[tuple[str, str, str]]:
    """Each operator with how often it occurs, bodies of control flow included, and how it is differentiated."""
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], Node] = {}
    for node in _all_nodes(graph):
        key = (node.domain, node.op)
        counts[key] = counts.get(key, 0) + 1
        examples.setdefault(key, node)
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return [(".".join(filter(None, key)), f"{counts[key]:,}", _gradient(examples[key])) for key in ordered]


def _all_nodes(graph: Graph) -> Iterable[Node]:
    pending = [graph]
    while pending:
        for node in pending.pop().nodes:
            if not node.is_leaf and not node.is_constant:
                yield node
                pending += [value for value in node.attrs.values() if isinstance(value, Graph)]


def _gradient(node: Node) -> str:
    from passes.vjp import nondifferentiable, rule_of

    reason = nondifferentiable(node)
    if reason is not None:
        return f"none: {reason}"
    return "yes" if rule_of(node) is not None else "no rule"


def _parameters(model: Model) -> list[tuple[str, str, str, str]]:
    trainable = model.graph.trainable
    return [
        (name, str(t.type), f"{_elements(t):,}", "trainable" if name in trainable else "state")
        for name, t in model.parameters.items()
    ]


def _elements(t: Tensor) -> int:
    size = t.tensor_type.size
    return size if isinstance(size, int) else 0


def _differentiability(console: Console, model: Model) -> None:
    from passes.flow import can_differentiate

    wanted = model.graph.trainable
    for name, t in model.outputs.items():
        if not isinstance(t.type, TensorType) or not t.type.dtype.is_float:
            continue
        if not wanted:
            console.print(f"{name}: there are no trainable parameters", markup=False, soft_wrap=True)
            continue
        obstacles = can_differentiate(t, list(wanted.values()))
        if not obstacles:
            text = f"{name} can be differentiated by all {len(wanted)} trainable parameters"
            console.print(text, markup=False, soft_wrap=True)
        for obstacle in obstacles:
            console.print(f"{name}: {obstacle}", markup=False, soft_wrap=True)


def _table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: int = -1) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position == right else "left", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
