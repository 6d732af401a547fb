"""Forward mode, Hessian products, Jacobians and Hessians: identities, closed forms, finite differences, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from running import REPRESENTATIVE, compiled, is_double, value_of, widest_dtype
from vjp_cases import Case

import graphc as gc
from graphc.ir.build import leaf
from graphc.ir.graph import leaves, topological
from graphc.ir.node import INPUT


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


# --- forward mode -------------------------------------------------------------------------------------------------


REFERENCE = ("DFT", "STFT")  # onnxruntime rounds to 7 digits where the length is no power of 2


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_forward_mode_is_the_transpose_of_reverse_mode(case: Case) -> None:
    """<J v, u> == <v, J^T u>, for random directions v and for a vector u of the size of the outputs."""
    inputs = case.inputs(widest_dtype(case))
    outputs = case.outputs(inputs)
    wrt = [t for t in inputs if t.dtype.is_float]
    directions = [leaf(INPUT, f"v{i}", t.type, {}) for i, t in enumerate(wrt)]
    us = [gc.sin(t * 3.0 + 1.0) for t in outputs]
    pushed = gc.jvp(outputs, wrt, directions)
    pulled = gc.vjp(outputs, wrt, us, unused="zero")
    assert [t.dtype for t in pushed] == [t.dtype for t in outputs]
    fed = case.feeds()
    feeds = {str(t.name): np.asarray(fed[str(t.name)], t.dtype.numpy) for t in inputs}
    for i, t in enumerate(wrt):
        feeds[f"v{i}"] = np.asarray(draw(*feeds[str(t.name)].shape, seed=i), t.dtype.numpy)
    named = {"pushed": pushed, "u": us, "pulled": pulled}
    every = {f"{k}{i}": t for k, tensors in named.items() for i, t in enumerate(tensors)}
    found = compiled(every, reference=case.reference or case.op in REFERENCE)(feeds)
    left = [found[f"pushed{i}"] * found[f"u{i}"] for i in range(len(us))]
    right = [found[f"pulled{i}"] * feeds[f"v{i}"] for i in range(len(wrt))]
    scale = sum(float(np.abs(p).sum()) for p in left + right)
    difference = sum(float(p.sum()) for p in left) - sum(float(p.sum()) for p in right)
    tolerance = 1e-13 if is_double([*pushed, *pulled]) else 1e-6
    assert abs(difference) <= tolerance * scale


def test_forward_mode_keeps_the_structure_of_outputs() -> None:
    x, t = gc.input("x", (3,)), gc.input("t", (3,))
    y = gc.exp(x)
    assert isinstance(gc.jvp(y, x, t), gc.Tensor)
    assert [d.type for d in gc.jvp([y, gc.sum(y)], [x], [t])] == [y.type, gc.sum(y).type]
    assert gc.jvp(y, {"x": x}, {"x": t}) == gc.jvp(y, x, t)


def test_forward_mode_computes_only_the_derivative() -> None:
    """Transposing twice leaves neither a stand-in for the cotangent nor what depends on it."""
    x, w, t = gc.input("x", ("n", 4)), gc.parameter("w", (4, 3)), gc.input("t", ("n", 4))
    b = gc.parameter("b", (3,))
    result = gc.jvp(gc.tanh(x @ w + b), x, t)
    y = gc.tanh(x @ w + b)
    gc.testing.assert_same_graph(gc.simplify(result), (t @ w) * (1.0 - y * y))


def test_forward_mode_reads_shapes_off_tensors_that_are_there() -> None:
    x, t = gc.input("x", ("n", "m")), gc.input("t", ("n", "m"))
    result = gc.jvp(gc.softmax(x), x, t)
    assert {leaf.name for leaf in leaves([result])} == {"x", "t"}
    assert not gc.graph(result).find("ConstantOfShape")


def test_forward_mode_of_a_sum_of_paths_through_control_of_shapes() -> None:
    """A size that depends on the input's shape is no function of its values."""
    x = gc.input("x", ("n",), "float64")
    y = gc.sum(x) / gc.cast(gc.op.Size(x), "float64") * x
    v, at = draw(4, seed=1), draw(4)
    found = value_of(gc.jvp(y, x, gc.constant(v)), {"x": at})
    np.testing.assert_allclose(found, v.mean() * at + at.mean() * v, rtol=1e-14)


