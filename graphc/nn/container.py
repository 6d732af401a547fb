"""Modules made of modules, and modules that only reshape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.module import Module

__all__ = ["Flatten", "Identity", "Sequential", "Unflatten"]


class Sequential(Module):
    """Modules applied one after the other; their names are `"0"`, `"1"`, … as in PyTorch.

    It has a length, is iterable, and is indexed by integers (a module) and slices (a Sequential of the same modules).
    Raises OperatorError for an argument that is no module.
    """

    def __init__(self, *modules: Module, name: str | None = None) -> None:
        super().__init__(name=name)
        for position, module in enumerate(modules):
            if not isinstance(module, Module):
                raise OperatorError(
                    f"Sequential: argument {position} is {module!r}; expected a module{location()}. "
                    "Functions have module forms, such as nn.ReLU() for nn.relu."
                )
            setattr(self, str(position), module)

    def forward(self, x: Any) -> Any:
        """The last module's output."""
        for module in self:
            x = module(x)
        return x

    def _modules(self) -> list[Module]:
        return [value for value in vars(self).values() if isinstance(value, Module)]

    def __len__(self) -> int:
        return len(self._modules())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Module:
        chosen = self._modules()[index]
        return chosen if isinstance(chosen, Module) else Sequential(*chosen)


class Identity(Module):
    """Its input, unchanged; no node is built."""

    def forward(self, x: Tensor) -> Tensor:
        """`x`."""
        return x


class Flatten(Module):
    """The axes from `start_dim` to `end_dim`, inclusive, joined into one; by default all but the batch axis."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        """The flattened tensor. Raises ShapeError when an axis is out of range."""
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """The axis `dim` split into axes of sizes `unflattened_size`, one of which may be -1: undoes :class:`Flatten`."""

    def __init__(self, dim: int, unflattened_size: Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, given: Any) -> Tensor:
        """The tensor with more axes. Raises ShapeError when `dim` is out of range, or the sizes do not fit."""
        x = F.as_tensor(given)
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(f"{self._title()}: the input is {x.type}, which has no axis {self.dim}{location()}")
        axis = self.dim % x.ndim
        return F.reshape(x, (*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        """The axis and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
