"""Constant arrays as attributes: keyed by content when small, by identity when large."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.ir.types import DType, TensorType, as_dtype

__all__ = ["Array", "Constant"]

Array = NDArray[np.generic]
SMALL = 1024  # bytes; larger constants are never hashed or compared by content


class Constant:
    """A read-only array that may stand in a node's attributes.

    A writable array is copied, so that a later change of it cannot change a graph; a read-only one (a memory map) is
    kept as it is.
    """

    __slots__ = ("_key", "array", "dtype")

    def __init__(self, value: ArrayLike, dtype: object = None) -> None:
        array = np.asarray(value, dtype=as_dtype(dtype).numpy if dtype is not None else None)
        if array.dtype.kind in "US":
            array = array.astype(object)
        if array.flags.writeable:
            array = np.array(array, order="C") if array is value or array.base is not None else array
            array.flags.writeable = False
        self.array: Array = array
        self.dtype: DType = as_dtype(array.dtype)
        self._key: object = (array.dtype, array.shape, self._content()) if array.nbytes <= SMALL else id(array)

    def _content(self) -> object:
        return tuple(self.array.ravel().tolist()) if self.array.dtype == object else self.array.tobytes()

    @property
    def type(self) -> TensorType:
        """The tensor type of the array."""
        return TensorType(self.dtype, self.array.shape)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Constant) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        if self.array.size <= 8:
            return f"{self.dtype}{np.array2string(self.array, separator=', ', threshold=8)}"
        return f"{self.type}"
