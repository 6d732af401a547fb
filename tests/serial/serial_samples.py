"""Graphs of many kinds that the tests of exports, imports and prints share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from hypothesis import strategies as st

import graphc as gc
from graphc import nn
from graphc.ir import dims
from graphc.ir.build import apply

Builder = Callable[[], gc.Graph]
SAMPLES: dict[str, Builder] = {}
RANDOM = {"random"}  # what they compute differs from run to run
NEW_IDENTITY = {
    "random",
    "branch",
    "loop",
    "counting",
    "closures",
    "scan",
    "nested",
    "large",
}  # no source can build the very same nodes


def sample(function: Builder) -> Builder:
    """Register a sample under its function's name."""
    SAMPLES[function.__name__] = function
    return function


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@sample
def mlp() -> gc.Graph:
    net = nn.Sequential(nn.Linear(8), nn.ReLU(), nn.Linear(3), name="mlp")
    return gc.graph({"probabilities": gc.softmax(net(gc.input("x", ("batch", 5))))}, name="mlp")


@sample
def training_step() -> gc.Graph:
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch", 2))
    w = gc.parameter("w", (4, 2), nn.init.Normal(std=0.5))
    b = gc.parameter("b", (2,), np.array([0.25, -1.5], np.float32))
    loss = gc.mean(gc.square(gc.sigmoid(x @ w + b) - y))
    dw, db = gc.grad(loss, [w, b])
    return gc.graph({"loss": loss}, updates={w: w - 0.1 * dw, b: b - 0.1 * db}, name="step")


@sample
def outputs_that_are_no_nodes() -> gc.Graph:
    x, w = gc.input("x", ("n", 2)), gc.parameter("state", (2,), trainable=False)
    twice = gc.relu(x)
    return gc.graph({"a": twice, "b": twice, "x": x, "y": x, "c": gc.constant(1.5)}, updates={w: w})


@sample
def shapes_and_slices() -> gc.Graph:
    x = gc.input("x", ("batch", "2*N + 1", 6))
    part = x[:, 1:, ::2]
    return gc.graph([part.reshape("batch", -1), gc.concat([part, part], axis=1).sum(axis=(0, -1))])


@sample
def unknown_dimensions() -> gc.Graph:
    x = gc.input("x", (None, 3, None))
    return gc.graph([x + 1.0, gc.concat([x, x], axis=0), x.mean(axis=2)])


@sample
def several_outputs() -> gc.Graph:
    x = gc.input("x", (4, 6))
    values, indices = gc.op.TopK(x, gc.constant([2]))
    left, _, right = gc.split(x, 3, axis=1)
    return gc.graph([indices, left - right, values.named("largest")])


@sample
def skipped_inputs_and_outputs() -> gc.Graph:
    x = gc.input("x", (3, 2, 4))
    w, r = gc.constant(array(1, 20, 4)), gc.constant(array(1, 20, 5, seed=1))
    _, hidden = gc.op.LSTM(x, w, r, hidden_size=5, outputs=2)
    return gc.graph([hidden, gc.op.Clip(x, None, gc.constant(0.5))])


@sample
def normalization() -> gc.Graph:
    x = gc.input("x", ("batch", 4, 5, 5))
    scale, bias, mean, var = (gc.constant(np.full(4, v, np.float32)) for v in (1.5, 0.5, 0.1, 2.0))
    y, mean_next, _ = gc.op.BatchNormalization(x, scale, bias, mean, var, training_mode=1, momentum=0.8, outputs=3)
    return gc.graph([gc.op.MaxPool(y, kernel_shape=[2, 2], strides=[2, 2]), mean_next])


@sample
def convolution() -> gc.Graph:
    x, w = gc.input("x", ("batch", 3, 8, 8)), gc.constant(array(4, 3, 3, 3))
    y = gc.relu(gc.op.Conv(x, w, pads=[1, 1, 1, 1], strides=[2, 2]))
    return gc.graph(gc.op.AveragePool(y, kernel_shape=[2, 2], count_include_pad=1))


@sample
def dtypes() -> gc.Graph:
    x = gc.input("x", ("n",))
    half = x.cast("float16") + gc.constant(0.1, "float16")
    brain = gc.concat([x.cast("bfloat16"), gc.constant([1.5], "bfloat16")])
    whole = x.cast("int32") * gc.constant(-3, "int32")
    return gc.graph([half, brain.cast("float32"), whole, gc.equal(x, 0.0), x.cast("float64") / 3.0])


