"""Random operators lowered to functions of (seed, step, site)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from graphc.serial.names import Names
from passes.randomness.draws import Source
from passes.randomness.squares import Generator
from passes.vjp.arithmetic import dropout_factor

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

    The gradient takes masks as constants: to the bit, it is the same whether a graph is differentiated before or after.

    Raises:
        GraphError: `seed` or `step` is no int64 scalar, or a body of control flow that may run several times, or not
            at all, draws at random.
    """
    for name, t in (("seed", seed), ("step", step)):
        if t.dtype.name != "int64" or t.shape != ():
            raise GraphError(f"counter_based: {name} is {t.type}; expected an int64 scalar{location()}")
    drawing = list(_drawing(graph.nodes))
    return _lowered(graph, seed, step, _sites(drawing)) if drawing else graph


def _lowered(graph: Graph, seed: Tensor, step: Tensor, sites: dict[int, int]) -> Graph:
    shared = Generator(seed, step)
    mapped: dict[Tensor, Tensor] = {}
    with collector_paused():
        for node in graph.nodes:
            inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
            if is_random(node):
                with inherit(node.origin, f"counter-based {node.op}"):
                    results = _LOWERINGS[node.op](node, _source(node, shared, step, sites), inputs)
            elif _runs_once(node) and any(_drawing(node.attrs["body"].nodes)):
                with inherit(node.origin):
                    results = _once(node, inputs, seed, step, sites).outputs
            else:
                new = rebuild(node, inputs)
                results = () if new is node else new.outputs
            for old, result in zip(node.outputs, results, strict=False):
                mapped[old] = result
                if old.name is not None and result.name is None and not result.node.is_leaf:
                    result.named(old.name)
    outputs = {name: mapped.get(t, t) for name, t in zip(graph.output_names, graph.outputs, strict=True)}
    updates = {state: mapped.get(t, t) for state, t in graph.updates.items()}
    listed = set(graph.inputs)
    added = [t for t in leaves([*outputs.values(), *updates.values()]) if t not in listed]
    return Graph([*graph.inputs, *added], outputs, updates, graph.name)


def _once(node: Node, inputs: Sequence[Tensor | None], seed: Tensor, step: Tensor, sites: dict[int, int]) -> Node:
    """A loop of one step whose body draws as it would outside: it captures seed and step."""
    body: Graph = node.attrs["body"]
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    inner_seed, inner_step = formal(names.unique("seed"), seed.type), formal(names.unique("step"), step.type)
    lowered = _lowered(body, inner_seed, inner_step, sites)
    captured = [seed if t == inner_seed else step for t in lowered.inputs[len(body.inputs) :]]
    attrs = {**node.attrs, "body": lowered, "captures": node.attrs["captures"] + len(captured)}
    return apply("Loop", [*inputs, *captured], attrs, outputs=len(node.types))


def is_random(node: Node) -> bool:
    """Whether a node draws random numbers: Dropout does not in inference mode."""
    if node.domain or node.op not in _LOWERINGS:
        return False
    return node.op != "Dropout" or not _is_false(_optional(node.inputs, 2))


def _is_false(training: Tensor | None) -> bool:
    return training is None or (training.node.is_constant and not training.node.attrs["value"].array.any())


def _optional(inputs: Sequence[Tensor | None], position: int) -> Tensor | None:
    return inputs[position] if position < len(inputs) else None


def _runs_once(node: Node) -> bool:
    """Whether a node is a loop of one step, as that in which a checkpoint is recomputed."""
    count = node.inputs[0] if node.op == "Loop" and node.domain == "" else None
    once = count is not None and count.node.is_constant and int(count.node.attrs["value"].array) == 1
    return once and node.inputs[1] is None


def _drawing(nodes: Iterable[Node]) -> Iterator[Node]:
    """The random operators among `nodes`, then those in bodies that run once. Raises GraphError for other bodies."""
    pending: list[tuple[Node, bool]] = [(node, True) for node in nodes]
    for node, once in pending:
        if is_random(node):
            if not once:
                raise GraphError(
                    f"counter_based: {node.op} [{node.origin}] draws inside a body of control flow{location()}; "
                    "expected it outside. Draw for all iterations before, and pass the numbers in."
                )
            yield node
        bodies = [body for body in node.attrs.values() if isinstance(body, Graph)]
        pending += [(inner, once and _runs_once(node)) for body in bodies for inner in body.nodes]


# --- sites --------------------------------------------------------------------------------------------------------


def _sites(nodes: Iterable[Node]) -> dict[int, int]:
    """A 64-bit number for each random operator, by the uid that its copies share."""
    sites: dict[int, int] = {}
    count: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        if node.uid not in sites:
            place = (node.origin.scope if node.origin else "", node.op)
            sites[node.uid] = _number_of(*place, count[place])
            count[place] += 1
    return sites


def _number_of(*key: object) -> int:
    """A 64-bit number that stands for `key`, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def _source(node: Node, shared: Generator, step: Tensor, sites: dict[int, int]) -> Source:
    fixed = node.attrs.get("seed")
    if fixed is None:
        return Source(shared, sites[node.uid])
    own = constant(np.int64(_number_of("seed", float(fixed)) >> 1))
    return Source(Generator(own, step), 0)


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
