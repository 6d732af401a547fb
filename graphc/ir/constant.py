"""Constant arrays as attributes: keyed by content when small, by identity of their memory when large."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.errors import DTypeError
from graphc.ir.origin import location
from graphc.ir.types import DType, TensorType, as_dtype

__all__ = ["Array", "Constant"]

Array = NDArray[np.generic]
SMALL = 1024  # bytes; larger constants are never hashed or compared by content


class Constant:
    """A read-only array that may stand in a node's attributes.

    An array that somebody could still write to is copied, so that a later change of it cannot change a graph; a
    read-only one (a memory map) is kept as it is. Raises DTypeError for what is no array of a supported type.
    """

    __slots__ = ("_key", "array", "dtype")

    def __init__(self, value: ArrayLike, dtype: object = None) -> None:
        array = _as_array(value, dtype)
        if _is_writable(array):
            shared = not isinstance(value, np.ndarray) or np.may_share_memory(array, value)
            array = np.array(array, order="C") if shared else array
            array.flags.writeable = False
        self.array: Array = array
        self.dtype: DType = as_dtype(array.dtype)
        self._key: object = (array.dtype, array.shape, _content(array))

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


def _as_array(value: ArrayLike, dtype: object) -> Array:
    try:
        array: Array = np.asarray(value, dtype=as_dtype(dtype).numpy if dtype is not None else None)
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"constant: {value!r} is no array: {error}{location()}") from None
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype == object and not all(isinstance(element, (str, bytes)) for element in array.ravel()):
        raise DTypeError(f"constant: {value!r} is no array of numbers, bools or strings{location()}")
    return array


def _is_writable(array: Array) -> bool:
    """Whether the array or one that it is a view of can be written to."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return True
        owner = owner.base
    return isinstance(owner, memoryview) and not owner.readonly


def _content(array: Array) -> object:
    """Equal for equal contents when small (telling 0.0 from -0.0, equating NaNs), else for the same memory."""
    if array.dtype == object:
        return tuple(array.ravel().tolist())
    if array.nbytes <= SMALL:
        return array.tobytes()
    return array.__array_interface__["data"][0], array.strides
