"""Gradients that are not those of the operators: stopped, straight through, user-defined, recomputed."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.call import inline
from passes.verify import verify
from runtimes.testing import check_grads

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 3)).astype(np.float32)


def _x(dtype: str = "float32") -> gc.Tensor:
    return gc.input("x", ("batch", 3), dtype=dtype)


def _calls(t: gc.Tensor) -> list[str]:
    return [n.op for n in gc.graph(t).nodes if n.is_call]


# --- stop_gradient


def test_a_stopped_tensor_counts_as_a_constant() -> None:
    x = _x()
    y = gc.sum(gc.stop_gradient(x) * x)
    value, slope = gc.evaluate([y, gc.grad(y, x)], {"x": X})
    np.testing.assert_allclose(value, np.sum(X * X), rtol=1e-6)
    np.testing.assert_array_equal(slope, X)


def test_stopping_twice_the_same_tensor_gives_one_node() -> None:
    x = _x()
    assert gc.stop_gradient(x) == gc.stop_gradient(x)


def test_integers_and_nested_values_can_be_stopped() -> None:
    x, i = _x(), gc.input("i", ("batch",), dtype="int64")
    stopped = gc.stop_gradient({"a": [x], "b": (i, None)})
    assert stopped["b"] == (i, None)
    assert _calls(stopped["a"][0]) == ["stop_gradient"]


def test_a_gradient_that_is_stopped_on_every_way_is_refused_with_the_path() -> None:
    x = _x()
    y = gc.sum(gc.exp(gc.stop_gradient(gc.tanh(x))))
    with pytest.raises(gc.DifferentiationError, match=r"'x' -> Tanh -> stop_gradient \[.*\]: its gradient is stopped"):
        gc.grad(y, x)
    (obstacle,) = gc.can_differentiate(y, x)
    assert obstacle.node is not None
    assert (obstacle.node.op, obstacle.path) == ("stop_gradient", "'x' -> Tanh -> stop_gradient")


def test_simplification_keeps_gradients_stopped() -> None:
    x = _x()
    y = gc.simplify(gc.sum(gc.stop_gradient(x + 0.0) * x * 1.0))
    np.testing.assert_array_equal(gc.evaluate(gc.grad(y, x), {"x": X}), X)


# --- straight_through


def test_straight_through_hands_the_cotangent_on() -> None:
    x = _x()
    y = gc.sum(gc.straight_through(gc.round)(x) ** 2)
    np.testing.assert_allclose(gc.evaluate(gc.grad(y, x), {"x": X}), 2 * np.round(X))


def test_straight_through_refuses_a_function_that_changes_the_type() -> None:
    x = _x()
    with pytest.raises(gc.GraphError, match=r"straight_through: greater returns bool\[batch, 3\]; expected one tensor"):
        gc.straight_through(gc.greater)(x, 0.0)
    with pytest.raises(gc.GraphError, match="expected one tensor like its first argument"):
        gc.straight_through(lambda x: gc.sum(x, 0))(x)


# --- custom_vjp


def _softplus() -> gc.functional.CustomFunction:
    @gc.custom_vjp
    def softplus(x: gc.Tensor) -> gc.Tensor:
        return gc.log(1.0 + gc.exp(x))

    @softplus.defvjp
    def _(node: gc.Node, g: gc.Tensor) -> gc.Tensor:
        return g * gc.sigmoid(node.inputs[0])

    return softplus


def test_a_rule_of_ones_own_replaces_that_of_the_operators() -> None:
    x = _x("float64")
    y = _softplus()(x)
    check_grads(gc.sum(y), [x], {"x": X.astype(np.float64)}, order=2)
    large = gc.evaluate(gc.grad(gc.sum(y), x), {"x": np.full((1, 3), 800.0)}, runtime="reference")
    np.testing.assert_array_equal(large, 1.0)  # the operators' own gives inf / inf


def test_options_go_to_the_function_and_to_the_rule() -> None:
    @gc.custom_vjp
    def clipped(x: gc.Tensor, *, limit: float) -> gc.Tensor:
        return x

    @clipped.defvjp
    def _(node: gc.Node, g: gc.Tensor, *, limit: float) -> gc.Tensor:
        return gc.clip(g, -limit, limit)

    x = _x()
    slope = gc.grad(gc.sum(clipped(x, limit=0.25) * gc.constant(X)), x)
    np.testing.assert_array_equal(gc.evaluate(slope, {"x": X}), np.clip(X, -0.25, 0.25))


def test_a_rule_gets_zeros_for_results_that_nothing_depends_on_and_broadcasting_is_undone() -> None:
    @gc.custom_vjp
    def both(x: gc.Tensor, scale: gc.Tensor) -> dict[str, gc.Tensor]:
        return {"up": x * scale, "down": x / scale}

    @both.defvjp
    def _(node: gc.Node, down: gc.Tensor, up: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        x, scale = node.inputs
        return up * scale + down / scale, up * x - down * x / scale**2

    x, scale = _x("float64"), gc.parameter("scale", (1, 3), np.full((1, 3), 2.0), dtype="float64")
    feeds = {"x": X.astype(np.float64)}
    for part in (["up"], ["down"], ["up", "down"]):
        check_grads(sum(gc.sum(both(x, scale)[p]) for p in part), [x, scale], feeds, order=2)


def test_a_function_without_rule_says_so_when_it_is_differentiated() -> None:
    @gc.custom_vjp
    def cube(x: gc.Tensor) -> gc.Tensor:
        return x**3

    y = gc.sum(cube(_x()))
    with pytest.raises(
        gc.DifferentiationError, match=r"cube \[.*\] has no gradient rule yet; expected one given by @cu"
    ):
        gc.grad(y, gc.graph(y).inputs[0])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("many", r"the gradient rule of f \[.*\] returned \(.*\); expected a tensor or None for each of its 1 inputs"),
        ("number", r"returned 1.0; expected a tensor or None"),
        ("shape", r"the gradient rule of f returned float32\[2\] for an input float32\[batch, 3\]"),
        ("dtype", r"the gradient rule of f returned float64\[batch, 3\] for an input float32\[batch, 3\]"),
    ],
)
def test_what_a_rule_returns_is_checked(returned: str, message: str) -> None:
    @gc.custom_vjp
    def f(x: gc.Tensor) -> gc.Tensor:
        return x

    @f.defvjp
    def _(node: gc.Node, g: gc.Tensor) -> object:
        wrong = {"many": (g, g), "number": 1.0, "shape": gc.constant([1.0, 2.0]), "dtype": g.cast("float64")}
        return wrong[returned]

    x = _x()
    with pytest.raises(gc.DifferentiationError, match=message):
        gc.grad(gc.sum(f(x)), x)


def test_a_parameter_used_from_outside_is_refused() -> None:
    w = gc.parameter("w", (3,))

    @gc.custom_vjp
    def scaled(x: gc.Tensor) -> gc.Tensor:
        return x * w

    with pytest.raises(gc.GraphError, match=r"scaled uses 'w' from outside; .* Pass it as an argument"):
        scaled(_x())


def test_a_function_that_returns_no_tensor_is_refused() -> None:
    @gc.checkpoint
    def nothing(x: gc.Tensor) -> None:
        return None

    with pytest.raises(gc.GraphError, match="nothing returns None; expected at least one tensor"):
        nothing(_x())


def test_rules_of_ones_own_hold_inside_control_flow() -> None:
    softplus = _softplus()
    x = _x("float64")
    y, _ = gc.scan(lambda s, row: (s + softplus(row), None), gc.constant(np.zeros(3)), x)
    z = gc.cond(gc.sum(y) > 0.0, lambda v: softplus(v), lambda v: v, y)
    slope = gc.grad(gc.sum(z), x)
    assert sum("Sigmoid" in str(n.attrs["body"]) for n in gc.graph(slope).find("Scan")) >= 1
    check_grads(gc.sum(z), [x], {"x": X.astype(np.float64)})


def test_forward_mode_transposes_the_rule() -> None:
    x = _x("float64")
    t = RNG.standard_normal((4, 3))
    y = _softplus()(x)
    found = gc.evaluate(gc.jvp(y, x, gc.constant(t)), {"x": X.astype(np.float64)}, runtime="reference")
    np.testing.assert_allclose(found, t / (1 + np.exp(-X.astype(np.float64))), rtol=1e-12)


def test_gradients_are_batched_and_batched_calls_are_not_differentiated() -> None:
    softplus = _softplus()
    row = gc.input("row", (3,))
    x = _x()
    slopes = gc.vmap(gc.grad(gc.sum(softplus(row)), row), {row: x})
    np.testing.assert_allclose(gc.evaluate(slopes, {"x": X}), 1 / (1 + np.exp(-X)), rtol=1e-6)
    batched = gc.vmap(softplus(row), {row: x})
    np.testing.assert_allclose(gc.evaluate(batched, {"x": X}), np.log1p(np.exp(X)), rtol=1e-6)
    with pytest.raises(gc.DifferentiationError, match=r"Differentiate first"):
        gc.grad(gc.sum(batched), x)
    stopped = gc.vmap(gc.stop_gradient(row) * row, {row: x})
    np.testing.assert_array_equal(gc.evaluate(gc.grad(gc.sum(stopped), x), {"x": X}), X)


# --- checkpoint


def _blocks(x: gc.Tensor, depth: int, *, marked: bool) -> gc.Tensor:
    for k in range(depth):
        first, second = nn.Linear(5, dtype=x.dtype), nn.Linear(3, dtype=x.dtype)
        block = nn.Sequential(first, nn.Tanh(), second, name=f"block{k}")
        x = x + (gc.checkpoint(block) if marked else block)(x)
    return gc.sum(x * x)


def test_recomputed_gradients_are_the_gradients() -> None:
    x = _x("float64")
    plain, marked = _blocks(x, 3, marked=False), _blocks(x, 3, marked=True)
    state = {name: RNG.standard_normal(t.shape) for name, t in gc.graph(plain).parameters.items()}
    results = []
    for loss in (plain, marked):
        graph = gc.graph(loss)
        slopes = gc.grad(loss, {"x": x, **graph.parameters})
        results.append(gc.evaluate(slopes, {"x": X.astype(np.float64)}, state=state))
    assert results[0].keys() == results[1].keys()
    for name, expected in results[0].items():
        np.testing.assert_allclose(results[1][name], expected, rtol=1e-12, atol=1e-12, err_msg=name)


def test_the_backward_pass_reads_nothing_from_inside_a_checkpoint() -> None:
    x = _x()
    loss = _blocks(x, 2, marked=True)
    graph = gc.simplify(inline(gc.graph([loss, gc.grad(loss, x)])))
    verify(graph)
    loops = graph.find("Loop")
    assert len(loops) == 2
    for loop in loops:
        assert loop.attrs["body"].count("Tanh") == 1
        below = {t.node.op for t in loop.inputs if t is not None}
        assert not below & {"Tanh", "MatMul", "Gemm"}  # the inner values of a block
    assert graph.count("Tanh") == 2


def test_checkpoints_nest_and_differentiate_twice() -> None:
    x = _x("float64")

    @gc.checkpoint
    def inner(x: gc.Tensor, scale: float) -> gc.Tensor:
        return gc.tanh(x * scale)

    @gc.checkpoint
    def outer(pair: dict[str, gc.Tensor]) -> tuple[gc.Tensor, gc.Tensor]:
        y = inner(pair["a"], 2.0)
        return y * pair["b"], inner(y, 3.0)

    first, second = outer({"a": x, "b": gc.exp(x)})
    check_grads(gc.sum(first * second), [x], {"x": X.astype(np.float64)}, order=2)
    empty = gc.evaluate(gc.grad(gc.sum(first * second), x), {"x": np.zeros((0, 3))})
    assert empty.shape == (0, 3)


def test_a_checkpoint_inside_a_scan_is_recomputed_in_its_step() -> None:
    x = _x("float64")
    step = gc.checkpoint(lambda s, row: gc.tanh(s + gc.sin(row)))
    y, _ = gc.scan(lambda s, row: (step(s, row), None), gc.constant(np.zeros(3)), x)
    check_grads(gc.sum(y), [x], {"x": X.astype(np.float64)})


def _noisy(x: gc.Tensor, *, marked: bool) -> tuple[gc.Tensor, gc.Tensor]:
    w = gc.parameter("w", (3, 64), nn.init.Normal(std=1.0))

    def block(x: gc.Tensor) -> gc.Tensor:
        dropped = nn.functional.dropout(gc.tanh(x @ w), 0.4)
        noise = gc.op.RandomNormalLike(dropped)
        return gc.sin(nn.functional.dropout(dropped * noise, 0.2))

    return gc.sum((gc.checkpoint(block) if marked else block)(x)), w


@pytest.mark.parametrize("marked", [False, True])
def test_a_checkpoint_uses_the_random_numbers_of_the_forward_pass(marked: bool) -> None:
    x = _x()
    loss, _ = _noisy(x, marked=marked)
    gradient = gc.grad(loss, x)
    graph = inline(gc.graph([loss, gradient]))
    assert graph.count("Dropout") == 2  # none in a body
    assert all(not n.attrs["body"].count("Dropout") for n in graph.find("Loop"))
    assert graph.count("RandomNormalLike") == 1
    if marked:
        (loop,) = graph.find("Loop")
        assert {t.op for t in loop.inputs if t is not None} >= {"Dropout", "RandomNormalLike"}


def test_a_trained_checkpoint_with_dropout_trains_as_without_the_mark() -> None:
    x = _x()
    states = []
    for marked in (False, True):
        loss, _ = _noisy(x, marked=marked)
        trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), seed=3)
        for _ in range(3):
            trainer.train_step({"x": X})
        states.append(trainer.state["w"])
    np.testing.assert_allclose(states[0], states[1], rtol=1e-5, atol=1e-6)


# --- calls in graphs


def test_a_call_is_printed_with_its_body_and_gradient() -> None:
    text = str(gc.graph(_softplus()(_x())))
    assert "softplus(x, gradient=custom) : float32[batch, 3]" in text
    assert "body(x_0: float32[batch, 3]):" in text


def test_source_and_models_hold_what_calls_compute() -> None:
    graph = gc.graph(gc.stop_gradient(gc.exp(_x())))
    scope: dict[str, gc.Graph] = {}
    exec(graph.to_python(), scope)
    assert scope["graph"].operators() == {"Exp": 1}
    assert "graphc.function" not in graph.to_text()


def test_a_call_takes_the_types_that_it_is_given() -> None:
    x = _x()
    y = _softplus()(x)
    other = gc.input("other", (2, 7, 5))
    (replaced,) = gc.substitute([y], {x: other})
    assert replaced.shape == (2, 7, 5)
    verify(gc.graph(gc.grad(gc.sum(replaced), other)))


def test_training_inlines_calls_after_differentiation() -> None:
    x, target = _x(), gc.input("target", ("batch", 3))
    y = gc.straight_through(gc.round)(nn.Linear(3)(x))
    trainer = gc.Trainer(gc.mean(gc.square(y - target)), optimizer=gc.optim.SGD(0.1))
    first = trainer.train_step({"x": X, "target": X})["loss"]
    for _ in range(60):
        last = trainer.train_step({"x": X, "target": X})["loss"]
    assert last < 0.5 * first
    assert not [n for n in trainer.step.graph.nodes if n.is_call]
