"""The vectorizing map and per-example gradients: what they give, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.functional.closure import formal
from graphc.ir.types import TensorType
from passes.batching import registry

# --- the map itself -----------------------------------------------------------------------------------------------


def test_the_batched_graph_is_what_one_would_write() -> None:
    x, xs, w = gc.input("x", (4,)), gc.input("xs", ("B", 4)), gc.parameter("w", (4, 3))
    gc.testing.assert_same_graph(gc.vmap(gc.tanh(x @ w), {x: xs}), gc.tanh(xs @ w))


def test_several_tensors_of_a_batch_go_together() -> None:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    xs, ys = gc.input("xs", ("B", "n")), gc.input("ys", ("B", "n"))
    product, total = gc.vmap([x * y, gc.sum(x)], {x: xs, y: ys})
    assert product == xs * ys
    assert total.shape == xs.shape[:1]


def test_a_computed_tensor_can_be_batched() -> None:
    x = gc.input("x", (3,))
    hidden = gc.exp(x)
    many = gc.input("many", (5, 3))
    assert gc.vmap(hidden * 2.0, {hidden: many}) == many * 2.0
    assert gc.vmap(hidden + x, {hidden: many}) == many + x


def test_one_output_of_several_can_be_batched() -> None:
    x, xs, firsts = gc.input("x", (4,)), gc.input("xs", ("B", 4)), gc.input("firsts", ("B", 2))
    first, second = gc.split(x, 2)
    doubled = gc.vmap([first * 2.0, second * 2.0], {x: xs, first: firsts})
    assert doubled == [firsts * 2.0, gc.split(xs, 2, axis=1)[1] * 2.0]


def test_outputs_that_do_not_depend_are_repeated_or_left_alone() -> None:
    x, z = gc.input("x", (3,)), gc.input("z", ("n",))
    xs = gc.input("xs", ("B", 3))
    assert gc.vmap(z, {x: xs}, expand=False) == z
    repeated = gc.vmap([z, gc.sum(z), x], {x: xs})
    assert [t.shape for t in repeated] == [(*xs.shape[:1], *z.shape), xs.shape[:1], xs.shape]
    found = gc.evaluate(repeated, {"xs": np.zeros((2, 3), "f"), "z": np.arange(2, dtype="f")})
    np.testing.assert_array_equal(found[0], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(found[1], [1, 1])


def test_shapes_stay_those_of_one_element() -> None:
    """Shape arithmetic is not batched: the mean over all elements of one element's tensor divides by its own size."""
    x, xs = gc.input("x", ("n", "m")), gc.input("xs", ("B", "n", "m"))
    mean = gc.sum(x) / gc.cast(gc.op.Size(x), "float32")
    values = np.arange(12, dtype="f").reshape(2, 3, 2)
    np.testing.assert_allclose(gc.evaluate(gc.vmap(mean, {x: xs}), {"xs": values}), values.mean((1, 2)))


def test_a_map_of_a_map_has_two_batch_axes() -> None:
    x, w = gc.input("x", (3,), "float64"), gc.input("w", (3, 2), "float64")
    xs, ws = gc.input("xs", ("B", 3), "float64"), gc.input("ws", ("A", 3, 2), "float64")
    inner = gc.vmap(gc.softmax(x @ w), {x: xs})
    outer = gc.vmap(inner, {w: ws})
    assert outer.shape == (*ws.shape[:1], *xs.shape[:1], 2)
    a, b = np.random.default_rng(0).standard_normal((2, 4, 3)), np.random.default_rng(1).standard_normal((5, 3, 2))
    z = np.exp(a[0][None] @ b)
    found = gc.evaluate(outer, {"xs": a[0], "ws": b})
    np.testing.assert_allclose(found, z / z.sum(-1, keepdims=True), rtol=1e-14)


def test_a_batch_of_size_zero() -> None:
    x, w = gc.input("x", (2, 3)), gc.constant(np.ones((3, 4), "f"))
    y = gc.reshape(gc.softmax(x @ w), (-1,))
    found = gc.evaluate(gc.vmap(y, {x: gc.input("xs", ("B", 2, 3))}), {"xs": np.zeros((0, 2, 3), "f")})
    assert found.shape == (0, 8)


