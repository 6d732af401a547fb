"""Cases of sequences and optionals."""

from typing import Any

import numpy as np

import graphc as gc
from graphc.functional.closure import formal
from graphc.inference.sequence import element_of
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.types import TensorType, as_dtype
from rule_cases.case import Case, matches, refuses

op = gc.op
FLOATS = TensorType(as_dtype("float32"), (2,))


def joined(sequence: Tensor) -> Tensor:
    made: Tensor = op.ConcatFromSequence(sequence, axis=0)
    return made


def mapped(body: Any, *inputs: Tensor) -> Tensor:
    formals = [formal(f"in_{i}", element_of(t.type)) for i, t in enumerate(inputs)]
    return joined(apply("SequenceMap", inputs, {"body": Graph(formals, [body(*formals)])}).out())


def at(sequence: Tensor, position: Any) -> Tensor:
    made: Tensor = op.SequenceAt(sequence, position)
    return made


CASES: list[Case] = [
    matches("known-element", lambda x, y: at(op.SequenceConstruct(x, y), 1), lambda x, y: y, x="[n]", y="[n]"),
    matches("known-element", lambda x, y: at(op.SequenceConstruct(x, y), -2), lambda x, y: x, x="[n]", y="[m]"),
    matches(
        "known-element",
        lambda x, y: at(op.SequenceErase(op.SequenceInsert(op.SequenceConstruct(x, y), x * y, 0), 1), -2),
        lambda x, y: x * y,
        x="[n]",
        y="[n]",
    ),
    matches(
        "known-element",
        lambda x: at(op.SplitToSequence(x, np.array([1, 3]), axis=1), 1),
        lambda x: gc.split(x, [1, 3], 1)[1],
        x="[n, 4]",
    ),
    matches(
        "known-element",
        lambda x: at(op.SplitToSequence(x, 3, axis=-1), -1),
        lambda x: gc.split(x, [3, 1], -1)[1],
        x="[n, 4]",
    ),
    matches(
        "known-element",
        lambda x: at(op.SplitToSequence(x, keepdims=0), 2),
        lambda x: gc.squeeze(gc.split(x, [1, 1, 1])[2], 0),
        x="[3, n]",
    ),
    refuses("known-element", lambda x, p: at(op.SequenceConstruct(x, x * 2.0), p * 0), x="[n]", p="int64[]"),
    refuses("known-element", lambda x: at(op.SplitToSequence(x), 0), sizes=(4,), x="[n, 2]"),
    refuses(
        "known-element", lambda x, p: at(op.SequenceInsert(op.SplitToSequence(x), x, p * 0), 0), x="[3, 2]", p="int64[]"
    ),
    matches(
        "known-length",
        lambda x, y: op.SequenceLength(op.SequenceInsert(op.SequenceConstruct(x, y), x)),
        lambda x, y: gc.constant(np.int64(3)),
        x="[n]",
        y="[m]",
    ),
    matches(
        "known-length",
        lambda x: (op.SequenceLength(op.SplitToSequence(x, 2)), x),
        lambda x: (gc.constant(np.int64(2)), x),
        x="[3, n]",
    ),
    refuses("known-length", lambda x: op.SequenceLength(op.SplitToSequence(x)), x="[n]"),
    matches(
        "insert-into-known-elements",
        lambda x, y: joined(op.SequenceInsert(op.SequenceConstruct(x, y), x * 2.0, -1)),
        lambda x, y: joined(op.SequenceConstruct(x, x * 2.0, y)),
        x="[n]",
        y="[m]",
    ),
    matches(
        "insert-into-known-elements",
        lambda x: joined(op.SequenceInsert(op.SequenceEmpty(), x)),
        lambda x: joined(op.SequenceConstruct(x)),
        x="[n]",
    ),
    refuses(
        "insert-into-known-elements",
        lambda x, p: joined(op.SequenceInsert(op.SequenceConstruct(x), x, p * 0)),
        x="[n]",
        p="int64[]",
    ),
    matches(
        "erase-of-known-elements",
        lambda x, y: joined(op.SequenceErase(op.SequenceConstruct(x, y, x))),
        lambda x, y: joined(op.SequenceConstruct(x, y)),
        x="[n]",
        y="[m]",
    ),
    matches(
        "erase-of-known-elements",
        lambda x: (op.SequenceLength(op.SequenceErase(op.SequenceConstruct(x), 0)), x),
        lambda x: (op.SequenceLength(op.SequenceEmpty(dtype="float32")), x),
        x="[n]",
    ),
    refuses(
        "erase-of-known-elements",
        lambda x, p: joined(op.SequenceErase(op.SequenceConstruct(x, x), p * 0)),
        x="[n]",
        p="int64[]",
    ),
    matches(
        "join-of-known-elements",
        lambda x, y: op.ConcatFromSequence(op.SequenceConstruct(x, y), axis=-1),
        lambda x, y: gc.concat([x, y], -1),
        x="[n, 2]",
        y="[n, 3]",
    ),
    matches(
        "join-of-known-elements",
        lambda x, y: op.ConcatFromSequence(op.SequenceConstruct(x, y), axis=-1, new_axis=1),
        lambda x, y: gc.stack([x, y], -1),
        x="[n, 2]",
        y="[n, 2]",
    ),
    refuses("join-of-known-elements", lambda x: joined(op.SplitToSequence(x)), sizes=(4,), x="[n, 2]"),
    matches("join-of-split", lambda x: joined(op.SplitToSequence(x, 2, axis=-2)), lambda x: x, x="[3, n]"),
    matches(
        "join-of-split",
        lambda x: op.ConcatFromSequence(op.SplitToSequence(x, axis=1, keepdims=0), axis=-1, new_axis=1),
        lambda x: x,
        x="[n, 3]",
    ),
    refuses("join-of-split", lambda x: joined(op.SplitToSequence(x)), sizes=(4,), x="[n, 3]"),
    refuses("join-of-split", lambda x: joined(op.SplitToSequence(x, axis=1)), x="[4, 3]"),
    refuses("join-of-split", lambda x: joined(op.SplitToSequence(x, keepdims=0)), x="[3, n]"),
    matches(
        "map-of-known-elements",
        lambda x, y, w: mapped(lambda e, w: e * w, op.SequenceConstruct(x, y), w),
        lambda x, y, w: joined(op.SequenceConstruct(x * w, y * w)),
        x="[n, 2]",
        y="[3, 2]",
        w="[2]",
    ),
    refuses("map-of-known-elements", lambda x: mapped(gc.neg, op.SplitToSequence(x)), sizes=(4,), x="[n, 2]"),
    refuses(
        "map-of-known-elements",
        lambda x: mapped(lambda e: op.RandomUniformLike(e), op.SequenceConstruct(x, x)) > 2.0,
        x="[n]",
    ),
    matches("element-of-optional", lambda x: op.OptionalGetElement(op.Optional(x)), lambda x: x, x="[n]"),
    matches("element-of-optional", lambda x: op.OptionalGetElement(x) * 2.0, lambda x: x * 2.0, x="[n]"),
    refuses("element-of-optional", lambda x: op.OptionalGetElement(op.Identity(op.Optional(x))), x="[n]"),
    matches(
        "known-optional",
        lambda x: (op.OptionalHasElement(op.Optional(x)), x),
        lambda x: (gc.constant(True), x),
        x="[n]",
    ),
    matches(
        "known-optional",
        lambda x: (op.OptionalHasElement(op.Optional(type=FLOATS)), x),
        lambda x: (gc.constant(False), x),
        x="[n]",
    ),
    refuses("known-optional", lambda x: op.OptionalHasElement(op.Identity(op.Optional(x))), x="[n]"),
]
