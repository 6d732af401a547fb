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


def scattered(depth: int, rank: int, dtype: str = "float32", reduction: str = "add") -> gc.Graph:
    """A ScatterND of symbolic sizes: data of `rank` axes, the first `depth` of them indexed."""
    data = gc.input("data", [f"n{i}" for i in range(rank)], dtype)
    indices = gc.input("indices", ("e", depth), "int64")
    updates = gc.input("updates", ["e", *(f"n{i}" for i in range(depth, rank))], dtype)
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
    [((40, 30), 1, 2000), ((5, 7, 30), 2, 2000), ((9,), 1, 40_000), ((3, 2), 1, 0), ((4, 3), 2, 5), ((1, 20), 1, 1700)],
    ids=str,
)
def test_sums_are_exact_on_two_threads(sizes: tuple[int, ...], depth: int, count: int, dtype: str) -> None:
    if dtype == "float16":
        count = min(count, 100)  # beyond, sums of integers are not exact
    g = order_scatters(scattered(depth, len(sizes), dtype))
    assert not g.find("ScatterND", lambda node: node.attrs["reduction"] != "none")
    feeds = drawn(sizes, depth, count, dtype)
    np.testing.assert_array_equal(run(g, feeds), expected(feeds))


@given(st.integers(1, 9), st.lists(st.integers(0, 8), max_size=70), st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_groups_of_all_sizes_are_summed(rows: int, places: list[int], seed: int) -> None:
    feeds = drawn((rows, 2), 1, len(places), "float64", seed)
    feeds["indices"] = np.array(places, np.int64).reshape(-1, 1) % rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scatter, "SMALL", 0)
        g = order_scatters(scattered(1, 2, "float64"))
    np.testing.assert_array_equal(run(g, feeds), expected(feeds))


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_other_reductions_go_element_by_element(reduction: str) -> None:
    g = order_scatters(scattered(1, 2, reduction=reduction))
    assert g.count("ScatterElements") == 1
    feeds = drawn((7, 5), 1, 60, "float32")
    plain = run(scattered(1, 2, reduction=reduction), feeds, threads=1)
    np.testing.assert_array_equal(run(g, feeds), plain)


def test_gradients_of_what_is_ordered_are_those_of_what_is_not() -> None:
    g = scattered(1, 2, "float64")
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


def test_the_same_places_are_sorted_once() -> None:
    indices = gc.input("indices", ("e", 1), "int64")
    x = gc.input("x", ("n", "d"))
    parts = [gc.input(f"u{i}", ("e", "d")) for i in range(2)]
    outputs = [gc.op.ScatterND(x * 2.0, indices, parts[0], reduction="add")]
    outputs.append(gc.op.ScatterND(gc.sin(outputs[0]), indices, parts[1], reduction="add"))
    assert order_scatters(gc.graph(outputs)).count("TopK") == 1


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
