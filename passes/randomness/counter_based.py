"""Random operators lowered to functions of (seed, step, site)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from graphc import functional as F
from graphc.errors import GraphError
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant, rebuild
from graphc.ir.collector import collector_paused
from graphc.ir.graph import Graph, leaves
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names
from passes.randomness.draws import Source
from passes.randomness.dropout import dropout_factor
from passes.randomness.squares import Generator

__all__ = ["counter_based", "is_random"]

Lowering: TypeAlias = Callable[[Node, Source, Sequence["Tensor | None"]], Sequence[Tensor]]


def counter_based(graph: Graph, seed: Tensor, step: Tensor) -> Graph:
    """`graph` with its random operators as pure functions of (seed, step, site), in standard arithmetic.

    `seed` and `step` are int64 scalars, such as states; leaves that they depend on become inputs of the graph. Lowered
    are Dropout in training mode (in inference mode it stays), Bernoulli, Multinomial, RandomNormal(Like) and
    RandomUniform(Like). The numbers are the same bits on every provider, when training resumes, and when they are
    recomputed; the one at a flat position of a tensor does not depend on how large the tensor is, so not on the batch.
    (Those of Multinomial are, but for categories whose probabilities the runtime's exponential rounds otherwise.)

    The site is the layer path in which the operator was built (:func:`graphc.ir.origin.scope`), the operator, and its
    number among those of that path and operator. So layers elsewhere do not change it, and graphs of the same structure
    and layers have the same sites. Copies of one random operator, such as those that `gc.checkpoint` recomputes in a
    loop of one step, share theirs.

    An operator with the attribute `seed` draws from that in place of `seed` and site: as ONNX has it, two of one seed
    draw the same numbers.

    In the bodies of Scan, and of Loop but for loops of one step, the number of the iteration is mixed into the step.

    The gradient takes masks as constants: to the bit, it is the same whether a graph is differentiated before or after.

    Raises:
        GraphError: `seed` or `step` is no int64 scalar, or the body of a SequenceMap draws at random.
    """
    for name, t in (("seed", seed), ("step", step)):
        if t.dtype.name != "int64" or t.shape != ():
            raise GraphError(f"counter_based: {name} is {t.type}; expected an int64 scalar{location()}")
    sites = _sites(graph)
    if not sites:
        return graph
    mapped = _lowered(graph.nodes, _Draw(seed, step, sites))
    outputs = {name: mapped.get(t, t) for name, t in zip(graph.output_names, graph.outputs, strict=True)}
    updates = {state: mapped.get(t, t) for state, t in graph.updates.items()}
    listed = set(graph.inputs)
    added = [t for t in leaves([*outputs.values(), *updates.values()]) if t not in listed]
    return Graph([*graph.inputs, *added], outputs, updates, graph.name)


def is_random(node: Node) -> bool:
    """Whether a node draws random numbers: Dropout does not in inference mode."""
    if node.domain or node.op not in _LOWERINGS:
        return False
    return node.op != "Dropout" or not _is_false(_optional(node.inputs, 2))


def _is_false(training: Tensor | None) -> bool:
    return training is None or (training.node.is_constant and not training.node.attrs["value"].array.any())


def _optional(inputs: Sequence[Tensor | None], position: int) -> Tensor | None:
    return inputs[position] if position < len(inputs) else None


# --- graphs and bodies --------------------------------------------------------------------------------------------


class _Draw:
    """What a graph, or a body, draws by: seed and step as values of that graph, and the sites by uid."""

    def __init__(self, seed: Tensor, step: Tensor, sites: Mapping[int, int]) -> None:
        self.seed, self.step, self.sites = seed, step, sites
        self._shared = Generator(seed, step)

    def source(self, node: Node) -> Source:
        """The numbers of a node."""
        fixed = node.attrs.get("seed")
        if fixed is None:
            return Source(self._shared, self.sites[node.uid])
        own = constant(np.int64(_number_of("seed", float(fixed)) >> 1))
        return Source(Generator(own, self.step), 0)


def _lowered(nodes: Iterable[Node], draw: _Draw) -> dict[Tensor, Tensor]:
    """What replaces the outputs of nodes."""
    mapped: dict[Tensor, Tensor] = {}
    with collector_paused():
        for node in nodes:
            inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
            results: Sequence[Tensor] = ()
            if is_random(node):
                with inherit(node.origin, f"counter-based {node.op}"):
                    results = _LOWERINGS[node.op](node, draw.source(node), inputs)
            elif _draws_inside(node):
                with inherit(node.origin):
                    results = _with_lowered_bodies(node, draw, inputs)
            else:
                new = rebuild(node, inputs)
                results = () if new is node else new.outputs
            for old, result in zip(node.outputs, results, strict=False):
                mapped[old] = result
                if old.name is not None and result.name is None and not result.node.is_leaf:
                    result.named(old.name)
    return mapped


def _bodies(node: Node) -> dict[str, Graph]:
    return {name: value for name, value in node.attrs.items() if isinstance(value, Graph)}


def _draws_inside(node: Node) -> bool:
    return any(is_random(n) or _draws_inside(n) for body in _bodies(node).values() for n in body.nodes)


def _with_lowered_bodies(node: Node, draw: _Draw, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    """A node of control flow whose bodies draw by seed and step, which they capture, and by the iteration."""
    if node.op not in ("If", "Loop", "Scan"):
        raise GraphError(
            f"counter_based: the body of {node.op} [{node.origin}] draws at random{location()}; expected this in If, "
            "Loop or Scan only. Draw before, and pass the numbers in."
        )
    counting = [constant(np.int64(0))] if node.op == "Scan" else []
    attrs = {**node.attrs, **{name: _lowered_body(node, body, draw) for name, body in _bodies(node).items()}}
    if node.op != "If":
        attrs["captures"] += 2
    count = len(counting) + len(node.types)
    return apply(node.op, [*counting, *inputs, draw.seed, draw.step], attrs, outputs=count).outputs[len(counting) :]


def _lowered_body(node: Node, body: Graph, draw: _Draw) -> Graph:
    """`body` with the inputs seed and step behind the others; that of a Scan counts iterations in a first state."""
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    seed, step = (formal(names.unique(name), t.type) for name, t in (("seed", draw.seed), ("step", draw.step)))
    if node.op == "If" or _runs_once(node):
        results = _results(body, _Draw(seed, step, draw.sites))
    elif node.op == "Loop":
        results = _results(body, _Draw(seed, Generator(step, body.inputs[0]).key, draw.sites))
    else:
        number = formal(names.unique("iteration"), TensorType(as_dtype("int64"), ()))
        results = _results(body, _Draw(seed, Generator(step, number).key, draw.sites))
        return Graph([number, *body.inputs, seed, step], [number + 1, *results], name=body.name)
    return Graph([*body.inputs, seed, step], results, name=body.name)


def _results(body: Graph, draw: _Draw) -> list[Tensor]:
    mapped = _lowered(body.nodes, draw)
    return [mapped.get(t, t) for t in body.outputs]


def _runs_once(node: Node) -> bool:
    """Whether a node is a loop of one step, as that in which a checkpoint is recomputed."""
    count = node.inputs[0] if node.op == "Loop" and node.domain == "" else None
    once = count is not None and count.node.is_constant and int(count.node.attrs["value"].array) == 1
    return once and node.inputs[1] is None


# --- sites --------------------------------------------------------------------------------------------------------


def _sites(graph: Graph) -> dict[int, int]:
    """A 64-bit number for each random operator, by the uid that its copies share; those in bodies come last."""
    sites: dict[int, int] = {}
    count: Counter[tuple[str, str]] = Counter()
    pending = list(graph.nodes)
    for node in pending:
        if is_random(node) and node.uid not in sites:
            place = (node.origin.scope if node.origin else "", node.op)
            sites[node.uid] = _number_of(*place, count[place])
            count[place] += 1
        for body in _bodies(node).values():
            pending += body.nodes
    return sites


def _number_of(*key: object) -> int:
    """A 64-bit number that stands for `key`, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")


# --- operators ----------------------------------------------------------------------------------------------------


def _required(inputs: Sequence[Tensor | None]) -> Tensor:
    t = inputs[0]
    assert t is not None
    return t


def _dropout(node: Node, source: Source, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    x, ratio, training = _required(inputs), _optional(inputs, 1), _optional(inputs, 2)
    keep = 1.0 - (constant(np.float32(0.5)) if ratio is None else ratio)
    mask = source.mask(x, keep)
    dropped = x * dropout_factor(mask, keep, x.dtype)
    if training is None or training.node.is_constant:
        return dropped, mask
    return F.where(training, dropped, x), F.logical_or(mask, F.logical_not(training))


def _bernoulli(node: Node, source: Source, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    p = _required(inputs)
    u = source.precise_uniform(p) if p.dtype.bits == 64 else source.uniform(p)
    return [F.cast(F.less(u, F.cast(p, u.dtype)), node.out().dtype)]


def _uniform(node: Node, source: Source, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    out = node.out()
    like = inputs[0] if inputs and inputs[0] is not None else out
    u = source.precise_uniform(like) if out.dtype.bits == 64 else source.uniform(like)
    return [F.cast(_affine(u, node.attrs["high"] - node.attrs["low"], node.attrs["low"]), out.dtype)]


def _normal(node: Node, source: Source, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    out = node.out()
    like = inputs[0] if inputs and inputs[0] is not None else out
    z = source.precise_normal(like) if out.dtype.bits == 64 else source.normal(like)
    return [F.cast(_affine(z, node.attrs["scale"], node.attrs["mean"]), out.dtype)]


def _affine(x: Tensor, factor: float, offset: float) -> Tensor:
    scaled = x if factor == 1 else x * factor
    return scaled if offset == 0 else scaled + offset


def _multinomial(node: Node, source: Source, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    """The first category at which the cumulative probability exceeds a uniform number."""
    logits = F.cast(_required(inputs), "float64")
    weights = F.exp(logits - F.max(logits, 1, keepdims=True))
    cumulative = F.cumsum(weights, 1)
    like = F.broadcast_to(logits[:, :1], (*logits.shape[:1], node.attrs["sample_size"]))
    u = source.precise_uniform(like) * cumulative[:, -1:]
    passed = F.less_equal(F.unsqueeze(cumulative, 1), F.unsqueeze(u, 2))
    return [F.sum(F.cast(passed, node.out().dtype), 2)]


_LOWERINGS: dict[str, Lowering] = {
    "Bernoulli": _bernoulli,
    "Dropout": _dropout,
    "Multinomial": _multinomial,
    "RandomNormal": _normal,
    "RandomNormalLike": _normal,
    "RandomUniform": _uniform,
    "RandomUniformLike": _uniform,
}
