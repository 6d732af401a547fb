"""Random operators as functions of (seed, step, site): which numbers they are, and what they depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy_squares as squares
import pytest

import graphc as gc
from graphc.ir.build import apply, constant, rebuild
from graphc.ir.origin import scope
from passes.randomness import counter_based, is_random
from passes.verify import verify

SEEDS = [(0, 0), (1, 0), (0, 1), (7, 12345), (-3, 2**40), (2**63 - 1, 2**63 - 1)]


def states() -> tuple[gc.Tensor, gc.Tensor]:
    return gc.input("seed", (), "int64"), gc.input("step", (), "int64")


def dropout(x: gc.Tensor, ratio: Any = 0.3, training: Any = True, **attrs: Any) -> tuple[gc.Tensor, gc.Tensor]:
    result, mask = apply("Dropout", (x, constant(np.float32(ratio)), training), attrs).outputs
    return result, mask


def draws(
    outputs: Any, seed: int, step: int, feeds: Any = None, *, simplified: bool = True, runtime: Any = "onnxruntime"
) -> Any:
    """The values of outputs whose random operators are counter-based; a list for several tensors."""
    graph = counter_based(gc.graph(outputs), *states())
    verify(graph)
    graph = gc.simplify(graph) if simplified else graph
    known = {"seed": np.int64(seed), "step": np.int64(step), **(feeds or {})}
    given = {n: known[n] if n in known else np.zeros(t.shape, t.dtype.numpy) for n, t in graph.feeds.items()}
    values = list(gc.evaluate(graph, given, runtime=runtime).values())
    return values if isinstance(outputs, list) else values[0]


RANDOM: dict[str, Any] = {
    "mask": lambda: dropout(gc.input("x", (70, 60)))[1],
    "symbolic_mask": lambda: dropout(gc.input("x", ("b", 60)))[1],
    "dropout": lambda: dropout(gc.input("x", (70, 60)))[0],
    "uniform": lambda: apply("RandomUniform", (), {"shape": [70, 60]}).out(),
    "double_uniform": lambda: apply("RandomUniform", (), {"shape": [70, 60], "dtype": 11}).out(),
    "half_uniform": lambda: apply("RandomUniform", (), {"shape": [70, 60], "dtype": 10, "low": -1.0}).out(),
    "range": lambda: apply("RandomUniformLike", (gc.input("x", ("b", 60)),), {"low": -2.0, "high": 3.5}).out(),
    "normal": lambda: apply("RandomNormal", (), {"shape": [70, 60]}).out(),
    "double_normal": lambda: apply("RandomNormalLike", (gc.input("x", ("b", 60)),), {"dtype": 11}).out(),
    "scaled_normal": lambda: apply("RandomNormal", (), {"shape": [70, 60], "mean": 1.0, "scale": 0.5}).out(),
    "bernoulli": lambda: apply("Bernoulli", (gc.sigmoid(gc.input("x", (70, 60))),), {"dtype": 6}).out(),
    "multinomial": lambda: apply("Multinomial", (gc.input("x", (70, 60)),), {"sample_size": 9}).out(),
}
X = np.random.default_rng(0).normal(size=(70, 60)).astype(np.float32)


def feeds_of(output: gc.Tensor) -> dict[str, Any]:
    return {"x": X} if "x" in gc.graph(output).feeds else {}


@pytest.mark.parametrize("name", RANDOM)
def test_onnxruntime_and_the_reference_evaluator_draw_the_same_bits(name: str) -> None:
    output = RANDOM[name]()
    first = draws(output, 5, 9, feeds_of(output))
    for options in ({"runtime": "reference"}, {"simplified": False}, {"runtime": "reference", "simplified": False}):
        again = draws(output, 5, 9, feeds_of(output), **options)
        np.testing.assert_array_equal(again, first)
    assert first.dtype == output.dtype.numpy


@pytest.mark.parametrize(("seed", "step"), SEEDS)
def test_masks_are_those_of_the_definition(seed: int, step: int) -> None:
    _, mask = dropout(gc.input("x", (70, 60)))
    expected = squares.mask(seed, step, squares.site("", "Dropout", 0), (70, 60), 1 - np.float32(0.3))
    np.testing.assert_array_equal(draws(mask, seed, step), expected)


@pytest.mark.parametrize(("seed", "step"), SEEDS)
def test_uniform_numbers_are_those_of_the_definition(seed: int, step: int) -> None:
    for dtype, expected in ((1, squares.uniform), (11, squares.precise_uniform)):
        u = apply("RandomUniform", (), {"shape": [3, 999], "dtype": dtype}).out()
        where = squares.site("", "RandomUniform", 0)
        np.testing.assert_array_equal(draws(u, seed, step), expected(seed, step, where, (3, 999)))


@pytest.mark.parametrize(
    ("dtype", "expected", "error"), [(1, squares.normal, 1e-7), (11, squares.precise_normal, 1e-12)]
)
def test_normal_numbers_are_those_of_box_and_muller(dtype: int, expected: Any, error: float) -> None:
    z = apply("RandomNormal", (), {"shape": [100, 1000], "dtype": dtype}).out()
    where = squares.site("", "RandomNormal", 0)
    np.testing.assert_allclose(draws(z, 3, 4), expected(3, 4, where, (100, 1000)), rtol=error, atol=error)


def test_bernoulli_compares_a_uniform_number_with_each_probability() -> None:
    p = gc.input("p", ("b", 60))
    values = np.random.default_rng(1).uniform(size=(70, 60)).astype(np.float32)
    drawn = draws(apply("Bernoulli", (p,)).out(), 1, 2, {"p": values})
    expected = squares.uniform(1, 2, squares.site("", "Bernoulli", 0), (70, 60)) < values
    np.testing.assert_array_equal(drawn, expected.astype(np.float32))


def test_multinomial_draws_each_category_as_often_as_its_probability_says() -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.7, 0.0], [0.25, 0.25, 0.25, 0.25]], np.float32) + 1e-30)
    node = apply("Multinomial", (gc.input("x", ("b", 4)),), {"sample_size": 20_000, "dtype": 7})
    drawn = draws(node.out(), 1, 1, {"x": logits})
    assert drawn.dtype == np.int64
    shares = [np.bincount(row, minlength=4) / 20_000 for row in drawn]
    np.testing.assert_allclose(shares, np.exp(logits), atol=4 * 0.5 / np.sqrt(20_000))
    assert (drawn[0] != 3).all()


# --- what the numbers depend on -----------------------------------------------------------------------------------


def test_the_number_at_a_position_does_not_depend_on_the_batch_size() -> None:
    x = gc.input("x", ("b", 700))
    tensors = [
        dropout(x)[1],
        apply("RandomNormalLike", (x,)).out(),
        apply("RandomUniformLike", (x,), {"dtype": 11}).out(),
    ]
    small = draws(tensors, 1, 2, {"x": np.zeros((3, 700), np.float32)})
    for size in (0, 1, 2, 3, 40):
        large = draws(tensors, 1, 2, {"x": np.zeros((size, 700), np.float32)})
        for a, b in zip(small, large, strict=True):
            assert b.shape == (size, 700)
            np.testing.assert_array_equal(a[:size], b[:3])


def test_seed_step_and_site_each_change_the_numbers() -> None:
    x = gc.input("x", (100,))
    masks = [dropout(x, 0.5)[1] for _ in range(3)]
    drawn = [*draws(masks, 1, 2), *draws(masks, 2, 2), *draws(masks, 1, 3), *draws(masks, 2, 1)]
    assert len({mask.tobytes() for mask in drawn}) == 12


def test_the_same_seed_and_step_draw_the_same_numbers_in_every_run() -> None:
    f = gc.compile(counter_based(gc.graph(apply("RandomNormal", (), {"shape": [100]}).out()), *states()))
    runs = [next(iter(f(seed=np.int64(1), step=np.int64(i % 2)).values())) for i in range(4)]
    np.testing.assert_array_equal(runs[0], runs[2])
    np.testing.assert_array_equal(runs[1], runs[3])
    assert (runs[0] != runs[1]).any()


def test_layers_elsewhere_do_not_change_the_masks_of_a_layer() -> None:
    def of(layers: list[str]) -> dict[str, Any]:
        x = gc.input("x", (1000,))
        masks = {}
        for path in layers:
            with scope(path):
                masks[path] = dropout(x, 0.5)[1]
        return dict(zip(masks, draws(list(masks.values()), 1, 2), strict=True))

    first, second = of(["encoder.0", "head"]), of(["encoder.0", "encoder.1", "encoder.2", "head"])
    for path, mask in first.items():
        np.testing.assert_array_equal(second[path], mask)
    assert len({mask.tobytes() for mask in second.values()}) == 4


def test_graphs_of_one_structure_draw_the_same_masks() -> None:
    def masks() -> list[gc.Tensor]:
        y, first = dropout(gc.input("x", (100,)), 0.5)
        return [first, dropout(y, 0.5)[1]]

    for a, b in zip(draws(masks(), 1, 2), draws(masks(), 1, 2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_of_an_operator_share_its_mask() -> None:
    x, z = gc.input("x", (1000,)), gc.input("z", (1000,))
    y, _ = dropout(x)
    (copy,) = gc.graph(y).find("Dropout")
    recomputed = apply("Dropout", (x, constant(np.float32(0.3)), True)).out()
    moved = rebuild(copy, (z, *copy.inputs[1:])).out()
    ones = np.ones(1000, np.float32)
    first, other, second = draws([y, recomputed, moved], 1, 2, {"x": ones, "z": ones})
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, draws(y, 1, 2, {"x": ones}))
    assert (first != other).any()


def test_an_own_seed_stands_for_seed_and_site() -> None:
    attrs = {"shape": [100], "seed": 3.0}
    first, second = apply("RandomNormal", (), attrs).out(), apply("RandomNormal", (), attrs).out()
    other = apply("RandomNormal", (), {**attrs, "seed": 4.0}).out()
    assert first != second
    a, b, c = draws([first, second, other], 1, 2)
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()
    np.testing.assert_array_equal(draws(first, 99, 2), a)
    assert (draws(first, 1, 3) != a).all()


# --- dropout ------------------------------------------------------------------------------------------------------


def test_dropout_scales_what_it_keeps_and_drops_the_rest() -> None:
    x = gc.input("x", (2, 1000))
    y, mask = draws(list(dropout(x, 0.2)), 1, 2, {"x": np.full((2, 1000), 3, np.float32)})
    np.testing.assert_array_equal(y, np.where(mask, np.float32(3) * (1 / (1 - np.float32(0.2))), 0))


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.5, 0.9, 0.999])
def test_dropout_drops_the_share_that_it_is_told(ratio: float) -> None:
    mask = draws(dropout(gc.input("x", (400, 500)), ratio)[1], 3, 1, simplified=False)
    assert abs((~mask).mean() - ratio) <= 4 * np.sqrt(ratio * (1 - ratio) / mask.size)


def test_dropout_takes_ratio_and_mode_when_the_graph_runs() -> None:
    x, ratio, training = gc.input("x", (4000,)), gc.input("ratio", ()), gc.input("training", (), "bool")
    node = apply("Dropout", (x, ratio, training))
    feeds = {"x": np.ones(4000, np.float32), "ratio": np.float32(0.3), "training": np.array(True)}
    y, mask = draws(list(node.outputs), 1, 2, feeds)
    np.testing.assert_array_equal(mask, draws(dropout(x, 0.3)[1], 1, 2))
    np.testing.assert_array_equal(y, draws(dropout(x, 0.3)[0], 1, 2, {"x": feeds["x"]}))
    y, mask = draws(list(node.outputs), 1, 2, feeds | {"training": np.array(False)})
    assert (y == 1).all()
    assert mask.all()


def test_dropout_without_a_ratio_drops_half() -> None:
    x = gc.input("x", (1000,))
    node = apply("Dropout", (x, None, True))
    np.testing.assert_array_equal(draws(node.out(1), 1, 2), draws(dropout(x, 0.5)[1], 1, 2))


def test_dropout_in_inference_mode_stays() -> None:
    x = gc.input("x", (3,))
    for training in (None, False):
        graph = gc.graph(apply("Dropout", (x, None, training)).out())
        assert counter_based(graph, *states()) is graph
        assert not any(map(is_random, graph.nodes))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_differentiating_before_and_after_gives_the_same_bits(dtype: str) -> None:
    x, w = gc.input("x", ("b", 50), dtype), gc.parameter("w", (50, 40), dtype=dtype)
    h, _ = dropout(gc.tanh(x @ w), 0.2)
    loss = gc.sum(gc.square(dropout(h, 0.4)[0]))
    seed, step = states()
    before = counter_based(gc.graph({"loss": loss, "g": gc.grad(loss, w)}), seed, step)
    lowered = counter_based(gc.graph({"loss": loss}), seed, step)
    after = gc.graph({"loss": lowered.outputs[0], "g": gc.grad(lowered.outputs[0], w)})
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(8, 50)).astype(dtype), "seed": np.int64(1), "step": np.int64(2)}
    state = {"w": rng.normal(size=(50, 40)).astype(dtype) / 7}
    results = [gc.evaluate(g, feeds, state=state, runtime="reference") for g in (before, after)]
    np.testing.assert_array_equal(results[0]["loss"], results[1]["loss"])
    np.testing.assert_array_equal(results[0]["g"], results[1]["g"])
    assert np.isfinite(results[0]["g"]).all()


def test_the_gradient_passes_where_the_forward_pass_does() -> None:
    x = gc.input("x", (1000,))
    y, mask = dropout(x, 0.2)
    g, m = draws([gc.grad(gc.sum(y), x), mask], 1, 2)
    np.testing.assert_array_equal(g, np.where(m, 1 / (1 - np.float32(0.2)), 0).astype(np.float32))


# --- graphs -------------------------------------------------------------------------------------------------------


def test_signature_stays_but_for_seed_and_step() -> None:
    x, w = gc.input("x", (3,)), gc.parameter("w", (3,))
    seed, step = states()
    y, _ = dropout(x * w)
    graph = gc.graph({"y": y}, [x, step], updates={w: y}, name="model")
    lowered = counter_based(graph, seed, step)
    assert lowered.inputs == (x, step, w, seed)
    assert lowered.output_names == ("y",)
    assert list(lowered.updates) == [w]
    assert lowered.updates[w] == lowered.outputs[0]
    assert lowered.name == "model"
    assert not any(map(is_random, lowered.nodes))


def test_labels_and_origins_stay() -> None:
    y, _ = dropout(gc.input("x", (3,)))
    named = gc.graph(y.named("hidden") * 2)
    lowered = counter_based(named, *states())
    (dropped,) = lowered.find("Mul", lambda node: node.out().name == "hidden")
    assert dropped.origin is not None
    assert dropped.origin.derived == "counter-based Dropout"


ON_CUDA = {
    *("Add", "Cast", "Concat", "Div", "Less", "Min", "Mul", "Or", "Not", "Range", "Reciprocal", "Reshape", "Shape"),
    *("Sigmoid", "Size", "Slice", "Sqrt", "Sub", "Unsqueeze", "Where"),
}


@pytest.mark.parametrize("name", sorted(set(RANDOM) - {"multinomial"}))
def test_only_operators_that_every_provider_has_are_used(name: str) -> None:
    graph = counter_based(gc.graph(RANDOM[name]()), *states())
    assert set(graph.operators()) <= ON_CUDA


def test_a_graph_that_draws_nothing_stays_the_same_object() -> None:
    graph = gc.graph(gc.input("x", (3,)) * 2)
    assert counter_based(graph, *states()) is graph


def test_seed_and_step_must_be_int64_scalars() -> None:
    graph = gc.graph(dropout(gc.input("x", (3,)))[0])
    seed, step = states()
    with pytest.raises(gc.GraphError, match=r"seed is int32\[\]; expected an int64 scalar"):
        counter_based(graph, gc.input("s", (), "int32"), step)
    with pytest.raises(gc.GraphError, match=r"step is int64\[1\]; expected an int64 scalar"):
        counter_based(graph, seed, gc.input("s", (1,), "int64"))


# --- control flow -------------------------------------------------------------------------------------------------


def mask_of(x: gc.Tensor) -> gc.Tensor:
    return gc.cast(dropout(x, 0.5)[1], "float32")


def scan_of_masks() -> gc.Tensor:
    """Masks (4, 500) of the steps of a Scan, beside a running sum."""
    carry, x = gc.input("carry", (500,)), gc.input("slice", (500,))
    mask = mask_of(x)
    body = gc.Graph([carry, x], [carry + mask, mask], name="body")
    xs, first = gc.zeros((4, 500)), gc.zeros((500,))
    return apply("Scan", (first, xs), {"body": body, "num_scan_inputs": 1}).out(1)


def loop_of_masks() -> gc.Tensor:
    """The same of a Loop."""
    step, going, carry = gc.input("i", (), "int64"), gc.input("c", (), "bool"), gc.input("carry", (500,))
    body = gc.Graph([step, going, carry], [constant(True), carry, mask_of(carry)], name="body")
    return apply("Loop", (constant(np.int64(4)), None, gc.zeros((500,))), {"body": body}).out(1)


def nested_loop_of_masks() -> gc.Tensor:
    """Masks (4, 3, 500) of a Loop inside a Loop, behind an If."""

    def loop(count: int, what: Any, name: str) -> gc.Tensor:
        step, going = gc.input(f"{name}.i", (), "int64"), gc.input(f"{name}.c", (), "bool")
        body = gc.Graph([step, going], [constant(True), what()], name=name)
        return apply("Loop", (constant(np.int64(count)), None), {"body": body}).out()

    def choice() -> gc.Tensor:
        masks = [gc.Graph([], [mask_of(gc.zeros((500,)))], name=name) for name in ("then", "else")]
        attrs = {"then_branch": masks[0], "else_branch": masks[1]}
        return apply("If", (constant(True),), attrs).out()

    return loop(4, lambda: loop(3, choice, "inner"), "outer")


BODIES = {"scan": scan_of_masks, "loop": loop_of_masks, "nested": nested_loop_of_masks}


@pytest.mark.parametrize("name", BODIES)
def test_each_iteration_draws_its_own_numbers_the_same_everywhere(name: str) -> None:
    output = BODIES[name]()
    masks = draws(output, 1, 2)
    for options in ({}, {"runtime": "reference"}, {"simplified": False}):
        again = draws(output, 1, 2, **options)  # the reference evaluator joins what nested loops stack
        np.testing.assert_array_equal(again.reshape(masks.shape), masks)
    rows = masks.reshape(-1, 500)
    others = [draws(output, *key).reshape(-1, 500) for key in ((1, 3), (2, 2))]
    every = np.concatenate([rows, *others])
    assert len({row.tobytes() for row in every}) == len(every)
    assert abs(every.mean() - 0.5) < 4 * 0.5 / np.sqrt(every.size)
    correlations = np.corrcoef(every)[np.triu_indices(len(every), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(500)


def test_the_step_of_an_iteration_is_mixed_of_step_and_number() -> None:
    masks = draws(loop_of_masks(), 1, 2)
    where = squares.site("", "Dropout", 0)
    for number in range(4):
        np.testing.assert_array_equal(masks[number], squares.mask(1, squares.key(2, number), where, (500,), 0.5))


def test_a_loop_of_one_step_draws_what_is_drawn_outside() -> None:
    step, going = gc.input("i", (), "int64"), gc.input("c", (), "bool")
    body = gc.Graph([step, going], [constant(True), mask_of(gc.zeros((500,)))], name="body")
    output = apply("Loop", (constant(np.int64(1)), None), {"body": body}).out()
    expected = squares.mask(1, 2, squares.site("", "Dropout", 0), (500,), 0.5)
    np.testing.assert_array_equal(draws(output, 1, 2)[0], expected)


def test_the_branches_of_a_choice_are_sites_of_their_own() -> None:
    condition = gc.input("condition", (), "bool")
    branches = [gc.Graph([], [mask_of(gc.zeros((500,)))], name=name) for name in ("then", "else")]
    output = apply("If", (condition,), {"then_branch": branches[0], "else_branch": branches[1]}).out()
    first, second = (draws(output, 1, 2, {"condition": np.array(v)}) for v in (False, True))
    for number, mask in enumerate((first, second)):
        np.testing.assert_array_equal(mask, squares.mask(1, 2, squares.site("", "Dropout", number), (500,), 0.5))


def test_a_sequence_map_that_draws_is_refused() -> None:
    x = gc.input("element", (3,))
    sequence = apply("SequenceConstruct", (gc.input("a", (3,)), gc.input("b", (3,)))).out()
    mapped = apply("SequenceMap", (sequence,), {"body": gc.Graph([x], [dropout(x)[0]], name="body")}).out()
    output = apply("SequenceAt", (mapped, constant(np.int64(0)))).out()
    with pytest.raises(gc.GraphError, match=r"the body of SequenceMap \[test_randomness.py:\d+\] draws at random"):
        counter_based(gc.graph(output), *states())
