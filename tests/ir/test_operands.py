"""What users pass to operators: numbers and arrays take the dtype of the tensors beside them, or are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError, GraphcError, OperatorError
from graphc.ir.node import Tensor

f16, bf16, f32, f64, i8, u8, i32, i64, mask, text = (
    gc.input(name, (3,), name)
    for name in ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool", "string")
)


@pytest.mark.parametrize("tensor", [f16, bf16, f32, f64, i8, u8, i32, i64], ids=lambda t: str(t.dtype))
@pytest.mark.parametrize("number", [2, True, [1, 2, 3], (1, 2, 3), []], ids=repr)
def test_integers_fit_every_numeric_dtype(tensor: Tensor, number: Any) -> None:
    if number == []:
        tensor = gc.reshape(tensor, (3, 1))
    for result in (tensor + number, gc.multiply(number, tensor), gc.maximum(tensor, number)):
        assert result.dtype is tensor.dtype
        assert all(t.dtype is tensor.dtype for t in result.node.inputs if t is not None)


@pytest.mark.parametrize("tensor", [f16, bf16, f32, f64], ids=lambda t: str(t.dtype))
@pytest.mark.parametrize("number", [0.1, -0.0, float("inf"), float("nan"), [0.5, 1, 2]], ids=repr)
def test_floats_are_rounded_to_the_dtype_beside_them(tensor: Tensor, number: Any) -> None:
    constant = (tensor * number).node.inputs[1]
    assert constant is not None
    expected = np.asarray(number).astype(tensor.dtype.numpy)
    assert constant.node.attrs["value"].array.tobytes() == expected.tobytes()


def test_numbers_beside_each_other_are_float_if_one_is() -> None:
    for chosen in (gc.where(mask, 1, 2.0), gc.where(mask, 2.0, 1), gc.where(mask, [1, 2, 3], 0.5)):
        assert chosen.dtype is gc.float32
    assert gc.where(mask, 1, 0).dtype is gc.int64
    assert gc.where(mask, 1, f64).dtype is gc.float64


def test_exponents_and_bases_take_the_dtype_of_the_other() -> None:
    assert (f32**2).node.inputs[1].dtype is gc.float32  # type: ignore[union-attr]
    assert (2**f32).dtype is gc.float32
    assert (f64**0.5).dtype is gc.float64
    assert (i64**2).dtype is gc.int64
    assert (f32**i64).dtype is gc.float32
    with pytest.raises(DTypeError, match=r"Pow: the number 0\.5 does not fit int64"):
        i64**0.5


@pytest.mark.parametrize(
    ("tensor", "array"),
    [
        (f32, np.ones(3)),
        (f32, np.float64(0.1)),
        (f32, np.ones(3, np.float16)),
        (f64, np.ones(3, np.float32)),
        (f16, np.ones(3)),
        (bf16, np.ones(3)),
        (f32, np.ones(3, ml_dtypes.bfloat16)),
        (i32, np.ones(3, np.int64)),
        (i32, np.int64(7)),
        (u8, np.full(3, 255)),
        (i64, np.ones(3, np.uint8)),
        (mask, np.ones(3, bool)),
    ],
    ids=lambda value: str(value.dtype),
)
def test_arrays_change_their_width_to_the_dtype_beside_them(tensor: Tensor, array: Any) -> None:
    combine = gc.logical_and if tensor is mask else gc.add
    for result in (combine(tensor, array), combine(array, tensor)):
        assert result.dtype is tensor.dtype
    constant = combine(tensor, array).node.inputs[1]
    assert constant is not None
    np.testing.assert_array_equal(constant.node.attrs["value"].array, np.asarray(array).astype(tensor.dtype.numpy))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: f32 + np.ones(3, np.int64), r"an array of int64 that stands beside float32 \[test_operands.py:\d+\]"),
        (lambda: f32 + np.int64(1), r"a NumPy number of int64 that stands beside float32.*\.astype\('float32'\)"),
        (lambda: i64 + np.ones(3), r"an array of float64 that stands beside int64.*\.cast\('float64'\)"),
        (lambda: i64 + np.ones(3, bool), r"an array of bool that stands beside int64"),
        (lambda: mask & np.ones(3, np.int64), r"an array of int64 that stands beside bool"),
        (lambda: f32 + np.array(["a"]), r"an array of string that stands beside float32"),
        (lambda: i32 + np.array([2**40]), r"an array of int64 that has values that do not fit int32"),
        (lambda: u8 + np.array([-1]), r"has values that do not fit uint8"),
        (lambda: f16 + np.float32(70000), r"a NumPy number of float32 that has values that do not fit float16"),
        (lambda: i64 + 1.5, r"Add: the number 1.5 does not fit int64 .*Convert the tensor with .cast\('float32'\)"),
        (lambda: i64 + 1.0, r"Add: the number 1.0 does not fit int64"),
        (lambda: 0.5 * i64, r"Mul: the number 0.5 does not fit int64"),
        (lambda: i64 + [1, 2.5, 3], r"Add: the list \[1, 2.5, 3\] does not fit int64"),
        (lambda: u8 + 256, r"Add: the number 256 does not fit uint8 .*Its values go from 0 to 255"),
        (lambda: i8 - 129, r"the number 129 does not fit int8 .*from -128 to 127"),
        (lambda: i32 + 2**31, r"the number 2147483648 does not fit int32"),
        (lambda: i64 + 2**63, r"the number 9223372036854775808 does not fit int64"),
        (lambda: f16 + 70000, r"the number 70000 does not fit float16"),
        (lambda: f32 * 1e39, r"the number 1e\+39 does not fit float32"),
        (lambda: mask & 1, r"And: the number 1 does not fit bool"),
        (lambda: f32 + i64, r"Add: input 'A' is float32 but 'B' is int64; they must have one dtype.*\.cast\("),
        (lambda: gc.where(f32, 1.0, 2.0), r"Where: input 'condition' is float32; expected one of bool"),
        (lambda: ~f32, r"Not: input 'X' is float32; expected one of bool"),
        (lambda: f32 @ [1, "a", 2], r"MatMul: the list \[1, 'a', 2\] does not fit float32"),
        (lambda: gc.constant(f32), r"constant: found a Tensor, expected an array or a number"),
    ],
)
def test_what_does_not_fit_is_rejected_with_a_way_out(build: Callable[[], object], message: str) -> None:
    with pytest.raises(DTypeError, match=message) as caught:
        build()
    assert "[test_operands.py:" in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: f32 + None, r"Add: input 'B' is None; it is required"),
        (lambda: f32 + "a", r"Add: input 'B' is 'a' \(str\); expected a Tensor, an array or a number"),
        (lambda: f32 + {1}, r"Add: input 'B' is \{1\} \(set\)"),
        (
            lambda: gc.op.Concat([f32, f32], axis=0),
            r"Concat: input 'inputs' is \[.*\] \(list\).*Pass its elements one by one",
        ),
        (
            lambda: f32 * gc.input("n", ("N", 2)).shape[0],
            r"Mul: input 'B' is N \(Symbol\); expected .*take gc.shape_of\(x\)\[axis\]",
        ),
        (lambda: gc.op.Relu(), r"Relu: found 0 inputs; expected 1 \(X\)"),
        (lambda: gc.op.Gemm(f32), r"Gemm: found 1 inputs; expected 2 to 3 \(A, B, C\)"),
        (lambda: gc.op.Relu(f32, f32), r"Relu: found 2 inputs; expected 1"),
        (lambda: gc.op.Concat(axis=0), r"Concat: found 0 inputs; expected 1 or more \(inputs\)"),
        (lambda: gc.op.Clip(f32, 0.0, min=1.0), r"Clip: input 'min' is given twice"),
    ],
)
def test_what_is_no_operand_is_rejected(build: Callable[[], object], message: str) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        build()
    assert "[test_operands.py:" in str(caught.value)


def test_arrays_on_the_left_ask_the_tensor() -> None:
    array = np.ones((2, 3), np.float32)
    assert (array * f32).shape == (2, 3)
    assert (array @ f32).shape == (2,)
    assert (array - f32).op == "Sub"
    assert (array < f32).dtype is gc.bool_
    assert (np.float32(2) * f32).op == "Mul"


def test_a_tensor_has_no_truth_value() -> None:
    with pytest.raises(GraphcError, match=r"the truth value of .* is not known before the graph runs.*gc.where"):
        bool(f32)
