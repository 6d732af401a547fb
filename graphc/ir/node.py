"""The intermediate representation: immutable interned nodes, and value-equal handles to their outputs."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dims import Shape
from graphc.ir.methods import TensorMethods
from graphc.ir.types import DType, TensorType, Type

if TYPE_CHECKING:
    from graphc.ir.origin import Origin

__all__ = ["FUNCTION_DOMAIN", "INPUT", "IR_DOMAIN", "PARAMETER", "Key", "Node", "Tensor", "Values"]

IR_DOMAIN = "graphc.ir"
INPUT = "Input"
PARAMETER = "Parameter"
FUNCTION_DOMAIN = "graphc.function"
"""Nodes of this domain apply a graph, their attribute `body`; see :mod:`graphc.ir.call`."""

Values = NDArray[np.object_]
"""The symbolic elements of a small integer tensor: an object array of dimensions."""

Key: TypeAlias = "tuple[object, ...]"
"""What makes a node the node it is: operator, domain, attributes, uid, and the identity of each input."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_table: dict[Key, _Entry] = {}
_lock = threading.RLock()  # re-entrant: an entry may die, and take it, while this thread holds it
_uids = itertools.count(1)


class Node:
    """One application of an operator. Immutable and interned: equal expressions are one object, so equality is `is`.

    `op` and `domain` name the operator (`Input` and `Parameter` of the domain `graphc.ir` are leaves), `inputs` holds
    tensors and None for skipped optional inputs, `attrs` the normalized attributes with defaults, `types` the type of
    each output, `values` the symbolic elements of small integer outputs. `uid` tells apart leaves and random operators,
    and is 0 elsewhere. `key` is the identity under which it is interned. `origin` (where it was built) and `labels`
    (names of outputs) are annotations, not identity.
    """

    __slots__ = ("__weakref__", "attrs", "domain", "inputs", "key", "labels", "op", "origin", "types", "uid", "values")

    op: str
    domain: str
    inputs: tuple[Tensor | None, ...]
    attrs: Mapping[str, Any]
    types: tuple[Type, ...]
    values: tuple[Values | None, ...] | None
    uid: int
    key: Key
    origin: Origin | None
    labels: dict[int, str] | None

    @property
    def attr_key(self) -> object:
        """The hashable form of the attributes."""
        return self.key[2]

    @property
    def is_input(self) -> bool:
        """True for an input that is fed with each batch."""
        return self.op == INPUT and self.domain == IR_DOMAIN

    @property
    def is_parameter(self) -> bool:
        """True for a parameter or other state: an input whose value lives in a state dictionary."""
        return self.op == PARAMETER and self.domain == IR_DOMAIN

    @property
    def is_leaf(self) -> bool:
        """True for inputs and parameters."""
        return self.domain == IR_DOMAIN

    @property
    def is_call(self) -> bool:
        """True for a call of a graph, the attribute `body`; see :mod:`graphc.ir.call`."""
        return self.domain == FUNCTION_DOMAIN

    @property
    def is_constant(self) -> bool:
        """True for a constant; its array is `attrs["value"].array`."""
        return self.op == "Constant" and self.domain == ""

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Handles to all outputs."""
        return tuple(Tensor(self, index) for index in range(len(self.types)))

    def out(self, index: int = 0) -> Tensor:
        """The handle to one output."""
        return Tensor(self, index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Node is immutable; build a new one instead of setting {name!r}")

    def __repr__(self) -> str:
        arguments = ", ".join("None" if t is None else str(t.type) for t in self.inputs)
        return f"<{self.op}({arguments}) -> {', '.join(map(str, self.types))}>"


_set = object.__setattr__


def new_uid() -> int:
    """A number that no other node carries."""
    return next(_uids)


def node_key(op: str, domain: str, inputs: tuple[Tensor | None, ...], attr_key: object, uid: int) -> Key:
    """The identity of a node. Inputs count by identity: a node keeps them alive as long as its entry lives."""
    if len(inputs) == 1 and inputs[0] is not None:
        return op, domain, attr_key, uid, id(inputs[0].node), inputs[0].index
    key: list[object] = [op, domain, attr_key, uid]
    for t in inputs:
        if t is None:
            key.append(None)
        else:
            key.append(id(t.node))
            key.append(t.index)
    return tuple(key)


class _Entry(weakref.ref[Node]):
    """A node in the table of living nodes, and where it stands there."""

    __slots__ = ("key",)
    key: Key


def _forget(entry: _Entry, table: dict[Key, _Entry] = _table, lock: threading.RLock = _lock) -> None:
    """Remove the entry of a node that died. The defaults outlive the module's names when Python shuts down."""
    with lock:
        if table.get(entry.key) is entry:
            del table[entry.key]


