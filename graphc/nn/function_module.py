"""Modules that are a function and its options: activations and losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from graphc.ir.node import Tensor
from graphc.nn.module import Module

__all__ = ["FunctionModule"]


class FunctionModule(Module):
    """A function of `arity` tensors as a module: the function's other parameters are those of the constructor.

    Raises TypeError for an option that the function does not have.
    """

    function: ClassVar[Callable[..., Tensor]]
    arity: ClassVar[int] = 1
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        if "function" in vars(cls):
            options = list(inspect.signature(cls.function).parameters.values())[cls.arity :]
            name = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
            cls.__signature__ = inspect.Signature([*options, name])

    def __init__(self, *args: Any, **options: Any) -> None:
        self.options: dict[str, Any] = self.__signature__.bind(*args, **options).arguments
        super().__init__(name=self.options.pop("name", None))

    def forward(self, *tensors: Any) -> Tensor:
        """The function of the tensors."""
        return self.function(*tensors, **self.options)

    def extra_repr(self) -> str:
        """The options that were given."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
