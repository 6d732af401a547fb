"""Graphs: closed functions from inputs to outputs, with tools to look into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphc.errors import GraphError
from graphc.ir import build, dims
from graphc.ir.collector import collector_paused
from graphc.ir.constant import Constant
from graphc.ir.dims import Dim
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType, Type

__all__ = ["Graph", "graph", "leaves", "structurally_equal", "substitute", "topological"]


def topological(outputs: Iterable[Tensor], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """The nodes that `outputs` depend on, each after its inputs, in the order a depth-first reader meets them.

    Nodes for which `stop` is true are left out, with what only they depend on. Iterative: depth is no limit.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = [t.node for t in reversed(list(outputs))]
    while stack:
        node = stack.pop()
        if node is None:  # the node below was met before its inputs, and these are done
            order.append(stack.pop())  # type: ignore[arg-type]
        elif node not in seen and (stop is None or not stop(node)):
            seen.add(node)
            stack += (node, None)
            for t in reversed(node.inputs):
                if t is not None and t.node not in seen:
                    stack.append(t.node)
    return order


def leaves(outputs: Iterable[Tensor]) -> list[Tensor]:
    """The inputs and parameters that `outputs` depend on: inputs first, then parameters, each in the order met."""
    found = [node for node in topological(outputs) if node.is_leaf]
    return [n.out() for n in found if n.is_input] + [n.out() for n in found if n.is_parameter]


def substitute(outputs: Sequence[Tensor], replacements: Mapping[Tensor, Tensor]) -> list[Tensor]:
    """`outputs` recomputed with some tensors replaced by others; untouched parts are shared. Iterative."""
    mapped: dict[Tensor, Tensor] = dict(replacements)
    replaced_nodes = {t.node for t in replacements}

    def stop(node: Node) -> bool:
        return node in replaced_nodes and all(t in replacements for t in node.outputs)

    with collector_paused():
        for node in topological(outputs, stop):
            inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
            new = build.rebuild(node, inputs)
            if new is not node:
                for index in range(len(node.types)):
                    mapped.setdefault(Tensor(node, index), Tensor(new, index))
    return [mapped.get(t, t) for t in outputs]


_set = object.__setattr__


