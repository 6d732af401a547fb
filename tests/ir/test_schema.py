"""Operators as ONNX describes them: names, attributes, defaults, arity, the `gc.op` surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.defs
import pytest

import graphc as gc
from graphc.errors import DTypeError, OperatorError
from graphc.ir import schema
from graphc.ir.build import apply
from graphc.ir.schema import LATEST_OPSET, OPSET, VARIADIC, opset_of

x = gc.input("x", ("N", 4))


def test_every_operator_of_the_opset_is_there() -> None:
    expected = set()
    for found in onnx.defs.get_all_schemas_with_history():
        if (
            found.domain == ""
            and found.since_version <= LATEST_OPSET
            and not onnx.defs.get_schema(found.name, LATEST_OPSET).deprecated
        ):
            expected.add(found.name)
    assert set(schema.operator_names()) == expected
    assert {"Swish", "TensorScatter", "CumProd", "BitCast"} <= expected
    assert len(expected) > 184


def test_an_operator_is_that_of_the_pinned_opset_or_of_the_one_that_introduced_it() -> None:
    assert [opset_of(name) for name in ("MatMul", "Swish", "TensorScatter", "CumProd", "Attention", "Nothing")] == [
        *(OPSET, 24, 24, 26, 24, OPSET)
    ]


@pytest.mark.parametrize("name", schema.operator_names())
def test_later_opsets_only_add_to_an_operator(name: str) -> None:
    """So that an export may state the opset of its youngest operator, and the others mean the same there."""
    ours = onnx.defs.get_schema(name, opset_of(name))
    for opset in range(opset_of(name) + 1, LATEST_OPSET + 1):
        later = onnx.defs.get_schema(name, opset)
        for old, new in ((ours.inputs, later.inputs), (ours.outputs, later.outputs)):
            assert [p.name for p in old] == [p.name for p in new[: len(old)]]
            assert all(set(p.types) <= set(q.types) for p, q in zip(old, new, strict=False))
            assert all(q.option == onnx.defs.OpSchema.FormalParameterOption.Optional for q in new[len(old) :])
        for key, attribute in ours.attributes.items():
            same = later.attributes[key]
            assert (same.type, same.required) == (attribute.type, attribute.required)
            assert same.default_value == attribute.default_value
        assert not any(a.required for key, a in later.attributes.items() if key not in ours.attributes)


@pytest.mark.parametrize("name", schema.operator_names())
def test_an_operator_is_what_onnx_says(name: str) -> None:
    ours, theirs = schema.spec(name), onnx.defs.get_schema(name, opset_of(name))
    assert ours.since_version == theirs.since_version
    assert ours.min_inputs == theirs.min_input
    assert ours.max_outputs == theirs.max_output or ours.max_outputs == VARIADIC
    assert set(theirs.attributes) <= set(ours.attributes)
    assert ours.required == tuple(sorted(a.name for a in theirs.attributes.values() if a.required))
    builder = getattr(gc.op, name)
    assert builder.__name__ == name
    assert builder.__doc__ == theirs.doc
    for attribute in theirs.attributes.values():
        if attribute.default_value.type:
            assert ours.defaults[attribute.name] == plain(onnx.helper.get_attribute_value(attribute.default_value))


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(plain, value))
    return value.decode() if isinstance(value, bytes) else value


def test_names_of_inputs_and_attributes_do_not_collide() -> None:
    for name in schema.operator_names():
        op = schema.spec(name)
        assert not {p.name for p in op.inputs} & {*op.attributes, "outputs"}


def test_inputs_may_be_given_by_name() -> None:
    assert gc.op.Clip(x, max=1.0) == gc.op.Clip(x, None, 1.0)
    assert gc.op.Gemm(A=x, B=x, transB=1) == gc.op.Gemm(x, x, transB=1)
    assert gc.op.Clip(x, max=None, min=0.0) == gc.op.Clip(x, 0.0)


def test_an_operator_with_several_required_outputs_gives_a_tuple() -> None:
    values, indices = gc.op.TopK(x, np.array([2]))
    assert (values.dtype, indices.dtype) == (gc.float32, gc.int64)
    assert isinstance(gc.op.Dropout(x), gc.Tensor)
    dropped, mask = gc.op.Dropout(x, outputs=2)
    assert dropped.node is mask.node
    assert mask.dtype is gc.bool_
    assert len(gc.op.Split(x, num_outputs=2, axis=1)) == 2
    assert len(gc.op.Split(x, np.array([1, 3]), axis=1)) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: gc.op.Conv(x, x, stride=[1, 1]),
            r"Conv: there is no attribute 'stride'; its attributes are: auto_pad, .* \[.*\]\. Did you mean 'strides'\?",
        ),
        (lambda: gc.op.Relu(x, alpha=1.0), r"Relu: there is no attribute 'alpha'; its attributes are: none"),
        (lambda: gc.op.Softmax(x, axis=1.5), r"Softmax: attribute 'axis' is 1.5 \(float\); expected an integer"),
        (lambda: gc.op.Softmax(x, axis="1"), r"attribute 'axis' is '1' \(str\); expected an integer"),
        (lambda: gc.op.Elu(x, alpha="a"), r"attribute 'alpha' is 'a' \(str\); expected a number"),
        (lambda: gc.op.Elu(x, alpha=True), r"attribute 'alpha' is True \(bool\); expected a number"),
        (lambda: gc.op.Elu(x, alpha=1e39), r"attribute 'alpha' is 1e\+39 \(float\); expected a number in the range"),
        (lambda: gc.op.Transpose(x, perm=3), r"attribute 'perm' is 3 \(int\); expected a sequence of integers"),
        (lambda: gc.op.Transpose(x, perm="10"), r"attribute 'perm' is '10' \(str\); expected a sequence of integers"),
        (lambda: gc.op.Transpose(x, perm=[0, 1.0]), r"attribute 'perm' is \[0, 1.0\] \(list\); expected a sequence"),
        (lambda: gc.op.Gelu(x, approximate=1), r"attribute 'approximate' is 1 \(int\); expected a string"),
        (lambda: gc.op.If(gc.constant(True), then_branch=1, else_branch=2), r"attribute 'then_branch' is 1 .*a Graph"),
        (lambda: gc.op.Cast(x), r"Cast: the attribute 'to' is required"),
        (lambda: gc.op.Concat(x, x), r"Concat: the attribute 'axis' is required"),
        (lambda: gc.op.Constant(), r"Constant: found nothing; expected exactly one of value, value_float"),
        (
            lambda: gc.op.Constant(value_int=1, value_float=2.0),
            r"Constant: found value_float, value_int; expected exactly",
        ),
        (lambda: gc.op.Split(x), r"Split: the number of outputs is not known.*Pass outputs=n"),
        (lambda: gc.op.Split(x, np.array([1, 3]), axis=1, outputs=3), r"Split: outputs=3, but it has 2 outputs"),
        (lambda: gc.op.TopK(x, np.array([1]), outputs=3), r"TopK: outputs=3; it has 2 outputs"),
        (lambda: apply("Conv2d", (x,)), r"there is no operator 'Conv2d' up to ONNX opset 26 .*Did you mean Conv"),
        (lambda: apply("relu", (x,)), r"there is no operator 'relu' .*Did you mean Relu\?"),
        (lambda: apply("Relu", (x,), domain="ai.onnx.ml"), r"there is no operator 'Relu'"),
        (lambda: apply("Relu", (x,), domain="com.example"), r"Relu: the attribute 'graphc.signature' is required"),
        (lambda: apply("Upsample", (x,)), r"there is no operator 'Upsample'"),
    ],
)
def test_mistakes_name_the_operator_what_was_found_and_the_line(build: Callable[[], object], message: str) -> None:
    with pytest.raises(OperatorError, match=message) as caught:
        build()
    assert "[test_schema.py:" in str(caught.value)


def test_an_unknown_dtype_of_an_attribute_is_named() -> None:
    with pytest.raises(DTypeError, match=r"Cast: attribute 'to': 'floaty' is no data type; expected one of float32"):
        gc.op.Cast(x, to="floaty")


def test_an_unknown_operator_is_no_attribute_of_op() -> None:
    with pytest.raises(AttributeError, match="Did you mean Softmax"):
        gc.op.SoftMax  # noqa: B018
    assert not hasattr(gc.op, "Nothing")
    assert "Conv" in dir(gc.op)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"value": np.float32(2)}, np.float32(2)),
        ({"value": onnx.numpy_helper.from_array(np.arange(3))}, np.arange(3)),
        ({"value_float": 0.1}, np.float32(0.1)),
        ({"value_floats": [1, 2.5]}, np.array([1, 2.5], np.float32)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": (1, 2)}, np.array([1, 2])),
        ({"value_string": "a"}, np.array("a", object)),
        ({"value_strings": ["a", "b"]}, np.array(["a", "b"], object)),
    ],
)
def test_constants_of_every_form_are_the_constants_of_gc(given: dict[str, Any], expected: Any) -> None:
    found = gc.op.Constant(**given)
    assert found == gc.constant(expected)
    assert apply("Constant", (), given).out() == found


def test_operators_of_other_domains_are_built_at_their_newest_version() -> None:
    features = apply("ArrayFeatureExtractor", (x, np.array([[0, 2]])), domain="ai.onnx.ml").out()
    assert (features.dtype, features.shape) == (gc.float32, (*x.shape[:1], 2))


def test_onnx_marks_what_is_random() -> None:
    random = {name for name in schema.operator_names() if not schema.spec(name).deterministic}
    assert random == {
        *("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"),
        "RandomUniformLike",
    }
