"""Exports state the lowest opset at which every node means the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from serial_samples import SAMPLES, array

import graphc as gc
from graphc.errors import ExportError
from graphc.serial.export import to_model
from graphc.serial.opsets import MIN_OPSET


def x(*shape: int, dtype: str = "float32") -> gc.Tensor:
    return gc.input("x", shape, dtype)


def pool(operator: str, size: int, stride: int, end: int, **attributes: int) -> gc.Tensor:
    build = getattr(gc.op, operator)
    return build(x(1, 1, 9), kernel_shape=[size], strides=[stride], pads=[0, end], **attributes)


def ones(n: int) -> gc.Tensor:
    return gc.constant(np.ones(n, np.float32))


def conditional(value: Callable[[gc.Tensor], gc.Tensor]) -> gc.Tensor:
    p = gc.input("p", (2,))
    return gc.op.If(
        gc.input("c", (), "bool"), x(2), then_branch=gc.Graph([p], [value(p)]), else_branch=gc.Graph([p], [p])
    )[0]


# By what the schema accepts: types, attributes, whether the operator exists. One opset lower is refused by the checker.
BY_SCHEMA: dict[str, tuple[int, Callable[[], gc.Tensor]]] = {
    "matmul": (18, lambda: x(2, 2) @ gc.constant(array(2, 2))),
    "gelu": (20, lambda: gc.op.Gelu(x(2))),
    "rms": (23, lambda: gc.op.RMSNormalization(x(2, 4), ones(4))),
    "attention": (23, lambda: gc.op.Attention(x(1, 2, 3, 4), gc.input("k", (1, 2, 3, 4)), gc.input("v", (1, 2, 3, 4)))),
    "attention, padded": (
        24,
        lambda: gc.op.Attention(
            *(gc.input(n, (1, 2, 3, 4)) for n in "qkv"), nonpad_kv_seqlen=gc.input("n", (1,), "int64")
        ),
    ),
    "swish": (24, lambda: gc.op.Swish(x(2))),
    "swish in a branch": (24, lambda: conditional(gc.op.Swish)),
    "running product": (26, lambda: gc.op.CumProd(x(2), 0)),
    "bits": (26, lambda: gc.op.BitCast(x(2), to="int32")),
    "old and young": (26, lambda: gc.op.BitCast(gc.op.Gelu(gc.op.Swish(x(2))), to="int32")),
    "cos": (18, lambda: gc.op.Cos(x(2))),
    "cos of bfloat16": (22, lambda: gc.op.Cos(x(2, dtype="bfloat16"))),
    "relu of bfloat16": (18, lambda: gc.op.Relu(x(2, dtype="bfloat16"))),
    "max of bool": (20, lambda: gc.op.ReduceMax(x(2, dtype="bool"))),
    "max of int8": (18, lambda: gc.op.ReduceMax(x(2, dtype="int8"))),
    "equal of strings": (19, lambda: gc.op.Equal(x(2, dtype="string"), gc.input("y", (2,), "string"))),
    "cast to float8": (19, lambda: gc.op.Cast(x(2), to="float8e4m3fn")),
    "cast to float8, not saturating": (19, lambda: gc.op.Cast(x(2), to="float8e4m3fn", saturate=0)),
    "cast to int4": (21, lambda: gc.op.Cast(x(2), to="int4")),
    "cast to float4": (23, lambda: gc.op.Cast(x(2), to="float4e2m1")),
    "cast, default spelled out": (18, lambda: gc.op.Cast(x(2), to="float16", saturate=1)),
    "cast, attribute of no effect": (19, lambda: gc.op.Cast(x(2), to="float16", saturate=0)),
    "average pool": (18, lambda: gc.op.AveragePool(x(1, 1, 4), kernel_shape=[2])),
    "dilated average pool": (19, lambda: gc.op.AveragePool(x(1, 1, 4), kernel_shape=[2], dilations=[2])),
    "quantize": (18, lambda: gc.op.QuantizeLinear(x(2), gc.constant(0.5), gc.constant(3, "uint8"))),
    "quantize to int16": (21, lambda: gc.op.QuantizeLinear(x(2), gc.constant(0.5), gc.constant(3, "int16"))),
    "quantize blocks": (21, lambda: gc.op.QuantizeLinear(x(4), ones(2), axis=0, block_size=2)),
    "dequantize": (18, lambda: gc.op.DequantizeLinear(x(2, dtype="int8"), gc.constant(0.5))),
    "dequantize to float16": (19, lambda: gc.op.DequantizeLinear(x(2, dtype="int8"), gc.constant(0.5, "float16"))),
    "inside a branch": (20, lambda: conditional(gc.op.Gelu)),
    "branch": (18, lambda: conditional(gc.relu)),
    "string concat": (20, lambda: gc.op.StringConcat(x(2, dtype="string"), gc.input("y", (2,), "string"))),
}

# By meaning: older schemas accept these nodes, but say something else with them.
BY_MEANING: dict[str, tuple[int, Callable[[], gc.Tensor]]] = {
    "group norm": (21, lambda: gc.op.GroupNormalization(x(2, 4, 3), ones(4), ones(4), num_groups=2)),
    "grid sample": (20, lambda: gc.op.GridSample(x(1, 1, 4, 4), gc.input("grid", (1, 2, 2, 2)), mode="nearest")),
    "dft": (20, lambda: gc.op.DFT(x(1, 4, 1))),
    "attention, mask of the first keys": (
        24,
        lambda: gc.op.Attention(*(gc.input(n, (1, 2, 3, 4)) for n in "qkv"), gc.input("mask", (3, 2))),
    ),
    "pad": (18, lambda: gc.op.Pad(x(4), gc.constant([1, 1]), mode="reflect")),
    "pad around": (19, lambda: gc.op.Pad(x(4), gc.constant([1, 1]), mode="wrap")),
    "resize": (18, lambda: gc.op.Resize(x(1, 1, 4), None, ones(3), mode="linear")),
    "resize, symmetric": (
        19,
        lambda: gc.op.Resize(x(1, 1, 4), None, ones(3), coordinate_transformation_mode="half_pixel_symmetric"),
    ),
    "max pool": (18, lambda: pool("MaxPool", 2, 4, 1)),
    "max pool, last window begins inside": (18, lambda: pool("MaxPool", 3, 2, 1, ceil_mode=1)),
    "max pool, last window may begin in the padding": (22, lambda: pool("MaxPool", 2, 3, 0, ceil_mode=1)),
    "average pool, last window may begin in the padding": (22, lambda: pool("AveragePool", 2, 2, 1, ceil_mode=1)),
}


def stated(model: onnx.ModelProto) -> int:
    (opset,) = model.opset_import
    assert opset.domain == ""
    return opset.version


@pytest.mark.parametrize(("lowest", "build"), (BY_SCHEMA | BY_MEANING).values(), ids=(BY_SCHEMA | BY_MEANING).keys())
def test_export_states_the_lowest_opset(lowest: int, build: Callable[[], gc.Tensor]) -> None:
    model = to_model(gc.graph(build()))
    assert stated(model) == lowest
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", [name for name, (lowest, _) in BY_SCHEMA.items() if lowest > MIN_OPSET])
def test_the_checker_refuses_one_opset_lower(name: str) -> None:
    lowest, build = BY_SCHEMA[name]
    model = to_model(gc.graph(build()))
    model.opset_import[0].version = lowest - 1
    model.ir_version = 11
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        onnx.checker.check_model(model, full_check=True)


def test_an_mlp_is_opset_18() -> None:
    assert stated(to_model(SAMPLES["mlp"]())) == 18


@pytest.mark.parametrize("opset", [18, 20, 23, 26])
def test_a_given_opset_is_stated(opset: int) -> None:
    assert stated(to_model(SAMPLES["mlp"](), opset=opset)) == opset


def test_too_low_an_opset_names_every_offender_with_its_line() -> None:
    h = gc.op.Gelu(x(2, 4))
    y = gc.op.RMSNormalization(h, ones(4))
    with pytest.raises(ExportError) as e:
        to_model(gc.graph(y), opset=19)
    lines = [t.node.origin.lineno for t in (h, y)]
    assert f"Gelu needs opset 20 [test_lowest_opset.py:{lines[0]}]" in str(e.value)
    assert f"RMSNormalization needs opset 23 [test_lowest_opset.py:{lines[1]}]" in str(e.value)
    assert "Use opset=23, or None for the lowest that fits." in str(e.value)


@pytest.mark.parametrize("opset", [12, 27])
def test_an_opset_out_of_range_is_an_error(opset: int) -> None:
    with pytest.raises(ExportError, match=f"opset={opset}; expected 13 to 26"):
        to_model(SAMPLES["mlp"](), opset=opset)


def test_windows_that_begin_in_the_padding_are_why_pools_need_opset_22() -> None:
    model = to_model(gc.graph(pool("MaxPool", 2, 3, 1, ceil_mode=1)))

    def length() -> int:
        inferred = onnx.shape_inference.infer_shapes(model)
        return inferred.graph.output[0].type.tensor_type.shape.dim[2].dim_value

    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert length() == 3
    model.opset_import[0].version = 21
    assert length() == 4


def test_new_element_types_of_inputs_and_constants_raise_the_ir_version() -> None:
    x8 = gc.input("x", (2,), "float8e5m2")
    model = to_model(gc.Graph([x8], [gc.constant(array(2))]))
    assert (stated(model), model.ir_version) == (19, 9)
    model = to_model(gc.Graph([], [gc.constant([1, -8], "int4")]))
    assert (stated(model), model.ir_version) == (21, 10)
    model = to_model(gc.graph(gc.op.DequantizeLinear(gc.constant([1, -8], "int4"), gc.constant(0.5))))
    assert (stated(model), model.ir_version) == (21, 10)
