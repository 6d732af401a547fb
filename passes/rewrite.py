"""The rewrite driver: rules that replace one node at a time, applied from the inputs to the outputs until none matches.

A rule is a function of a node whose inputs are final. It returns what replaces the outputs, or None when it does not
match:

    @rule("Mul", name="multiply-by-one")
    def _multiply_by_one(node):
        a, b = node.inputs
        return a if is_one(b) and same_shape(a, node.out()) else None

Nodes are interned and immutable, so that common subexpressions and dead code need no pass of their own: two equal
expressions are one object, and what no output depends on is not in the graph.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphc.errors import GraphcError, VerificationError
from graphc.inference.sequence import element_of
from graphc.ir import build, dims
from graphc.ir.collector import collector_paused
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit
from graphc.ir.types import TensorType, Type

__all__ = [
    "ANY",
    "Absorbing",
    "EndlessRewriteError",
    "Replacement",
    "Rule",
    "RuleSet",
    "count_uses",
    "recording",
    "rewrite",
    "rewrite_tensors",
    "rule",
]

Replacement: TypeAlias = "Tensor | Sequence[Tensor | None] | None"
"""What replaces a node: the tensor for its output, or one for each output, None for those that stay."""
ANY = "*"
"""In place of an operator's name: a rule for every operator."""


@dataclass(frozen=True, eq=False, slots=True)
class Absorbing:
    """A replacement that takes over the work of nodes below the one that it replaces.

    Attributes:
        inner: these nodes, each with the number of uses that end with the replacement. The rule applies only where they
            have no others, since their work would be done twice.
        make: builds the replacement.
        also: further tensors that are given up. `make` then returns replacements of one output and of these, in order;
            they must not be needed to compute their own replacements.
    """

    inner: Mapping[Node, int]
    make: Callable[[], Replacement]
    also: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """A named rewrite of the nodes of some operators.

    Attributes:
        name: what a trace shows, such as `"multiply-by-one"`.
        operators: the operators (of the default domain) whose nodes `function` is asked about, or `(ANY,)`.
        function: maps a node to the tensor that replaces its output, to one replacement per output (None keeps an
            output as it is), or to None when it does not match.
        below: ask only about nodes of which at least one input is computed by one of these operators; all when empty.
        absorbs: whether the replacement takes over the work of the inputs that `below` names. The rule then applies
            only where these have no other use, since their work would be done twice.
        fast_math: whether it may change results beyond the sign of a zero: the rounding, or what becomes of NaN and
            infinities.
        doc: what it does, the first line of the function's docstring.
    """

    name: str
    operators: tuple[str, ...]
    function: Callable[[Node], Replacement | Absorbing]
    below: frozenset[str] = frozenset()
    absorbs: bool = False
    fast_math: bool = False
    doc: str = ""


def rule(
    *operators: str, name: str, below: Iterable[str] = (), absorbs: bool = False, fast_math: bool = False
) -> Callable[[Callable[[Node], Replacement]], Rule]:
    """Turn the decorated function into a :class:`Rule` for `operators`."""

    def make(function: Callable[[Node], Replacement]) -> Rule:
        doc = (function.__doc__ or "").strip().partition("\n")[0]
        return Rule(name, operators, function, frozenset(below), absorbs, fast_math, doc)

    return make


class EndlessRewriteError(GraphcError):
    """Rules that undo one another or grow the graph without end; `rules` are their names."""

    def __init__(self, message: str, rules: Iterable[str]) -> None:
        super().__init__(message)
        self.rules = tuple(rules)