def test_forward_mode_is_zero_where_nothing_depends() -> None:
    x, z = gc.input("x", ("n",)), gc.input("z", ("m", 2))
    found = value_of(gc.jvp(gc.exp(z), x, x), {"x": np.ones(3, "f"), "z": np.ones((4, 2), "f")})
    np.testing.assert_array_equal(found, np.zeros((4, 2), "f"))


def test_forward_over_reverse_is_the_hessian_product() -> None:
    x, v = gc.input("x", ("n",), "float64"), gc.input("v", ("n",), "float64")
    loss = gc.sum(gc.exp(x) * gc.sum(gc.square(x)))
    both = {"forward": gc.jvp(gc.grad(loss, x), x, v), "reverse": gc.hvp(loss, x, v)}
    found = compiled(both)({"x": draw(5), "v": draw(5, seed=1)})
    np.testing.assert_allclose(found["forward"], found["reverse"], rtol=1e-13)


# --- Jacobians ----------------------------------------------------------------------------------------------------


def test_jacobian_of_softmax_is_diagonal_minus_outer_product() -> None:
    x = gc.input("x", ("n",), "float64")
    at = draw(6)
    p = np.exp(at) / np.exp(at).sum()
    np.testing.assert_allclose(
        value_of(gc.jacobian(gc.softmax(x), x), {"x": at}), np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-16
    )


def test_jacobian_of_a_perceptron_is_slope_times_input() -> None:
    w, x = gc.input("w", (2, 3), "float64"), gc.input("x", (3,), "float64")
    y = gc.sigmoid(w @ x)
    feeds = {"w": draw(2, 3), "x": draw(3, seed=1)}
    s = 1 / (1 + np.exp(-feeds["w"] @ feeds["x"]))
    expected = np.einsum("i,ij,k->ijk", s * (1 - s), np.eye(2), feeds["x"])
    jacobian = gc.jacobian(y, w)
    assert jacobian.shape == (2, 2, 3)
    np.testing.assert_allclose(value_of(jacobian, feeds), expected, rtol=1e-13)


