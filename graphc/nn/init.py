"""Initializers: immutable descriptions of the first values of parameters.

An initializer is called with a shape, a dtype and a random generator. Its text is Python source that makes it again.
Fans are counted as in PyTorch: a weight has the layout (out, in, *kernel), fan-in is `in * prod(kernel)`, fan-out is
`out * prod(kernel)`.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.ir import constant
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, TensorType

__all__ = [
    "Constant",
    "Eye",
    "FromArray",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "KaimingNormal",
    "KaimingUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "as_initializer",
    "calculate_gain",
    "fans",
    "initialize",
]

Array = NDArray[np.generic]
Sample = NDArray[Any]
StaticShape = tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Initializer:
    """The base of all initializers. A new one is a frozen dataclass that defines `_sample(shape, rng)`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # its text would not be source without NumPy at hand
                object.__setattr__(self, field.name, value.item())

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        """The values in full precision, for a `shape` of at least one element."""
        raise TypeError(f"{type(self).__name__} defines no _sample(shape, rng)")

    def __call__(self, shape: StaticShape, dtype: DType, rng: np.random.Generator) -> Array:
        """An array of `shape` and `dtype`.

        Raises DTypeError when an integer dtype cannot hold the values, ShapeError when the shape has too few axes.
        """
        if math.prod(shape) == 0:
            return np.zeros(shape, dtype.numpy)
        values = self._sample(shape, rng)
        array = np.asarray(values).astype(dtype.numpy)
        if not dtype.is_float and not np.array_equal(array, values):
            raise DTypeError(f"{self!r} gives values that {dtype} cannot hold{location()}")
        return array

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # immutable

    def __repr__(self) -> str:
        cls = type(self)
        prefix = "nn.init." if cls.__module__ == __name__ else ""
        arguments = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{prefix}{cls.__qualname__}({arguments})"


@dataclass(frozen=True, repr=False)
class Zeros(Initializer):
    """All zeros."""

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return np.zeros(shape)


@dataclass(frozen=True, repr=False)
class Ones(Initializer):
    """All ones."""

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return np.ones(shape)


@dataclass(frozen=True, repr=False)
class Constant(Initializer):
    """Every element is `value`."""

    value: float

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return np.full(shape, self.value)


@dataclass(frozen=True, repr=False)
class Eye(Initializer):
    """Ones on the main diagonal of a matrix, zeros elsewhere. Raises ShapeError for other ranks."""

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        if len(shape) != 2:
            raise ShapeError(f"{self!r}: found the shape {shape}; expected a matrix{location()}")
        return np.eye(*shape)


@dataclass(frozen=True, repr=False)
class Uniform(Initializer):
    """Uniform on [`low`, `high`)."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        Initializer.__post_init__(self)
        if not self.low <= self.high:
            raise OperatorError(f"{self!r}: expected low <= high{location()}")

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """Normal with `mean` and standard deviation `std`."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        Initializer.__post_init__(self)
        if not self.std >= 0:
            raise OperatorError(f"{self!r}: expected std >= 0{location()}")

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return rng.normal(self.mean, self.std, shape)


@dataclass(frozen=True, repr=False)
class TruncatedNormal(Initializer):
    """Normal with `mean` and `std`, drawn again where outside [`low`, `high`] (values, not deviations).

    Raises OperatorError when less than 1 % of the distribution lies between the bounds.
    """

    mean: float = 0.0
    std: float = 1.0
    low: float = -2.0
    high: float = 2.0

    def __post_init__(self) -> None:
        Initializer.__post_init__(self)
        if not (self.std > 0 and self._inside() >= 0.01):
            raise OperatorError(
                f"{self!r}: expected std > 0 and at least 1 % of the distribution between low and high{location()}"
            )

    def _inside(self) -> float:
        distribution = statistics.NormalDist(self.mean, self.std)
        return distribution.cdf(self.high) - distribution.cdf(self.low)

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        values = rng.normal(self.mean, self.std, shape)
        while (outside := (values < self.low) | (values > self.high)).any():
            values[outside] = rng.normal(self.mean, self.std, np.count_nonzero(outside))
        return values


