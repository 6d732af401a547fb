"""Batch normalization lowered to plain operators, and folded into what comes before it."""

from __future__ import annotations

import numpy as np
import pytest
from structural_nets import convnet, imported, mlp

import graphc as gc
from graphc import nn
from graphc.ir.build import apply
from graphc.ir.graph import Graph, graph
from passes.batch_norm import lower_batch_norm
from passes.fold_batch_norm import fold_batch_norm
from runtimes.testing import assert_graphs_equal, check_grads

RNG = np.random.default_rng(5)


def normalized(x: gc.Tensor, size: int, outputs: int = 1, **attrs: object) -> list[gc.Tensor]:
    names = ("scale", "shift", "mean", "var")
    dtype = "float64" if x.dtype.name == "float64" else "float32"
    vectors = [gc.parameter(n, (size,), RNG.uniform(0.5, 2, size).astype(dtype), dtype=dtype) for n in names]
    return list(apply("BatchNormalization", (x, *vectors), {"training_mode": 1, **attrs}).outputs[:outputs])


# --- lowered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [("n", 4), (6, 4), ("n", 4, 5), ("n", 4, "h", "w"), ("n", 4, 2, 2, 3)], ids=str)
def test_the_lowered_form_computes_what_the_operator_is_defined_to_compute(shape):
    x = gc.input("x", shape, "float64")
    old = graph(normalized(x, 4, outputs=3, epsilon=1e-3, momentum=0.8))
    new = lower_batch_norm(old)
    assert new.count("BatchNormalization") == 0
    assert new.inputs == old.inputs
    feeds = {"x": RNG.normal(2, 3, [d if isinstance(d, int) else 3 for d in x.shape])}
    expected = gc.evaluate(old, feeds, runtime="reference")
    for name, value in gc.evaluate(new, feeds, runtime="reference").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12)


def test_inference_and_unknown_ranks_are_left_alone():
    x = gc.input("x", ("n", 4))
    old = graph(normalized(x, 4, training_mode=0))
    assert lower_batch_norm(old) is old
    of_any_rank = graph(normalized(gc.reshape(x, gc.input("shape", (None,), "int64")), 4))
    assert lower_batch_norm(of_any_rank) is of_any_rank


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_normalized_in_float32(dtype):
    x = gc.input("x", ("n", 3), dtype)
    y = nn.BatchNorm1d()(x)
    assert y.dtype.name == dtype
    data = RNG.normal(0, 300, (50, 3)).astype(x.dtype.numpy)
    wide = data.astype(np.float64)
    expected = (wide - wide.mean(0)) / wide.std(0)
    found = gc.evaluate(y.cast("float32"), {"x": data})
    np.testing.assert_allclose(found, expected, atol=2e-3 if dtype == "float16" else 2e-2)


def test_a_large_mean_does_not_cancel():
    data = (RNG.normal(0, 1, (256, 2)) + 3000).astype(np.float32)
    wide = data.astype(np.float64)
    found = gc.evaluate(nn.BatchNorm1d()(gc.input("x", ("n", 2))), {"x": data})
    np.testing.assert_allclose(found, (wide - wide.mean(0)) / wide.std(0), atol=2e-3)


def test_one_value_per_channel_becomes_the_bias():
    layer = nn.BatchNorm1d()
    y = layer(gc.input("x", ("n", 3)))
    state = nn.init.initialize(layer.parameters()) | {"bias": np.array([1, 2, 3], np.float32)}
    np.testing.assert_array_equal(gc.evaluate(y, {"x": np.ones((1, 3), np.float32)}, state=state), [[1, 2, 3]])


def test_evaluating_twice_gives_the_same_although_onnxruntimes_kernel_overwrites_statistics():
    layer = nn.BatchNorm1d()
    x = gc.input("x", ("n", 3))
    y = layer(x)
    function = gc.compile([y, gc.to_inference(y)])
    data = RNG.normal(5, 1, (9, 3)).astype(np.float32)
    first, second = function(x=data), function(x=data)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(second[1], data, rtol=1e-4)


# --- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), ("n", 3, 2, 2)], ids=str)
def test_gradients_of_the_training_form_agree_with_finite_differences(shape, lowered):
    x = gc.input("x", shape, "float64")
    (y,) = normalized(x, 3)
    if lowered:
        (y,) = lower_batch_norm(graph(y)).outputs
    feeds = {"x": RNG.normal(2, 3, [d if isinstance(d, int) else 4 for d in x.shape])}
    parameters = [t for t in graph(y).inputs if t.name in ("scale", "shift")]
    check_grads(gc.tanh(y), [x, *parameters], feeds, order=2, runtime="reference")


