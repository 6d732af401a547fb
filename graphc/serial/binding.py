"""Dimensions of a model that whoever loads it fixes or names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.errors import GraphcError, ModelImportError
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.origin import location
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type, as_shape

__all__ = ["Binding"]


class Binding:
    """What symbols of a model stand for, and the shapes of some of its inputs.

    `given` maps a symbol to a number, another name or an expression, or the name of an input to its whole shape.
    Raises ModelImportError for anything else.
    """

    def __init__(self, given: Mapping[str, object] | None = None) -> None:
        self._sizes: dict[str, Dim] = {}
        self._shapes: dict[str, Shape] = {}
        self._met: set[str] = set()
        self._inputs: dict[str, Type] = {}
        for name, value in (given or {}).items():
            try:
                if isinstance(value, Sequence) and not isinstance(value, str):
                    self._shapes[name] = as_shape(value)
                else:
                    self._sizes[name] = dims.dim(value)
            except GraphcError as error:
                raise ModelImportError(
                    f"load: dims[{name!r}] is {value!r}; expected a size, a name, an expression, or the shape of an "
                    f"input: {error}"
                ) from error

    def type(self, t: Type) -> Type:
        """A type with its symbols replaced."""
        if isinstance(t, TensorType):
            if not t.shape or t.is_static:
                return t
            self._met |= dims.symbols(t.shape)
            if not self._sizes:
                return t
            return TensorType(t.dtype, tuple([dims.evaluate(d, self._sizes) for d in t.shape]))
        return (SequenceType if isinstance(t, SequenceType) else OptionalType)(self.type(t.element))

    def input(self, name: str, t: Type) -> Type:
        """The type of an input of the model, in the shape given for it. Raises ModelImportError where that differs."""
        self._inputs[name] = t
        if name not in self._shapes:
            return t
        shape = self._shapes[name]
        declared = t.shape if isinstance(t, TensorType) else None
        differs = declared is not None and (
            len(shape) != len(declared)
            or any(isinstance(d, int) and dims.provably_different(d, s) for d, s in zip(declared, shape, strict=True))
        )
        if not isinstance(t, TensorType) or differs:
            raise ModelImportError(
                f"load: dims[{name!r}] is ({', '.join(map(str, shape))}), but the input is {t}{location()}"
            )
        return TensorType(t.dtype, shape)

    def check(self) -> None:
        """Raise ModelImportError where something was given for a name that is no symbol and no input."""
        unknown = [*(self._sizes.keys() - self._met), *(self._shapes.keys() - self._inputs.keys())]
        if unknown:
            listed = ", ".join(f"{name}: {t}" for name, t in self._inputs.items())
            raise ModelImportError(
                f"load: dims names {sorted(unknown)}, which the model has not{location()}; its inputs are {listed}"
            )
