"""Where gradients flow: which operators lie between outputs and inputs, and what stops a gradient on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphc.errors import DifferentiationError
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from passes.vjp import carries_gradient, is_differentiable, nondifferentiable, passes_gradient, receivers, rule_of
from passes.vjp.registry import is_selective

__all__ = ["Flow", "Obstacle", "barriers", "can_differentiate", "name_of"]


class Obstacle(NamedTuple):
    """What stops a gradient: the `node` (None when there is no way at all), the `path` to it, the `reason`."""

    node: Node | None
    path: str
    reason: str

    def __str__(self) -> str:
        where = f" [{self.node.origin}]" if self.node is not None else ""
        return f"{self.path}{where}: {self.reason}"


def can_differentiate(
    outputs: Graph | Tensor | Sequence[Tensor], wrt: Tensor | Sequence[Tensor] | Mapping[str, Tensor]
) -> list[Obstacle]:
    """Everything that keeps `outputs` from having a gradient with respect to `wrt`: nothing (an empty list) is good.

    Listed are the operators on the way that have no gradient rule, and, for each tensor of `wrt` that no gradient
    reaches, the operators that stop it, with the path to them; nothing is built. A tensor of `wrt` that is an integer
    or bool, or that the outputs do not depend on, is listed too.
    """
    given = [outputs] if isinstance(outputs, Tensor) else outputs.outputs if isinstance(outputs, Graph) else outputs
    sources = [wrt] if isinstance(wrt, Tensor) else list(wrt.values() if isinstance(wrt, Mapping) else wrt)
    order = topological(given)
    flow = Flow(order, [t for t in sources if is_differentiable(t)])
    found = [Obstacle(n, f"… -> {path}", "the operator has no gradient rule") for path, n in flow.without_rule(given)]
    arrives = flow.reached(given)
    refusals = [(n, None if found else flow.refusal(n)) for n in order if n in arrives]
    found += [Obstacle(n, f"… -> {n.op}", why) for n, why in refusals if why]
    present = set(order)
    for t in sources:
        if not is_differentiable(t):
            found.append(Obstacle(t.node, name_of(t), f"it is {t.type}; only floating-point tensors have gradients"))
        elif t.node not in present:
            found.append(Obstacle(None, name_of(t), "the outputs do not depend on it"))
        elif t not in given and not any(u == t for n in order if n in arrives for u in receivers(n)):
            found.extend(barriers(t, order))
    return found


class Flow:
    """The nodes that a gradient passes between the nodes of `order` (topological) and the tensors `wrt`.

    A node with bodies (If, Scan, Loop, a call) is passed when a gradient passes one of them; `inner` has the flows in
    the bodies of these nodes.
    """

    def __init__(self, order: list[Node], wrt: Sequence[Tensor]) -> None:
        self.order = order
        self.wanted = set(wrt)
        self.sources = {t.node for t in wrt}
        self.passed: set[Node] = set()
        self.inner: dict[Node, list[Inner]] = {}
        for node in order:
            for t in receivers(node):
                if t is not None and self.leads_to_wrt(t):
                    if self._passes(node):
                        self.passed.add(node)
                    break

    def _passes(self, node: Node) -> bool:
        if not passes_gradient(node):
            return False
        found = inner_flows(node, [t is not None and self.leads_to_wrt(t) for t in node.inputs])
        if found:
            self.inner[node] = found
        return not found or any(map(Inner.is_open, found))

    def leads_to_wrt(self, t: Tensor) -> bool:
        """Whether a cotangent of `t` is of use: `t` is wanted, or depends on what is."""
        node = t.node
        return (node in self.passed or (node in self.sources and t in self.wanted)) and carries_gradient(t.type)

    def reached(self, outputs: Sequence[Tensor]) -> set[Node]:
        """The nodes that a gradient passes on its way from `outputs`."""
        found = {t.node for t in outputs} & self.passed
        for node in reversed(self.order):
            if node in found:
                found.update(t.node for t in receivers(node) if t is not None and t.node in self.passed)
        return found

    def without_rule(self, outputs: Sequence[Tensor]) -> list[tuple[str, Node]]:
        """The nodes between `outputs` and `wrt` whose operators have no gradient rule, each with the path to it."""
        if not self.inner and all(rule_of(node) is not None for node in self.passed):
            return []
        reached = self.reached(outputs)
        found: list[tuple[str, Node]] = []
        for node in self.order:
            if node in reached and rule_of(node) is None:
                found.append((node.op, node))
            elif node in reached:
                for body in self.inner.get(node, ()):
                    deeper = body.flow.without_rule(body.outputs)
                    found += [(f"{node.op}.{body.name} -> {path}", below) for path, below in deeper]
        return found

    def refusal(self, node: Node) -> str | None:
        """Why control flow that takes or gives sequences or optionals has no gradient, None when it has.

        Which of them have one depends on what the steps do with them; so the gradient is tried on stand-ins.
        """
        if not self._holds_sequences(node):
            return None
        rule = rule_of(node)
        assert rule is not None, node.op
        cotangents = [t if carries_gradient(t.type) else None for t in node.outputs]
        wanted = [t is not None and self.leads_to_wrt(t) for t in receivers(node)]
        try:
            rule(node, *cotangents, **({"wanted": wanted} if is_selective(rule) else {}))
        except DifferentiationError as error:
            return str(error)
        return None

    def _holds_sequences(self, node: Node) -> bool:
        """Whether control flow, or some inside of it, takes or gives what is no tensor."""
        values = [*(t for t in node.inputs if t is not None and self.leads_to_wrt(t)), *node.outputs]
        return node in self.inner and (
            not all(isinstance(t.type, TensorType) for t in values)
            or any(body.flow._holds_sequences(n) for body in self.inner[node] for n in body.flow.inner)
        )


class Inner(NamedTuple):
    """The flow in a body of a node: the attribute that holds the body, and the outputs that can have a cotangent."""

    name: str
    flow: Flow
    outputs: list[Tensor]

    def is_open(self) -> bool:
        """Whether a gradient passes the body."""
        return any(map(self.flow.leads_to_wrt, self.outputs))


def inner_flows(node: Node, leads: Sequence[bool]) -> list[Inner]:
    """The flows in the bodies that the gradient of `node` goes through, to the inputs for which `leads` is true."""
    if node.is_call:
        if callable(node.attrs.get("gradient")):
            return []  # the user's rule, which is not about the body
    elif node.domain or node.op not in ("If", "Loop", "Scan", "SequenceMap"):
        return []
    found = []
    for name, body in node.attrs.items():
        if isinstance(body, Graph):
            wanted = [t for t, lead in zip(body.inputs, leads[1:] if node.op == "If" else leads, strict=True) if lead]
            outputs = [t for t in body.outputs if carries_gradient(t.type)]
            found.append(Inner(name, _flow_in_body(node, body, wanted), outputs))
    return found


def _flow_in_body(node: Node, body: Graph, wanted: list[Tensor]) -> Flow:
    """The flow in a body. What reaches a state of a loop in one step reaches the next step with it."""
    first = {"Loop": 2, "Scan": 0}.get(node.op)
    states: list[tuple[Tensor, Tensor]] = []
    if first is not None and not node.is_call:
        captures = node.attrs["captures"] + node.attrs.get("num_scan_inputs", 0)
        count = len(body.inputs) - first - captures
        following = body.outputs[1 if first else 0 :]
        states = list(zip(body.inputs[first : first + count], following, strict=False))
    while True:
        flow = Flow(list(body.nodes), wanted)
        more = [t for t, after in states if t not in flow.wanted and flow.leads_to_wrt(after)]
        if not more:
            return flow
        wanted = [*wanted, *more]


def name_of(t: Tensor) -> str:
    """How messages call a tensor: its name, or the operator and line that made it."""
    return repr(t.name) if t.name else f"the result of {t.node.op} [{t.node.origin}]"


def barriers(t: Tensor, order: list[Node]) -> list[Obstacle]:
    """Each operator of `order` (topological) that stops the gradient on its way to `t`, with the path to it."""
    flow = Flow(order, [t])
    parent: dict[Node, Node | None] = {t.node: None}
    stopped: list[Obstacle] = []
    for node in order:
        if node is t.node:
            continue
        before = next((u.node for u in receivers(node) if u is not None and u.node in parent and _from(u, t)), None)
        if before is None:
            continue
        if node in flow.passed:
            parent[node] = before
            continue
        path = f"{_path(t, before, parent)} -> {node.op}"
        inside = [stop for body in flow.inner.get(node, ()) for stop in _barriers_inside(path, body)]
        reason = nondifferentiable(node) or f"its result is {', '.join(map(str, node.types))}"
        stopped += inside or [Obstacle(node, path, reason)]
    if stopped:
        return stopped
    users = [n for n in order if any(u == t for u in n.inputs)]
    return [Obstacle(n, f"{name_of(t)} -> {n.op}", "its result does not vary with this input") for n in users]


def _barriers_inside(path: str, body: Inner) -> list[Obstacle]:
    """What stops the gradient in a body; the path there is behind `path`."""
    found = [stop for t in body.flow.wanted for stop in barriers(t, body.flow.order)]
    return [Obstacle(stop.node, f"{path}.{body.name}: {stop.path}", stop.reason) for stop in found]


def _from(u: Tensor, t: Tensor) -> bool:
    return carries_gradient(u.type) and (u.node is not t.node or u == t)


def _path(t: Tensor, last: Node, parent: Mapping[Node, Node | None]) -> str:
    """`'x' -> MatMul -> Relu`, long ones shortened in the middle."""
    operators: list[str] = []
    node: Node | None = last
    while node is not None and node is not t.node:
        operators.append(node.op)
        node = parent[node]
    operators.reverse()
    if len(operators) > 6:
        operators[3:-3] = ["…"]
    return " -> ".join([name_of(t), *operators])