class RuleSet:
    """Rules, indexed by operator and by the operators below. Those that come first are tried first."""

    __slots__ = ("_by_operators", "_operators", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._operators = frozenset(op for r in self.rules for op in r.operators)
        self._by_operators: dict[tuple[str, ...], tuple[Rule, ...]] = {}

    def of(self, node: Node) -> tuple[Rule, ...]:
        """The rules to try on a node."""
        below = [t.node.op for t in node.inputs if t is not None]
        key = (node.domain, node.op, *(below if len(below) <= 3 else sorted(set(below))))
        found = self._by_operators.get(key)
        if found is None:
            found = tuple(
                r
                for r in self.rules
                if (ANY in r.operators or (node.op in r.operators and not node.domain))
                and (not r.below or not r.below.isdisjoint(below))
            )
            self._by_operators[key] = found
        return found

    def concern(self, nodes: Iterable[Node]) -> bool:
        """Whether a rule asks about one of the nodes, or about a node in a body of control flow among them."""
        operators = self._operators
        return ANY in operators or any(n.op in operators or n.op in _WITH_BODIES or n.is_call for n in nodes)

    def without(self, names: Iterable[str]) -> RuleSet:
        """The other rules."""
        left_out = set(names)
        return RuleSet(r for r in self.rules if r.name not in left_out)


_recorder: ContextVar[Counter[str] | None] = ContextVar("matches", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Counter[str]]:
    """Count the matches of each rule, by name, of every rewrite inside the `with` block."""
    outer, matches = _recorder.get(), Counter[str]()
    token = _recorder.set(matches)
    try:
        yield matches
    finally:
        _recorder.reset(token)
        if outer is not None:
            outer.update(matches)


def rewrite(graph: Graph, rules: RuleSet | Iterable[Rule]) -> Graph:
    """`graph` with `rules` applied everywhere, bodies of If, Loop and Scan included; itself when none matches.

    The signature stays: inputs, names of outputs, updated states. New nodes carry the origin of what they replace,
    and labels stay with the values. Time is linear in the nodes.

    Raises:
        EndlessRewriteError: rules undo one another, or never come to an end; they are named.
        VerificationError: a replacement is of another dtype, or its shape is provably different.
    """
    rules = rules if isinstance(rules, RuleSet) else RuleSet(rules)
    old = (*graph.outputs, *graph.updates.values())
    new = rewrite_tensors(old, rules)
    if all(a == b for a, b in zip(old, new, strict=True)):
        return graph
    count = len(graph.outputs)
    outputs = dict(zip(graph.output_names, new[:count], strict=True))
    return Graph(graph.inputs, outputs, dict(zip(graph.updates, new[count:], strict=True)), graph.name)


def rewrite_tensors(outputs: Sequence[Tensor], rules: RuleSet) -> list[Tensor]:
    """The tensors that replace `outputs`, as :func:`rewrite` does for the outputs of a graph."""
    recorder = _recorder.get()
    matches = Counter[str]() if recorder is None else recorder
    old = list(outputs)
    if not rules.concern(topological(old)):
        return old
    given_up: _GivenUp = {}
    for _ in range(_MAX_SWEEPS):
        sweep = _Sweep(rules, matches, given_up)
        with collector_paused():
            new = sweep.run(old)
        given_up = sweep.given_up
        if new == old:
            break
        old = new
        if not (sweep.held_back or given_up):
            break  # else, with fewer uses left, the rules that were held back may apply now
    return old


def count_uses(outputs: Sequence[Tensor], order: Sequence[Node]) -> dict[Node, int]:
    """How often each of the nodes `order`, which `outputs` depend on, is used: as an input, or as one of `outputs`."""
    uses = dict.fromkeys(order, 0)
    for t in itertools.chain(outputs, *(node.inputs for node in order)):
        if t is not None:
            uses[t.node] += 1
    return uses


_MAX_SWEEPS = 20


@dataclass(frozen=True, eq=False, slots=True)
class _Pending:
    """A node that is replaced by tensors that are not final yet.

    `source` is the node on its final inputs, and `outputs` what `rule` replaces its outputs by.
    """

    source: Node
    outputs: tuple[Tensor, ...]
    rule: Rule


_GivenUp: TypeAlias = dict[Node, tuple["Rule", dict[int, Tensor]]]
"""Replacements of outputs of nodes that a rule gave up in the sweep before."""


class _Sweep:
    """One way through a graph, from the inputs to the outputs. The next one must replace what is `given_up` in it."""

    def __init__(self, rules: RuleSet, matches: Counter[str], given_up: _GivenUp) -> None:
        self.held_back = False
        self.given_up: _GivenUp = {}
        self._replaced = given_up
        self._rules, self._matches = rules, matches
        self._final: dict[Node, tuple[Tensor, ...]] = {}
        self._pending: dict[Node, _Pending] = {}
        self._uses: dict[Node, int] = {}
        self._bodies: dict[Graph, Graph] = {}
        self._fired = 0
        self._budget = 0

    def run(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        order = topological(outputs)
        self._uses = count_uses(outputs, order)
        limit = 10 * len(order) + 10_000
        for node in order:
            if node.is_leaf or node.is_constant:
                self._final[node] = (Tensor(node, 0),)
            elif node not in self._final:
                self._budget = self._fired + limit
                with inherit(node.origin):
                    waiting = self._replace(node)
                    if waiting is not None:
                        self._pending[node] = waiting
                        self._settle(node)
        return [self._final[t.node][t.index] for t in outputs]

    def _settle(self, root: Node) -> None:
        """Find what finally replaces the outputs of `root`, and of every new node that this needs."""
        final, pending = self._final, self._pending
        stack = [root]
        while stack:
            node = stack[-1]
            if node in final:
                stack.pop()
                continue
            waiting = pending.get(node)
            if waiting is None:
                below = [t.node for t in node.inputs if t is not None and t.node not in final]
                if below:
                    self._push(stack, below)
                    continue
                waiting = self._replace(node)
                if waiting is None:
                    stack.pop()
                    continue
                pending[node] = waiting
            source = waiting.source
            below = [t.node for t in waiting.outputs if t.node is not source and t.node not in final]
            if below:
                self._push(stack, below)
                continue
            del pending[node]
            stack.pop()
            self._finish(
                node, source, tuple([t if t.node is source else final[t.node][t.index] for t in waiting.outputs])
            )

    def _push(self, stack: list[Node], below: list[Node]) -> None:
        if any(node in self._pending for node in below) or self._fired > self._budget:
            names = list(dict.fromkeys(p.rule.name for p in self._pending.values()))[-8:]
            origin = stack[0].origin
            raise EndlessRewriteError(
                f"rewriting {stack[0]!r}{f' [{origin}]' if origin else ''} does not come to an end: the rules "
                f"{', '.join(names)} undo one another or grow the graph. Make one of them match less.",
                names,
            )
        stack.extend(below)

    def _replace(self, node: Node) -> _Pending | None:
        """Put a node on its final inputs and apply the first rule that matches; None when that is final."""
        final = self._final
        if node.is_leaf:
            final[node] = (Tensor(node, 0),)
            return None
        inputs = tuple([None if t is None else final[t.node][t.index] for t in node.inputs])
        attrs = self._rewritten_bodies(node) if node.op in _WITH_BODIES or node.is_call else None
        if attrs is None:
            source = build.rebuild(node, inputs)
        else:
            source = build.apply(node.op, inputs, attrs, outputs=len(node.types), domain=node.domain)
        known = final.get(source)
        if known is None:
            if node in self._replaced:
                by, replaced_outputs = self._replaced[node]
                return _Pending(source, tuple(replaced_outputs.get(t.index, t) for t in _outputs(source)), by)
            for candidate in self._rules.of(source):
                found = candidate.function(source)
                if found is None:
                    continue
                if isinstance(found, Absorbing):
                    shared = any(self._uses.get(n, 0) > inside for n, inside in found.inner.items())
                else:
                    shared = candidate.absorbs and self._shares_input(node, source, candidate.below)
                if shared:
                    self.held_back = True
                    continue
                made = self._absorbed(source, candidate, found) if isinstance(found, Absorbing) else found
                if made is None:
                    continue
                replaced = self._checked(source, candidate, made)
                if replaced is not None:
                    return replaced
            known = _outputs(source)
        self._finish(node, source, known)
        return None

    def _shares_input(self, node: Node, source: Node, operators: frozenset[str]) -> bool:
        """Whether an input that one of `operators` computes has other uses than `node`, now `source`."""
        uses = self._uses
        return any(
            s is not None and t is not None and s.op in operators and max(uses.get(t.node, 0), uses.get(s.node, 0)) > 1
            for t, s in zip(node.inputs, source.inputs, strict=True)
        )

    def _absorbed(self, node: Node, applied: Rule, match: Absorbing) -> Replacement:
        """The replacement of a node, after noting that of the tensors that are given up with it."""
        made = match.make()
        if not match.also or made is None or isinstance(made, Tensor):
            return made
        first, *others = made
        for old, new in zip(match.also, others, strict=True):
            if new is None:
                continue
            if not _compatible(old.type, new.type):
                raise VerificationError(f"the rule {applied.name} replaces {old!r} [{old.node.origin}] by {new!r}")
            self.given_up.setdefault(old.node, (applied, {}))[1][old.index] = new
        return (first,)

    def _checked(self, node: Node, applied: Rule, found: Tensor | Sequence[Tensor | None]) -> _Pending | None:
        given = (found,) if isinstance(found, Tensor) else tuple(found)
        if len(given) > len(node.types):
            raise VerificationError(
                f"the rule {applied.name} gives {len(given)} outputs for {node!r}, which has {len(node.types)}"
            )
        given += (None,) * (len(node.types) - len(given))
        own = _outputs(node)
        outputs = tuple([old if new is None else new for old, new in zip(own, given, strict=True)])
        if outputs == own:
            return None
        for old, new in zip(own, outputs, strict=True):
            if not _compatible(old.type, new.type):
                raise VerificationError(f"the rule {applied.name} replaces {old!r} [{node.origin}] by {new!r}")
        self._matches[applied.name] += 1
        self._fired += 1
        return _Pending(node, outputs, applied)

    def _finish(self, node: Node, source: Node, outputs: tuple[Tensor, ...]) -> None:
        """Note what replaces a node, and give it the labels and the uses of that node."""
        self._final[node] = self._final[source] = outputs
        uses = self._uses
        for t in outputs:
            if t.node is not node:
                uses[t.node] = uses.get(t.node, 0) + uses.get(node, 0)
        if node.labels:
            for index, name in node.labels.items():
                new = outputs[index]
                if new.name is None and not new.node.is_leaf and not new.node.is_constant:
                    new.named(name)

    def _rewritten_bodies(self, node: Node) -> dict[str, Any] | None:
        """The attributes with rewritten graphs in them, None when no graph changes."""
        attrs = {name: self._body(v) if isinstance(v, Graph) else v for name, v in node.attrs.items()}
        return attrs if any(attrs[name] is not v for name, v in node.attrs.items()) else None

    def _body(self, body: Graph) -> Graph:
        if body not in self._bodies:
            new = rewrite(body, self._rules)
            self._bodies[body] = self._bodies[new] = new
        return self._bodies[body]


_WITH_BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def _outputs(node: Node) -> tuple[Tensor, ...]:
    return (Tensor(node, 0),) if len(node.types) == 1 else node.outputs


def _compatible(old: Type, new: Type) -> bool:
    if old == new:
        return True
    if not isinstance(old, TensorType) or not isinstance(new, TensorType):
        return type(old) is type(new) and _compatible(element_of(old), element_of(new))
    if old.dtype is not new.dtype:
        return False
    if old.shape is None or new.shape is None:
        return True
    return len(old.shape) == len(new.shape) and not any(
        dims.provably_different(p, q) for p, q in zip(old.shape, new.shape, strict=True)
    )
