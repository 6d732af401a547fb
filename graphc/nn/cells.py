"""Single steps of recurrent layers, with PyTorch's equations and parameter names."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.functional import linear
from graphc.nn.module import Module

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _Cell(Module):
    """What the cells share: `weight_ih` (gates * hidden, input), `weight_hh` (gates * hidden, hidden), and biases."""

    gates: ClassVar[int]
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (input_size, hidden_size)):
            raise OperatorError(
                f"{title}: input_size={input_size!r}, hidden_size={hidden_size!r}; expected positive integers"
                f"{location()}"
            )
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.dtype = as_dtype(dtype)
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        spread = init.Uniform(-bound, bound)
        self.parameter("weight_ih", (rows, input_size), spread, dtype=self.dtype)
        self.parameter("weight_hh", (rows, hidden_size), spread, dtype=self.dtype)
        self.bias_ih = self.parameter("bias_ih", (rows,), spread, dtype=self.dtype) if bias else None
        self.bias_hh = self.parameter("bias_hh", (rows,), spread, dtype=self.dtype) if bias else None

    def _checked(self, what: str, given: Any, size: int) -> Tensor:
        t = typed(self._title(), given, self.dtype, what)
        if t.ndim != 2 or dims.provably_different(t.shape[1], size):
            raise ShapeError(f"{self._title()}: the {what} is {t.type}; expected (batch, {size}){location()}")
        return t

    def _state(self, given: Any, x: Tensor) -> Tensor:
        """A hidden state (batch, hidden), zeros when None."""
        if given is not None:
            return self._checked("state", given, self.hidden_size)
        shape = F.shape_tensor((x.shape[0], self.hidden_size), [x])
        return F.broadcast_to(F.zeros((1, 1), self.dtype), shape)

    def _gates(self, x: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the input and the state add to each gate."""
        sums = (linear(x, self.weight_ih, self.bias_ih), linear(h, self.weight_hh, self.bias_hh))
        found = [list(F.split(t, self.gates, 1)) if self.gates > 1 else [t] for t in sums]
        return found[0], found[1]

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of an Elman network, `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.

    Args:
        input_size: the number of features.
        hidden_size: that of the state.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        dtype: that of the parameters and of the inputs.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range.
        ShapeError, DTypeError: an input or a state that does not fit.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype, name=name)
        if nonlinearity not in ("tanh", "relu"):
            raise OperatorError(f"RNNCell: nonlinearity={nonlinearity!r}; expected 'tanh' or 'relu'{location()}")
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """The next state (batch, hidden) for `x` (batch, input) and the state `h`, zeros when None."""
        x = self._checked("input", x, self.input_size)
        (a,), (b,) = self._gates(x, self._state(h, x))
        return F.tanh(a + b) if self.nonlinearity == "tanh" else F.relu(a + b)


class GRUCell(_Cell):
    """One step of :class:`GRU`, with its equations. Args and errors are those of :class:`RNNCell`."""

    gates = 3

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """The next state (batch, hidden) for `x` (batch, input) and the state `h`, zeros when None."""
        x = self._checked("input", x, self.input_size)
        before = self._state(h, x)
        (r, z, n), (hr, hz, hn) = self._gates(x, before)
        new = F.tanh(n + F.sigmoid(r + hr) * hn)
        return new + F.sigmoid(z + hz) * (before - new)


class LSTMCell(_Cell):
    """One step of :class:`LSTM`, with its equations. Args and errors are those of :class:`RNNCell`."""

    gates = 4

    def forward(self, x: Any, states: tuple[Any, Any] | None = None) -> tuple[Tensor, Tensor]:
        """The next `(h, c)`, each (batch, hidden), for `x` (batch, input) and the states, zeros when None."""
        x = self._checked("input", x, self.input_size)
        h, c = (self._state(s, x) for s in (states or (None, None)))
        i, f, g, o = (a + b for a, b in zip(*self._gates(x, h), strict=True))
        c = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(g)
        return F.sigmoid(o) * F.tanh(c), c