@pytest.mark.parametrize(("batch", "width"), [(0, 3), (2, 0)])
def test_a_batched_scan_without_elements_leaves_the_process_alive(batch: int, width: int) -> None:
    """onnxruntime's Scan divides by zero when it reads tensors without elements along another axis than the first."""
    xs = gc.input("xs", ("time", "width"))
    many = gc.input("many", ("batch", "time", "width"))
    last, sums = gc.scan(lambda total, x: (total + gc.sum(x), x * total), gc.constant(0.0), xs)
    gradient = gc.grad(last + gc.sum(sums), xs)
    batched = gc.graph(gc.vmap([last, sums, gradient], {xs: many}))
    assert not any(n.attrs.get(k) for n in batched.nodes for k in ("scan_input_axes", "scan_output_axes"))
    found = gc.evaluate(batched.outputs, {"many": np.zeros((batch, 4, width), np.float32)})
    assert [a.shape for a in found] == [(batch,), (batch, 4, width), (batch, 4, width)]


def test_names_and_lines_are_kept() -> None:
    x = gc.input("x", (3,))
    y = gc.exp(x).named("hidden") * 2.0
    batched = gc.vmap(y, {x: gc.input("xs", ("B", 3))})
    (exp,) = gc.graph(batched).find("Exp")
    assert exp.out().name == "hidden"
    assert str(exp.origin) == str(y.node.inputs[0].node.origin)


def test_a_long_chain_does_not_recurse() -> None:
    x = gc.input("x", (2,))
    y = x
    for _ in range(5000):
        y = gc.sin(y)
    assert gc.graph(gc.vmap(y, {x: gc.input("xs", ("B", 2))})).count("Sin") == 5000


# --- per-example gradients ----------------------------------------------------------------------------------------


def assert_per_example_equals_loop(
    loss: gc.Tensor, inputs: list[gc.Tensor], feeds: dict[str, Any], rtol: float
) -> None:
    """Each row of per_example_grad == the gradient of the loss of a batch of that row; one graph without loops."""
    wrt = gc.graph(loss).trainable
    gradients = gc.per_example_grad(loss, wrt, inputs)
    assert not {"Loop", "Scan", "If"} & gc.graph(gradients).operators().keys()
    state = gc.init_state(gc.graph(loss), seed=3)
    found = gc.evaluate(gradients, feeds, state=state)
    one = gc.compile(gc.grad(loss, wrt), state=state)
    size = len(next(iter(feeds.values())))
    for b in range(size):
        expected = one({name: value[b : b + 1] for name, value in feeds.items()})
        for name, value in expected.items():
            scale = np.abs(value).max()
            assert found[name].shape == (size, *value.shape)
            np.testing.assert_allclose(found[name][b], value, rtol=rtol, atol=rtol * scale, err_msg=f"{name}, row {b}")


def labels(count: int, classes: int) -> Any:
    return np.random.default_rng(5).integers(0, classes, count)


def normal(*shape: int) -> Any:
    return np.random.default_rng(4).standard_normal(shape).astype("f")


def test_per_example_gradients_of_a_feed_forward_network() -> None:
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), "int64")
    model = gc.nn.Sequential(gc.nn.Linear(8), gc.nn.Tanh(), gc.nn.Linear(3), name="mlp")
    loss = gc.nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
    assert_per_example_equals_loop(loss, [x, y], {"x": normal(4, 5), "y": labels(4, 3)}, 2e-6)


