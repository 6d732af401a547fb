"""What a case of a rewrite rule is: a small expression before and after, or one that the rule must leave alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.ir import dims
from graphc.ir.node import Tensor

SIZES = (4, 0)
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0]


class Case(NamedTuple):
    """One expression, as a function of its inputs.

    `before` builds it and `after` what the rule must make of it: None when it must not match. `inputs` gives the type
    of each parameter, as in `"float32[n, 3]"` or, for float32, `"[n, 3]"`. `rtol` is 0 where the values must be equal.
    Values then are NaN and infinities too. `sizes` are what the symbolic dimensions are set to, in turn.
    """

    rule: str
    before: Callable[..., Any]
    after: Callable[..., Any] | None
    inputs: Mapping[str, str]
    rtol: float
    sizes: tuple[int, ...]

    def leaves(self) -> dict[str, Tensor]:
        """Fresh inputs, by name."""
        return {name: gc.input(name, *parsed(text)) for name, text in self.inputs.items()}

    def feeds(self, leaves: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
        """Values for the inputs, once for each of `sizes` (once when there are no symbols)."""
        symbols = dims.symbols(d for t in leaves.values() for d in t.shape)
        rng = np.random.default_rng(zlib.crc32(repr((self.rule, sorted(self.inputs.items()))).encode()))
        for size in self.sizes if symbols else (0,):
            values = {name: size + position for position, name in enumerate(sorted(symbols))}
            yield {name: self._values(rng, t, values) for name, t in leaves.items()}

    def _values(self, rng: np.random.Generator, t: Tensor, sizes: Mapping[str, int]) -> Any:
        shape = tuple(dims.evaluate(d, sizes) for d in t.shape)
        if t.dtype.kind == "b":
            return rng.random(shape) < 0.5
        if t.dtype.is_integer:
            return rng.integers(0 if t.dtype.kind == "u" else -5, 6, shape).astype(t.dtype.numpy)
        array = np.asarray(rng.standard_normal(shape) * 3)
        if self.rtol == 0.0:
            array.reshape(-1)[: len(SPECIAL)] = SPECIAL[: array.size]
        return array.astype(t.dtype.numpy)


def parsed(text: str) -> tuple[tuple[Any, ...], str]:
    """The shape and dtype of `"float32[n, 3]"`."""
    found = re.fullmatch(r"(\w*)\[(.*)\]", text)
    assert found is not None, text
    shape = [d.strip() for d in found[2].split(",") if d.strip()]
    return tuple(int(d) if d.isdigit() else None if d == "?" else d for d in shape), found[1] or "float32"


def matches(
    rule: str,
    before: Callable[..., Any],
    after: Callable[..., Any],
    *,
    rtol: float = 0.0,
    sizes: tuple[int, ...] = SIZES,
    **inputs: str,
) -> Case:
    """The rule must turn `before` into `after`."""
    return Case(rule, before, after, inputs, rtol, sizes)


def refuses(
    rule: str, before: Callable[..., Any], *, rtol: float = 0.0, sizes: tuple[int, ...] = SIZES, **inputs: str
) -> Case:
    """The rule must leave `before` alone."""
    return Case(rule, before, None, inputs, rtol, sizes)


def tensors(made: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """One tensor or several, as a list."""
    return [made] if isinstance(made, Tensor) else list(made)
