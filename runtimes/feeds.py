"""Feeds: arrays checked against the declared inputs of a graph.

onnxruntime checks ranks and fixed dimensions only. Here every symbolic dimension must have one size across all inputs,
and a derived one such as `2*N` must hold exactly.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from graphc.errors import DTypeError, FeedError
from graphc.ir import dims
from graphc.ir.constant import Array
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, TensorType, as_dtype
from runtimes.index_ranges import IndexRange, refuse_outside

__all__ = ["FeedChecker", "Feeds", "convert", "refuse_nan"]

Feeds = Mapping[Any, ArrayLike]
"""Arrays by input name or by input tensor."""

Signature = tuple[tuple[int, ...], ...]


class FeedChecker:
    """Checks and converts arrays for some inputs; shapes that passed once are not looked at again.

    Args:
        inputs: the inputs to feed.
        check_nan: whether a NaN in a floating-point feed is an error.
        ranges: what inputs that hold indices may hold.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        *,
        check_nan: bool = False,
        ranges: Mapping[str, IndexRange] = MappingProxyType({}),
    ) -> None:
        self.inputs: dict[str, TensorType] = {str(t.name): t.tensor_type for t in inputs}
        self._by_tensor = {t: str(t.name) for t in inputs}
        self._dtypes = {name: t.dtype.numpy for name, t in self.inputs.items()}
        self._check_nan = check_nan
        self._ranges = ranges
        self._known: dict[Signature, dict[str, int]] = {}

    def __call__(self, feeds: Feeds) -> tuple[dict[str, Array], dict[str, int]]:
        """The arrays by name, in the inputs' order and dtypes, and the size of every symbol that the shapes tell.

        Raises FeedError: a name is missing or unknown, a dtype does not convert without loss, a rank or a dimension
        does not fit, two inputs disagree on a symbol, an index is out of range, or (with `check_nan`) a NaN.
        """
        arrays = self._as_they_are(feeds)
        if arrays is None:
            named = self.named(feeds)
            arrays = {name: convert(f"feed {name!r}", named[name], t.dtype) for name, t in self.inputs.items()}
        signature = tuple([array.shape for array in arrays.values()])
        sizes = self._known.get(signature)
        if sizes is None:
            sizes = self._known[signature] = self.sizes({name: array.shape for name, array in arrays.items()})
        if self._check_nan:
            for name, array in arrays.items():
                refuse_nan(name, array)
        refuse_outside(self._ranges, arrays)
        return arrays, sizes

    def _as_they_are(self, feeds: Feeds) -> dict[str, Array] | None:
        """Feeds that are arrays of the inputs' dtypes by name, in the inputs' order; None for all others.

        Those of most steps are, and this is the fastest way to tell.
        """
        if len(feeds) != len(self._dtypes):
            return None
        arrays: dict[str, Array] = {}
        for name, dtype in self._dtypes.items():
            value = feeds.get(name)
            if type(value) is not np.ndarray or value.dtype != dtype:
                return None
            arrays[name] = value
        return arrays

    def named(self, feeds: Feeds) -> dict[str, ArrayLike]:
        """The feeds by input name, in the inputs' order.

        Raises FeedError when a name is missing, unknown or given twice.
        """
        named: dict[str, ArrayLike] = {}
        unknown: list[str] = []
        for key, value in feeds.items():
            name = self._by_tensor.get(key) if isinstance(key, Tensor) else key
            if name not in self.inputs:
                unknown.append(key.name or repr(key) if isinstance(key, Tensor) else str(key))
            elif name in named:
                raise FeedError(f"feed {name!r} is given twice, by name and by tensor{location()}")
            else:
                named[name] = value
        missing = [name for name in self.inputs if name not in named]
        if not unknown and not missing:
            return {name: named[name] for name in self.inputs}
        raise FeedError("; ".join(self._name_problems(unknown, missing)) + location())

    def _name_problems(self, unknown: list[str], missing: list[str]) -> list[str]:
        problems = []
        if missing:
            declared = ", ".join(f"{name!r} ({self.inputs[name]})" for name in missing)
            problems.append(f"missing feed{'s' * (len(missing) > 1)}: {declared}")
        for name in unknown:
            near = difflib.get_close_matches(name, self.inputs, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(map(repr, self.inputs)) or 'none'}"
            problems.append(f"unknown feed {name!r}; {hint}")
        return problems

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """The size of every symbol, for inputs of these shapes. Raises FeedError when the shapes do not fit."""
        sizes: dict[str, int] = {}
        source: dict[str, str] = {}
        open_dims: list[tuple[str, int, Dim, int]] = []
        for name, t in self.inputs.items():
            found = shapes[name]
            if t.shape is None:
                continue
            if len(found) != len(t.shape):
                raise FeedError(
                    f"feed {name!r} has shape {found}, of rank {len(found)}; "
                    f"expected {t}, of rank {len(t.shape)}{location()}"
                )
            for axis, (declared, size) in enumerate(zip(t.shape, found, strict=True)):
                if isinstance(declared, int):
                    if declared != size:
                        raise FeedError(
                            f"feed {name!r} has shape {found}: dimension {axis} is {size}; expected {declared}, "
                            f"as {name!r} is {t}{location()}"
                        )
                elif not declared.is_Symbol:
                    open_dims.append((name, axis, declared, size))
                elif sizes.setdefault(str(declared), size) != size:
                    raise FeedError(
                        f"feed {name!r} has shape {found}: {str(declared)!r} is {size} in {name!r}, "
                        f"but {sizes[str(declared)]} in {source[str(declared)]!r}{location()}"
                    )
                else:
                    source.setdefault(str(declared), name)
        _solve(open_dims, sizes, source)
        return sizes