def test_per_example_gradients_of_a_normalized_network() -> None:
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch", 2))
    w, v = gc.parameter("w", (5, 6), gc.nn.init.Normal()), gc.parameter("v", (6, 2), gc.nn.init.Normal())
    scale, bias, rms = (gc.parameter(n, (6,), np.linspace(0.5, 1.5, 6, dtype="f")) for n in ("scale", "bias", "rms"))
    hidden = gc.op.LayerNormalization(x @ w, scale, bias)
    hidden = gc.op.RMSNormalization(gc.gelu(hidden), rms)
    loss = gc.nn.functional.mse_loss(hidden @ v, y)
    assert_per_example_equals_loop(loss, [x, y], {"x": normal(4, 5), "y": normal(4, 2)}, 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_per_example_gradients_of_a_convolutional_network(groups: int) -> None:
    x, y = gc.input("x", ("batch", 2, 6, 6)), gc.input("y", ("batch",), "int64")
    w, b = gc.parameter("w", (4, 2 // groups, 3, 3), gc.nn.init.Normal()), gc.parameter("b", (4,))
    scale, bias = gc.parameter("scale", (4,), np.ones(4, "f")), gc.parameter("bias", (4,))
    u = gc.parameter("u", (4 * 9, 3), gc.nn.init.Normal(0.2))
    hidden = gc.relu(gc.op.Conv(x, w, b, pads=[1, 1, 1, 1], group=groups))
    hidden = gc.op.GroupNormalization(hidden, scale, bias, num_groups=2)
    hidden = gc.op.AveragePool(hidden, kernel_shape=[2, 2], strides=[2, 2])
    loss = gc.nn.functional.cross_entropy(gc.flatten(hidden, 1) @ u, y)
    assert_per_example_equals_loop(loss, [x, y], {"x": normal(3, 2, 6, 6), "y": labels(3, 3)}, 1e-5)


def test_per_example_gradients_of_attention() -> None:
    x, y = gc.input("x", ("batch", "tokens", 8)), gc.input("y", ("batch",), "int64")
    q, k, v, u = (gc.parameter(n, (8, 8), gc.nn.init.Normal(0.3)) for n in "qkvu")
    attended = gc.op.Attention(x @ q, x @ k, x @ v, q_num_heads=2, kv_num_heads=2, is_causal=1)
    loss = gc.nn.functional.cross_entropy(gc.mean(attended @ u, 1), y)
    assert_per_example_equals_loop(loss, [x, y], {"x": normal(3, 5, 8), "y": labels(3, 8)}, 1e-5)


def test_the_mean_of_per_example_gradients_is_the_gradient() -> None:
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch", 1))
    w = gc.parameter("w", (5, 1), gc.nn.init.Normal())
    loss = gc.nn.functional.huber_loss(gc.tanh(x @ w), y)
    mean = gc.mean(gc.per_example_grad(loss, w, [x, y]), 0)
    found = gc.evaluate([mean, gc.grad(loss, w)], {"x": normal(6, 5), "y": normal(6, 1)})
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-8)


def test_per_example_gradients_have_the_structure_of_their_tensors() -> None:
    x, w = gc.input("x", (7, 3)), gc.parameter("w", (3,))
    loss = gc.mean(gc.square(x * w))
    assert gc.per_example_grad(loss, w, x).shape == (7, 3)
    assert [g.shape for g in gc.per_example_grad(loss, [w], [x])] == [(7, 3)]
    assert {k: g.shape for k, g in gc.per_example_grad(loss, {"w": w}, x).items()} == {"w": (7, 3)}


# --- refusals -----------------------------------------------------------------------------------------------------

HERE = r" \[test_vmap.py:\d+\]"


def test_every_operator_without_a_rule_is_named_with_its_line() -> None:
    x, xs = gc.input("x", (4,)), gc.input("xs", ("B", 4))
    places = gc.op.NonZero(x)
    drawn = gc.op.Multinomial(gc.unsqueeze(x, 0), sample_size=4)
    redrawn = gc.op.Multinomial(gc.cast(drawn, "float32"), sample_size=4)
    again = gc.op.NonZero(redrawn)
    with pytest.raises(
        gc.BatchingError,
        match=rf"vmap: 4 operators cannot be applied to a batch at once{HERE}:"
        rf"\n  NonZero{HERE} -> int64\[1, .*\]: the size of its result depends on values that differ along the batch"
        rf"\n  Multinomial{HERE} -> .*: it has no batching rule"
        rf"\n  Multinomial{HERE} -> .*: it has no batching rule"
        rf"\n  NonZero{HERE} -> .*: the size of its result depends on values that differ along the batch$",
    ):
        gc.vmap([gc.cast(places, "float32"), again], {x: xs})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x, i: gc.op.Reshape(x, i), r"Reshape.*its input 'shape' differs along the batch; expected one value"),
        (lambda x, i: gc.op.Slice(x, i, i + 1), r"Slice.*its input 'starts' differs along the batch"),
        (lambda x, i: gc.op.TopK(x, i)[0], r"TopK.*its input 'K' differs along the batch"),
        (lambda x, i: gc.op.ConstantOfShape(i), r"ConstantOfShape.*it makes a result of a size that differs along"),
        (lambda x, i: gc.op.ReduceSum(x, i), r"ReduceSum.*its input 'axes' differs along the batch"),
        (lambda x, i: gc.op.Range(0, i[0], 1), r"Range.*it makes a result of a size that differs along the batch"),
    ],
    ids=["Reshape", "Slice", "TopK", "ConstantOfShape", "ReduceSum", "Range"],
)
def test_sizes_that_differ_along_the_batch_are_refused(build: Any, message: str) -> None:
    x, i = gc.input("x", (4,)), gc.input("i", (1,), "int64")
    with pytest.raises(gc.BatchingError, match=message):
        gc.vmap(build(x, i), {i: gc.input("many", ("B", 1), "int64")})


