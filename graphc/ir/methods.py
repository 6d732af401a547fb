"""Python operators and NumPy-like methods of tensors. Each hands on to :mod:`graphc.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.ir.lazy import LazyModule

if TYPE_CHECKING:
    from graphc import functional as F
    from graphc.ir.node import Tensor
else:
    F = LazyModule("graphc.functional")

__all__ = ["TensorMethods"]

Axis = int | Sequence[int] | None


class TensorMethods:
    """The methods of :class:`graphc.Tensor`. Operands may be tensors, arrays or numbers and broadcast as in NumPy.

    All raise ShapeError or DTypeError, with the user's line, when operands do not fit.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` asks the tensor

    def __add__(self, other: Any) -> Tensor:
        return F.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return F.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return F.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return F.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return F.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return F.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return F.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return F.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return F.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return F.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return F.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return F.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return F.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return F.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return F.matmul(other, self)

    def __neg__(self) -> Tensor:
        return F.neg(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Tensor:
        return F.abs(self)

    def __lt__(self, other: Any) -> Tensor:
        return F.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return F.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return F.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return F.greater_equal(self, other)

    def __and__(self, other: Any) -> Tensor:
        return F.logical_and(self, other)

    def __rand__(self, other: Any) -> Tensor:
        return F.logical_and(other, self)

    def __or__(self, other: Any) -> Tensor:
        return F.logical_or(self, other)

    def __ror__(self, other: Any) -> Tensor:
        return F.logical_or(other, self)

    def __xor__(self, other: Any) -> Tensor:
        return F.logical_xor(self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return F.logical_xor(other, self)

    def __invert__(self) -> Tensor:
        return F.logical_not(self)

    def __getitem__(self, index: Any) -> Tensor:
        return F.getitem(self, index)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return F.no_truth(self)

    def __len__(self) -> int:
        return F.length(self)

    def __iter__(self) -> Any:
        return F.iterate(self)

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return F.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return F.matrix_transpose(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis` (all axes when None)."""
        return F.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`."""
        return F.mean(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The maximum over `axis`."""
        return F.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The minimum over `axis`."""
        return F.min(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The product over `axis`."""
        return F.prod(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, *, correction: int = 0) -> Tensor:
        """The variance over `axis`; `correction=1` for Bessel's."""
        return F.var(self, axis, keepdims, correction=correction)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The int64 index of the first maximum along `axis`."""
        return F.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The int64 index of the first minimum along `axis`."""
        return F.argmin(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one dimension may be -1, dimensions may be symbolic."""
        whole = len(shape) == 1 and isinstance(shape[0], (tuple, list, TensorMethods))
        return F.reshape(self, shape[0] if whole else shape)

    def transpose(self, *axes: int) -> Tensor:
        """The axes in another order, reversed when none is given."""
        return F.transpose(self, axes or None)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from `start_dim` to `end_dim`, inclusive, as one (as in PyTorch)."""
        return F.flatten(self, start_dim, end_dim)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without axes of size 1."""
        return F.squeeze(self, axis)

    def unsqueeze(self, axis: int | Sequence[int]) -> Tensor:
        """With new axes of size 1 at `axis`."""
        return F.unsqueeze(self, axis)

    def cast(self, dtype: object) -> Tensor:
        """The elements converted to `dtype`; itself when they are of that dtype."""
        return F.cast(self, dtype)

    def astype(self, dtype: object) -> Tensor:
        """The same as :meth:`cast`, by NumPy's name."""
        return F.cast(self, dtype)

    def exp(self) -> Tensor:
        """Elementwise exponential."""
        return F.exp(self)

    def log(self) -> Tensor:
        """Elementwise natural logarithm."""
        return F.log(self)

    def sqrt(self) -> Tensor:
        """Elementwise square root."""
        return F.sqrt(self)

    def abs(self) -> Tensor:
        """Elementwise absolute value."""
        return F.abs(self)

    def tanh(self) -> Tensor:
        """Elementwise hyperbolic tangent."""
        return F.tanh(self)

    def sigmoid(self) -> Tensor:
        """Elementwise logistic function."""
        return F.sigmoid(self)

    def relu(self) -> Tensor:
        """Elementwise max(x, 0)."""
        return F.relu(self)
