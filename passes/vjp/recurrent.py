"""Gradients of RNN, LSTM and GRU.

Each direction of a layer is an iteration over the steps (`lower` writes it as a Scan), and its gradient is that of the
iteration. The forward pass keeps the fused operator: the hidden states before each step are read off its output. Only
the cell states of an LSTM, which it does not give, are computed again, from gates computed for all steps at once.

Inside, features come first: states are (hidden, batch), gates (gates * hidden, batch). A step multiplies weights by a
state, and not a state by transposed weights: processors rearrange the second factor of a product before they multiply,
which is less work for a state, and gates that lie one after the other are parted by plain copies.

Where the ONNX specification is silent, these are the layers that onnxruntime computes: a sequence of length 0 ends in a
state of zeros; alpha and beta of Affine and ScaledTanh, and alpha of ThresholdedRelu, are 0 where not given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant
from graphc.ir.graph import substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from graphc.serial.names import Names
from passes.autodiff import pullback, reached_from
from passes.iteration import Iteration, Result, Slices, State, run_scan
from passes.vjp.registry import Contribution, optional, vjp
from passes.vjp.reverse import reverse

__all__ = ["lower"]


# --- activations --------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """An activation: a function of x, alpha and beta, and the defaults of these; None for one that it does not take."""

    function: Callable[..., Tensor]
    alpha: float | None = None
    beta: float | None = None


_KINDS = {
    "affine": _Kind(lambda x, a, b: x * a + b, 0.0, 0.0),
    "elu": _Kind(lambda x, a, b: F.elu(x, a), 1.0),
    "hardsigmoid": _Kind(lambda x, a, b: apply("HardSigmoid", (x,), {"alpha": a, "beta": b}).out(), 0.2, 0.5),
    "leakyrelu": _Kind(lambda x, a, b: F.leaky_relu(x, a), 0.01),
    "relu": _Kind(lambda x, a, b: F.relu(x)),
    "scaledtanh": _Kind(lambda x, a, b: F.tanh(x * b) * a, 0.0, 0.0),
    "sigmoid": _Kind(lambda x, a, b: F.sigmoid(x)),
    "softplus": _Kind(lambda x, a, b: F.softplus(x)),
    "softsign": _Kind(lambda x, a, b: F.softsign(x)),
    "tanh": _Kind(lambda x, a, b: F.tanh(x)),
    "thresholdedrelu": _Kind(lambda x, a, b: apply("ThresholdedRelu", (x,), {"alpha": a}).out(), 0.0),
}
_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _activations(node: Node) -> list[Callable[[Tensor], Tensor]]:
    """The activations of all directions in order. Those that take alpha or beta take the next one that is given."""
    directions = 2 if node.attrs["direction"] == "bidirectional" else 1
    count = len(_DEFAULTS[node.op]) * directions
    names = (node.attrs.get("activations") or _DEFAULTS[node.op] * directions)[:count]
    alphas, betas = (iter(node.attrs.get(f"activation_{which}") or ()) for which in ("alpha", "beta"))
    found: list[Callable[[Tensor], Tensor]] = []
    for name in names:
        kind = _KINDS.get(name.lower())
        if kind is None or len(names) < count:
            raise DifferentiationError(
                f"grad: {node.op} [{node.origin}] has the activations {', '.join(names)}; expected {count} of "
                f"{', '.join(sorted(_KINDS))}"
            )
        alpha = kind.alpha if kind.alpha is None else next(alphas, kind.alpha)
        beta = kind.beta if kind.beta is None else next(betas, kind.beta)
        found.append(functools.partial(kind.function, a=alpha, b=beta))
    return found


# --- steps --------------------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """What a step of one direction computes with: its activations, the limit of what enters them, the variants."""

    op: str
    activations: Sequence[Callable[[Tensor], Tensor]]
    clip: float | None
    coupled: bool
    reset_after: bool

    def activate(self, which: int, x: Tensor) -> Tensor:
        """An activation of the direction, of what is within the limits."""
        return self.activations[which](x if self.clip is None else F.clip(x, -self.clip, self.clip))

    def step(self, states: Sequence[Tensor], gates: Tensor, weights: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """The next states, from the gates' share of the input, `W @ x` and biases."""
        if self.op == "RNN":
            return [self.activate(0, gates + weights["recurrent"] @ states[0])]
        if self.op == "GRU":
            return [self._gru(states[0], gates, weights)]
        hidden, cell = states
        return self.lstm(cell, gates + weights["recurrent"] @ hidden, weights)

    def lstm(self, cell: Tensor, gates: Tensor, weights: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """The hidden and the cell state. The gates are in the order input, output, forget, cell."""
        peephole, hidden = weights.get("peephole"), cell.shape[0]
        if peephole is None and not self.coupled and isinstance(hidden, int):
            sigmoids, g = F.split(gates, [3 * hidden, hidden], axis=0)
            entering, leaving, kept = F.split(self.activate(0, sigmoids), 3, axis=0)
            following = kept * cell + entering * self.activate(1, g)
            return [leaving * self.activations[2](following), following]
        i, o, f, g = F.split(gates, 4, axis=0)
        pi, po, pf = (None,) * 3 if peephole is None else F.split(peephole, 3, axis=0)

        def gate(x: Tensor, p: Tensor | None, c: Tensor) -> Tensor:
            return self.activate(0, x if p is None else x + p * c)

        entering = gate(i, pi, cell)
        kept = 1.0 - entering if self.coupled else gate(f, pf, cell)
        following = kept * cell + entering * self.activate(1, g)
        return [gate(o, po, following) * self.activations[2](following), following]

    def _gru(self, hidden: Tensor, gates: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The gates are in the order update, reset, hidden."""
        xz, xr, xh = F.split(gates, 3, axis=0)
        if self.reset_after:
            hz, hr, hh = F.split(weights["recurrent"] @ hidden, 3, axis=0)
            bias = weights.get("bias")
            hh = hh if bias is None else hh + bias
            reset = self.activate(0, xr + hr)
            new = self.activate(1, xh + reset * hh)
        else:
            hz, hr = F.split(weights["recurrent"] @ hidden, 2, axis=0)
            reset = self.activate(0, xr + hr)
            new = self.activate(1, xh + weights["candidate"] @ (reset * hidden))
        update = self.activate(0, xz + hz)
        return new + update * (hidden - new)


# --- layers -------------------------------------------------------------------------------------------------------


class _Direction(NamedTuple):
    """One direction of a layer: its cell, the first states, the gates' share of the input in all steps, the weights.

    `mask`, of shape (T, 1, batch), tells which steps are within their sequence, if lengths are given.
    """

    cell: _Cell
    first: list[Tensor]
    gates: Tensor
    weights: dict[str, Tensor]
    mask: Tensor | None
    backward: bool

    @property
    def values(self) -> list[Tensor]:
        """All that gradients pass: the first states, the gates, the weights."""
        return [*self.first, self.gates, *self.weights.values()]


def _directions(node: Node, inputs: Sequence[Tensor | None]) -> list[_Direction]:
    """The directions of a layer, in terms of `inputs`, which may stand for those of the node."""
    padded: list[Tensor | None] = [*inputs, *[None] * (8 - len(inputs))]
    x, w, r, b, lengths, h0, c0, p = padded
    assert x is not None
    assert w is not None
    assert r is not None
    if node.attrs["layout"]:
        x = F.transpose(x, (1, 0, 2))
        h0, c0 = (None if t is None else F.transpose(t, (1, 0, 2)) for t in (h0, c0))
    lone = 1 if node.attrs["direction"] == "reverse" else 0
    found = []
    for d, cell in enumerate(_cells(node)):
        recurrent = _pick(r, d)
        biases = None if b is None else F.split(_pick(b, d), 2, axis=-1)
        weights, bias = _weights(cell, recurrent, biases)
        if p is not None:
            weights["peephole"] = F.unsqueeze(_pick(p, d), 1)
        gates = _share_of_input(x, _pick(w, d), bias)
        zeros = F.broadcast_to(constant(0, x.dtype), F.shape_tensor((r.shape[-1], x.shape[1]), [x, r]))
        first = [zeros if t is None else _pick(t, d).mT for t in (h0, c0)[: len(node.types) - 1]]
        mask = None if lengths is None else _mask(x, lengths)
        found.append(_Direction(cell, first, gates, weights, mask, backward=bool(d or lone)))
    return found


def _share_of_input(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """`W @ x + bias` for all steps, (T, gates * hidden, batch)."""
    products = w @ x.mT
    if bias is None:
        return products
    # by a product with ones, whose gradient sums over steps first: onnxruntime is slow to sum over steps and batch
    ones = F.broadcast_to(constant(1, x.dtype), F.shape_tensor((1, x.shape[1]), [x]))
    return products + F.unsqueeze(bias, 1) @ ones


def _weights(
    cell: _Cell, recurrent: Tensor, biases: Sequence[Tensor] | None
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The weights of a step, and the bias that can be added to the share of the input beforehand."""
    weights = {"recurrent": recurrent}
    if cell.op == "GRU" and cell.reset_after:
        if biases is None:
            return weights, None
        z, r, h = F.split(biases[1], 3)  # that of the hidden gate is reset, too
        return weights | {"bias": F.unsqueeze(h, 1)}, biases[0] + F.concat([z, r, F.zeros_like(h)])
    if cell.op == "GRU":
        z, r, h = F.split(recurrent, 3)
        weights = {"recurrent": F.concat([z, r]), "candidate": h}
    return weights, None if biases is None else biases[0] + biases[1]


def _cells(node: Node) -> list[_Cell]:
    activations = _activations(node)
    each = len(_DEFAULTS[node.op])
    attrs = node.attrs
    variants = attrs.get("clip"), bool(attrs.get("input_forget")), bool(attrs.get("linear_before_reset"))
    return [_Cell(node.op, activations[i : i + each], *variants) for i in range(0, len(activations), each)]


def _pick(t: Tensor, direction: int, axis: int = 0) -> Tensor:
    """The part of one direction."""
    if t.shape[axis] == 1:
        return F.squeeze(t, axis)
    return apply("Gather", (t, constant(np.int64(direction))), {"axis": axis}).out()


def _mask(x: Tensor, lengths: Tensor) -> Tensor:
    steps = F.arange(F.take(F.shape_of(x), constant(np.int64(0))))
    return F.less(F.reshape(steps, (-1, 1, 1)), F.reshape(F.cast(lengths, "int64"), (1, 1, -1)))


def _iteration(direction: _Direction, actual: Mapping[Tensor, Tensor]) -> Iteration:
    """The steps of a direction. Where a sequence is over (or, backwards, has not begun) its state stays as it is."""
    names = Names()

    def item(name: str, t: Tensor, stacked: bool = False) -> Tensor:
        shape = t.tensor_type.shape
        return formal(names.unique(name), TensorType(t.dtype, shape[1:] if stacked and shape is not None else shape))

    values = substitute(direction.values, actual)
    count = len(direction.first)
    first, gates, weights = values[:count], values[count], values[count + 1 :]
    states = [item(name, t) for name, t in zip(("hidden", "cell"), first, strict=False)]
    captured = {name: item(name, t) for name, t in zip(direction.weights, weights, strict=True)}
    slices = [Slices(item("gates", gates, stacked=True), gates, 0, direction.backward)]
    following = list(direction.cell.step(states, slices[0].item, captured))
    result = following[0]
    if direction.mask is not None:
        (mask,) = substitute([direction.mask], actual)
        slices.append(Slices(item("mask", mask, stacked=True), mask, 0, direction.backward))
        following = [F.where(slices[1].item, new, old) for new, old in zip(following, states, strict=True)]
        result = F.where(slices[1].item, result, 0.0)
    return Iteration(
        [State(*parts) for parts in zip(states, first, following, strict=True)],
        slices,
        [Result(result, 0, direction.backward)],
        dict(zip(captured.values(), weights, strict=True)),
    )


# --- decomposition, gradient --------------------------------------------------------------------------------------


def lower(node: Node) -> list[Tensor]:
    """The outputs of an RNN, LSTM or GRU node computed by Scan and standard operators, of any floating-point dtype.

    Raises DifferentiationError for activations that onnxruntime does not have.
    """
    stacked, last = [], []
    lengths = optional(node, 4)
    for direction in _directions(node, node.inputs):
        finals, results = run_scan(_iteration(direction, {}), Names())
        last.append([t.mT if lengths is None else _unless_empty(lengths, t.mT) for t in finals])
        stacked.append(results[0].mT)
    batch_first = bool(node.attrs["layout"])
    y = F.stack(stacked, 1)
    states = [F.stack(parts, 0) for parts in zip(*last, strict=True)]
    if batch_first:
        return [F.transpose(y, (2, 0, 1, 3)), *(F.transpose(t, (1, 0, 2)) for t in states)]
    return [y, *states]


def _unless_empty(lengths: Tensor, t: Tensor) -> Tensor:
    """The last states, or cotangents of them, with zeros for sequences of length 0."""
    return F.where(F.greater(F.unsqueeze(lengths, 1), 0), t, 0.0)


@vjp("RNN", "GRU", "LSTM", selective=True)
def _recurrent(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    formals = [None if t is None else formal(f"input_{i}", t.type) for i, t in enumerate(node.inputs)]
    actual = {f: t for f, t in zip(formals, node.inputs, strict=True) if f is not None and t is not None}
    roots = [f for f, want in zip(formals, wanted, strict=True) if f is not None and want]
    values: list[Tensor] = []
    arrived: list[Tensor] = []
    for d, direction in enumerate(_directions(node, formals)):
        found = _reverse_direction(node, d, direction, _iteration(direction, actual), cotangents, roots)
        for value, g in zip(direction.values, found, strict=True):
            if g is not None:
                values.append(value)
                arrived.append(g)
    seeds = [formal(f"d_{i}", t.type) for i, t in enumerate(values)]
    pulled = {f: g for f, g in zip(roots, pullback(values, roots, seeds), strict=True) if g is not None}
    known = actual | dict(zip(seeds, arrived, strict=True))
    results = dict(zip(pulled, substitute(list(pulled.values()), known), strict=True))
    return [None if f is None else results.get(f) for f in formals]


def _reverse_direction(
    node: Node,
    d: int,
    direction: _Direction,
    it: Iteration,
    cotangents: Sequence[Tensor | None],
    roots: Sequence[Tensor],
) -> list[Tensor | None]:
    """The cotangents of what gradients pass in a direction, as far as it depends on `roots`."""
    y, given, *last = _time_first(node, [node.out(), *cotangents])
    assert y is not None
    lengths = optional(node, 4)
    ends = [None if g is None else _pick(g, d) for g in last]
    if lengths is not None:
        ends = [None if g is None else _unless_empty(lengths, g) for g in ends]
    ends = [None if g is None else g.mT for g in ends]

    def before(items: Sequence[Tensor]) -> list[Slices]:
        hidden = _hidden_before(it, _pick(y, d, axis=1).mT)
        return [hidden if t == hidden.item else _cells_before(it, direction, hidden) for t in items]

    items = [*(s.item for s in it.states), it.slices[0].item, *it.captured]
    leads = dict(zip(items, reached_from(direction.values, roots), strict=True))
    stacked = None if given is None else _pick(given, d, axis=1).mT
    found = reverse(it, ends, [stacked], leads.__getitem__, before, run_scan)
    return [*found.first, found.slices[0], *(found.captured.get(c) for c in it.captured)]


def _time_first(node: Node, outputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Outputs, or cotangents of them, with the time or the direction as their first axis."""
    if not node.attrs["layout"]:
        return list(outputs)
    return [None if t is None else F.transpose(t, (1, 2, 0, 3) if t.ndim == 4 else (1, 0, 2)) for t in outputs]


def _hidden_before(it: Iteration, y: Tensor) -> Slices:
    """The hidden states before each step: the first one, and those that the layer returned, `y` (T, hidden, batch)."""
    state, gates = it.states[0], it.slices[0]
    first = F.unsqueeze(state.first, 0)
    if not gates.backward:
        return Slices(state.item, F.concat([first, y])[:-1])
    whole = F.concat([y, first])[1:]
    if len(it.slices) > 1:  # the step after the last of a sequence, which comes before it, left the first state alone
        inside = it.slices[1].whole
        whole = F.where(F.concat([inside[1:], F.zeros_like(inside[:1])]), whole, first)
    return Slices(state.item, whole, 0, backward=True)


def _cells_before(it: Iteration, direction: _Direction, hidden: Slices) -> Slices:
    """The cell states of an LSTM before each step, by a Scan over the gates of all steps, which hidden states give."""
    state, (gates, *mask) = it.states[1], it.slices
    weights = dict(zip(direction.weights, it.captured, strict=True))
    whole = gates.whole + it.captured[weights["recurrent"]] @ hidden.whole
    following = direction.cell.lstm(state.item, gates.item, weights)[1]
    if mask:
        following = F.where(mask[0].item, following, state.item)
    steps = Iteration(
        [state._replace(following=following)],
        [gates._replace(whole=whole), *mask],
        [Result(state.item, 0, gates.backward)],
        it.captured,
    )
    _, (cells,) = run_scan(steps, Names())
    return Slices(state.item, cells, 0, gates.backward)