IMAGE = (2, 3, 4, 4)
ROI = np.array([0.5, 0, 0, 0, 1, 1, 1, 1], "f")
CROPPED = {"coordinate_transformation_mode": "tf_crop_and_resize"}


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (
            lambda x: gc.op.Resize(x, None, np.array([2, 1, 1, 1], "f")),
            IMAGE,
            "scale of the axis of samples is not known",
        ),
        (lambda x: gc.op.Resize(x, None, np.array([2], "f"), axes=[0]), IMAGE, "it resizes the axis of samples"),
        (
            lambda x: gc.op.Resize(x, None, None, np.array([4, 3, 2, 2])),
            IMAGE,
            "size of the axis of samples is not known",
        ),
        (
            lambda x: gc.op.Resize(x, ROI, np.ones(4, "f"), **CROPPED),
            IMAGE,
            "region of the axis of samples is not known",
        ),
        (
            lambda x: gc.op.MaxUnpool(x, np.zeros((1, 1, 2), np.int64), np.array([1, 1, 5]), kernel_shape=[2]),
            (1, 1, 2),
            "runtimes disagree on what its indices then mean",
        ),
        (
            lambda x: gc.op.Squeeze(x),
            ("n", 1),
            r"it squeezes every axis of size 1, and the shape float32\[n, 1\] does not",
        ),
        (lambda x: gc.op.Expand(x, gc.input("s", ("k",), "int64")), ("n",), "the rank of its result is not known"),
    ],
)
def test_what_cannot_be_told_is_refused(build: Any, shape: tuple[Any, ...], message: str) -> None:
    x = gc.input("x", shape)
    with pytest.raises(gc.BatchingError, match=message):
        gc.vmap(build(x), {x: gc.input("xs", ("B", *shape))})


def test_weights_and_data_that_differ_along_a_symbolic_batch_are_refused() -> None:
    x, w = gc.input("x", (1, 2, 5)), gc.input("w", (2, 3, 2))
    xs, ws = gc.input("xs", ("B", 1, 2, 5)), gc.input("ws", ("B", 2, 3, 2))
    with pytest.raises(
        gc.BatchingError, match=r"input and weight differ along a batch of size B; expected a static size"
    ):
        gc.vmap(gc.op.ConvTranspose(x, w), {x: xs, w: ws})


def test_trips_that_differ_along_the_batch_are_refused() -> None:
    count, going, value, limit = gc.input("count", (), "int64"), gc.input("going", (), "bool"), gc.input("v", ()), 9.0
    body = gc.Graph([count, going, value], {"going": value < limit, "value": value * 2.0})
    x = gc.input("x", ())
    grown = gc.op.Loop(None, gc.constant(True), x, body=body, outputs=1)[0]
    with pytest.raises(gc.BatchingError, match=r"Loop.*its condition differs along the batch"):
        gc.vmap(grown, {x: gc.input("xs", ("B",))})