def test_gradient_and_forward_pass_share_the_centered_data_and_read_it_once_each():
    x = gc.input("x", ("n", 4, "h", "w"))
    (y,) = normalized(x, 4)
    loss = (y * gc.input("weights", ("n", 4, "h", "w"))).sum()
    gradients = gc.grad(loss, graph(y).inputs[0:3])
    lowered = gc.simplify(lower_batch_norm(graph([loss, *gradients])))
    full = [n for n in lowered.nodes if not n.is_leaf and len(getattr(n.types[0], "shape", ())) == 4]
    large = [n.op for n in full if "n" in map(str, n.types[0].shape)]
    # forward: centered, squared, scaled, shifted; the loss; backward: a product, two differences and two products
    assert sorted(large) == ["Add", "Mul", "Mul", "Mul", "Mul", "Mul", "Mul", "Sub", "Sub", "Sub"]
    assert lowered.count("ReduceMean") + lowered.count("ReduceSum") == 5


# --- folded -------------------------------------------------------------------------------------------------------


def random_state(g: Graph) -> dict[str, np.ndarray]:
    """Values that make a normalization do something; variances are positive."""
    return {
        name: (RNG.uniform(0.5, 2, t.shape) if name.endswith("var") else RNG.normal(0.3, 1, t.shape)).astype(
            t.dtype.numpy
        )
        for name, t in g.parameters.items()
    }


def check_folded(g: Graph, state: dict[str, np.ndarray], feeds: dict[str, np.ndarray], left: int = 0) -> Graph:
    """Fold, compare the values, and count what is left."""
    folded, arrays = fold_batch_norm(g, state)
    assert folded.count("BatchNormalization") == left
    assert arrays.keys() == folded.parameters.keys()
    assert folded.output_names == g.output_names
    assert list(folded.feeds) == list(g.feeds)
    expected = gc.evaluate(g, feeds, state=state)
    for name, value in gc.evaluate(folded, feeds, state=arrays).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5 * np.abs(expected[name]).max())
    return folded


def test_a_convnet_folds_to_the_plain_net_with_the_same_names():
    plain = graph(convnet())
    g = gc.insert_batchnorm(plain, after="Conv", mode="inference")
    folded = check_folded(g, random_state(g), {"image": RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)})
    assert_graphs_equal(folded, plain)


@pytest.mark.parametrize("make", [mlp, lambda: gc.to_inference(nn.Dropout(0.2)(mlp()))])
def test_an_mlp_folds_to_the_plain_net_with_the_same_names(make):
    plain = graph(mlp())
    g = gc.insert_batchnorm(graph(make()), after="Gemm", affine=False, mode="inference")
    folded = check_folded(g, random_state(g), {"x": RNG.normal(size=(5, 8)).astype(np.float32)})
    assert_graphs_equal(folded, plain)


def test_an_imported_graph_folds_into_its_matmul_and_add():
    plain, arrays = imported()
    g = gc.insert_batchnorm(plain, before="Relu", mode="inference")
    folded = check_folded(g, random_state(g) | arrays, {"x": RNG.normal(size=(5, 8)).astype(np.float32)})
    assert folded.operators() == {"Gemm": 1, "MatMul": 1, "Relu": 1}
    assert list(folded.parameters) == ["fc1/w", "fc1/b", "fc2/w"]