def fans(shape: StaticShape) -> tuple[int, int]:
    """Fan-in and fan-out of a weight of layout (out, in, *kernel). Raises ShapeError below two axes."""
    if len(shape) < 2:
        raise ShapeError(f"fan-in and fan-out need a weight of layout (out, in, *kernel); found {shape}{location()}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """The gain recommended for a nonlinearity, as `torch.nn.init.calculate_gain` gives it.

    `param` is the negative slope of `"leaky_relu"`. Raises OperatorError for an unknown name.
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + param**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise OperatorError(f"the nonlinearity is {nonlinearity!r}; expected one of {', '.join(gains)}{location()}")
    return gains[nonlinearity]


@dataclass(frozen=True, repr=False)
class XavierUniform(Initializer):
    """Uniform on ±gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: float = 1.0

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        bound = self.gain * math.sqrt(6.0 / sum(fans(shape)))
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True, repr=False)
class XavierNormal(Initializer):
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: float = 1.0

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return rng.normal(0.0, self.gain * math.sqrt(2.0 / sum(fans(shape))), shape)


@dataclass(frozen=True, repr=False)
class _Kaiming(Initializer):
    a: float = 0.0
    mode: str = "fan_in"
    nonlinearity: str = "leaky_relu"

    def __post_init__(self) -> None:
        Initializer.__post_init__(self)
        if self.mode not in ("fan_in", "fan_out"):
            raise OperatorError(f"{self!r}: expected the mode 'fan_in' or 'fan_out'{location()}")
        calculate_gain(self.nonlinearity, self.a)

    def std(self, shape: StaticShape) -> float:
        """The standard deviation: gain / sqrt(fan)."""
        fan = fans(shape)[self.mode == "fan_out"]
        return calculate_gain(self.nonlinearity, self.a) / math.sqrt(fan)


@dataclass(frozen=True, repr=False)
class KaimingUniform(_Kaiming):
    """Uniform with standard deviation gain / sqrt(fan) (He et al. 2015).

    `mode` chooses `"fan_in"` or `"fan_out"`; the gain is that of `nonlinearity`, `a` the slope of `"leaky_relu"`.
    """

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        bound = math.sqrt(3.0) * self.std(shape)
        return rng.uniform(-bound, bound, shape)


@dataclass(frozen=True, repr=False)
class KaimingNormal(_Kaiming):
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015); arguments as :class:`KaimingUniform`."""

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        return rng.normal(0.0, self.std(shape), shape)


GlorotUniform = XavierUniform
GlorotNormal = XavierNormal
HeUniform = KaimingUniform
HeNormal = KaimingNormal


@dataclass(frozen=True, repr=False)
class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013).

    Axes after the first are taken as one. Raises ShapeError below two axes.
    """

    gain: float = 1.0

    def _sample(self, shape: StaticShape, rng: np.random.Generator) -> Sample:
        if len(shape) < 2:
            raise ShapeError(f"{self!r}: found the shape {shape}; expected at least two axes{location()}")
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes the distribution uniform (Mezzadri 2007)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class FromArray(Initializer):
    """The given array, which is copied unless it is read-only. `dtype` converts it.

    Raises ShapeError or DTypeError when a parameter of another shape or dtype takes it. Its text is source for up to
    1,024 bytes of finite numbers, and names only the type of larger ones.
    """

    value: constant.Constant

    def __init__(self, array: ArrayLike, dtype: object = None) -> None:
        object.__setattr__(self, "value", constant.Constant(array, dtype))

    @property
    def array(self) -> Array:
        """The values, read-only."""
        return self.value.array

    def check(self, t: TensorType) -> None:
        """Raise ShapeError or DTypeError unless a parameter of type `t` can take this array."""
        if self.array.shape != t.shape:
            raise ShapeError(
                f"the initial array has the shape {self.array.shape}; the parameter is {t}{location()}. "
                "Reshape the array, or declare the parameter with the array's shape."
            )
        if self.value.dtype is not t.dtype:
            raise DTypeError(
                f"the initial array is {self.value.dtype}; the parameter is {t}{location()}. "
                f"Convert the array with .astype({str(t.dtype)!r}), or declare the parameter with "
                f"dtype={str(self.value.dtype)!r}."
            )

    def __call__(self, shape: StaticShape, dtype: DType, rng: np.random.Generator) -> Array:
        """A writable copy. Raises ShapeError or DTypeError as :meth:`check`."""
        self.check(TensorType(dtype, shape))
        return self.array.copy()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FromArray) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        small = self.array.nbytes <= constant.SMALL and (self.array.dtype == object or np.isfinite(self.array).all())
        return (
            f"nn.init.FromArray({self.array.tolist() if small else self.value.type}, dtype={str(self.value.dtype)!r})"
        )


def as_initializer(init: object, t: TensorType) -> Initializer:
    """The initializer that `init` stands for, for a parameter of type `t`.

    None is :class:`Zeros`, a Python number fills the parameter, an array or a list is :class:`FromArray` (a list takes
    the parameter's dtype), an initializer is itself. Raises ShapeError when `t` is not static, ShapeError or DTypeError
    for an array that does not fit, OperatorError for anything else.
    """
    if not t.is_static:
        raise ShapeError(f"the parameter is {t}; expected a static shape, of integers only{location()}")
    if init is None:
        return Zeros()
    if isinstance(init, Initializer):
        made = init
    elif isinstance(init, (bool, int, float)):
        made = Constant(init)
    elif isinstance(init, (np.ndarray, np.generic)):
        made = FromArray(init)
    elif isinstance(init, (list, tuple)):
        made = FromArray(init, t.dtype)
    else:
        raise OperatorError(
            f"the initial value is {init!r} ({type(init).__name__}); expected an initializer of graphc.nn.init "
            f"(an instance, such as nn.init.Zeros()), an array or a number{location()}"
        )
    if isinstance(made, FromArray):
        made.check(t)
    return made


def initialize(parameters: Graph | Iterable[Tensor] | Mapping[str, Tensor], seed: int = 0) -> dict[str, Array]:
    """The first value of each parameter, by name: of a graph's parameters, or of those given.

    Each parameter draws from a generator of its own (Philox), keyed by `seed` (a non-negative integer) and its name:
    its values depend on neither the order nor the presence of others. Raises OperatorError for a bad seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OperatorError(f"initialize: the seed is {seed!r}; expected a non-negative integer{location()}")
    if isinstance(parameters, Graph):
        parameters = parameters.parameters
    tensors = parameters.values() if isinstance(parameters, Mapping) else parameters
    return {str(t.name): _first_value(t, int(seed)) for t in tensors}


def _first_value(t: Tensor, seed: int) -> Array:
    if not t.node.is_parameter:
        raise OperatorError(f"initialize: found {t!r}; expected a parameter{location()}")
    kind = t.tensor_type
    if not kind.is_static:
        raise ShapeError(f"initialize: the parameter {t.name!r} is {kind}; expected a static shape{location()}")
    words = np.frombuffer(hashlib.sha256(str(t.name).encode()).digest(), dtype="<u4").tolist()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))
    shape = tuple(int(d) for d in kind.shape or ())
    value: Array = t.node.attrs["initializer"](shape, kind.dtype, rng)
    if value.shape != shape:
        raise ShapeError(
            f"initialize: {t.node.attrs['initializer']!r} gave the shape {value.shape} for {t.name!r}, which is {kind}"
        )
    return value