def test_batches_that_do_not_fit_are_refused() -> None:
    x, y = gc.input("x", (4,)), gc.input("y", ("n",))
    for wrong, error, message in [
        (
            gc.input("a", (2, 4), "float64"),
            gc.DTypeError,
            r"'x' is float32\[4\], its batch float64\[2, 4\]; expected the",
        ),
        (
            gc.input("a", (2, 5)),
            gc.ShapeError,
            r"'x' is float32\[4\], its batch float32\[2, 5\]; expected one axis more",
        ),
        (gc.input("a", (4,)), gc.ShapeError, "expected one axis more, in front"),
    ]:
        with pytest.raises(error, match=message + f".*{HERE}"):
            gc.vmap(gc.exp(x), {x: wrong})
    with pytest.raises(gc.ShapeError, match="found batches of sizes 2 and 3"):
        gc.vmap(x * y, {x: gc.input("a", (2, 4)), y: gc.input("b", (3, "n"))})
    with pytest.raises(gc.BatchingError, match="no tensor is batched"):
        gc.vmap(x, {})


def test_batch_inputs_that_are_none_are_refused() -> None:
    x, y, w = gc.input("x", ("batch", 3)), gc.input("y", ("batch",)), gc.parameter("w", (3,))
    loss = gc.mean(gc.square(x @ w - y))
    with pytest.raises(gc.ShapeError, match=rf"the input 'y' is float32\[batch\] and carries the batch too.*{HERE}"):
        gc.per_example_grad(loss, w, x)
    with pytest.raises(gc.GraphError, match=r"found <w: Parameter.*; expected inputs whose first axis is the batch"):
        gc.per_example_grad(loss, w, [x, y, w])
    with pytest.raises(gc.ShapeError, match="the batch is 4 in 'a' and 5 in 'b'"):
        gc.per_example_grad(loss, w, [gc.input("a", (4,)), gc.input("b", (5,))])


def test_a_loss_that_needs_a_whole_batch_is_refused() -> None:
    x, w = gc.input("x", (4, 3)), gc.parameter("w", (3,))
    loss = gc.mean(gc.reshape(x * w, (2, 6)))
    with pytest.raises(gc.ShapeError, match="the loss cannot be taken of one example: Reshape"):
        gc.per_example_grad(loss, w, x)


def test_a_rule_that_returns_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    x, xs = gc.input("x", (4,)), gc.input("xs", ("B", 4))
    rule: Any = lambda call: call.input(0)[0]  # noqa: E731
    monkeypatch.setitem(registry._RULES, "Exp", rule)
    expected = r"the batching rule of Exp returned float32\[4\] for an output float32\[4\]"
    with pytest.raises(gc.ShapeError, match=rf"{expected}{HERE}; expected its dtype, and one more axis"):
        gc.vmap(gc.exp(x), {x: xs})


def test_an_output_that_a_rule_leaves_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    x, xs = gc.input("x", (4,)), gc.input("xs", ("B", 4))
    rule: Any = lambda call: call.apply(call.input(0), call.input(1))[:1]  # noqa: E731
    monkeypatch.setitem(registry._RULES, "TopK", rule)
    with pytest.raises(gc.BatchingError, match=rf"TopK{HERE} -> .*: its batching rule gives no output 1"):
        gc.vmap(gc.top_k(x, 2)[1], {x: xs})


def test_a_second_rule_for_an_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="MatMul has a batching rule already"):
        registry.batching("MatMul")(lambda call: None)


def test_an_operand_of_unknown_rank_is_named() -> None:
    x, y = gc.input("x", (3,)), formal("y", TensorType(gc.float32, None))
    with pytest.raises(gc.BatchingError, match=r"(?s)Add .*the rank of an operand is not known"):
        gc.vmap(x + y, {x: gc.input("xs", ("n", 3))})
