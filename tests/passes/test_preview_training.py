"""The operators of ONNX's preview training domain: the documented formulas, and gradients of named tensors."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import graphc as gc
from graphc.errors import DifferentiationError, ModelImportError
from graphc.ir.graph import Graph, first_difference
from graphc.serial.export import to_model
from graphc.serial.load import from_model
from passes.lowering.preview_training import lower_preview_training

GRADIENT = "ai.onnx.preview.training.Gradient"
HEADER = '<ir_version: 10, opset_import: ["": 18, "ai.onnx.preview.training": 1]>\n'


def graph_of(text: str) -> Graph:
    return from_model(onnx.parser.parse_model(HEADER + text))[0]


def lowered(text: str, **feeds: Any) -> dict[str, np.ndarray]:
    """What a model computes by onnxruntime once it is lowered."""
    graph = lower_preview_training(graph_of(text))
    assert all(node.domain == "" for node in graph.nodes if not node.is_leaf)
    return dict(gc.evaluate(graph, feeds))


def arrays(*shapes: tuple[int, ...], dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 2, shape).astype(dtype) for shape in shapes]


def adagrad(r: float, t: int, x: Any, g: Any, h: Any, o: Mapping[str, float]) -> list[Any]:
    g = o["norm_coefficient"] * x + g
    h = h + g * g
    return [x - r / (1 + t * o["decay_factor"]) * g / (np.sqrt(h) + o["epsilon"]), h]


def adam(r: float, t: int, x: Any, g: Any, v: Any, h: Any, o: Mapping[str, float]) -> list[Any]:
    g = o["norm_coefficient"] * x + g
    v = o["alpha"] * v + (1 - o["alpha"]) * g
    h = o["beta"] * h + (1 - o["beta"]) * g * g
    rate = r * np.sqrt(1 - o["beta"] ** t) / (1 - o["alpha"] ** t) if t > 0 else r
    return [(1 - o["norm_coefficient_post"]) * (x - rate * v / (np.sqrt(h) + o["epsilon"])), v, h]


def momentum(r: float, t: int, x: Any, g: Any, v: Any, o: Mapping[str, Any]) -> list[Any]:
    g = o["norm_coefficient"] * x + g
    v = o["alpha"] * v + (o["beta"] if t > 0 else 1) * g
    return [x - r * (g + o["alpha"] * v if o["mode"] == "nesterov" else v), v]


OPTIMIZERS: list[tuple[str, Any, int, dict[str, Any]]] = [
    ("Adagrad", adagrad, 1, {"norm_coefficient": 0.25, "decay_factor": 0.5, "epsilon": 0.125}),
    (
        "Adam",
        adam,
        2,
        {"norm_coefficient": 0.25, "norm_coefficient_post": 0.125, "alpha": 0.75, "beta": 0.5, "epsilon": 0.125},
    ),
    ("Momentum", momentum, 1, {"norm_coefficient": 0.25, "alpha": 0.75, "beta": 0.5, "mode": "standard"}),
    ("Momentum", momentum, 1, {"norm_coefficient": 0.25, "alpha": 0.75, "beta": 0.5, "mode": "nesterov"}),
]


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("op", "formula", "slots", "options"), OPTIMIZERS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_an_optimizer_computes_its_documented_formula_for_each_tensor(
    op: str, formula: Any, slots: int, options: dict[str, Any], dtype: str, step: int
) -> None:
    kind, shapes = {"float32": "float", "float64": "double"}[dtype], {"a": "[2,3]", "b": "[4]"}
    groups = ["x", "g", *"vh"[:slots]]
    given = [f"{group}{n}" for group in groups for n in shapes]
    declared = ", ".join(f"{kind}{shapes[name[1:]]} {name}" for name in given)
    results = [f"{group}{n}_new" for group in [groups[0], *groups[2:]] for n in shapes]
    told = ", ".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in options.items())
    text = (
        f"g (float r, int64 t, {declared}) => ({', '.join(f'{kind}{shapes[n[1]]} {n}' for n in results)}) "
        f"{{ {', '.join(results)} = ai.onnx.preview.training.{op} <{told}> (r, t, {', '.join(given)}) }}"
    )
    values = dict(zip(given, arrays(*[(2, 3), (4,)] * len(groups), dtype=dtype), strict=True))
    found = lowered(text, r=np.float32(0.25), t=np.int64(step), **values)
    for n in shapes:
        expected = formula(0.25, step, *(values[f"{group}{n}"] for group in groups), options)
        for group, value in zip([groups[0], *groups[2:]], expected, strict=True):
            assert found[f"{group}{n}_new"].dtype == dtype
            np.testing.assert_allclose(found[f"{group}{n}_new"], value, rtol=1e-6 if dtype == "float32" else 1e-14)


def test_a_gradient_is_that_of_the_tensors_that_its_attributes_name() -> None:
    found = lowered(
        "g (float[2] a, float[2] b) => (float[2] da, float[2] db) { p = Mul(a, b) q = Mul(p, a) y = ReduceSum(q) "
        'da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "y"> (a, b) }',
        a=np.array([2, 3], np.float32),
        b=np.array([5, 7], np.float32),
    )
    assert found["da"].tolist() == [20, 42]
    assert found["db"].tolist() == [4, 9]


def test_a_gradient_is_taken_at_the_values_that_are_given() -> None:
    """Of y = a * a * z with respect to a, at a = c and z = d."""
    found = lowered(
        "g (float a, float z, float c, float d) => (float da) { s = Mul(a, a) y = Mul(s, z) "
        'da = ai.onnx.preview.training.Gradient <xs = ["a"], zs = ["z"], y = "y"> (c, d) }',
        **{name: np.float32(value) for name, value in {"a": 7, "z": 11, "c": 3, "d": 5}.items()},
    )
    assert found["da"] == 30


def test_a_gradient_of_a_vector_is_that_of_its_sum() -> None:
    text = "g (float[3] a) => (float[3] da) { y = Mul(a, a) da = ai.onnx.preview.training.Gradient <xs = "
    found = lowered(text + '["a"], y = "y"> (a) }', a=np.array([1, 2, 3], np.float32))
    assert found["da"].tolist() == [2, 4, 6]


def test_a_gradient_with_respect_to_what_has_no_part_in_it_is_zero() -> None:
    text = "g (float[2] a, float[2] b) => (float[2] db) { y = Mul(a, a) "
    found = lowered(
        text + '"", db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "y"> (a, b) }',
        a=np.ones(2, np.float32),
        b=np.ones(2, np.float32),
    )
    assert found["db"].tolist() == [0, 0]


SECOND = (
    "g (float x) => (float dx, float ddx) { s = Mul(x, x) y = Mul(s, x) "
    'dx = ai.onnx.preview.training.Gradient <xs = ["x"], y = "y"> (x) '
    'ddx = ai.onnx.preview.training.Gradient <xs = ["x"], y = "dx"> (x) }'
)


def test_a_gradient_of_a_gradient_is_the_second_derivative() -> None:
    found = lowered(SECOND, x=np.float32(2))
    assert (found["dx"], found["ddx"]) == (12, 12)


def test_a_gradient_with_respect_to_an_inner_tensor_stops_there() -> None:
    found = lowered(
        "g (float x) => (float dh) { h = Exp(x) y = Mul(h, h) "
        'dh = ai.onnx.preview.training.Gradient <xs = ["h"], y = "y"> (h) }',
        x=np.float32(0),
    )
    assert found["dh"] == 2


def test_a_graph_with_gradients_comes_back_from_its_file() -> None:
    graph = graph_of(SECOND)
    model = to_model(graph)
    onnx.checker.check_model(model)
    assert [list(n.input) for n in model.graph.node if n.op_type == "Gradient"] == [["x"], ["x"]]
    assert first_difference(graph, from_model(model)[0]) is None


def test_a_graph_with_gradients_runs_and_is_exported_as_it_is(tmp_path: pathlib.Path) -> None:
    graph = graph_of(SECOND)
    assert gc.evaluate(graph, {"x": np.float32(2)})["ddx"] == 12
    model = gc.export(graph, tmp_path / "second.onnx")
    assert {node.domain for node in model.graph.node} == {""}


def test_a_gradient_in_a_branch_is_lowered_too() -> None:
    found = lowered(
        "g (float x, bool c) => (float d) { d = If (c) <then_branch = t () => (float a) { y = Mul(x, x) "
        f'a = {GRADIENT} <xs = ["x"], y = "y"> (x) }}, else_branch = e () => (float b) {{ b = Neg(x) }}> }}',
        x=np.float32(3),
        c=np.bool_(True),
    )
    assert found["d"] == 6


def test_a_graph_without_them_stays_the_same_object() -> None:
    graph = gc.graph(gc.exp(gc.input("x", (2,))))
    assert lower_preview_training(graph) is graph


WRONG: dict[str, tuple[str, type[Exception], str]] = {
    "a name without an input": (
        f'(float a) => (float d) {{ y = Neg(a) d = {GRADIENT} <xs = ["a", "b"], y = "y"> (a) }}',
        ModelImportError,
        r"Gradient: 1 inputs for xs=\['a', 'b'\], zs=\[\], y='y'; expected an input for each",
    ),
    "a later node": (
        f'(float a) => (float d) {{ d = {GRADIENT} <xs = ["a"], y = "y"> (a) y = Neg(a) }}',
        ModelImportError,
        "the value 'y' is computed from itself",
    ),
    "slots": (
        "(float r, int64 t, float x, float g) => (float y) { y, h = ai.onnx.preview.training.Adagrad (r, t, x, g) }",
        ModelImportError,
        "Adagrad: 2 tensors follow R and T; expected a multiple of 3",
    ),
    "integers": (
        f'(int64 i) => (float d) {{ y = Cast <to = 1> (i) d = {GRADIENT} <xs = ["i"], y = "y"> (i) }}',
        DifferentiationError,
        "a gradient exists for floating-point tensors only",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_no_gradient_or_update_says_why(name: str) -> None:
    text, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        lower_preview_training(graph_of(f"g {text}"))
