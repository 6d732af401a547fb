"""Modules: plain descriptions of layers that build graphs when called.

A module holds options, submodules and, once their sizes are known, parameters as ordinary attributes; values of
parameters live in a state dictionary, never in a module. Training and inference are two forms of one graph, made by
passes, so a module has no mode: there is no `train()` and no `eval()`.

A parameter that is assigned to another module is tied: both use it, it is trained and exported once, under the name of
the module that made it: `self.head.weight = self.embedding.weight`.

**Names** are PyTorch's: the attribute path, `"encoder.0.weight"`. They are fixed when the outermost module is first
called. Where a module is reachable by several paths, or is called on its own before its parent, the first path wins.
`name="head"` replaces the module's own part of the path, or prefixes the names of an outermost module. An outermost
module without a name has the empty path, as in PyTorch, if the tensors it is called on depend on no parameter; else its
path is its class in lower case with the first number that is free among those parameters. So
`nn.Linear(1)(nn.relu(nn.Linear(32)(x)))` has `weight`, `bias`, `linear_1.weight` and `linear_1.bias`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from graphc.errors import OperatorError, ShapeError
from graphc.ir import build, origin
from graphc.ir.graph import leaves
from graphc.ir.node import Tensor, set_label
from graphc.ir.origin import location
from graphc.ir.types import TensorType, as_dtype, as_shape

__all__ = ["Module"]

_root: ContextVar[Module | None] = ContextVar("root", default=None)
"""The outermost module whose call is under way."""


class Module:
    """The base of all layers and models. A subclass defines `forward`; calling the module runs it.

    Submodules are attributes that hold modules, or lists, tuples or dicts of them. Parameters are made by
    :meth:`parameter`. Every call shares them::

        class Scale(nn.Module):
            def forward(self, x):
                return x * self.parameter("scale", x.shape[-1:], nn.init.Ones())

    Args:
        name: the module's own part of the names of its parameters, instead of the attribute that holds it.
    """

    _name: str | None
    _path: str | None
    _built: bool
    _unqualified: dict[str, Tensor]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An empty module, so that subclasses may leave out `super().__init__()`."""
        self = super().__new__(cls)
        self._name = self._path = None
        self._built = False
        self._unqualified = {}  # parameters made before the path was known, by attribute
        return self

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise OperatorError(f"{type(self).__name__}: name is {name!r}; expected a non-empty string{location()}")
        self._name = name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Build the outputs from input tensors. Subclasses define it."""
        raise OperatorError(f"{type(self).__name__} defines no forward method{location()}. Add def forward(self, x).")

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Make the parameters whose sizes depend on the inputs. Called once, with the arguments of the first call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` builds of the arguments. Raises OperatorError, ShapeError or DTypeError."""
        root = _root.get()
        if root is None or (self._path is None and self._name is not None):
            self._qualify((*args, *kwargs.values()))
        elif self._path is None:
            root._qualify(())  # submodules may have been assigned since the outermost call began
        token = _root.set(self if root is None else root)
        try:
            with origin.scope(self._path) if self._path is not None else contextlib.nullcontext():
                if not self._built:
                    self.build(*args, **kwargs)
                    self._built = True
                result = self.forward(*args, **kwargs)
        finally:
            _root.reset(token)
        if self._unqualified:
            raise OperatorError(
                f"{type(self).__name__} is called inside {type(root).__name__}.forward but is not part of it, so "
                f"that its parameters ({', '.join(self._unqualified)}) have no name{location()}. Assign it to an "
                "attribute in __init__, or give it a name=."
            )
        return result

    def parameter(
        self, name: str, shape: object, init: object = None, *, dtype: object = "float32", trainable: bool = True
    ) -> Tensor:
        """The parameter of that name, which becomes an attribute of the module: made when first asked for, then reused.

        The arguments are those of :func:`graphc.parameter`. Raises ShapeError when the shape is not static, ShapeError
        or DTypeError when the parameter exists with another type, OperatorError when the name is taken.
        """
        wanted = TensorType(as_dtype(dtype), as_shape(shape))
        existing = vars(self).get(name)
        if isinstance(existing, Tensor):
            if existing.type != wanted:
                raise ShapeError(
                    f"{self._title()}: the parameter {name!r} is {existing.type}, but this call needs {wanted}"
                    f"{location()}. All calls of a module share its parameters; make a second module for other sizes."
                )
            return existing
        if existing is not None or hasattr(type(self), name) or "." in name:
            raise OperatorError(f"{self._title()}: {name!r} cannot name a parameter; it is taken or dotted{location()}")
        made = build.parameter(
            name if self._path is None else _join(self._path, name), shape, init, dtype=dtype, trainable=trainable
        )
        if self._path is None:
            self._unqualified[name] = made
        setattr(self, name, made)
        return made

    def children(self) -> Iterator[Module]:
        """The modules that this one holds directly, in the order of assignment."""
        return (child for _, child in self._entries())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """The module (its path is empty) and all below, each once, parents first, with paths relative to the module."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module
                stack.extend(reversed([(_join(path, name), child) for name, child in module._entries()]))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters with their names in graphs and state dictionaries, each once, in PyTorch's state_dict order.

        State that is not trainable is included. Parameters that a `forward` makes exist after its first call. Raises
        ShapeError when sizes are still to be inferred from an input.
        """
        prefix = (self._name or "") if self._path is None else self._path
        modules = list(self.named_modules())
        unqualified = {
            made: _join(_join(prefix, path), name) for path, m in modules for name, made in m._unqualified.items()
        }
        found: set[Tensor] = set()
        for path, module in modules:
            if not module._built and type(module).build is not Module.build:
                raise ShapeError(
                    f"{type(self).__name__}: the parameters of {type(module).__name__} {_join(prefix, path)!r} have no "
                    f"sizes yet{location()}. Call the module on an input first, or state its input sizes."
                )
            for value in vars(module).values():
                if isinstance(value, Tensor) and value.node.is_parameter and value not in found:
                    found.add(value)
                    yield unqualified.get(value, str(value.name)), value

    def parameters(self) -> Iterator[Tensor]:
        """The tensors of :meth:`named_parameters`."""
        return (value for _, value in self.named_parameters())

    def state_names(self) -> list[str]:
        """The names of :meth:`named_parameters`: the keys of a state dictionary, in PyTorch's order."""
        return [name for name, _ in self.named_parameters()]

    def summary(self, *inputs: Any, sizes: Mapping[str, int] | None = None, depth: int | None = None) -> Any:
        """A table of the layers: results, parameters, operations. Of inputs or shapes; see :func:`graphc.summary`."""
        import graphc

        return graphc.summary(self, *inputs, sizes=sizes, depth=depth)

    def extra_repr(self) -> str:
        """The options that `repr` shows between the parentheses; subclasses define it."""
        return ""

    def _entries(self) -> Iterator[tuple[str, Module]]:
        for attribute, value in vars(self).items():
            if isinstance(value, Module):
                yield value._name or attribute, value
                continue
            items: Iterable[tuple[object, object]] = ()
            if isinstance(value, dict):
                items = value.items()
            elif isinstance(value, (list, tuple)):
                items = enumerate(value)
            for key, item in items:
                if isinstance(item, Module):
                    yield item._name or f"{attribute}.{key}", item

    def _qualify(self, arguments: tuple[object, ...]) -> None:
        """Fix the paths of this outermost module and of all modules below that have none yet."""
        prefix = self._path if self._path is not None else self._name or _free_prefix(type(self).__name__, arguments)
        for path, module in self.named_modules():
            if module._path is None:
                module._path = _join(prefix, path)
                for name, made in module._unqualified.items():
                    set_label(made, _join(module._path, name))
                module._unqualified.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An independent module of the same structure: with parameters of its own, not yet named by a path."""
        new = memo[id(self)] = type(self).__new__(type(self))
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and value.node.is_parameter:
                fresh = memo.get(id(value.node))  # tied parameters stay tied
                if fresh is None:
                    attrs = value.node.attrs
                    fresh = memo[id(value.node)] = build.parameter(
                        name, value.shape, attrs["initializer"], dtype=value.dtype, trainable=attrs["trainable"]
                    )
                    new._unqualified[name] = fresh
                setattr(new, name, fresh)
            elif name not in ("_path", "_unqualified"):
                setattr(new, name, copy.deepcopy(value, memo))
        return new

    def _title(self) -> str:
        """How errors call this module: its class and path."""
        return f"{type(self).__name__} {self._path!r}" if self._path else type(self).__name__

    if not TYPE_CHECKING:  # a type checker should report unknown attributes

        def __getattr__(self, name: str) -> Any:
            hint = "" if self._built else "; parameters whose sizes are inferred exist after the first call"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self._entries()]
        inner = self.extra_repr()
        if lines:
            inner = "\n" + textwrap.indent("\n".join([*([inner] if inner else []), *lines]), "  ") + "\n"
        return f"{type(self).__name__}({inner})"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _free_prefix(class_name: str, arguments: tuple[object, ...]) -> str:
    """The path of an outermost module without a name; see the top of this file."""
    taken = [str(t.name) for t in leaves(_tensors(arguments)) if t.node.is_parameter]
    if not taken:
        return ""
    candidates = (f"{class_name.lower()}_{k}" for k in itertools.count(1))
    return next(c for c in candidates if not any(name.startswith(c + ".") for name in taken))


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