def lookup(key: Key) -> Node | None:
    """The living node of that identity, if any."""
    entry = _table.get(key)
    return None if entry is None else entry()


def intern_node(
    key: Key,
    op: str,
    domain: str,
    inputs: tuple[Tensor | None, ...],
    attrs: Mapping[str, Any],
    types: tuple[Type, ...],
    values: tuple[Values | None, ...] | None,
    uid: int,
    where: Origin | None = None,
) -> Node:
    """The node of that identity, made now unless it lives already. `attrs` must not change afterwards.

    `where` is its origin; the line that is being run when None.
    """
    node = Node.__new__(Node)
    _set(node, "op", op)
    _set(node, "domain", domain)
    _set(node, "inputs", inputs)
    _set(node, "attrs", attrs if type(attrs) is MappingProxyType else MappingProxyType(attrs) if attrs else _EMPTY)
    _set(node, "types", types)
    _set(node, "values", values)
    _set(node, "uid", uid)
    _set(node, "key", key)
    _set(node, "origin", origin.current() if where is None else where)
    _set(node, "labels", None)
    entry = _Entry(node, _forget)
    entry.key = key
    with _lock:
        existing = lookup(key)
        if existing is not None:
            return existing
        _table[key] = entry
        return node


def set_label(tensor: Tensor, name: str) -> None:
    """Name a tensor. A name is a label: it does not change what the tensor is."""
    labels = tensor.node.labels
    if labels is None:
        labels = {}
        _set(tensor.node, "labels", labels)
    labels[tensor.index] = name


def live_nodes() -> int:
    """How many nodes are alive: what tests of memory count."""
    return len(_table)


class Tensor(TensorMethods):
    """A handle to one output of a node: `(node, index)`. Two handles to the same output are equal.

    Python operators and NumPy-like methods build new nodes (see :class:`graphc.ir.methods.TensorMethods`). `==`
    compares handles, not elements; elementwise equality is :func:`graphc.equal`.
    """

    __slots__ = ("index", "node")

    def __init__(self, node: Node, index: int = 0) -> None:
        _set(self, "node", node)
        _set(self, "index", index)

    node: Node
    index: int

    @property
    def type(self) -> Type:
        """Its type: dtype and shape of a tensor, or a sequence or optional type."""
        return self.node.types[self.index]

    @property
    def tensor_type(self) -> TensorType:
        """Its type, known to be a tensor's. Raises DTypeError for a sequence or an optional."""
        t = self.node.types[self.index]
        if not isinstance(t, TensorType):
            raise DTypeError(f"{self.node.op}: expected a tensor, found {t}{origin.location()}")
        return t

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.tensor_type.dtype

    @property
    def shape(self) -> Shape:
        """The dimensions. Raises ShapeError when not even the rank is known."""
        shape = self.tensor_type.shape
        if shape is None:
            raise ShapeError(f"the rank of the result of {self.node.op} is not known{origin.location()}")
        return shape

    @property
    def ndim(self) -> int:
        """The number of dimensions. Raises ShapeError when unknown."""
        return len(self.shape)

    @property
    def op(self) -> str:
        """The operator that computes it."""
        return self.node.op

    @property
    def name(self) -> str | None:
        """Its label, or None."""
        labels = self.node.labels
        return labels.get(self.index) if labels else None

    @property
    def values(self) -> Values | None:
        """The symbolic elements of a small integer tensor where they are known, else None."""
        values = self.node.values
        return values[self.index] if values is not None else None

    def named(self, name: str) -> Tensor:
        """Label this tensor and return it; exports and printouts show the name."""
        set_label(self, name)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Tensor is immutable; cannot set {name!r}")

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Tensor:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.node is other.node and self.index == other.index

    def __hash__(self) -> int:
        return id(self.node) + self.index

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: text, and a picture of what the tensor depends on where drawing is available."""
        from graphc.drawing import mimebundle

        return mimebundle(self)

    def __repr__(self) -> str:
        name = self.name
        return f"<{name + ': ' if name else ''}{self.node.op} -> {self.type}>"