SHAPES = [
    ((), (3,)),
    ((3,), ()),
    ((2, 3), (3,)),
    ((3,), (2, 2)),
    ((1,), (1,)),
    ((1, 1), (2,)),
    ((2,), (5,)),
    ((0, 2), (3,)),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize(("out", "into"), SHAPES, ids=str)
def test_jacobian_of_a_linear_map_is_its_matrix(out: tuple[int, ...], into: tuple[int, ...], symbolic: bool) -> None:
    names = iter("pqrs")
    dims = [tuple(next(names) for _ in shape) if symbolic else shape for shape in (out, into)]
    x, m = gc.input("x", dims[1], "float64"), gc.input("m", (*dims[0], *dims[1]), "float64")
    inner = tuple(range(len(out), len(out) + len(into)))
    y = gc.sum(m * x, inner)
    jacobian = gc.jacobian(y, x)
    assert jacobian.shape == (*y.shape, *x.shape)
    matrix = draw(*out, *into)
    found = value_of(jacobian, {"x": draw(*into, seed=1), "m": matrix})
    np.testing.assert_allclose(found, matrix, rtol=1e-15)
    assert found.shape == (*out, *into)


def test_jacobian_is_one_graph_without_loops() -> None:
    """As many operators for a long vector as for a short one, and no control flow."""

    def count(n: int) -> int:
        x = gc.input("x", (n,))
        graph = gc.graph(gc.jacobian(gc.softmax(gc.tanh(x)), x))
        assert not {"Loop", "Scan", "If"} & graph.operators().keys()
        return graph.count()

    assert count(4) == count(4000)


def test_tall_jacobian_pushes_forward() -> None:
    """Where the output has more elements than the tensor, columns are computed: one for each element of the tensor."""
    x = gc.input("x", (2,), "float64")
    y = gc.exp(gc.tile(x, (50,)))
    jacobian = gc.jacobian(y, x)
    assert max(t.tensor_type.size for node in topological([jacobian]) for t in node.outputs) == 200
    at = draw(2)
    np.testing.assert_allclose(value_of(jacobian, {"x": at}), np.tile(np.diag(np.exp(at)), (50, 1)), rtol=1e-15)


def test_jacobian_with_respect_to_several_tensors_has_their_structure() -> None:
    a, b = gc.input("a", (2,)), gc.input("b", (2, 3))
    y = a * gc.sum(b, 1)
    assert [t.shape for t in gc.jacobian(y, [a, b])] == [(2, 2), (2, 2, 3)]
    assert {k: t.shape for k, t in gc.jacobian(y, {"a": a}).items()} == {"a": (2, 2)}


def test_jacobian_can_be_differentiated() -> None:
    """The log-determinant of a Jacobian, as a normalizing flow needs it, agrees with finite differences."""
    x = gc.input("x", (3,), "float64")
    jacobian = gc.jacobian(gc.sinh(x) + gc.sum(x) * 0.1, x)
    gc.testing.check_grads(gc.sum(gc.square(jacobian)), x)


def test_jacobian_of_a_network_agrees_with_finite_differences() -> None:
    x = gc.input("x", ("n", 4), "float64")
    w, v = gc.constant(draw(4, 5, seed=1)), gc.constant(draw(5, 2, seed=2))
    y = gc.log_softmax(gc.gelu(x @ w) @ v)
    at, step = draw(3, 4), 1e-6
    found = value_of(gc.jacobian(y, x), {"x": at})
    assert found.shape == (3, 2, 3, 4)
    numeric = np.zeros_like(found)
    f = gc.compile({"y": y}, runtime="reference")
    for i, j in np.ndindex(3, 4):
        unit = np.zeros((3, 4))
        unit[i, j] = step
        numeric[:, :, i, j] = (f({"x": at + unit})["y"] - f({"x": at - unit})["y"]) / (2 * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-8)


# --- Hessians -----------------------------------------------------------------------------------------------------


def test_hessian_of_a_quadratic_form_is_the_symmetric_part_twice() -> None:
    x, a = gc.input("x", ("n",), "float64"), gc.input("a", ("n", "n"), "float64")
    matrix = draw(4, 4)
    found = value_of(gc.hessian(x @ a @ x, x), {"x": draw(4, seed=1), "a": matrix})
    np.testing.assert_allclose(found, matrix + matrix.T, rtol=1e-14)


def test_hessian_of_logistic_loss_is_a_weighted_gram_matrix() -> None:
    """The textbook form X^T diag(s (1 - s)) X of logistic regression."""
    w = gc.input("w", (3,), "float64")
    x = draw(5, 3)
    loss = gc.sum(gc.softplus(gc.constant(x) @ w))
    at = draw(3, seed=1)
    s = 1 / (1 + np.exp(-x @ at))
    np.testing.assert_allclose(value_of(gc.hessian(loss, w), {"w": at}), x.T @ np.diag(s * (1 - s)) @ x, rtol=1e-12)


def test_hessian_blocks_have_the_structure_of_their_tensors() -> None:
    a, b = gc.input("a", (2,), "float64"), gc.input("b", (2, 3), "float64")
    loss = gc.sum(gc.square(a) * gc.sum(b, 1))
    blocks = gc.hessian(loss, {"a": a, "b": b})
    assert {(i, j): blocks[i][j].shape for i in "ab" for j in "ab"} == {
        ("a", "a"): (2, 2),
        ("a", "b"): (2, 2, 3),
        ("b", "a"): (2, 3, 2),
        ("b", "b"): (2, 3, 2, 3),
    }
    at = {"a": draw(2), "b": draw(2, 3, seed=1)}
    found = compiled({f"{i}{j}": blocks[i][j] for i in "ab" for j in "ab"})(at)
    np.testing.assert_allclose(found["aa"], np.diag(2 * at["b"].sum(1)), rtol=1e-14)
    np.testing.assert_allclose(found["ab"], np.einsum("i,ij,k->ijk", 2 * at["a"], np.eye(2), np.ones(3)), rtol=1e-14)
    np.testing.assert_allclose(found["ba"], found["ab"].transpose(1, 2, 0), rtol=1e-14)
    np.testing.assert_array_equal(found["bb"], np.zeros((2, 3, 2, 3)))


def test_hessian_product_is_the_hessian_times_the_vector() -> None:
    w, v = gc.input("w", (4, 3), "float64"), gc.input("v", (4, 3), "float64")
    x = gc.constant(draw(6, 4))
    loss = gc.mean(gc.logsumexp(gc.tanh(x @ w), 1))
    feeds = {"w": draw(4, 3, seed=1), "v": draw(4, 3, seed=2)}
    found = compiled({"hessian": gc.hessian(loss, w), "product": gc.hvp(loss, w, v)})(feeds)
    expected = np.einsum("ijkl,kl->ij", found["hessian"], feeds["v"])
    np.testing.assert_allclose(found["product"], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found["hessian"], found["hessian"].transpose(2, 3, 0, 1), rtol=1e-12, atol=1e-16)


def test_hessian_product_has_the_structure_of_its_tensors() -> None:
    a, b = gc.input("a", (2,)), gc.input("b", (3,))
    loss = gc.sum(a) * gc.sum(gc.square(b))
    assert [t.shape for t in gc.hvp(loss, [a, b], [a, b])] == [(2,), (3,)]
    assert {k: t.shape for k, t in gc.hvp(loss, {"b": b}, {"b": np.ones(3, "f")}).items()} == {"b": (3,)}


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [gc.jvp, gc.hvp], ids=["jvp", "hvp"])
def test_a_vector_that_does_not_fit_is_refused(mode: Any) -> None:
    what = "tangent" if mode is gc.jvp else "vector"
    x, y = gc.input("x", ("n", 3)), gc.input("y", (2,))
    loss = gc.sum(x) * gc.sum(y)
    here = r" \[test_modes.py:\d+\]"
    for wrong in (gc.input("t", ("n", 4)), gc.input("t", (3,)), gc.input("t", ("n", 3), "float64")):
        expected = rf"{mode.__name__}: the {what} of 'x' is .*; expected float32\[n, 3\]{here}"
        with pytest.raises(gc.DifferentiationError, match=expected):
            mode(loss, x, wrong)
    with pytest.raises(gc.DifferentiationError, match=rf"{mode.__name__}: 1 {what}s for 2 tensors{here}"):
        mode(loss, [x, y], [x])
    with pytest.raises(gc.DifferentiationError, match=rf"the {what}s are \['y'\]; expected one for each of \['x'\]"):
        mode(loss, {"x": x}, {"y": x})


