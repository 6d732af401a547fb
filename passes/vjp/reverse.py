"""The reverse sweep over the steps of Scan and Loop.

A step computes the next states and the results from the states, slices and captured values. The gradient runs through
the steps backwards: it carries the cotangents of the states, pulls them back through a step, emits those of the slices,
and adds up those of captured values. What it reads of a step is saved on the way forward, where the forward pass can
return more results, or computed again from the states before the step and the slices.

Two things more keep a step of the reverse sweep small. A captured matrix that a step multiplies by receives its
gradient outside: the cotangents of the products are stacked, and one matrix product serves all steps. Where the other
factor is a state or a slice, the products themselves are computed for all steps at once, too. (Appleyard, Kocisky and
Blunsom, 2016, "Optimizing Performance of Recurrent Neural Networks on GPUs".)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

from graphc.errors import DifferentiationError
from graphc.functional.closure import close, formal, varying
from graphc.ir import dims
from graphc.ir.build import rebuild
from graphc.ir.graph import Graph, leaves, substitute, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import SequenceType, TensorType
from graphc.serial.names import Names
from passes.autodiff import pullback, reached_from
from passes.iteration import Iteration, Result, Run, Slices, State
from passes.lowering.costs import sizes_of
from passes.regroup import regrouped
from passes.sequences import add, zeros
from passes.vjp.linalg import columns, rows
from passes.vjp.registry import carries_gradient, is_differentiable, operand

__all__ = ["Before", "Cotangents", "refuse_random", "reverse"]


_SMALL = 4096
"""Elements that a step stacks for its gradient, below which operators on all steps at once are faster."""


class Cotangents(NamedTuple):
    """The gradient of an iteration; None where nothing arrives."""

    first: list[Tensor | None]
    slices: list[Tensor | None]
    captured: Mapping[Tensor, Tensor]


Before: TypeAlias = Callable[[Sequence[Tensor]], Sequence[Slices]]
"""The values of some states and counters before each step, perhaps of other tensors in it, stacked in front."""


def reverse(
    it: Iteration,
    last: Sequence[Tensor | None],
    stacked: Sequence[Tensor | None],
    wanted: Callable[[Tensor], bool],
    before: Before,
    run: Run,
    *,
    saves: bool = False,
) -> Cotangents:
    """The gradient of an iteration, by another one that goes through its steps backwards.

    Args:
        it: the iteration.
        last: cotangents of the last states.
        stacked: cotangents of the stacked results.
        wanted: whether the cotangent of an item (for a state: of its first value) or of a captured input is of use.
        before: gives the states before each step.
        run: builds the reverse iteration.
        saves: whether `before` also gives what the steps compute, in terms of items and captured inputs.

    Raises:
        DifferentiationError: a step draws at random, or has operators without a gradient rule; a state that gradients
            pass through is no tensor, or changes its shape.
    """
    step = _Step(it, wanted)
    step.pull([*last, *stacked])
    if not step.found:
        return Cotangents([None] * len(it.states), [None] * len(it.slices), {})
    return _Sweep(step, before, saves).run([*last, *stacked], run)


class _Product(NamedTuple):
    """`factor @ matrix` in a step, or `matrix @ factor` if `left`, by a matrix that does not vary."""

    value: Tensor
    factor: Tensor
    matrix: Tensor
    left: bool

    def of_all_steps(self, factors: Tensor, matrix: Tensor) -> Tensor:
        """The stacked products, from the stacked factors."""
        if self.left and self.factor.ndim > 1:
            return matrix @ factors
        return factors @ (matrix.mT if self.left else matrix)

    def of_factors(self, g: Tensor, matrix: Tensor) -> Tensor:
        """The cotangents of the stacked factors, from those of the stacked products."""
        if self.left and self.factor.ndim > 1:
            return matrix.mT @ g
        return g @ (matrix if self.left else matrix.mT)

    def of_matrix(self, g: Tensor, factors: Tensor) -> Tensor:
        """The cotangent of the matrix."""
        if self.left and self.factor.ndim > 1:
            return columns(g) @ rows(factors.mT)
        return rows(g).mT @ rows(factors) if self.left else rows(factors).mT @ rows(g)


class _Step:
    """A step, and what cotangents become when they are pulled back through it.

    `outputs` are computed from items, and from the keys of `fixed`: inputs that stand for values that are the same in
    all steps, written in terms of captured inputs. Products of slices are items as well, those `ahead`: they are
    computed for all steps at once. Gradients are wanted with respect to `states`, `slices`, and those fixed values that
    `vary`: some are `summed` step by step, for others their `products` are enough.

    `seeds` are the inputs that stand for cotangents of outputs, by position. `found` is what arrives, by input.
    """

    def __init__(self, it: Iteration, wanted: Callable[[Tensor], bool]) -> None:
        self.it = it
        self.names = Names()
        for t in it.items:
            self.names.reserve(str(t.name))
        outputs = _without_gemm(it.outputs)
        closed = close(outputs, varying(outputs, it.items, since=1).__contains__, self.names)
        self.fixed = dict(zip(closed.inner, closed.captured, strict=True))
        self.captured = [c for c in it.captured if carries_gradient(c.type) and wanted(c)]
        leads = reached_from(closed.captured, self.captured)
        self.vary = {t for t, lead in zip(closed.inner, leads, strict=True) if lead and carries_gradient(t.type)}

        read_whole = {s.item for s in it.slices if s.axis == 0}
        hoisted = [p for p in _products(closed.outputs, self.fixed) if p.factor in read_whole]
        items = {p.value: formal(self.names.unique("product"), p.value.type) for p in hoisted}
        self.outputs = substitute(closed.outputs, items)
        self.ahead = [p._replace(value=items[p.value]) for p in hoisted]

        inner = _products(self.outputs, self.vary)
        uses = Counter(t for node in topological(self.outputs) for t in node.inputs) + Counter(self.outputs)
        enough = {t for t, count in Counter(p.matrix for p in inner).items() if count == uses[t]}
        self.products = [p for p in inner if p.matrix in enough]
        self.summed = [t for t in self.fixed if t in self.vary - enough]
        self.slices = [s.item for s in it.slices if is_differentiable(s.item) and wanted(s.item)]
        self.slices += [p.value for p in self.ahead if p.factor in self.slices or p.matrix in self.vary]
        self.states = self._useful_states({s.item for s in it.states if wanted(s.item)}, [*self.slices, *self.vary])
        self.seeds: dict[int, Tensor] = {}
        self.found: dict[Tensor, Tensor] = {}

    def _useful_states(self, useful: set[Tensor], wrt: list[Tensor]) -> list[Tensor]:
        """The states whose cotangents are of use: they depend on something wanted, perhaps through other states."""
        useful = {t for t in useful if carries_gradient(t.type)}
        size = -1
        while size < len(useful):
            size = len(useful)
            leads = reached_from(self.outputs, [*useful, *wrt])
            useful |= {s.item for s, lead in zip(self.it.states, leads, strict=False) if lead}
        return [_stackable(s) for s in self.it.states if s.item in useful]

    def saved(self, expressions: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What arrives in a step, and what of it to save on the way forward, if that can return more results.

        Either all that does not wait for cotangents, with products regrouped, as by partial evaluation (Jones, Gomard
        and Sestoft 1993): it is in the caches then. Or what is read of the values that a step computes anyway, if that
        is less to stack, or so small that operators in a step cost more than what they do.
        """
        states = [s.item for s in self.it.states]
        later = varying(expressions, self.seeds.values())
        known = varying(expressions, self.it.items) - later
        new = regrouped(expressions, later, known)
        found = self._read(new, varying(new, states) - varying(new, self.seeds.values()))
        least = self._read(expressions, varying(self.outputs, states))
        stackable = [t for t in least if self._is_stackable(t)]
        if all(map(self._is_stackable, found)) and _SMALL <= self._added(found) <= self._added(stackable):
            return new, found
        return list(expressions), stackable

    def _read(self, expressions: Sequence[Tensor], computed: Collection[Node]) -> list[Tensor]:
        """What `expressions` read of the values that are `computed`."""
        read = [t for node in topological(expressions) if node not in computed for t in node.inputs if t is not None]
        return list(dict.fromkeys(t for t in [*read, *expressions] if t.node in computed and not t.node.is_leaf))

    def _added(self, tensors: Sequence[Tensor]) -> int:
        """How many elements each step stacks more, in order to stack tensors."""
        stacked = {r.item for r in self.it.results if r.axis == 0}
        return sum(prod(sizes_of(t)) for t in self.original(tensors) if t not in stacked)

    def _is_stackable(self, t: Tensor) -> bool:
        """Whether the shape of a tensor is known to be the same in all steps."""
        inputs = [*self.it.items, *self.fixed, *(p.value for p in self.ahead)]
        known = {d for i in inputs for d in _symbols(i)}
        return isinstance(t.type, TensorType) and t.type.shape is not None and _symbols(t) <= known

    def original(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors in terms of the items and captured inputs of the iteration."""
        written = {p.value: p.matrix @ p.factor if p.left else p.factor @ p.matrix for p in self.ahead}
        return substitute(substitute(tensors, written), self.fixed)

    def pull(self, given: Sequence[Tensor | None]) -> None:
        """Find what arrives when those outputs that have a cotangent in `given` pass one on.

        A state that receives a cotangent in one step has one to pass on in the step before.
        """
        items = [s.item for s in self.it.states]
        wrt = [*self.states, *self.slices, *self.summed, *(p.value for p in self.products)]
        active = [p for p, g in enumerate(given) if g is not None and (p >= len(items) or items[p] in self.states)]
        while len(self.seeds) < len(active):
            for p in active[len(self.seeds) :]:
                like = items[p] if p < len(items) else self.outputs[p]
                self.seeds[p] = formal(self.names.unique(f"d_{like.name or like.op.lower()}"), like.type)
            pulled = pullback([self.outputs[p] for p in active], wrt, list(self.seeds.values()))
            self.found = {t: g for t, g in zip(wrt, pulled, strict=True) if g is not None}
            active += [p for p, item in enumerate(items) if item in self.found and p not in self.seeds]


class _Sweep:
    """The reverse iteration of a step, and what is left to do outside: products and sums of all steps.

    `fixed` are the values that are the same in all steps, `found` what arrives in a step, `factors` those of its
    `products` that only the step can compute, `sources` the stacked values of what differs from step to step, and
    `inputs` those of them that the reverse step reads.
    """

    def __init__(self, step: _Step, before: Before, saves: bool) -> None:
        self.step, self.before, it = step, before, step.it
        self.fixed = dict(zip(step.fixed, substitute(list(step.fixed.values()), it.captured), strict=True))
        self.products = [p for p in step.products if p.value in step.found]
        states = [s.item for s in it.states]
        factors = [p.factor for p in self.products]
        expressions = [*step.found.values(), *factors]
        refuse_random(topological(expressions))
        expressions, chosen = step.saved(expressions) if saves else (expressions, [])
        kept = {t: formal(step.names.unique("saved"), t.type) for t in chosen}
        computed = [t for t in factors if t not in states and t not in kept]
        expressions = substitute([*expressions[: len(step.found)], *computed], kept)
        nodes = set(topological(expressions))
        _refuse_reading([s for s in it.states if s.item.node in nodes])
        of_states = [p for p in self.products if p.factor in states and p.value.node in nodes]
        ready = {p.value: formal(step.names.unique("product"), p.value.type) for p in of_states}
        expressions = substitute(expressions, ready)
        self.found = dict(zip(step.found, expressions, strict=False))
        self.factors = dict(zip(computed, expressions[len(self.found) :], strict=True))

        read = set(leaves(expressions))
        needed = read | {p.factor for p in self.products}
        originals = dict(zip(step.original(list(kept)), kept.items(), strict=True))
        known = before([*(t for t in (*it.counters, *states) if t in needed), *originals])
        self.sources = {s.item: s for s in (*known, *it.slices)}
        for original, (t, item) in originals.items():
            self.sources[item] = self.sources[t] = self.sources[original]._replace(item=item)
        for p in (*step.ahead, *(p._replace(value=ready[p.value]) for p in of_states)):
            source = self.sources[p.factor]
            whole = p.of_all_steps(source.whole, self.fixed[p.matrix])
            self.sources[p.value] = Slices(p.value, whole, 0, source.backward)
        self.inputs = [s for item, s in self.sources.items() if item in read]

    def run(self, given: Sequence[Tensor | None], run: Run) -> Cotangents:
        """Go through the steps backwards, from the cotangents of the outputs."""
        step, it, found = self.step, self.step.it, self.found
        states: dict[Tensor, State] = {}
        inputs = list(self.inputs)
        for position, seed in step.seeds.items():
            g = given[position]
            if position < len(it.states):
                old = it.states[position]
                if isinstance(seed.type, SequenceType) and (g is None or old.item not in found):
                    _refuse_reading([old])  # its length changes, so that there are no zeros in place of a cotangent
                first = zeros(old.first) if g is None else g
                states[old.item] = State(seed, first, found[old.item] if old.item in found else zeros(seed))
            elif g is not None:
                result = it.results[position - len(it.states)]
                inputs.append(Slices(seed, g, result.axis, result.backward))
        for t in step.summed:
            if t in found:
                total = formal(step.names.unique("sum"), t.type)
                states[t] = State(total, zeros(self.fixed[t]), add(total, found[t]))
        results = {t: self._like(t, found[t]) for t in step.slices if t in found}
        for p in self.products:  # stacked as its factor is: in the order of the steps, if only a step computes that
            g, computed = found[p.value], p.factor in self.factors
            results[p.value] = Result(g, 0, True) if computed else self._like(p.factor, g)
        factors = {t: Result(factor, 0, True) for t, factor in self.factors.items()}
        inputs = inputs or [*it.slices[:1]] or [*self.before(it.counters[:1])]  # they tell how many steps there are
        iteration = Iteration(
            [*states.values()],
            [s._replace(backward=not s.backward) for s in inputs],
            [*results.values(), *factors.values()],
            self.fixed,
        )
        last, stacked = run(iteration, step.names)
        arrived = dict(zip([*states, *results], [*last, *stacked], strict=False))
        return self._gather(arrived, dict(zip(factors, stacked[len(results) :], strict=True)))

    def _like(self, item: Tensor, result: Tensor) -> Result:
        """A result of the reverse steps, stacked in the places that `item` is read from."""
        source = self.sources[item]
        return Result(result, source.axis, not source.backward)

    def _gather(self, arrived: dict[Tensor, Tensor], factors: Mapping[Tensor, Tensor]) -> Cotangents:
        """Do the products of all steps, and go on to what the values that are the same in all steps depend on."""
        step, it = self.step, self.step.it

        def add(t: Tensor, g: Tensor) -> None:
            arrived[t] = arrived[t] + g if t in arrived else g

        for p in step.ahead:
            if p.value in arrived and p.factor in step.slices:
                add(p.factor, p.of_factors(arrived[p.value], self.fixed[p.matrix]))
        for p in (*step.ahead, *self.products):
            if p.value in arrived and p.matrix in step.vary:
                stacked = factors[p.factor] if p.factor in factors else self.sources[p.factor].whole
                add(p.matrix, p.of_matrix(arrived[p.value], stacked))
        fixed = [t for t in step.fixed if t in arrived]
        seeds = {t: formal(f"d_{t.name}", t.type) for t in fixed}
        pulled = pullback([step.fixed[t] for t in fixed], step.captured, list(seeds.values()))
        known = {**it.captured, **{seed: arrived[t] for t, seed in seeds.items()}}
        reached = {c: g for c, g in zip(step.captured, pulled, strict=True) if g is not None}
        captured = dict(zip(reached, substitute(list(reached.values()), known), strict=True))
        return Cotangents([arrived.get(s.item) for s in it.states], [arrived.get(s.item) for s in it.slices], captured)


def _symbols(t: Tensor) -> set[object]:
    """The symbols in the shape of a tensor."""
    shape = t.type.shape if isinstance(t.type, TensorType) else None
    return {symbol for d in shape or () if not isinstance(d, int) for symbol in d.free_symbols}


def _refuse_reading(states: Iterable[State]) -> None:
    """Raise DifferentiationError for a sequence that the steps of a loop do more with than append to it."""
    for state in states:
        if isinstance(state.item.type, SequenceType):
            raise DifferentiationError(
                f"grad: a loop carries the state {state.item.name!r} of type {state.item.type} "
                f"[{state.following.node.origin}], and its steps do more than append to it; gradients cannot recompute "
                "it. Write into a tensor of fixed size instead, or stack results of the steps."
            )


def _stackable(state: State) -> Tensor:
    """The item of a state that gradients pass through: a sequence, or a tensor of one shape."""
    item, following = state.item.type, state.following.type
    where = f"[{state.following.node.origin}]"
    if not isinstance(item, TensorType) or not isinstance(following, TensorType):
        return state.item
    if item.shape is not None and following.shape is not None and _differ(item.shape, following.shape):
        raise DifferentiationError(
            f"grad: a loop carries the state {state.item.name!r}, which is {item} before a step and {following} after "
            f"it {where}; gradients need states of one shape, since those of all steps are stacked"
        )
    return state.item


def _differ(a: dims.Shape, b: dims.Shape) -> bool:
    return len(a) != len(b) or any(dims.provably_different(p, q) for p, q in zip(a, b, strict=True))


def _products(outputs: Sequence[Tensor], matrices: Collection[Tensor]) -> list[_Product]:
    """The products by one of `matrices` of static shape."""
    found = []
    for node in topological(outputs):
        if node.op != "MatMul" or node.domain:
            continue
        a, b = operand(node), operand(node, 1)
        for matrix, factor, left in ((b, a, False), (a, b, True)):
            known = matrix in matrices and matrix.tensor_type.is_static and matrix.ndim == 2
            if known and factor.tensor_type.rank is not None:
                found.append(_Product(node.out(), factor, matrix, left))
    return found


def _without_gemm(outputs: Sequence[Tensor]) -> list[Tensor]:
    """`outputs` with each Gemm as a MatMul and an Add, whose products and sums can be told apart."""
    mapped: dict[Tensor, Tensor] = {}
    for node in topological(outputs):
        inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
        if node.op == "Gemm" and not node.domain:
            mapped[node.out()] = _as_matmul(node, *inputs)
        elif (new := rebuild(node, inputs)) is not node:
            mapped.update(zip(node.outputs, new.outputs, strict=True))
    return [mapped.get(t, t) for t in outputs]


def _as_matmul(gemm: Node, a: Any, b: Any, c: Tensor | None = None) -> Tensor:
    attrs = gemm.attrs
    result: Tensor = (a.mT if attrs["transA"] else a) @ (b.mT if attrs["transB"] else b)
    result = result if attrs["alpha"] == 1.0 else result * attrs["alpha"]
    if c is None:
        return result
    return result + (c if attrs["beta"] == 1.0 else c * attrs["beta"])


def refuse_random(nodes: Iterable[Node]) -> None:
    """Raise DifferentiationError for a random operator, also in a nested body: recomputed, it would draw again."""
    pending = [iter(nodes)]
    while pending:
        for node in pending.pop():
            if node.uid and not node.is_leaf and not _is_off(node):
                raise DifferentiationError(
                    f"grad: {node.op} [{node.origin}] draws inside a body of control flow, and would draw other "
                    "numbers when its gradient recomputes the body. Draw before, and pass the numbers in."
                )
            pending.extend(iter(body.nodes) for body in node.attrs.values() if isinstance(body, Graph))


def _is_off(node: Node) -> bool:
    """Whether a random operator is a Dropout in inference mode."""
    training = node.inputs[2] if node.op == "Dropout" and len(node.inputs) > 2 else None
    if node.op != "Dropout" or training is None:
        return node.op == "Dropout"
    return training.node.is_constant and not training.node.attrs["value"].array.any()
