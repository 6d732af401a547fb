"""Exports below opset 18: the same numbers, operators as they were written, names of those that did not exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from serial_samples import RANDOM, SAMPLES, array, feeds, run_onnxruntime

import graphc as gc
from graphc.errors import ExportError
from graphc.serial.export import to_model
from graphc.serial.load import from_model
from graphc.serial.opsets import OLDEST_OPSET

TOO_YOUNG = {
    "normalization": {13: "LayerNormalization needs opset 17"},
    "hard_swish": {13: "HardSwish needs opset 14"},
    "mish": {13: "Mish needs opset 18", 17: "Mish needs opset 18"},
    "slices_of_shapes": {13: "Shape needs opset 15"},
    "axes_that_are_computed": {13: "ReduceMean needs opset 18", 17: "ReduceMean needs opset 18"},
    "uneven_split": {13: "Split needs opset 18", 17: "Split needs opset 18"},
    "half_pixels": {13: "RoiAlign needs opset 16"},
}


def x(*shape: int | str) -> gc.Tensor:
    return gc.input("x", shape)


def total(name: str, axes: list[int] | None, **attributes: int) -> gc.Tensor:
    listed = None if axes is None else gc.constant(np.array(axes, np.int64))
    return getattr(gc.op, f"Reduce{name}")(x("n", 3, 4), listed, **attributes)


GRAPHS: dict[str, Callable[[], gc.Tensor]] = {
    "reduction over axes": lambda: total("Mean", [0, 2]),
    "reduction without keepdims": lambda: total("Max", [-1], keepdims=0),
    "reduction of everything": lambda: total("L2", None),
    "reduction over no axes": lambda: total("Prod", [], noop_with_empty_axes=1),
    "reduction that does nothing": lambda: total("LogSumExp", None, noop_with_empty_axes=1),
    "sum": lambda: total("Sum", [1]),
    "split": lambda: gc.concat(list(gc.split(x("n", 6), 3, axis=1))[::-1], axis=1),
    "normalization": lambda: gc.op.LayerNormalization(x("n", 4), gc.constant(array(4)))[0],
    "hard_swish": lambda: gc.op.HardSwish(x("n")),
    "mish": lambda: gc.op.Mish(x("n")),
    "slices_of_shapes": lambda: gc.op.Shape(x("n", 2, 3), start=1),
    "axes_that_are_computed": lambda: gc.op.ReduceMean(x("n", 3), gc.input("axes", (1,), "int64")),
    "uneven_split": lambda: gc.op.Split(x("n", 5), axis=1, num_outputs=2)[1],
    "half_pixels": lambda: gc.op.RoiAlign(
        x(1, 1, 4, 4), gc.constant(np.array([[0, 0, 2, 2]], np.float32)), gc.constant(np.array([0]))
    ),
}


def read_by(graph: onnx.GraphProto) -> set[str]:
    return {name for node in graph.node for name in node.input} | {o.name for o in graph.output}


@pytest.mark.parametrize("opset", [13, 15, 17])
@pytest.mark.parametrize("name", [name for name in GRAPHS if name not in TOO_YOUNG])
def test_the_older_form_computes_the_same(name: str, opset: int) -> None:
    graph = gc.graph(GRAPHS[name]())
    model, values = to_model(graph, opset=opset), feeds(graph, {"n": 2})
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (opset, 8)
    assert {t.name for t in model.graph.initializer} <= read_by(model.graph)
    expected = run_onnxruntime(to_model(graph), values)
    for key, value in run_onnxruntime(model, values).items():
        np.testing.assert_array_equal(value, expected[key], strict=True)
    again, _ = from_model(model)
    for key, value in run_onnxruntime(to_model(again), values).items():
        np.testing.assert_array_equal(value, expected[key], strict=True)


@pytest.mark.parametrize(("name", "opset"), [(name, opset) for name, found in TOO_YOUNG.items() for opset in found])
def test_an_operator_that_the_opset_has_not_is_named(name: str, opset: int) -> None:
    with pytest.raises(ExportError, match=f"opset={opset} is too low: {TOO_YOUNG[name][opset]}"):
        to_model(gc.graph(GRAPHS[name]()), opset=opset)


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - RANDOM))
def test_samples_export_to_the_oldest_opset_or_say_what_is_too_young(name: str) -> None:
    graph = SAMPLES[name]()
    try:
        model = to_model(graph, opset=OLDEST_OPSET)
    except ExportError as error:
        assert " needs opset " in str(error)  # noqa: PT017
        return
    onnx.checker.check_model(model, full_check=True)
    values = feeds(graph, {"batch": 5, "N": 2})
    values = {k: np.array(True) if v.dtype == bool and v.ndim == 0 else v for k, v in values.items()}
    expected = run_onnxruntime(to_model(graph), values)
    for key, value in run_onnxruntime(model, values).items():
        np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize(("opset", "least"), [(13, 7), (18, 8), (21, 10), (24, 12)])
def test_the_version_of_the_format_can_be_asked_for_down_to_what_the_opset_needs(opset: int, least: int) -> None:
    graph = gc.graph(gc.relu(x("n")))
    for version in (least, 13):
        model = to_model(graph, opset=opset, ir_version=version)
        assert model.ir_version == version
        onnx.checker.check_model(model, full_check=True)
    for version in (least - 1, 14):
        with pytest.raises(ExportError, match=f"ir_version={version}; expected {least}, which opset {opset} needs, to"):
            to_model(graph, opset=opset, ir_version=version)
