"""The reverse sweep itself: what it sums, keeps, refuses and says. The rules are tested in tests/vjp."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DifferentiationError
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from passes.vjp import registry


def _x(*shape: object, name: str = "x", dtype: str = "float32") -> Tensor:
    return gc.input(name, shape or (3,), dtype)


def _raises(message: str) -> pytest.RaisesExc[DifferentiationError]:
    """The whole message, `[LINE]` standing for this file and any line."""
    pattern = re.escape(message).replace(r"\[LINE\]", r"\[test_autodiff\.py:\d+\]")
    return pytest.raises(DifferentiationError, match=f"^{pattern}$")


# --- what the result is -------------------------------------------------------------------------------------------


def test_contributions_of_several_uses_are_summed() -> None:
    x = _x()
    gc.testing.assert_same_graph(gc.grad((x * 2.0 + x * 3.0).sum(), x), gc.grad((x * 2.0 + x * 3.0).sum(), [x])[0])
    values = gc.evaluate(gc.grad((x * 2.0 + gc.sin(x) + x).sum(), x), {"x": np.zeros(3, np.float32)})
    np.testing.assert_array_equal(values, [4, 4, 4])


def test_a_shared_subexpression_is_differentiated_once() -> None:
    x = _x()
    shared = gc.tanh(x)
    g = gc.grad((shared * shared + gc.exp(shared)).sum(), x)
    assert sum(n.op == "Tanh" for n in topological([g])) == 1
    through_tanh = [n for n in topological([g]) if n.origin is not None and n.origin.derived == "gradient of Tanh"]
    assert sum(n.op == "Sub" for n in through_tanh) == 1


def test_the_gradient_of_the_output_itself_is_its_cotangent() -> None:
    x = _x()
    seed = _x(name="seed")
    assert gc.grad(x, x, seed) == seed


def test_structure_of_wrt_is_kept() -> None:
    x, y = _x(), _x(name="y")
    loss = (x * y).sum()
    one, several, named = gc.grad(loss, x), gc.grad(loss, (x, y)), gc.grad(loss, {"a": y, "b": x})
    assert isinstance(one, Tensor)
    assert several == [one, gc.grad(loss, y)]
    assert named == {"a": several[1], "b": one}
    assert list(named) == ["a", "b"]
    assert gc.grad(loss, [x, x]) == [one, one]


def test_value_and_grad_returns_the_output_and_its_gradient() -> None:
    x = _x()
    loss = gc.exp(x).sum()
    assert gc.value_and_grad(loss, [x]) == (loss, gc.grad(loss, [x]))


def test_an_interior_tensor_can_be_wrt_and_hides_nothing_behind_it() -> None:
    x = _x()
    hidden = gc.exp(x)
    loss = (hidden * hidden).sum()
    of_hidden, of_x = gc.grad(loss, [hidden, x])
    feeds = {"x": np.array([0, 1, 2], np.float32)}
    np.testing.assert_allclose(gc.evaluate(of_hidden, feeds), 2 * np.exp(feeds["x"]), rtol=1e-6)
    np.testing.assert_allclose(gc.evaluate(of_x, feeds), 2 * np.exp(2 * feeds["x"]), rtol=1e-6)


def test_an_interior_tensor_without_a_differentiable_past_can_be_wrt() -> None:
    step = gc.floor(_x())
    np.testing.assert_array_equal(gc.evaluate(gc.grad((step * 2.0).sum(), step)), [2, 2, 2])


def test_one_output_of_several_can_be_wrt() -> None:
    first, second = gc.split(_x(4), 2)
    g = gc.grad((first * second).sum(), second)
    np.testing.assert_array_equal(gc.evaluate(g, {"x": np.arange(4)}), [0, 1])


def test_a_cotangent_chooses_the_combination() -> None:
    x = _x(2, 3)
    seed = np.arange(6, dtype=np.float32).reshape(2, 3)
    g = gc.grad(x * x, x, gc.constant(seed))
    np.testing.assert_array_equal(gc.evaluate(g, {"x": np.ones((2, 3))}), 2 * seed)


def test_an_output_of_one_element_needs_no_cotangent() -> None:
    x = _x(1, 1)
    assert gc.grad(x * 3.0, x).shape == (1, 1)


def test_vjp_sums_over_several_outputs_and_takes_none_for_one() -> None:
    x = _x()
    seed = gc.constant(np.array([1, 2, 3], np.float32))
    g = gc.vjp([x * x, x.sum()], x, [seed, None])
    np.testing.assert_array_equal(gc.evaluate(g, {"x": np.array([1, 1, 2])}), [3, 5, 13])
    of_one_output_twice = gc.vjp([x.sum(), x.sum()], x)
    np.testing.assert_array_equal(gc.evaluate(of_one_output_twice), [2, 2, 2])


def test_unused_zero_gives_zeros_of_the_shape_of_the_tensor() -> None:
    x, y = _x("n", 3), _x("n", 2, name="y")
    zeros = gc.grad(x.sum(), y, unused="zero")
    assert zeros.type == y.type
    np.testing.assert_array_equal(gc.evaluate(zeros, {"y": np.ones((4, 2))}), np.zeros((4, 2)))


def test_a_gradient_that_reaches_by_one_way_ignores_the_blocked_ones() -> None:
    x = _x()
    g = gc.grad((gc.floor(x) + gc.cast(gc.argmax(x), "float32") + x).sum(), x)
    np.testing.assert_array_equal(gc.evaluate(g), [1, 1, 1])


def test_an_operator_without_rule_behind_a_blocked_one_does_not_matter() -> None:
    x = _x(2, 2)
    g = gc.grad((gc.floor(gc.op.Det(x)) + x).sum(), x)
    np.testing.assert_array_equal(gc.evaluate(g), np.ones((2, 2)))


def test_a_gradient_can_be_differentiated_again() -> None:
    x = _x()
    first = gc.grad((x**3.0).sum(), x)
    third = gc.grad(gc.grad(first.sum(), x).sum(), x)
    np.testing.assert_allclose(gc.evaluate(third), [6, 6, 6], rtol=1e-6)


def test_hessian_vector_product_is_symmetric() -> None:
    x, u, v = (_x(3, name=name, dtype="float64") for name in ("x", "u", "v"))
    loss = gc.exp(gc.sin(x) * gc.sum(x * x)).sum()
    g = gc.grad(loss, x)
    left = (gc.grad((g * u).sum(), x) * v).sum()
    right = (gc.grad((g * v).sum(), x) * u).sum()
    rng = np.random.default_rng(0)
    a, b = gc.evaluate([left, right], {name: rng.normal(size=3) for name in "xuv"})
    assert a == pytest.approx(b, rel=1e-13)


def test_gradient_nodes_carry_the_line_of_the_forward_node() -> None:
    x = _x()
    hidden = gc.tanh(x)
    assert hidden.node.origin is not None
    g = gc.grad(hidden.sum(), x)
    origin = g.node.origin
    assert origin is not None
    assert (origin.lineno, origin.derived) == (hidden.node.origin.lineno, "gradient of Tanh")


# --- size ---------------------------------------------------------------------------------------------------------


def _seconds_per_node(length: int) -> float:
    x = _x(2)
    y = x
    for _ in range(length):
        y = -y
    start = time.process_time()
    g = gc.grad(y.sum(), x)
    seconds = time.process_time() - start
    assert sum(n.op == "Neg" for n in topological([g])) == length
    return seconds / length


def test_a_chain_of_a_hundred_thousand_nodes_does_not_recurse_and_stays_linear() -> None:
    short = min(_seconds_per_node(5_000) for _ in range(3))
    assert _seconds_per_node(100_000) < 4 * short


# --- errors -------------------------------------------------------------------------------------------------------


def test_output_that_is_no_scalar_is_an_error() -> None:
    x = _x("n", 3)
    with _raises(
        "grad: the output the result of Relu [LINE] is float32[n, 3]; expected a scalar [LINE]. Reduce it to a scalar "
        "(such as .mean()), or pass a cotangent of its shape."
    ):
        gc.grad(gc.relu(x), x)


def test_cotangent_of_another_shape_is_an_error() -> None:
    x = _x("n", 3)
    with _raises("grad: the cotangent is float32[n, 4]; expected float32[n, 3], as the output [LINE]"):
        gc.grad(gc.relu(x), x, _x("n", 4, name="seed"))


def test_number_of_cotangents_must_fit() -> None:
    x = _x()
    with _raises("vjp: 1 cotangents for 2 outputs [LINE]"):
        gc.vjp([x, x], x, [x])


def test_integer_wrt_is_an_error() -> None:
    labels = _x("n", name="labels", dtype="int64")
    with _raises("grad: 'labels' is int64[n]; a gradient exists for floating-point tensors only [LINE]"):
        gc.grad(gc.cast(labels, "float32").sum(), labels)


def test_integer_output_is_an_error() -> None:
    x = _x()
    with _raises("grad: the output the result of ArgMax [LINE] is int64[]; expected a floating-point scalar [LINE]"):
        gc.grad(gc.argmax(x), x)


def test_unknown_word_for_unused_is_an_error() -> None:
    x = _x()
    with _raises("grad: unused='zeros'; expected 'error' or 'zero' [LINE]"):
        gc.grad(x.sum(), x, unused="zeros")


def test_all_operators_without_rule_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.rules()
    for op in ("Tan", "Erf"):
        monkeypatch.delitem(registry._RULES, op)
    x = _x(2, 3)
    loss = gc.tan(gc.relu(x)).sum() + gc.erf(x).sum()
    with _raises(
        "grad: 2 operators between the output and the inputs have no gradient rule [LINE]:\n"
        "  Tan [LINE] -> float32[2, 3]\n"
        "  Erf [LINE] -> float32[2, 3]\n"
        "Register one with passes.vjp.vjp, or differentiate with respect to tensors behind it."
    ):
        gc.grad(loss, x)


def test_what_arrives_through_a_sequence_and_past_it_adds_up() -> None:
    x = _x()
    loss = x.sum() + gc.op.ConcatFromSequence(gc.op.SequenceConstruct(x, x * 2.0), axis=0).sum()
    assert gc.simplify(gc.grad(loss, x)) == gc.constant(np.full(3, 4, np.float32))


def test_output_that_does_not_depend_on_wrt_is_an_error() -> None:
    x, w = _x(), gc.parameter("w", (3,))
    with _raises(
        "grad: the output the result of ReduceSum [LINE] does not depend on 'w' [LINE]. Leave it out, or pass "
        "unused='zero' for a gradient of zeros."
    ):
        gc.grad(x.sum(), w)


def test_blocked_gradient_names_every_barrier_with_its_path() -> None:
    x = _x("n", 3)
    hard = gc.cast(gc.argmax(gc.relu(x), axis=1), "float32").sum() + gc.floor(x).sum()
    with _raises(
        "grad: no gradient reaches 'x'; the output depends on it only through [LINE]:\n"
        "  'x' -> Relu -> ArgMax [LINE]: the result is not a number that can vary continuously (bool or integer)\n"
        "  'x' -> Floor [LINE]: it is constant but for jumps, so that its derivative is zero wherever it exists\n"
        "Leave it out, or pass unused='zero' for a gradient of zeros."
    ):
        gc.grad(hard, x)


def test_cast_to_integers_blocks_the_gradient() -> None:
    x = _x()
    with _raises(
        "grad: no gradient reaches 'x'; the output depends on it only through [LINE]:\n"
        "  'x' -> Exp -> Tanh -> Exp -> … -> Exp -> Tanh -> Exp -> Cast [LINE]: its result is int32[3]\n"
        "Leave it out, or pass unused='zero' for a gradient of zeros."
    ):
        y = gc.exp(gc.tanh(gc.exp(gc.tanh(gc.exp(gc.tanh(gc.exp(x)))))))
        gc.grad(gc.cast(gc.cast(y, "int32"), "float32").sum(), x)


def test_an_input_that_only_counts_is_named() -> None:
    limit = _x(name="limit")[0]
    with _raises(
        "grad: no gradient reaches the result of Gather [LINE]; the output depends on it only through [LINE]:\n"
        "  the result of Gather [LINE] -> Range [LINE]: its result does not vary with this input\n"
        "Leave it out, or pass unused='zero' for a gradient of zeros."
    ):
        gc.grad(gc.op.Range(0.0, limit, 1.0).sum(), limit)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda g: gc.cast(g, "float64"), "float64[2, 3]"),
        (lambda g: g.sum(), "float32[]"),
        (lambda g: g[:, :2], "float32[2, 2]"),
    ],
)
def test_rule_that_returns_another_type_is_an_error(
    returned: object, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(node: Node, g: Tensor) -> Tensor:
        return returned(g)  # type: ignore[operator]

    monkeypatch.setitem(registry._RULES, "Tanh", rule)
    x = _x(2, 3)
    with _raises(
        f"grad: the gradient rule of Tanh returned {found} for an input float32[2, 3] [LINE]; expected its dtype, and "
        "its shape or one that it broadcasts to"
    ):
        gc.grad(gc.tanh(x).sum(), x)


def test_registering_a_second_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^Tanh has a gradient rule already$"):
        registry.vjp("Tanh")(lambda node, g: g)


# --- the perceptron -----------------------------------------------------------------------------------------------


def _perceptron() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    w, x, w0 = (gc.input(name, shape) for name, shape in (("w", (2,)), ("x", (2,)), ("w0", ())))
    return w, x, w0, gc.sigmoid(w0 + w @ x)


PERCEPTRON = {"w0": np.float32(1), "w": np.array([3, -2], np.float32), "x": np.array([-1, 2], np.float32)}


def test_perceptron_has_the_values_of_the_lecture() -> None:
    w, _, _, y = _perceptron()
    value, g = gc.evaluate([y, gc.grad(y, w)], PERCEPTRON)
    assert value == pytest.approx(1 / (1 + np.exp(6.0)), rel=1e-5)
    np.testing.assert_allclose(g, value * (1 - value) * PERCEPTRON["x"], rtol=1e-6)


def test_gradient_of_the_perceptron_simplifies_to_the_formula_of_the_lecture() -> None:
    w, x, _, y = _perceptron()
    simplified = gc.simplify(gc.graph(gc.grad(y, w)))
    gc.testing.assert_same_graph(simplified.outputs, [y * (1.0 - y) * x])


def test_gradient_of_the_perceptron_is_its_derivative_in_sympy() -> None:
    import sympy

    w, x, w0, y = _perceptron()
    symbols = {w0: [sympy.Symbol("bias")], w: sympy.symbols("w:2"), x: sympy.symbols("x:2")}
    (output,) = _in_sympy(y, symbols)
    for found, symbol in zip(_in_sympy(gc.grad(y, w), symbols), symbols[w], strict=True):
        assert sympy.simplify(found - sympy.diff(output, symbol)) == 0


def _in_sympy(output: Tensor, known: dict[Tensor, list[object]]) -> list[object]:
    """The elements of a scalar or vector as sympy expressions."""
    import sympy

    elements: dict[Tensor, list[object]] = dict(known)
    for node in topological([output]):
        inputs = [elements.get(t, []) for t in node.inputs if t is not None]
        size = max(map(len, inputs), default=1)
        columns = list(zip(*[v * size if len(v) == 1 else v for v in inputs], strict=True))
        if node.is_leaf:
            continue
        if node.is_constant:
            elements[node.out()] = [sympy.nsimplify(float(v)) for v in node.attrs["value"].array.ravel()]
        elif node.op == "MatMul":
            elements[node.out()] = [sum(a * b for a, b in columns)]
        elif node.op == "Sigmoid":
            elements[node.out()] = [1 / (1 + sympy.exp(-a)) for (a,) in columns]
        else:
            fold = {"Add": sympy.Add, "Mul": sympy.Mul, "Sub": lambda a, b: a - b}[node.op]
            elements[node.out()] = [fold(a, b) for a, b in columns]
    return elements[output]


def test_gradients_bear_the_names_of_what_they_are_of() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("layer1.weight", (3,))
    loss = gc.mean(gc.tanh(x @ w)).named("loss")
    gradients = gc.grad(loss, [x, w])
    assert [g.name for g in gradients] == ["d_loss/d_x", "d_loss/d_layer1.weight"]
    assert gc.simplify(gradients[1]).name == "d_loss/d_layer1.weight"
    assert gc.grad(gc.sum(x * 2.0).named("total"), x).name == "d_total/d_x"
    assert gc.grad(gc.sum(x * w), w, None).name == "d_output/d_layer1.weight"
    assert w.name == "layer1.weight"
    assert gc.grad(gc.sum(x + w.named("layer1.weight")), [x])[0].name == "d_output/d_x"