class Graph:
    """A closed function: `inputs` and parameters in, `outputs` out, and `updates` of state (state input -> next value).

    Immutable. `nodes` are all nodes, leaves included, each after its inputs. Two graphs are equal (`==`) when they
    compute the same nodes of the same inputs; see :meth:`structurally_equal` for equality up to the identity of inputs.

    Args:
        inputs: every leaf that the outputs depend on, in order; inputs that nothing depends on may be listed too.
        outputs: the results, as tensors or as `{name: tensor}`.
        updates: `{parameter: next value}`, such as the running statistics of a batch normalization.
        name: a label.

    Raises:
        GraphError: a leaf is missing from `inputs`, a name is used twice, or an update does not fit its state.
    """

    __slots__ = ("__weakref__", "inputs", "name", "nodes", "output_names", "outputs", "updates")

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    output_names: tuple[str, ...]
    updates: Mapping[Tensor, Tensor]
    name: str
    nodes: tuple[Node, ...]

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor] | Mapping[str, Tensor],
        updates: Mapping[Tensor, Tensor] | None = None,
        name: str = "graph",
    ) -> None:
        results = tuple(outputs.values() if isinstance(outputs, Mapping) else outputs)
        given = tuple(outputs) if isinstance(outputs, Mapping) else _names_of(results, {t.name for t in inputs})
        _set(self, "inputs", tuple(inputs))
        _set(self, "outputs", results)
        _set(self, "output_names", given)
        _set(self, "updates", MappingProxyType(dict(updates or {})))
        _set(self, "name", name)
        _set(self, "nodes", tuple(topological((*results, *self.updates.values()))))
        _check(self)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters and other state by name, in order."""
        return {str(t.name): t for t in self.inputs if t.node.is_parameter}

    @property
    def trainable(self) -> dict[str, Tensor]:
        """The parameters that optimizers change, by name."""
        return {name: t for name, t in self.parameters.items() if t.node.attrs["trainable"]}

    @property
    def feeds(self) -> dict[str, Tensor]:
        """The inputs that are fed with data, by name."""
        return {str(t.name): t for t in self.inputs if t.node.is_input}

    def find(self, op: str | None = None, where: Callable[[Node], bool] | None = None) -> list[Node]:
        """The nodes of operator `op` (any when None) for which `where` is true."""
        return [n for n in self.nodes if (op is None or n.op == op) and (where is None or where(n))]

    def count(self, op: str | None = None) -> int:
        """How many nodes of operator `op` there are; with None, how many that compute (no leaves, no constants)."""
        if op is not None:
            return sum(n.op == op for n in self.nodes)
        return sum(not n.is_leaf and not n.is_constant for n in self.nodes)

    def operators(self) -> dict[str, int]:
        """How often each operator occurs, leaves and constants left out, most frequent first."""
        counts: dict[str, int] = {}
        for n in self.nodes:
            if not n.is_leaf and not n.is_constant:
                counts[n.op] = counts.get(n.op, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs as functions of other tensors, one for each input. Raises GraphError when the number is wrong."""
        if len(inputs) != len(self.inputs):
            raise GraphError(f"{self.name}: found {len(inputs)} arguments; expected {len(self.inputs)}{location()}")
        return tuple(substitute(self.outputs, dict(zip(self.inputs, inputs, strict=True))))

    def structurally_equal(self, other: Graph) -> bool:
        """Whether the graphs are equal up to the identity of inputs and parameters: same structure, types and names."""
        return structurally_equal(self, other)

    def to_text(self) -> str:
        """ONNX's own textual form (`onnx.printer`) of the exported graph; `gc.parse` reads it back."""
        from graphc.serial.text import to_text

        return to_text(self)

    def to_python(self) -> str:
        """Python source that rebuilds this graph: run with the same inputs, it gives the same objects."""
        from graphc.serial.python_source import to_python

        return to_python(self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Graph is immutable; build a new one instead of setting {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.inputs, self.outputs))

    def _key(self) -> object:
        return self.inputs, self.outputs, self.output_names, tuple(self.updates.items())

    def __str__(self) -> str:
        from graphc.serial.program import to_program

        return to_program(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: text, and a picture where drawing is available."""
        from graphc.drawing import mimebundle

        return mimebundle(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.inputs)} inputs, {len(self.outputs)} outputs>"


def _names_of(outputs: Sequence[Tensor], taken: set[str | None]) -> tuple[str, ...]:
    """Names for unnamed outputs: their labels where those are free, else `output`, or `output_0`, `output_1`, …"""
    names: list[str] = []
    labels = {t.name for t in outputs}
    for position, t in enumerate(outputs):
        name = t.name
        if name is None or name in names or (name in taken and not t.node.is_leaf):
            name = "output" if len(outputs) == 1 else f"output_{position}"
            while name in labels or name in taken:
                name += "_"
        names.append(name)
    return tuple(names)


def _check(g: Graph) -> None:
    given: dict[str, Tensor] = {}
    for t in g.inputs:
        if not t.node.is_leaf:
            raise GraphError(f"{g.name}: the input {t!r} is computed; expected an input or a parameter{location()}")
        name = str(t.name)
        other = given.setdefault(name, t)
        if other != t:
            first, second = (x.node.origin for x in (other, t))
            raise GraphError(
                f"{g.name}: two different {_kind(other)}s are named {name!r} ({first} and {second}){location()}. "
                "Name the layers or inputs, as in nn.Linear(10, name='head')."
            )
    if len(set(g.output_names)) != len(g.output_names):
        raise GraphError(f"{g.name}: an output name is used twice in {list(g.output_names)}{location()}")
    known = set(g.inputs)
    missing = [n for n in g.nodes if n.is_leaf and n.out() not in known]
    if missing:
        names = ", ".join(f"{n.out().name!r} [{n.origin}]" for n in missing)
        raise GraphError(f"{g.name}: the outputs depend on {names}, not listed among the inputs{location()}")
    for state, value in g.updates.items():
        if not state.node.is_parameter or state not in known:
            raise GraphError(f"{g.name}: {state!r} is updated but is no state of this graph{location()}")
        a, b = state.tensor_type, value.tensor_type
        if a.dtype is not b.dtype or _shapes_differ(a.shape, b.shape):
            raise GraphError(f"{g.name}: the state {state.name!r} is {a}, but its next value is {b}{location()}")


def _shapes_differ(a: dims.Shape | None, b: dims.Shape | None) -> bool:
    if a is None or b is None:
        return False
    return len(a) != len(b) or any(dims.provably_different(p, q) for p, q in zip(a, b, strict=True))


def _kind(t: Tensor) -> str:
    return t.node.op.lower()


def graph(
    outputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    inputs: Sequence[Tensor] | None = None,
    *,
    updates: Mapping[Tensor, Tensor] | None = None,
    name: str = "graph",
) -> Graph:
    """The graph that computes `outputs`. Without `inputs`, these are all leaves, fed inputs first.

    With `inputs`, they come first in that order, followed by parameters that are not listed. Raises GraphError.
    """
    if isinstance(outputs, Tensor):
        outputs = [outputs]
    roots = [*(outputs.values() if isinstance(outputs, Mapping) else outputs)]
    if not roots or not all(isinstance(t, Tensor) for t in roots):
        raise GraphError(f"graph: the outputs are {outputs!r}; expected at least one tensor{location()}")
    found = leaves([*roots, *(updates or {}), *(updates or {}).values()])
    if inputs is not None:
        listed = set(inputs)
        found = [*inputs, *(t for t in found if t.node.is_parameter and t not in listed)]
    return Graph(found, outputs, updates, name)


def structurally_equal(a: Graph, b: Graph) -> bool:
    """Whether two graphs are equal up to the identity of their leaves and random operators. See `first_difference`."""
    return first_difference(a, b) is None


def first_difference(a: Graph, b: Graph) -> str | None:
    """A sentence on the first difference of two graphs, None when they are structurally equal.

    Compared are inputs (order, names, types, trainability), nodes (operators, attributes, wiring, types), outputs and
    their names, and updates. The names of inner tensors, names inside bodies of control flow, and source locations do
    not count; unknown dimensions are equal to each other.
    """
    return _difference(a, b, names=True)


def _difference(a: Graph, b: Graph, names: bool) -> str | None:
    for title, left, right in (("input", a.inputs, b.inputs), ("output", a.outputs, b.outputs)):
        if len(left) != len(right):
            return f"{len(left)} {title}s against {len(right)}"
    if names and a.output_names != b.output_names:
        return f"the outputs are named {list(a.output_names)} against {list(b.output_names)}"
    match: dict[Node, Node] = {}
    for s, t in zip(a.inputs, b.inputs, strict=True):
        if s.node.op != t.node.op or (names and s.name != t.name) or not _same_type(s.type, t.type):
            return f"input {s.name}: {s.type} ({_kind(s)}) against {t.name}: {t.type} ({_kind(t)})"
        if s.node.attrs.get("trainable") != t.node.attrs.get("trainable"):
            return f"parameter {s.name}: trainable={s.node.attrs['trainable']} against {t.node.attrs['trainable']}"
        match[s.node] = t.node
    if len(a.updates) != len(b.updates):
        return f"{len(a.updates)} updates against {len(b.updates)}"
    return _difference_of_nodes(a, b, match)


def _difference_of_nodes(a: Graph, b: Graph, match: dict[Node, Node]) -> str | None:
    """Match the nodes one to one, extending `match`. Graphs of one structure list their nodes in one order."""
    inner = [[node for node in g.nodes if not node.is_leaf] for g in (a, b)]
    for left, right in zip(*inner, strict=False):
        match[left] = right
        difference = _compare(left, right) or _rewired(left, right, match)
        if difference is not None:
            return f"{difference} [{left.origin}] against [{right.origin}]"
    pairs = [
        *zip(a.outputs, b.outputs, strict=True),
        *zip(a.updates, b.updates, strict=True),
        *zip(a.updates.values(), b.updates.values(), strict=True),
    ]
    for s, t in pairs:
        if s.index != t.index or match.get(s.node) is not t.node:
            return f"the result {s!r} [{s.node.origin}] against {t!r} [{t.node.origin}]"
    return None


def _rewired(left: Node, right: Node, match: dict[Node, Node]) -> str | None:
    for s, t in zip(left.inputs, right.inputs, strict=True):
        if s is not None and t is not None and match[s.node] is not t.node:
            return f"{left!r} and {right!r} are wired differently"
    return None


def _compare(left: Node, right: Node) -> str | None:
    """Differences of two nodes but for what their inputs are."""
    if (left.op, left.domain) != (right.op, right.domain):
        return f"{left!r} against {right!r}"
    if left.attr_key != right.attr_key:
        if left.attrs.keys() != right.attrs.keys():
            return f"{left.op}: attributes {dict(left.attrs)} against {dict(right.attrs)}"
        for name, value in left.attrs.items():
            if not _same_attribute(value, right.attrs[name]):
                return f"{left.op}: {name}={value!r} against {name}={right.attrs[name]!r}"
    wiring = (
        [None if t is None else t.index for t in left.inputs],
        [None if t is None else t.index for t in right.inputs],
    )
    if wiring[0] != wiring[1]:
        return f"{left.op}: takes outputs {wiring[0]} of its inputs against {wiring[1]}"
    if len(left.types) != len(right.types) or not all(map(_same_type, left.types, right.types)):
        return f"{left.op}: {list(left.types)} against {list(right.types)}"
    return None


def _same_type(a: Type, b: Type) -> bool:
    """Whether two types are equal, unknown dimensions being equal to each other."""
    if a is b:
        return True
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        if a.shape is None or b.shape is None:
            return a == b
        return a.dtype is b.dtype and len(a.shape) == len(b.shape) and all(map(_same_dim, a.shape, b.shape))
    if isinstance(a, TensorType) or isinstance(b, TensorType):
        return False
    return type(a) is type(b) and _same_type(a.element, b.element)


def _same_dim(a: Dim, b: Dim) -> bool:
    return a == b or (dims.has_unknown(a) and dims.has_unknown(b))


def _same_attribute(a: Any, b: Any) -> bool:
    if isinstance(a, Graph) and isinstance(b, Graph):
        return _difference(a, b, names=False) is None
    if isinstance(a, Constant) and isinstance(b, Constant) and a != b:
        return a.type == b.type and _content(a) == _content(b)
    return bool(a == b)


def _content(constant: Constant) -> object:
    array = constant.array
    return array.tolist() if array.dtype == object else array.tobytes()
