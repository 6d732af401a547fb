"""Random programs, and the graphs that they stand for.

A program is plain data: leaves, and steps of an operator's name and some numbers. Every program stands for a well-typed
graph: numbers are taken modulo what there is to choose, and steps that fit nothing do nothing. So hypothesis can shrink
it by taking steps out and making numbers smaller, and its `repr` builds the graph again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from fuzz_grafts import GRAFTS, graft
from fuzz_pool import Entry, Knobs, Pool
from fuzz_recipes import RECIPES
from hypothesis import strategies as st

import graphc as gc
from graphc.ir.graph import graph, leaves
from graphc.ir.node import Tensor

SIZES = {"n": (2, 1, 3), "m": (2, 3, 1)}
DIMS: tuple[Any, ...] = ("n", 2, "m", 3, 1, 0)
MOST_OPERATORS = 40


class Leaf(NamedTuple):
    """An input, or a parameter (whose symbolic dimensions become the sizes they have)."""

    dims: tuple[Any, ...]
    is_parameter: bool


class Step(NamedTuple):
    """One operator, which entry of the pool it is applied to, and the knobs of its recipe."""

    op: str
    start: int
    knobs: tuple[int, ...]


class Program(NamedTuple):
    """What hypothesis draws and shrinks."""

    leaves: tuple[Leaf, ...]
    steps: tuple[Step, ...]
    sizes: tuple[int, ...]
    seed: int


class Built(NamedTuple):
    """The graph of a program: its leaves of floating point, its results, and what is fed."""

    program: Program
    wrt: list[Tensor]
    outputs: list[Tensor]
    feeds: dict[str, Any]
    sizes: dict[str, int]

    @property
    def graph(self) -> gc.Graph:
        return graph(self.outputs, name="fuzz")


def build(program: Program) -> Built:
    """The graph of a program. Its results are all tensors of which nothing else is made."""
    sizes = {name: options[i % len(options)] for (name, options), i in zip(SIZES.items(), program.sizes, strict=True)}
    rng = np.random.default_rng(program.seed)
    pool = Pool(sizes)
    for position, (declared, is_parameter) in enumerate(program.leaves):
        shape = tuple(sizes.get(d, d) for d in declared)
        values = rng.uniform(-2.0, 2.0, shape)
        t = (
            gc.parameter(f"w{position}", shape, dtype="float64")
            if is_parameter
            else gc.input(f"x{position}", declared, "float64")
        )
        pool.leaf(t, values)
    results: dict[Tensor, None] = {}
    for step in program.steps:
        made = _made(pool, step)
        if count([*results, *(e.t for e in made)]) > MOST_OPERATORS:
            break
        results |= dict.fromkeys(e.t for e in made)
    used = {t for node in graph([*results]).nodes for t in node.inputs} if results else set()
    outputs = [t for t in results if t not in used and not t.node.is_leaf]
    if not any(t.dtype.is_float for t in leaves(outputs)):
        outputs.append(pool.entries[0].t * 1.5)
    found = leaves(outputs)
    feeds = {str(t.name): pool.feeds[str(t.name)] for t in found}
    return Built(program, [t for t in found if t.dtype.is_float], outputs, feeds, sizes)


def _made(pool: Pool, step: Step) -> list[Entry]:
    """Apply one step; what it added to the pool."""
    knobs = Knobs(step.knobs)
    if step.op in GRAFTS:
        graft(GRAFTS[step.op], pool, knobs)
    elif step.op in RECIPES:
        recipe = RECIPES[step.op]
        entry = pool.first(step.start, recipe.needs)
        if entry is not None:
            recipe.build(pool, entry, knobs)
    return pool.commit()


def count(outputs: list[Tensor]) -> int:
    """How many operators compute some tensors."""
    return graph(outputs).count() if outputs else 0


# --- drawing ------------------------------------------------------------------------------------------------------

NOTHING = "nothing"
_numbers = st.integers(0, 63)
_names = st.one_of(
    st.sampled_from([NOTHING, *RECIPES]),
    st.sampled_from([*RECIPES]),
    st.sampled_from([*RECIPES]),
    st.sampled_from([*GRAFTS]),
)
_leaves = st.builds(Leaf, st.lists(st.sampled_from(DIMS), max_size=3).map(tuple), st.booleans())


def programs(names: Any, *least: int) -> Any:
    """Programs of steps of such names, of at least so many steps (any of the numbers)."""
    steps = st.builds(Step, names, _numbers, st.tuples(*[_numbers] * 5))
    lists = [st.lists(steps, min_size=n, max_size=40).map(tuple) for n in least]
    return st.builds(
        Program,
        st.lists(_leaves, min_size=1, max_size=4).map(tuple),
        st.one_of(*lists),
        st.tuples(*[st.integers(0, 2)] * len(SIZES)),
        st.integers(0, 1000),
    )


PROGRAMS = programs(_names, 5, 12, 25)