@sample
def special_numbers() -> gc.Graph:
    x = gc.input("x", (6,))
    y = x + gc.constant(np.array([np.inf, -np.inf, -0.0, 1e-45, 1 / 3, 3e38], np.float32))
    return gc.graph([y, gc.where(x > 0.0, x, float("nan")), gc.leaky_relu(x, 0.1), gc.constant(np.zeros((0, 2)))])


@sample
def strings() -> gc.Graph:
    x = gc.input("x", (2,), "string")
    return gc.graph(gc.op.StringConcat(x, gc.constant(np.array(["a\\b", 'quote " é'], object))))


@sample
def sequences() -> gc.Graph:
    x = gc.input("x", (4, 3))
    parts = gc.op.SplitToSequence(x, axis=0, keepdims=0)
    return gc.graph(gc.op.SequenceAt(parts, gc.constant(2)))


@sample
def odd_names() -> gc.Graph:
    a, b, c = (gc.input(name, (2,)) for name in ("class", "layer.0/x:0", "0"))
    inner = (a + b).named("same")
    other = (inner * c).named("same")
    return gc.graph({"def": other - 1.0, "my output": gc.relu(inner), "relu_0": gc.relu(other)}, name="odd graph")


@sample
def large() -> gc.Graph:
    x, table = gc.input("x", ("n", 40)), gc.constant(array(40, 40))
    return gc.graph([(x @ table).named("table"), gc.relu(x) @ table])


@sample
def newest_operators() -> gc.Graph:
    x, scale = gc.input("x", (2, 3, 4)), gc.constant(array(4))
    return gc.graph([gc.op.RMSNormalization(x, scale, epsilon=1e-3), gc.gelu(x)])


@sample
def random() -> gc.Graph:
    x = gc.input("x", (3, 3))
    first, second = (gc.op.RandomNormalLike(x, scale=2.0, seed=1.0) for _ in range(2))
    return gc.graph([first + second, first])


@sample
def branch() -> gc.Graph:
    condition, a, b = gc.input("condition", (), "bool"), gc.input("a", ("n",)), gc.input("b", ("n",))
    p, q = gc.input("p", ("n",)), gc.input("q", ("n",))
    then, other = gc.Graph([p, q], {"sum": p + q}), gc.Graph([p, q], {"out": q})
    return gc.graph(gc.op.If(condition, a, b, then_branch=then, else_branch=other)[0] * 2.0)


@sample
def loop() -> gc.Graph:
    x, factor = gc.input("x", (3,)), gc.input("factor", (3,))
    i, go = gc.input("i", (), "int64"), gc.input("go", (), "bool")
    state, times = gc.input("state", (3,)), gc.input("times", (3,))
    body = gc.Graph([i, go, state, times], [go, state * times + 1.0, state, i.cast("float32")], name="body")
    last, all_states, numbers = gc.op.Loop(gc.constant(4), None, x, factor, body=body, captures=1)
    return gc.graph([last, all_states, numbers, factor])


@sample
def counting() -> gc.Graph:
    """A Loop without condition and carried values, whose inputs end with a skipped one once captures are left out."""
    x = gc.input("x", (), "int64")
    i, go, factor = gc.input("i", (), "int64"), gc.input("go", (), "bool"), gc.input("factor", (), "int64")
    plain = gc.op.Loop(gc.constant(4), None, body=gc.Graph([i, go], [go, i * 2]))
    body = gc.Graph([i, go, factor], [go, i * factor])
    return gc.graph([*plain, *gc.op.Loop(gc.constant(4), None, x, body=body, captures=1)])


@sample
def closures() -> gc.Graph:
    """Control flow as users write it: Python functions that read tensors around them."""
    x, b, flag = gc.input("x", ("n", 3)), gc.input("b", (3,)), gc.input("flag", (), "bool")
    w = gc.parameter("w", (3,))
    y = gc.cond(flag, lambda t: t * b + w, lambda t: w - t * 2.0 * b, x)
    z = gc.fori_loop(5, lambda _, state: state * w + b, y)
    last, rows = gc.scan(lambda state, row: (state + row * w, state * b), b, x)
    grown = gc.while_loop(
        lambda s: gc.sum(s) < 10.0, lambda s: s + 1.0 + gc.cond(flag, lambda: w * w, lambda: b * b), b
    )
    return gc.graph([z, last, rows, grown])


