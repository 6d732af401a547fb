"""Python source that rebuilds graphs."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from serial_samples import NEW_IDENTITY, SAMPLES, array, graphs

import graphc as gc
from graphc import nn
from graphc.errors import ExportError
from graphc.ir.build import leaf
from graphc.ir.graph import first_difference
from graphc.ir.types import OptionalType, SequenceType, TensorType, as_dtype


def run(source: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(source, found)
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_running_the_source_gives_an_equal_graph(name: str) -> None:
    graph = SAMPLES[name]()
    found = run(graph.to_python())["graph"]
    assert first_difference(graph, found) is None
    assert found.name == graph.name


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - NEW_IDENTITY))
def test_build_returns_the_same_objects_for_the_same_inputs(name: str) -> None:
    graph = SAMPLES[name]()
    found = run(graph.to_python())["build"](*graph.inputs)
    assert all(a.node is b.node and a.index == b.index for a, b in zip(graph.outputs, found.outputs, strict=True))
    assert found == graph


@given(graphs())
@settings(max_examples=40, deadline=None, database=None)
def test_random_graphs_are_rebuilt_as_the_same_objects(graph: gc.Graph) -> None:
    found = run(graph.to_python())
    assert first_difference(graph, found["graph"]) is None
    assert found["build"](*graph.inputs) == graph


@pytest.mark.parametrize("name", SAMPLES)
def test_rebuilding_a_rebuilt_graph_gives_the_same_source(name: str) -> None:
    source = SAMPLES[name]().to_python()
    assert run(source)["graph"].to_python() == source


def test_the_source_reads_like_a_program() -> None:
    x = gc.input("x", ("batch", 4))
    w = gc.parameter("0.weight", (4, 3), nn.init.XavierUniform(gain=1.0))
    h = gc.relu(x @ w + 0.1).named("hidden")
    assert gc.graph({"y": gc.op.Softmax(h, axis=1)}, updates={w: w}, name="net").to_python() == (
        "import graphc as gc\n"
        "from graphc import nn\n"
        "\n\n"
        "def build(x, v_0_weight):\n"
        "    matmul_0 = gc.op.MatMul(x, v_0_weight)\n"
        "    constant_0 = gc.constant(0.1)\n"
        "    add_0 = gc.op.Add(matmul_0, constant_0)\n"
        '    hidden = gc.op.Relu(add_0).named("hidden")\n'
        "    softmax_0 = gc.op.Softmax(hidden, axis=1)\n"
        '    return gc.Graph([x, v_0_weight], {"y": softmax_0}, {v_0_weight: v_0_weight}, name="net")\n'
        "\n\n"
        "graph = build(\n"
        '    gc.input("x", ("batch", 4)),\n'
        '    gc.parameter("0.weight", (4, 3), nn.init.XavierUniform(gain=1.0)),\n'
        ")\n"
    )


NUMBERS = [
    np.array([0.1, 1 / 3, 1e-45, -0.0, np.inf, -np.inf, np.nan, 3e38], np.float32),
    np.array([0.1, 5e-324, 1.7976931348623157e308, 1 / 3]),
    np.array([np.nan], np.float32).view(np.int32).__or__(1).view(np.float32),  # a NaN of other bits
    np.array([1 + 2j, complex(0.0, -0.0), complex(np.nan, np.inf)], np.complex64),
    np.array([-(2**63), 2**63 - 1]),
    np.array([2**64 - 1], np.uint64),
    np.array([[True], [False]]),
    np.array(["a\n'\"\\", "é", ""], object),
    np.zeros((0, 3), np.int8),
    np.zeros((0,), np.float32),
    np.array(2.5, np.float64),
    np.arange(100, dtype=np.int16).reshape(4, 25),
    array(40, 40),
    *(np.array([-1.5, 0.25], np.float32).astype(as_dtype(d).numpy) for d in ("bfloat16", "float8e4m3fn", "float16")),
    np.array([-8, 7], np.int8).astype(as_dtype("int4").numpy),
]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: f"{v.dtype}{v.shape}")
def test_constants_are_exact_to_the_bit(value: np.ndarray) -> None:
    (found,) = run(gc.Graph([], [gc.constant(value)]).to_python())["graph"].outputs
    rebuilt = found.node.attrs["value"].array
    assert rebuilt.dtype == value.dtype
    assert rebuilt.shape == value.shape
    assert rebuilt.tolist() == value.tolist() if value.dtype == object else rebuilt.tobytes() == value.tobytes()


@pytest.mark.parametrize(
    "init",
    [
        nn.init.Normal(std=0.02),
        nn.init.Constant(float("inf")),
        np.array([1.5, np.nan], np.float32),
        np.linspace(0, 1, 2, dtype=np.float32),
    ],
    ids=repr,
)
def test_initializers_are_kept(init: object) -> None:
    w = gc.parameter("w", (2,), init, trainable=False)
    (found,) = run(gc.Graph([w], [w * 2.0]).to_python())["graph"].inputs
    made = [t.node.attrs["initializer"]((2,), t.dtype, np.random.default_rng(3)) for t in (w, found)]
    np.testing.assert_array_equal(*made)
    assert found.node.attrs["trainable"] is False


def test_large_initial_arrays_are_kept() -> None:
    values = array(40, 40)
    w = gc.parameter("w", (40, 40), values)
    (found,) = run(gc.Graph([w], [w * 2.0]).to_python())["graph"].inputs
    np.testing.assert_array_equal(found.node.attrs["initializer"].array, values)


class Own(nn.init.Initializer):
    """An initializer that a user wrote."""


def test_an_initializer_of_the_user_is_an_error() -> None:
    w = gc.parameter("w", (2,), Own())
    with pytest.raises(ExportError, match=r"the initializer of 'w' is .*Own.* of test_python_source; expected one of"):
        gc.Graph([w], [w]).to_python()


def test_inputs_that_are_no_tensors_of_known_rank_are_rebuilt() -> None:
    floats = TensorType(as_dtype("float32"), (2, 3))
    kinds = [SequenceType(floats), OptionalType(floats), TensorType(as_dtype("int64"), None)]
    inputs = [leaf("Input", f"in{i}", kind, {}) for i, kind in enumerate(kinds)]
    graph = gc.Graph(inputs, [gc.op.SequenceLength(inputs[0])])
    assert first_difference(graph, run(graph.to_python())["graph"]) is None


def test_type_attributes_are_rebuilt() -> None:
    graph = gc.graph(gc.op.Optional(type=TensorType(as_dtype("float32"), (2,))))
    assert first_difference(graph, run(graph.to_python())["graph"]) is None


def test_names_that_are_no_identifiers_are_made_to_be() -> None:
    source = SAMPLES["odd_names"]().to_python()
    assert "def build(class_0, layer_0_x_0, v_0):" in source


def test_a_big_graph_has_no_nested_expressions() -> None:
    x = y = gc.input("x", (3,))
    for _ in range(2_500):
        y = gc.relu(y) + x
    graph = gc.graph(y)
    tree = ast.parse(graph.to_python())
    assert max(len(list(ast.walk(line))) for line in tree.body[1].body) < 30
    assert run(graph.to_python())["build"](x) == graph
