"""What the CUDA provider has no kernel for becomes what it has kernels for, with equal results."""

from __future__ import annotations

import numpy as np
import onnx.defs
import pytest
from cuda_gaps import GAPS, Lacking, integers, op
from vjp_cases import CASES, Case

import graphc as gc
from graphc import nn
from graphc.errors import DTypeError
from graphc.ir.call import inline
from graphc.ir.graph import Graph
from graphc.ir.schema import operator_names
from passes.lowering.cuda import lower_for_cuda
from passes.lowering.cuda_kernels import _KERNELS, gaps, kernel_dtypes


@pytest.mark.parametrize("case", GAPS, ids=lambda case: case.name)
def test_a_gap_is_closed_with_equal_results(case: Lacking) -> None:
    graph = case.graph()
    found = gaps(graph)
    assert case.reason in " ".join(g.reason for g in found)
    assert found
    lowered = lower_for_cuda(graph)
    assert [(g.node.op, g.reason) for g in gaps(lowered)] == []
    runtime = "reference" if case.reference else "onnxruntime"
    wanted = gc.evaluate(graph, case.values(), runtime="reference")
    for expected, value in zip(
        wanted.values(), gc.evaluate(lowered, case.values(), runtime=runtime).values(), strict=True
    ):
        assert value.dtype == expected.dtype
        if case.tolerance:
            scale = max(1.0, float(np.abs(expected.astype(np.float64)).max()))
            np.testing.assert_allclose(
                value.astype(np.float64), expected.astype(np.float64), rtol=0, atol=case.tolerance * scale
            )
        else:
            np.testing.assert_array_equal(value, expected)


def _differentiated(case: Case, dtype: str) -> Graph | None:
    """A case of the gradient rules with its gradients; None where an operator does not take the dtype."""
    inputs = case.inputs(dtype)
    try:
        outputs = case.outputs(inputs)
    except DTypeError:
        return None
    wrt = [t for t in inputs if t.dtype.is_float]
    gradients = gc.vjp(outputs, wrt, [gc.ones_like(t) for t in outputs], unused="zero")
    return inline(gc.graph([*outputs, *gradients]))


UNAVOIDABLE = {
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"),
    *("AffineGrid", "Col2Im", "DFT", "DeformConv", "Det", "GlobalLpPool", "LpNormalization", "LpPool", "MaxRoiPool"),
    *("RoiAlign", "STFT", "Unique", "SequenceMap", "SplitToSequence", "Optional", "OptionalGetElement"),
    *("GRU", "LSTM", "RNN"),  # where cuDNN lacks what the attributes ask for
    *("CumProd", "TensorScatter"),  # they are of opset 24 and later, which takes the kernels of others away
    *("MaxUnpool", "Pad", "ReduceProd"),  # MaxUnpool into a given shape, Pad of mode wrap, ReduceProd of int64
    "MeanVarianceNormalization",  # of half precision, in which its body cannot be read
}
"""Operators that stay on the CPU in some case; all others must have a kernel in every case, gradients included."""
LATE = {"CumProd", "TensorScatter", "MaxRoiPool", "RoiAlign"}
"""Operators without a kernel or a body whose opset takes the kernels of others away, RoiAlign in bfloat16."""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", pytest.param("float16", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("part", range(8))
def test_gradients_of_all_operators_keep_to_the_kernels_of_cuda(part: int, dtype: str) -> None:
    left = {}
    for case in CASES[part::8]:
        graph = _differentiated(case, dtype) if case.half or dtype == "float32" else None
        for gap in [] if graph is None else gaps(lower_for_cuda(graph)):
            if gap.node.op not in UNAVOIDABLE and not (case.op in LATE and "serves opsets" in gap.reason):
                left[str(case)] = f"{gap.node.op}: {gap.reason}"
    assert left == {}


def test_a_training_step_with_dropout_has_no_operator_without_a_kernel() -> None:
    x, y = gc.input("x", ("batch", 3, 8, 8)), gc.input("y", ("batch",), "int64")
    layers = [nn.Conv2d(8, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5)]
    loss = nn.cross_entropy(nn.Sequential(*layers, nn.Flatten(), nn.Linear(10))(x), y, weight=np.ones(10, np.float32))
    step = gc.train_step(loss, optimizer=gc.optim.Adam(1e-3))
    lowered = lower_for_cuda(step.graph)
    assert gaps(lowered) == []
    assert [str(t.name) for t in lowered.updates] == [str(t.name) for t in step.graph.updates]
    assert lowered.output_names == step.graph.output_names
    operators = {*lowered.operators()}
    assert operators.isdisjoint({"BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Bernoulli", "Dropout"})


def test_convolutions_of_bfloat16_are_widened_where_their_opset_has_no_transposed_one() -> None:
    x, w = gc.input("x", (1, 2, 4, 4), "bfloat16"), gc.input("w", (2, 2, 3, 3), "bfloat16")
    alone = gc.graph(op("Conv", x, w))
    assert lower_for_cuda(alone) is alone  # opset 22 has the kernel
    both = gc.graph(op("ConvTranspose", op("Conv", x, w), w))
    assert [g.node.op for g in gaps(both)] == ["ConvTranspose"]
    lowered = lower_for_cuda(both)
    assert gaps(lowered) == []
    assert {n.out().dtype.name for n in lowered.nodes if n.op in ("Conv", "ConvTranspose")} == {"float32"}


def test_bernoulli_is_left_to_the_uniform_numbers_of_the_provider() -> None:
    p = gc.input("p", ("n",))
    lowered = lower_for_cuda(gc.graph(op("Bernoulli", p)))
    assert gaps(lowered) == []
    drawn = gc.evaluate(lowered, {"p": np.repeat(np.float32([0, 1, 0.25]), 4000)})
    (values,) = drawn.values()
    assert (values[:4000].max(), values[4000:8000].min()) == (0, 1)
    assert abs(values[8000:].mean() - 0.25) < 0.05


def test_a_graph_without_gaps_stays_the_same_object() -> None:
    x, w = gc.input("x", ("batch", 4)), gc.parameter("w", (4, 3))
    graph = gc.graph(gc.relu(x @ w))
    assert lower_for_cuda(graph) is graph


def test_bodies_of_control_flow_are_lowered_and_looked_into() -> None:
    x = gc.input("x", (3,), "bool")
    graph = gc.graph(gc.cond(x[0], lambda t: op("Tile", t, integers(2)), lambda t: gc.concat([t, t]), x))
    assert [g.node.op for g in gaps(graph)] == ["Tile"]
    assert gaps(lower_for_cuda(graph)) == []


def test_the_table_names_operators_and_type_variables_of_onnx() -> None:
    names = set(operator_names())
    for name, kernels in _KERNELS.items():
        assert name in names
        for kernel in kernels:
            schema = onnx.defs.get_schema(name, kernel.first, "")
            assert kernel.types.keys() <= {c.type_param_str for c in schema.type_constraints}, name


def test_a_kernel_without_an_end_serves_one_version_of_the_schema() -> None:
    assert kernel_dtypes("MaxPool", 21) is not None
    assert kernel_dtypes("MaxPool", 22) is None
    assert kernel_dtypes("Conv", 21) is not None
    assert "bfloat16" in (kernel_dtypes("Conv", 22) or {})["T"]
    assert kernel_dtypes("Det", 22) is None
