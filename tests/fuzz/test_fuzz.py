"""Random well-typed graphs: their gradients, simplified forms, round trips, forward mode and batched gradients.

The short form runs the same graphs every time; the long one (`-m nightly`) draws new ones, `--hypothesis-seed` repeats.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from fuzz_checks import CHECKS
from fuzz_grafts import GRAFTS, NOT_GRAFTED
from fuzz_programs import MOST_OPERATORS, NOTHING, PROGRAMS, Program, build, programs
from fuzz_recipes import RECIPES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graphc.ir.schema import operator_names
from passes.vjp import rules, support

SHORT = {"gradient": 100, "simplify": 25, "round_trips": 50, "adjoint": 25, "vmap": 25}
UNJUDGED = 0.1
"""At most so large a share of the graphs may be left unjudged: kinks nearby, operators without batching rule."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def fuzz(name: str, count: int, *, derandomize: bool, drawn: Any = PROGRAMS) -> None:
    """Hold a check against `count` random graphs, and assert that it judged most of them."""
    verdicts: Counter[str] = Counter()

    @settings(
        max_examples=count,
        derandomize=derandomize,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],  # explaining a failure would take minutes
        report_multiple_bugs=False,
        suppress_health_check=QUIET,
    )
    @given(drawn)
    def run(program: Program) -> None:
        verdicts[CHECKS[name](build(program)) or "judged"] += 1

    run()
    assert verdicts["judged"] >= (1 - UNJUDGED) * verdicts.total(), dict(verdicts)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the reference evaluator
@pytest.mark.parametrize("name", CHECKS)
def test_random_graphs(name: str) -> None:
    fuzz(name, SHORT[name], derandomize=True)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the reference evaluator
@pytest.mark.parametrize("name", CHECKS)
def test_many_random_graphs(name: str) -> None:
    fuzz(name, 2000, derandomize=False)


def test_every_operator_with_a_gradient_is_drawn() -> None:
    drawn = RECIPES.keys() | {case.op for case in GRAFTS.values()} | NOT_GRAFTED.keys()
    differentiable = {op for op in operator_names() if support(op) in ("rule", "body")}
    assert sorted(differentiable - drawn - {"DequantizeLinear"}) == []  # an estimator: differences do not judge it


def test_random_graphs_are_of_many_sizes_and_operators() -> None:
    sizes: list[int] = []
    operators: Counter[str] = Counter()

    @settings(max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=QUIET)
    @given(PROGRAMS)
    def run(program: Program) -> None:
        graph = build(program).graph
        sizes.append(graph.count())
        operators.update(graph.operators())

    run()
    assert max(sizes) <= MOST_OPERATORS + 1
    assert sum(size >= 5 for size in sizes) > 0.7 * len(sizes)
    assert len(operators.keys() & rules().keys()) > 90


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_rule_is_found_and_shrunk_to_a_small_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    from passes.vjp import registry

    right = rules()["Tanh"]
    monkeypatch.setitem(registry._RULES, "Tanh", lambda node, g: right(node, g * 1.001))
    small = programs(st.sampled_from([NOTHING, "Add", "MatMul", "Mul", "ReduceSum", "Tanh", "Transpose"]), 3)
    with pytest.raises(AssertionError, match=r"the gradient with respect to .* is wrong") as failure:
        fuzz("gradient", 60, derandomize=True, drawn=small)
    text = str(failure.value)
    nodes = text.partition("\nnodes\n")[2].partition("\n\n")[0].splitlines()
    assert 1 <= len(nodes) <= 4, text
    assert "Tanh" in nodes[0] + nodes[-1]
    assert "def build(" in text
    assert "feeds = {" in text