def _solve(open_dims: list[tuple[str, int, Dim, int]], sizes: dict[str, int], source: dict[str, str]) -> None:
    """Check derived dimensions against the symbols known, solving for those that only derived dimensions tell."""
    progress = True
    while open_dims and progress:
        progress = False
        for item in list(open_dims):
            name, axis, declared, size = item
            value = dims.evaluate(declared, sizes)
            if isinstance(value, int):
                if value != size:
                    raise FeedError(
                        f"feed {name!r}: dimension {axis} is {size}; expected {declared} = {value}"
                        f"{_because(declared, sizes, source)}{location()}"
                    )
            elif len(value.free_symbols) > 1:
                continue
            else:
                solved = dims.solve(value, size)
                if solved is None:
                    if _is_linear(value):
                        raise FeedError(
                            f"feed {name!r}: dimension {axis} is {size}; expected {declared}, "
                            f"which no whole number gives{_because(declared, sizes, source)}{location()}"
                        )
                    continue
                sizes[solved[0]] = solved[1]
                source[solved[0]] = name
            open_dims.remove(item)
            progress = True


def _is_linear(d: Any) -> bool:
    return bool(d.is_polynomial(*d.free_symbols)) and all(d.diff(symbol).is_number for symbol in d.free_symbols)


def _because(declared: Dim, sizes: Mapping[str, int], source: Mapping[str, str]) -> str:
    known = [s for s in sorted(dims.symbols([declared])) if s in sizes]
    return (", as " + " and ".join(f"{s} is {sizes[s]} in {source[s]!r}" for s in known)) if known else ""


def convert(what: str, value: ArrayLike, dtype: DType) -> Array:
    """`value` as an array of `dtype`, where nothing but floating-point precision is lost; itself when it is one.

    Booleans, integers and floats become any wider kind; within a kind, values must fit. Raises FeedError, which `what`
    begins.
    """
    if type(value) is np.ndarray and value.dtype == dtype.numpy:
        return value
    try:
        array = np.asarray(value)
        found = as_dtype(array.dtype)
    except (DTypeError, ValueError) as error:
        raise FeedError(f"{what} is {_describe(value)}; expected an array of {dtype}: {error}{location()}") from error
    if found is dtype:
        return array.astype(object) if dtype.kind == "s" else array
    order = "bif"
    kinds = ("i" if found.kind == "u" else found.kind, "i" if dtype.kind == "u" else dtype.kind)
    if kinds[0] not in order or kinds[1] not in order or order.index(kinds[0]) > order.index(kinds[1]):
        kind = _describe(value) if array.dtype == object else found
        raise FeedError(f"{what} is {kind}; expected {dtype}{_cast_hint(found, dtype)}{location()}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype.numpy)
    if not _fits(array, converted, found, dtype):
        raise FeedError(f"{what} is {found} with values that {dtype} cannot hold{location()}")
    return converted


def _fits(array: Any, converted: Any, found: DType, dtype: DType) -> bool:
    if found.is_float:
        return bool(np.array_equal(np.isfinite(array), np.isfinite(converted)))
    if dtype.is_float and dtype.bits < 32:
        return bool(np.isfinite(converted).all())
    if found.kind == "b" or (dtype.is_float and found.bits <= 16):
        return True
    back = converted.astype(array.dtype)
    return bool(np.array_equal(back, array) and np.array_equal(converted < 0, array < 0))


def _describe(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _cast_hint(found: DType, dtype: DType) -> str:
    if found.is_float and dtype.is_integer:
        return f". Round it on purpose, with .astype({dtype.name!r}), if these are whole numbers"
    return ""


def refuse_nan(name: str, array: Array) -> None:
    """Raise FeedError if there is a NaN in the floating-point array fed as `name`."""
    if array.dtype.kind not in "fV" or not array.size:
        return
    bad = np.isnan(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise FeedError(
            f"feed {name!r} has {int(bad.sum())} NaN among {array.size} values, the first at {first}; "
            f"expected none{location()}"
        )
