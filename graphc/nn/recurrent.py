"""Recurrent layers: RNN, LSTM and GRU, with PyTorch's equations, arguments and parameter names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.dropout import dropout as drop
from graphc.nn.module import Module
from graphc.nn.projected_lstm import projected_lstm

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """What the layers share: stacked, perhaps bidirectional, each layer one ONNX operator.

    Parameters of layer k are `weight_ih_l{k}` (gates * hidden, input), `weight_hh_l{k}` (gates * hidden, hidden),
    `bias_ih_l{k}` and `bias_hh_l{k}` (gates * hidden,), with the suffix `_reverse` for the second direction. Gates lie
    in PyTorch's order; the operator wants them in ONNX's.
    """

    _op: ClassVar[str]
    _order: ClassVar[tuple[int, ...]]  # for each gate in ONNX's order, its place in PyTorch's
    _states: ClassVar[int] = 1

    def __init__(
        self,
        *sizes: int,
        input_size: int | None = None,
        hidden_size: int | None = None,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        given = [n for n in (input_size, *sizes, hidden_size) if n is not None]
        if not 1 <= len(given) <= 2 or not all(_is_size(n) for n in (*given, num_layers)):
            raise OperatorError(
                f"{title}: the sizes are {given} and num_layers={num_layers!r}; expected hidden_size, or input_size "
                f"and hidden_size, as positive integers{location()}. Options such as batch_first=True are keywords."
            )
        if not 0 <= dropout < 1:
            raise OperatorError(f"{title}: dropout={dropout!r}; expected 0 <= dropout < 1{location()}")
        self.input_size = given[0] if len(given) == 2 else None
        self.hidden_size = given[-1]
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self.dtype = as_dtype(dtype)
        if self.input_size is not None:
            self._make(self.input_size)

    @property
    def _output_size(self) -> int:
        """That of the hidden state, which is the output."""
        return self.hidden_size

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _make(self, input_size: int) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for layer in range(self.num_layers):
            columns = input_size if layer == 0 else self._output_size * self._directions
            for suffix in self._suffixes(layer):
                for kind, shape in self._shapes(columns).items():
                    self.parameter(f"{kind}{suffix}", shape, init.Uniform(-bound, bound), dtype=self.dtype)
        self._built = True

    def _shapes(self, columns: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction of a layer for inputs of `columns` features."""
        rows = len(self._order) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, self._output_size)}
        return shapes | {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else shapes

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def build(self, x: Any, *states: Any, **options: Any) -> None:
        """Make the parameters for the size of the last axis of `x`."""
        size = self._checked(x).shape[-1]
        if not isinstance(size, int):
            raise ShapeError(
                f"{self._title()}: the last axis of the input is {size!s}, a symbol{location()}. Give it a size in "
                f"gc.input, or state both: {type(self).__name__}(input_size, {self.hidden_size})."
            )
        self.input_size = size
        self._make(size)

    def _checked(self, given: Any) -> Tensor:
        x = typed(self._title(), given, self.dtype)
        axes = "batch, steps, features" if self.batch_first else "steps, batch, features"
        if x.ndim != 3:
            raise ShapeError(f"{self._title()}: the input is {x.type}; expected three axes: {axes}{location()}")
        if self.input_size is not None and dims.provably_different(x.shape[-1], self.input_size):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.input_size} features in the last "
                f"axis{location()}. A layer keeps its sizes; make a second one for other inputs."
            )
        return x

    def _run(self, given: Any, states: Sequence[Any], lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """The output, and the last states, each (layers * directions, batch, hidden)."""
        x = self._checked(given)
        x = F.transpose(x, (1, 0, 2)) if self.batch_first else x
        sizes = (self._output_size, self.hidden_size)
        first = [self._initial(state, x.shape[1], size) for state, size in zip(states, sizes, strict=False)]
        if lengths is not None:
            lengths = F.cast(F.as_tensor(lengths), "int32")
            if lengths.ndim != 1:
                raise ShapeError(
                    f"{self._title()}: lengths are {lengths.type}; expected one axis, the batch{location()}"
                )
        lasts: list[list[Tensor]] = [[] for _ in range(self._states)]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = drop(x, self.dropout)
            rows = slice(layer * self._directions, (layer + 1) * self._directions)
            x, *last = self._layer(layer, x, [None if s is None else s[rows] for s in first], lengths)
            for found, one in zip(lasts, last, strict=True):
                found.append(one)
        output = F.transpose(x, (1, 0, 2)) if self.batch_first else x
        return output, [one[0] if len(one) == 1 else F.concat(one, 0) for one in lasts]

    def _initial(self, state: Any, batch: Dim, size: int) -> Tensor | None:
        if state is None:
            return None
        t = F.as_tensor(state)
        expected = (self.num_layers * self._directions, batch, size)
        if t.dtype is not self.dtype or t.ndim != 3 or any(map(dims.provably_different, t.shape, expected)):
            listed = ", ".join(map(str, expected))
            raise ShapeError(f"{self._title()}: a state is {t.type}; expected {self.dtype}[{listed}]{location()}")
        return t

    def _layer(self, layer: int, x: Tensor, states: Sequence[Tensor | None], lengths: Tensor | None) -> list[Tensor]:
        """One layer: its output (steps, batch, directions * hidden), and its last states."""
        weights = [[self._stacked(kind, layer)] for kind in ("weight_ih", "weight_hh")]
        bias = None
        if self.bias:
            bias = F.concat([self._stacked("bias_ih", layer), self._stacked("bias_hh", layer)], 1)
        inputs = (x, *(w for (w,) in weights), bias, lengths, *states)
        direction = "bidirectional" if self.bidirectional else "forward"
        attrs = {"hidden_size": self.hidden_size, "direction": direction, **self._attributes()}
        made = apply(self._op, inputs, attrs)
        output = F.transpose(made.out(0), (0, 2, 1, 3))
        joined = F.reshape(output, (*output.shape[:2], self._directions * self.hidden_size))
        return [joined, *(made.out(1 + k) for k in range(self._states))]

    def _attributes(self) -> dict[str, Any]:
        return {}

    def _stacked(self, kind: str, layer: int) -> Tensor:
        """The parameters of both directions, gates in ONNX's order, with a leading axis for the direction."""
        found = [self._reordered(getattr(self, kind + suffix)) for suffix in self._suffixes(layer)]
        return F.stack(found, 0) if len(found) > 1 else F.unsqueeze(found[0], 0)

    def _reordered(self, p: Tensor) -> Tensor:
        if self._order == tuple(range(len(self._order))):
            return p
        parts = apply("Split", (p, constant(np.full(len(self._order), self.hidden_size))), {"axis": 0}).outputs
        return F.concat([parts[place] for place in self._order], 0)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not the defaults."""
        sizes = f"{self.input_size}, {self.hidden_size}"
        options = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = {name: getattr(self, name) for name, default in options.items() if getattr(self, name) != default}
        return ", ".join([sizes, *(f"{name}={value}" for name, value in changed.items())])


def _is_size(n: object) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n > 0


class RNN(_Recurrent):
    """The Elman network `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)` (ONNX RNN).

    Args and errors are those of :class:`LSTM`, and `nonlinearity`, "tanh" or "relu".
    """

    _op = "RNN"
    _order = (0,)

    def __init__(self, *sizes: int, nonlinearity: str = "tanh", **options: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise OperatorError(f"RNN: nonlinearity={nonlinearity!r}; expected 'tanh' or 'relu'{location()}")
        self.nonlinearity = nonlinearity
        super().__init__(*sizes, **options)

    def _attributes(self) -> dict[str, Any]:
        return {"activations": [self.nonlinearity.capitalize()] * self._directions}

    def forward(self, x: Any, h: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """`(output, last)`: all hidden states of the last layer, and the last one of each layer and direction.

        `h` are the first hidden states (layers * directions, batch, hidden), zeros when None. `lengths`, integers of
        shape (batch,), say how many steps of each sequence count: outputs beyond are zero, the last state is that of
        the last step that counts, and the backward direction begins there.
        """
        output, (last,) = self._run(x, [h], lengths)
        return output, last


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014), with PyTorch's equations (ONNX GRU, `linear_before_reset=1`).

    `r = sigmoid(W_ir x + W_hr h)`, `z = sigmoid(W_iz x + W_hz h)`, `n = tanh(W_in x + r * (W_hn h))`, each with biases,
    and `h' = (1 - z) * n + z * h`. Args and errors are those of :class:`LSTM`.
    """

    _op = "GRU"
    _order = (1, 0, 2)

    def _attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": 1}

    def forward(self, x: Any, h: Any = None, *, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """`(output, last)`; arguments and results as those of :meth:`RNN.forward`."""
        output, (last,) = self._run(x, [h], lengths)
        return output, last


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with PyTorch's equations (ONNX LSTM).

    `i, f, o = sigmoid(…)`, `g = tanh(…)` of `W_i x + b_i + W_h h + b_h`; `c' = f * c + i * g`, `h' = o * tanh(c')`.

    With `proj_size`, the hidden state is `W_hr (o * tanh(c'))` (Sak et al. 2014), by a further parameter
    `weight_hr_l{k}` (proj_size, hidden). ONNX's operator does not project: a layer then is a :func:`graphc.scan`.

    `LSTM(hidden_size)` takes input_size from its first input; `LSTM(input_size, hidden_size)` checks it.

    Args:
        sizes: hidden_size, or input_size and hidden_size; both may be keywords.
        num_layers: how many layers to stack, each on the output of the one below.
        bias: whether the gates have biases.
        batch_first: whether inputs and outputs are (batch, steps, features), not (steps, batch, features).
        dropout: the rate of dropout on the output of each layer but the last.
        bidirectional: whether a second direction reads the steps backwards; outputs hold both, one after the other.
        proj_size: the size that hidden states are projected to, below hidden_size; 0 for no projection.
        dtype: that of the parameters and of the input. onnxruntime runs float32 (and float16 on CUDA).
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range.
        ShapeError: an input or a state of another shape.
        DTypeError: an input of another dtype.
    """

    _op = "LSTM"
    _order = (0, 3, 1, 2)
    _states = 2

    def __init__(self, *sizes: int, proj_size: int = 0, **options: Any) -> None:
        if proj_size != 0 and not _is_size(proj_size):
            raise OperatorError(f"LSTM: proj_size={proj_size!r}; expected 0, or a size below hidden_size{location()}")
        self.proj_size = proj_size
        super().__init__(*sizes, **options)
        if proj_size >= self.hidden_size:
            raise OperatorError(
                f"LSTM: proj_size={proj_size}; expected 0, or a size below hidden_size={self.hidden_size}{location()}"
            )

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _shapes(self, columns: int) -> dict[str, tuple[int, ...]]:
        shapes = super()._shapes(columns)
        return shapes | {"weight_hr": (self.proj_size, self.hidden_size)} if self.proj_size else shapes

    def _layer(self, layer: int, x: Tensor, states: Sequence[Tensor | None], lengths: Tensor | None) -> list[Tensor]:
        if not self.proj_size:
            return super()._layer(layer, x, states, lengths)
        found = []
        for direction, suffix in enumerate(self._suffixes(layer)):
            w_ih, w_hh, w_hr = (getattr(self, kind + suffix) for kind in ("weight_ih", "weight_hh", "weight_hr"))
            bias = getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix) if self.bias else None
            h, c = (None if t is None else t[direction] for t in states)
            found.append(projected_lstm(x, w_ih, w_hh, w_hr, bias, h, c, lengths, reverse=direction == 1))
        outputs, hidden, cells = zip(*found, strict=True)
        output = outputs[0] if len(outputs) == 1 else F.concat(outputs, 2)
        return [output, F.stack(hidden, 0), F.stack(cells, 0)]

    def extra_repr(self) -> str:
        """The sizes, and the options that are not the defaults."""
        return super().extra_repr() + (f", proj_size={self.proj_size}" if self.proj_size else "")

    def forward(
        self, x: Any, states: tuple[Any, Any] | None = None, *, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`(output, (h, c))`: all hidden states of the last layer; the last hidden and cell states of each layer.

        `states` are the first hidden and cell states, each (layers * directions, batch, hidden), zeros when None (the
        hidden states have the size proj_size where there is one);
        `lengths` as for :meth:`RNN.forward`.
        """
        output, (h, c) = self._run(x, (None, None) if states is None else states, lengths)
        return output, (h, c)
