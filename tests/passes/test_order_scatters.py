"""What several threads add to one place is not lost."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import nn
from graphc.serial.export import to_model
from passes.lowering import scatter
from passes.lowering.scatter import order_scatters

RNG = np.random.default_rng(0)


def scattered(
    depth: int,
    rank: int,
    dtype: str = "float32",
    reduction: str = "add",
    *,
    width: int | str = "width",
    count: int | str = "e",
) -> gc.Graph:
    """A ScatterND of symbolic sizes: data of `rank` axes, the last of `width`, the first `depth` of them indexed."""
    sizes = [*(f"n{i}" for i in range(rank - 1)), width]
    data = gc.input("data", sizes, dtype)
    indices = gc.input("indices", (count, depth), "int64")
    updates = gc.input("updates", [count, *sizes[depth:]], dtype)
    return gc.graph(gc.op.ScatterND(data, indices, updates, reduction=reduction))


def run(g: gc.Graph, feeds: dict[str, np.ndarray], threads: int = 2) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = to_model(g).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def drawn(sizes: tuple[int, ...], depth: int, count: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    indices = [rng.integers(-n, n, count) for n in sizes[:depth]]
    values = [rng.integers(-9, 9, shape).astype(dtype) for shape in (sizes, (count, *sizes[depth:]))]
    return {"data": values[0], "indices": np.stack(indices, 1), "updates": values[1]}


def expected(feeds: dict[str, np.ndarray]) -> np.ndarray:
    result = feeds["data"].copy()
    np.add.at(result, tuple(feeds["indices"].T), feeds["updates"])
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "float16"])
@pytest.mark.parametrize(
    ("sizes", "depth", "count"),
    [
        ((40, 130), 1, 2000),
        ((5, 7, 30), 2, 9000),
        ((9,), 1, 40_000),
        ((3, 2), 1, 0),
        ((4, 3), 2, 5),
        ((1, 20), 1, 1700),
    ],
    ids=str,
)
def test_sums_are_exact_on_two_threads(sizes: tuple[int, ...], depth: int, count: int, dtype: str) -> None:
    if dtype == "float16":
        count = min(count, 100)  # beyond, sums of integers are not exact
    feeds = drawn(sizes, depth, count, dtype)
    for width in ("width", sizes[-1]):
        g = order_scatters(scattered(depth, len(sizes), dtype, width=width))
        assert not g.find("ScatterND", lambda node: node.attrs["reduction"] != "none")
        np.testing.assert_array_equal(run(g, feeds), expected(feeds))


@given(st.integers(1, 9), st.lists(st.integers(0, 8), max_size=70), st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_groups_of_all_sizes_are_summed(rows: int, places: list[int], seed: int) -> None:
    feeds = drawn((rows, 2), 1, len(places), "float64", seed)
    feeds["indices"] = np.array(places, np.int64).reshape(-1, 1) % rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scatter, "FEW", 0)
        g = order_scatters(scattered(1, 2, "float64", width=2))
    np.testing.assert_array_equal(run(g, feeds), expected(feeds))


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_other_reductions_go_element_by_element(reduction: str) -> None:
    g = order_scatters(scattered(1, 2, reduction=reduction))
    assert g.count("ScatterElements") == 1
    feeds = drawn((7, 5), 1, 60, "float32")
    plain = run(scattered(1, 2, reduction=reduction), feeds, threads=1)
    np.testing.assert_array_equal(run(g, feeds), plain)


def test_gradients_of_what_is_ordered_are_those_of_what_is_not() -> None:
    g = scattered(1, 2, "float64", width=3)
    results = []
    feeds = drawn((6, 3), 1, 50, "float64")
    for h in (g, order_scatters(g)):
        (data, _, updates), y = h.inputs, h.outputs[0]
        results.append(gc.evaluate(gc.grad(gc.sum(y * y * y), [data, updates]), feeds))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_what_only_places_stays_as_it_is() -> None:
    g = scattered(1, 2, reduction="none")
    assert order_scatters(g) is g


@pytest.mark.parametrize("width", ["d", 3])
def test_the_same_places_are_sorted_once(width: int | str) -> None:
    indices = gc.input("indices", ("e", 1), "int64")
    x = gc.input("x", ("n", width))
    parts = [gc.input(f"u{i}", ("e", width)) for i in range(2)]
    outputs = [gc.op.ScatterND(x * 2.0, indices, parts[0], reduction="add")]
    outputs.append(gc.op.ScatterND(gc.sin(outputs[0]), indices, parts[1], reduction="add"))
    assert sum(b.count("TopK") for b in all_graphs(order_scatters(gc.graph(outputs)))) == 1


def all_graphs(g: gc.Graph) -> list[gc.Graph]:
    bodies = [v for node in g.nodes for v in node.attrs.values() if isinstance(v, gc.Graph)]
    return [g, *(inner for body in bodies for inner in all_graphs(body))]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("reduction", ["add", "max"])
def test_what_is_known_to_be_small_stays_and_is_exact_on_two_threads(reduction: str, dtype: str) -> None:
    """The largest of them: onnxruntime must not come to share it out among threads."""
    width = 64
    count = scatter.SEQUENTIAL // width
    g = scattered(1, 2, dtype, reduction, width=width, count=count)
    assert order_scatters(g) is g
    assert order_scatters(scattered(1, 2, dtype, reduction, width=width, count=count + 1)) is not g
    feeds = drawn((2, width), 1, count, dtype)
    one = run(g, feeds, threads=1)
    for _ in range(20):
        np.testing.assert_array_equal(run(g, feeds), one)


@pytest.mark.parametrize("gather", ["rows", "positions", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [40, 3000])
def test_messages_along_edges_are_summed_without_being_made(gather: str, weighted: bool, count: int) -> None:
    width = 48
    x = gc.input("x", ("edges" if gather == "none" else "nodes", width))
    ends = gc.input("ends", (2, "edges"), "int64")
    weight = gc.input("weight", ("edges",))
    made = {
        "rows": lambda: gc.take(x, ends[0]),
        "positions": lambda: gc.op.GatherND(x, gc.unsqueeze(ends[0], 1)),
        "none": lambda: x,
    }[gather]()
    messages = gc.unsqueeze(weight, 1) * made if weighted else made
    table = gc.input("table", ("targets", width))
    g = order_scatters(gc.graph(gc.op.ScatterND(table, gc.unsqueeze(ends[1], 1), messages, reduction="add")))
    if weighted or gather != "none":
        assert not [node for node in g.nodes if messages.type in node.types and not node.is_leaf]
    rng = np.random.default_rng(0)
    rows = count if gather == "none" else 20
    feeds = {
        "x": rng.integers(-9, 9, (rows, width)).astype("float32"),
        "ends": np.stack([rng.integers(-rows, rows, count), rng.integers(-7, 7, count)]),
        "weight": rng.integers(-3, 3, count).astype("float32"),
        "table": rng.integers(-9, 9, (7, width)).astype("float32"),
    }
    used = {t.name for t in g.inputs}
    values = feeds["x"] if gather == "none" else feeds["x"][feeds["ends"][0]]
    total = feeds["table"].copy()
    np.add.at(total, feeds["ends"][1], values * feeds["weight"][:, None] if weighted else values)
    np.testing.assert_array_equal(run(g, {k: v for k, v in feeds.items() if k in used}), total)


@pytest.mark.parametrize("form", ["one row for all", "twice weighted", "columns"])
def test_products_and_gathers_that_are_no_messages_are_summed_as_they_are(form: str) -> None:
    n, width = 1500, 1500 if form == "columns" else 5
    indices, x = gc.input("indices", ("e", 1), "int64"), gc.input("x", ("e", width))
    weights, table = [gc.input(f"w{i}", ("e", 1)) for i in range(2)], gc.input("table", ("n", width))
    rng = np.random.default_rng(0)
    feeds = {
        "table": np.zeros((3, width), "float32"),
        "indices": rng.integers(0, 3, (n, 1)),
        "x": rng.integers(-3, 3, (n, width)).astype("float32"),
        **{f"w{i}": rng.integers(-3, 3, (n, 1)).astype("float32") for i in range(2)},
    }
    columns = rng.permutation(width)
    symbolic, values = {
        "one row for all": (lambda: weights[0] * x[:1], feeds["w0"] * feeds["x"][:1]),
        "twice weighted": (lambda: x * weights[0] * weights[1], feeds["x"] * feeds["w0"] * feeds["w1"]),
        "columns": (lambda: gc.take(x, columns, axis=1), feeds["x"][:, columns]),
    }[form]
    g = order_scatters(gc.graph(gc.op.ScatterND(table, indices, symbolic(), reduction="add")))
    total = np.zeros((3, width), "float32")
    np.add.at(total, feeds["indices"][:, 0], values)
    names = {t.name for t in g.inputs}
    np.testing.assert_array_equal(run(g, {k: v for k, v in feeds.items() if k in names}), total)


def test_an_embedding_trains_the_same_on_one_thread_and_on_two() -> None:
    """With onnxruntime's own ScatterND, thousands of elements differ in each step."""
    x = gc.input("x", ("batch",), "int64")
    rows = nn.Embedding(40, 384, weight_init=nn.init.Zeros(), name="rows")(x)
    loss = gc.sum(rows * gc.input("g", ("batch", 384)))
    feeds = {"x": RNG.integers(0, 40, 2048), "g": RNG.integers(-9, 9, (2048, 384)).astype("float32")}
    found = []
    for threads in (1, 2):
        trainer = gc.Trainer(
            loss, optimizer=gc.optim.SGD(1.0), device="cpu", options=gc.RuntimeOptions(threads=threads, spinning=False)
        )
        trainer.train_step(feeds)
        found.append(trainer.parameters["rows.weight"])
    np.testing.assert_array_equal(*found)
    sums = np.zeros((40, 384), "float32")
    np.add.at(sums, feeds["x"], feeds["g"])
    np.testing.assert_array_equal(found[1], -sums)
