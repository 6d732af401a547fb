"""Inferred types against the arrays of ONNX's own node tests, with static and with symbolic shapes.

Each case is built twice from the types of its inputs: with their static shapes, and with every dimension made a symbol
(equal sizes share one). Inputs that hold shapes, axes and the like are constants. A dimension that comes out unknown is
accepted only for the operators listed here, each with its reason.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.defs
import pytest
from support import Case, as_array, build_nodes, leaf_of, node_suite

from graphc.errors import DTypeError, GraphcError, ModelImportError, OperatorError
from graphc.ir import dims
from graphc.ir.build import constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.schema import operator_names, opset_of
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.protos import type_from_proto

MORE_TYPES = {
    *("Cast", "CastLike", "Constant", "ConstantOfShape", "Flatten", "Identity", "If", "Loop", "Pad", "Reshape", "Scan"),
    *("Shape", "Size", "Squeeze", "Transpose", "Unsqueeze"),
}
"""Operators whose newer versions differ by the types that they allow; not those before opset 9."""
SHAPE_INPUTS = {
    *("shape", "axes", "axis", "repeats", "pads", "K", "depth", "scales", "sizes", "starts", "ends", "steps", "split"),
    *("start", "limit", "delta", "image_shape", "block_shape", "size", "output_shape", "dft_length", "frame_length"),
    *("frame_step", "num_mel_bins"),
}
"""Formal inputs that are constants in these tests, because sizes depend on their elements."""

DATA_DEPENDENT = {
    "Compress": "as many as the condition has true elements",
    "FlexAttention": "a preview operator, whose bodies ONNX's inference does not read",
    "ImageDecoder": "the size of the encoded image",
    "NonMaxSuppression": "as many boxes as are selected",
    "NonZero": "as many as there are elements that are not zero",
    "StringNormalizer": "as many strings as are no stop words",
    "StringSplit": "the largest number of parts",
    "Unique": "as many as there are different elements",
    "LinearAttention (expanded)": "sizes that are computed outside of the body of a Scan and captured",
    "Range (expanded)": "a loop that runs as often as float arithmetic says",
    "AffineGrid (expanded)": "an If whose branches are of different rank",
}
UNDECIDED_WHEN_SYMBOLIC = {
    "GatherND": "the rank of the result is the size of an axis",
    "Resize": "scales on which float32 rounds; ratios of symbolic sizes",
    "CausalConvWithState (expanded)": "a slice that starts at a difference of symbols, of either sign",
    "CenterCropPad (expanded)": "slices that start at differences of symbols",
}

REJECTED = {
    "test_affine_grid_3d_expanded": "a branch that is never taken splits 5 sizes into 4 parts",
    "test_affine_grid_3d_align_corners_expanded": "the same",
}


class Prepared(NamedTuple):
    """The inputs of a case as tensors, and what their symbols stand for."""

    known: dict[str, Tensor]
    sizes: dict[str, int]


def operator_of(case: Case) -> str:
    if case.name.endswith("_expanded"):
        origin = by_name().get(case.name.removesuffix("_expanded"))
        return f"{origin.model.graph.node[0].op_type} (expanded)" if origin else case.name
    return str(case.model.graph.node[0].op_type)


@functools.cache
def by_name() -> dict[str, Case]:
    return {case.name: case for case in node_suite()}


def all_nodes(graph: onnx.GraphProto, depth: int = 0) -> Iterator[tuple[int, onnx.NodeProto]]:
    """The nodes of a graph and of the bodies in it, with how deep they are."""
    for node in graph.node:
        yield depth, node
        for attribute in node.attribute:
            yield from all_nodes(attribute.g, depth + 1)


def version_of(model: onnx.ModelProto) -> str:
    """How the operators of a model compare with ours: "same", "other" (some differ), "older" (or some are absent).

    Operators that only got further types are "other"; those in bodies need not be ours.
    """
    versions = {o.domain: o.version for o in model.opset_import}
    result = "same"
    for depth, node in all_nodes(model.graph):
        ours = opset_of(node.op_type) if node.domain == "" else versions[node.domain]
        if not onnx.defs.has(node.op_type, ours, node.domain):
            return "older"
        schema = onnx.defs.get_schema(node.op_type, ours, node.domain)
        theirs = onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain)
        if theirs.since_version == schema.since_version:
            continue
        is_older = theirs.since_version < schema.since_version
        if depth == 0 and (theirs.since_version < 9 or (is_older and node.op_type not in MORE_TYPES)):
            return "older"
        result = "other"
    return result


def shape_inputs(model: onnx.ModelProto) -> set[int]:
    """The positions of those inputs of a model on whose elements sizes depend."""
    versions = {o.domain: o.version for o in model.opset_import}
    names = set()
    for node in model.graph.node:
        formal = list(onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain).inputs)
        for position, name in enumerate(node.input):
            if formal[min(position, len(formal) - 1)].name in SHAPE_INPUTS or node.op_type == "ConstantOfShape":
                names.add(name)
    return {position for position, value in enumerate(model.graph.input) if value.name in names}


def prepared(case: Case, constants: set[int], sizes_are: str) -> Prepared:
    known: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    for position, (value, given) in enumerate(zip(case.model.graph.input, case.inputs, strict=True)):
        array = as_array(given)
        is_array = isinstance(array, (np.ndarray, np.generic)) and value.type.HasField("tensor_type")
        t = type_from_proto(value.type)
        if is_array and position in constants and array.size <= 64:
            known[value.name] = constant(np.asarray(array))
        elif is_array and sizes_are == "of unknown rank" and isinstance(t, TensorType):
            known[value.name] = leaf_of(TensorType(t.dtype, None), value.name)
        elif is_array and sizes_are == "unknown" and isinstance(t, TensorType):
            known[value.name] = leaf_of(TensorType(t.dtype, tuple(dims.unknown() for _ in array.shape)), value.name)
        elif is_array and sizes_are == "symbolic" and isinstance(t, TensorType):
            shape: list[Dim] = []
            for size in np.shape(array):
                shape.append(size and dims.dim(f"s{size}"))
                sizes[f"s{size}"] = size
            known[value.name] = leaf_of(TensorType(t.dtype, tuple(shape)), value.name)
        else:
            known[value.name] = leaf_of(t, value.name)
    return Prepared(known, sizes)


def compare(t: Tensor, value: Any, sizes: dict[str, int]) -> str | None:
    """What is wrong with the inferred type of `value`: a sentence, "unknown" for an open dimension, or None."""
    array = as_array(value)
    if not isinstance(array, (np.ndarray, np.generic)):
        return None  # sequences and optionals
    actual = f"inferred {t.type}, found {array.dtype}{np.shape(array)}"
    if not isinstance(t.type, TensorType) or t.type.dtype is not as_dtype(array.dtype):
        return actual
    if t.type.shape is None:
        return "unknown"
    if len(t.type.shape) != np.ndim(array):
        return actual
    found = [dims.evaluate(d, sizes) for d in t.type.shape]
    if any(isinstance(d, int) and d != size for d, size in zip(found, np.shape(array), strict=True)):
        return f"{actual} (evaluated: {found})"
    return None if all(isinstance(d, int) for d in found) else "unknown"


def failures(case: Case, constants: set[int], sizes_are: str) -> Iterator[str]:
    try:
        known, sizes = prepared(case, constants, sizes_are)
        results = build_nodes(case.model.graph, known)
    except (OperatorError, DTypeError, ModelImportError) as error:
        if version_of(case.model) == "same":
            yield f"raises {type(error).__name__}: {error}"
        return  # else an attribute, an input or a dtype that a later opset brought
    except GraphcError as error:
        yield f"raises {type(error).__name__}: {error}"
        return
    for t, value in zip(results, case.outputs, strict=True):
        problem = None if t is None else compare(t, value, sizes)
        if problem:
            yield problem


@functools.cache
def cases() -> list[tuple[Case, str, set[int]]]:
    """The cases whose operators exist at the pinned opset, as they are or with less: (case, operator, constants)."""
    found = []
    for case in node_suite():
        if version_of(case.model) != "older" and case.name not in REJECTED:
            constants = shape_inputs(case.model)
            if case.name.endswith("_expanded"):
                constants |= shape_inputs(by_name()[case.name.removesuffix("_expanded")].model)
            found.append((case, operator_of(case), constants))
    return found


@pytest.mark.parametrize("sizes_are", ["static", "symbolic"])
def test_inferred_types_are_those_of_the_arrays(sizes_are: str) -> None:
    allowed = DATA_DEPENDENT | (UNDECIDED_WHEN_SYMBOLIC if sizes_are == "symbolic" else {})
    wrong: list[str] = []
    open_dimensions: Counter[str] = Counter()
    for case, operator, constants in cases():
        for problem in failures(case, constants, sizes_are):
            if problem == "unknown":
                open_dimensions[operator] += 1
            if problem != "unknown" or operator not in allowed:
                wrong.append(f"{case.name} ({operator}): {problem}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases())} cases:", *wrong[:40]])
    assert len(cases()) > 1500
    assert not set(allowed) - set(open_dimensions), "operators listed without need"


@pytest.mark.parametrize("sizes_are", ["unknown", "of unknown rank"])
def test_nothing_is_claimed_about_what_is_not_known(sizes_are: str) -> None:
    """Valid cases of single operators build, and what is inferred is right, however little is known of the inputs."""
    wrong = [
        f"{case.name} ({operator}): {problem}"
        for case, operator, constants in cases()
        if not case.name.endswith("_expanded")
        for problem in failures(case, constants, sizes_are)
        if problem != "unknown"
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases())} cases:", *wrong[:40]])


def test_no_operator_is_left_out() -> None:
    """Cases at an older version of an operator are left out, but not all cases of one."""
    tested = {case.model.graph.node[0].op_type for case, _, _ in cases()}
    single = {case.model.graph.node[0].op_type for case in node_suite() if len(case.model.graph.node) == 1}
    assert {name for name in single & set(operator_names()) if name not in tested} == set()