KERNELS = {
    "conv": ("Conv", (6, 4, 3, 3), {}),
    "grouped-conv": ("Conv", (6, 2, 3, 3), {"group": 2}),
    "padded-strided-conv": ("Conv", (6, 4, 3, 3), {"pads": (1, 1, 1, 1), "strides": (2, 2)}),
    "transposed-conv": ("ConvTranspose", (4, 6, 3, 3), {"strides": (2, 2)}),
    "grouped-transposed-conv": ("ConvTranspose", (4, 3, 3, 3), {"group": 2}),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("constants", [True, False])
@pytest.mark.parametrize("kind", KERNELS)
def test_each_kind_of_convolution_folds(kind, constants, bias):
    op, shape, attrs = KERNELS[kind]
    x = gc.input("x", ("n", 4, 6, 6))
    arrays = {"k.weight": RNG.normal(size=shape), "k.bias": RNG.normal(size=6)}
    arrays = {name: a.astype(np.float32) for name, a in arrays.items()}
    given = [gc.constant(a) if constants else gc.parameter(name, a.shape, a) for name, a in arrays.items()]
    h = apply(op, (x, *given[: 2 if bias else 1]), attrs).out()
    g = graph(gc.insert_batchnorm(h, after=op, mode="inference"))
    state = random_state(g)
    folded = check_folded(g, state, {"x": RNG.normal(size=(2, 4, 6, 6)).astype(np.float32)})
    assert folded.operators() == {op: 1}
    assert list(folded.parameters) == ([] if constants else ["k.weight", "k.bias"])


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("shift", [None, (), (5,), (1, 5), (1, 1)], ids=str)
def test_each_form_of_gemm_folds(transposed, shift):
    x = gc.input("x", ("n", 3))
    w = RNG.normal(size=(5, 3) if transposed else (3, 5)).astype(np.float32)
    c = None if shift is None else RNG.normal(size=shift).astype(np.float32)
    h = apply("Gemm", (x, w, c), {"alpha": 0.5, "beta": 2.0, "transB": int(transposed)}).out()
    g = graph(gc.insert_batchnorm(h, after="Gemm", mode="inference"))
    check_folded(g, random_state(g), {"x": RNG.normal(size=(4, 3)).astype(np.float32)})


def test_normalizations_one_after_another_and_behind_one_another_fold():
    x = gc.input("x", ("n", 4))
    h = nn.Linear(5, name="a")(x)
    h = gc.relu(nn.BatchNorm1d(name="n1")(h))
    y = nn.BatchNorm1d(name="n2")(nn.Linear(3, bias=False, name="b")(h))
    g = gc.to_inference(graph(y))
    folded = check_folded(g, random_state(g), {"x": RNG.normal(size=(6, 4)).astype(np.float32)})
    assert list(folded.parameters) == ["a.weight", "a.bias", "b.weight", "b.bias"]


def test_a_sum_after_a_product_with_a_bias_folds_both_offsets():
    h = nn.Linear(4, name="linear")(gc.input("x", ("n", 4))) + RNG.normal(size=4).astype(np.float32)
    g = gc.to_inference(graph(nn.BatchNorm1d(name="norm")(h)))
    folded = check_folded(g, random_state(g), {"x": RNG.normal(size=(6, 4)).astype(np.float32)})
    assert folded.operators() == {"Gemm": 1}


def test_shared_weights_stay_for_their_other_readers():
    x = gc.input("x", ("n", 4))
    layer = nn.Linear(4, name="shared")
    y = layer(gc.relu(nn.BatchNorm1d(name="norm")(layer(x))))
    g = gc.to_inference(graph(y))
    folded = check_folded(g, random_state(g), {"x": RNG.normal(size=(6, 4)).astype(np.float32)})
    assert sorted(folded.parameters) == ["shared.bias", "shared.bias_folded", "shared.weight", "shared.weight_folded"]


def unfoldable() -> dict[str, gc.Tensor]:
    x = gc.input("x", ("n", 4))
    sequence = gc.input("x", ("n", 4, 4))
    linear = nn.Linear(4, name="linear")(x)
    shift = np.ones(4, np.float32)
    return {
        "an activation between": nn.BatchNorm1d()(gc.relu(linear)),
        "another reader": nn.BatchNorm1d()(linear) + linear,
        "another reader of the sum": nn.BatchNorm1d()(linear + shift) + gc.tanh(linear + shift),
        "a computed weight": nn.BatchNorm1d()(x @ gc.tanh(gc.parameter("w", (4, 4), nn.init.Normal()))),
        "an axis that is no feature axis": nn.BatchNorm1d()(sequence @ gc.parameter("w", (4, 4), nn.init.Normal())),
        "a bias along the batch": nn.BatchNorm1d()(
            apply("Add", (gc.input("x", (3, 4)) @ np.eye(4, dtype=np.float32), np.ones((3, 1), np.float32))).out()
        ),
        "nothing before": nn.BatchNorm1d()(x),
    }


@pytest.mark.parametrize("reason", unfoldable())
def test_what_does_not_fold_stays(reason):
    g = gc.to_inference(graph(unfoldable()[reason]))
    state = random_state(g)
    folded, arrays = fold_batch_norm(g, state)
    assert folded is g
    assert arrays == state


def test_the_training_form_does_not_fold():
    g = graph(nn.BatchNorm1d(name="norm")(nn.Linear(3)(gc.input("x", ("n", 2)))))
    assert fold_batch_norm(g, random_state(g))[0] is g