@pytest.mark.parametrize("mode", ["jvp", "hvp", "jacobian", "hessian"])
def test_integer_tensors_are_refused(mode: str) -> None:
    x, i = gc.input("x", (3,)), gc.input("i", (3,), "int64")
    loss = gc.sum(x * gc.cast(i, "float32"))
    vectors = (i,) if mode in ("jvp", "hvp") else ()
    with pytest.raises(gc.DifferentiationError, match=r"'i' is int64\[3\].* floating-point tensors only"):
        getattr(gc, mode)(loss, i, *vectors)


@pytest.mark.parametrize("mode", ["jvp", "jacobian"])
def test_integer_outputs_are_refused(mode: str) -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.DifferentiationError, match=r"the result of ArgMax .* is int64\[1\]; derivatives exist for"):
        getattr(gc, mode)(gc.op.ArgMax(x), x, *([x] if mode == "jvp" else []))


def test_a_jacobian_of_what_does_not_depend_is_refused_or_zero() -> None:
    x, z = gc.input("x", (3,)), gc.input("z", (2,))
    with pytest.raises(gc.DifferentiationError, match="does not depend on 'x'"):
        gc.jacobian(gc.exp(z), x)
    zeros = gc.jacobian(gc.exp(z), x, unused="zero")
    np.testing.assert_array_equal(value_of(zeros, {"x": np.ones(3, "f"), "z": np.ones(2, "f")}), np.zeros((2, 3)))


def test_a_hessian_of_a_vector_is_refused() -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.DifferentiationError, match=r"float32\[3\]; expected a scalar"):
        gc.hessian(gc.exp(x), x)