@sample
def scan() -> gc.Graph:
    x, start, scale = gc.input("x", ("steps", 3)), gc.input("start", (3,)), gc.input("scale", (3,))
    state, row, factor = (gc.input(name, (3,)) for name in ("state", "row", "factor"))
    total = state + row * factor
    body = gc.Graph([state, row, factor], [total, total * 0.5], name="accumulate")
    return gc.graph(list(gc.op.Scan(start, x, scale, body=body, num_scan_inputs=1, captures=1)))


@sample
def nested() -> gc.Graph:
    """A branch inside a loop that captures from both scopes around it, and reads a large constant."""
    x, limit = gc.input("x", (300,)), gc.input("limit", ())
    table = gc.constant(array(300))
    i, go = gc.input("i", (), "int64"), gc.input("go", (), "bool")
    state, most = gc.input("state", (300,)), gc.input("most", ())
    p, m, q = gc.input("p", (300,)), gc.input("m", ()), gc.input("p", (300,))
    then = gc.Graph([p, m], {"y": gc.minimum(p, m) + table})
    other = gc.Graph([q, n := gc.input("m", ())], {"y": q * 2.0 + n})
    chosen = apply("If", [go, state, most], {"then_branch": then, "else_branch": other}).out()
    body = gc.Graph([i, go, state, most], [gc.less(gc.max(chosen), most), chosen])
    return gc.graph(apply("Loop", [gc.constant(3), gc.constant(True), x, limit], {"body": body, "captures": 1}).out())


def feeds(graph: gc.Graph, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Random arrays for all inputs and parameters; a symbol that `sizes` lacks is 3."""
    rng = np.random.default_rng(7)
    made = {}
    for t in graph.inputs:
        symbols = {name: (sizes or {}).get(name, 3) for name in dims.symbols(t.shape)}
        shape = tuple(int(dims.evaluate(d, symbols)) for d in t.shape)
        values = rng.normal(size=shape)
        made[str(t.name)] = values.astype(str) if t.dtype.name == "string" else values.astype(t.dtype.numpy)
    return made


def run_onnxruntime(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {k: v for k, v in values.items() if k in wanted}), strict=True))


def run_reference(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    given = {k: v for k, v in values.items() if k in evaluator.input_names}
    return dict(zip(evaluator.output_names, evaluator.run(None, given), strict=True))


# --- random graphs ------------------------------------------------------------------------------------------------

_UNARY = [
    gc.relu,
    gc.exp,
    gc.neg,
    gc.tanh,
    gc.softmax,
    lambda t: gc.leaky_relu(t, 0.2),
    lambda t: t.mean(keepdims=True),
]
_BINARY = [gc.add, gc.subtract, gc.multiply, gc.maximum, lambda a, b: gc.where(gc.less(a, b), a, b)]
_SHAPED = [
    lambda t: gc.transpose(t),
    lambda t: t.reshape(-1)[1:],
    lambda t: gc.concat([t, t], axis=-1),
    lambda t: gc.split(t, 1, axis=0)[0],
    lambda t: gc.op.TopK(t, gc.constant([1]))[0],
    lambda t: t.cast("float64").cast("float32"),
]


@st.composite
def graphs(draw: st.DrawFn) -> gc.Graph:
    """Graphs of up to 12 operators over inputs, parameters and constants of compatible shapes."""
    rows = draw(st.sampled_from([2, "n", None]))
    leaves = [gc.input("x", (rows, 3)), gc.input("y", (1, 3)), gc.parameter("w", (3,), nn.init.Uniform(-0.5, 0.5))]
    number = st.floats(width=32, allow_nan=False)
    leaves.append(gc.constant(np.array(draw(st.lists(number, min_size=3, max_size=3)), np.float32)))
    values = list(leaves)
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
            values.append(draw(st.sampled_from(_BINARY))(a, b))
        else:
            values.append(draw(st.sampled_from(_UNARY))(draw(st.sampled_from(values))))
        if draw(st.booleans()):
            values[-1] = values[-1].named(draw(st.sampled_from(["h", "layer.0", "lambda", "x y"])))
    ends = [draw(st.sampled_from(_SHAPED))(t) for t in draw(st.lists(st.sampled_from(values[4:]), max_size=3))]
    outputs = [*ends, values[-1], *draw(st.lists(st.sampled_from(values), max_size=2))]
    updates = {leaves[2]: leaves[2] * values[0].mean()} if draw(st.booleans()) else None
    return gc.graph({f"out{i}": t for i, t in enumerate(outputs)}, updates=updates)
