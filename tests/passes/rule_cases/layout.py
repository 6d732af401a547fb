"""Cases of Transpose, Concat, Split, Slice, Shape and Gather."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses


def _ints(*values):
    return gc.constant(np.array(values, np.int64))


def _spread(pads):
    return gc.concat([gc.op.Gather(pads, _ints(i)) for i in (1, 0, 3, 2)])


def _size(x, axis):
    return gc.op.Shape(x, start=axis, end=axis + 1)


CASES: list[Case] = [
    matches("identity-transpose", lambda x: gc.transpose(x, (0, 1)), lambda x: x, x="[n, 3]"),
    matches("identity-transpose", gc.op.Transpose, lambda x: x, x="[n]"),
    refuses("identity-transpose", gc.op.Transpose, x="[n, 3]"),
    matches(
        "pad-on-all-axes",
        lambda x: gc.op.Pad(x, _ints(1, 2), 3.0, _ints(-1)),
        lambda x: gc.op.Pad(x, _ints(0, 0, 1, 0, 0, 2), 3.0),
        x="[n, 3, 2]",
    ),
    matches(
        "pad-on-all-axes",
        lambda x, p: gc.op.Pad(x, gc.concat([p * 0, p * 0 + 1]), None, _ints(1, 0), mode="edge"),
        lambda x, p: gc.op.Pad(x, _spread(gc.concat([p * 0, p * 0 + 1])), mode="edge"),
        x="[4, 3]",
        p="int64[2]",
    ),
    refuses("pad-on-all-axes", lambda x: gc.op.Pad(x, _ints(1, 2, 0, 1)), x="[n, 3]"),
    matches("transpose-of-transpose", lambda x: x.T.T, lambda x: gc.transpose(x, (0, 1)), x="[n, 3]"),
    matches(
        "transpose-of-transpose",
        lambda x: gc.transpose(gc.transpose(x, (1, 2, 0)), (0, 2, 1)),
        lambda x: gc.transpose(x, (1, 0, 2)),
        x="[n, 3, 2]",
    ),
    refuses("transpose-of-transpose", lambda x: gc.exp(x.T).T, rtol=1e-6, x="[n, 3]"),
    matches("concat-of-one", lambda x: gc.concat([x]), lambda x: x, x="[n]"),
    refuses("concat-of-one", lambda x: gc.concat([x, x]), x="[n]"),
    matches("concat-of-split", lambda x: gc.concat(gc.split(x, [1, 3], 1), 1), lambda x: x, x="[n, 4]"),
    matches("concat-of-split", lambda x: gc.concat(gc.split(x, [1, 3], 1), -1), lambda x: x, x="[n, 4]"),
    refuses("concat-of-split", lambda x: gc.concat(gc.split(x, [2, 2], 1), 0), x="[n, 4]"),
    refuses("concat-of-split", lambda x: gc.concat(gc.split(x, [1, 3], 1)[::-1], 1), x="[n, 4]"),
    refuses("concat-of-split", lambda x: gc.concat(gc.split(x, [1, 1, 2], 1)[:2], 1), x="[n, 4]"),
    matches(
        "split-of-concat",
        lambda x, y: gc.split(gc.concat([x, y], 1), [1, 3], 1),
        lambda x, y: (x, y),
        x="[n, 1]",
        y="[n, 3]",
    ),
    matches(
        "split-of-concat",
        lambda x, y: gc.op.Split(gc.concat([x, y]), gc.concat([_size(x, 0), _size(y, 0)]), axis=0),
        lambda x, y: (x, y),
        x="[n, 3]",
        y="[m, 3]",
    ),
    refuses("split-of-concat", lambda x, y: gc.split(gc.concat([x, y], 1), [3, 1], 1), x="[n, 1]", y="[n, 3]"),
    refuses("split-of-concat", lambda x, y: gc.split(gc.concat([x, y], 1), 2, 0), x="[2, 2]", y="[2, 2]"),
    matches("split-into-one", lambda x: gc.split(x, 1), lambda x: x, x="[4]"),
    refuses("split-into-one", lambda x: gc.split(x, 2), x="[4]"),
    matches(
        "slice-of-everything", lambda x: gc.op.Slice(x, _ints(0), _ints(2**63 - 1), _ints(1)), lambda x: x, x="[n, m]"
    ),
    matches("slice-of-everything", lambda x: x[0:4], lambda x: x, x="[4, 3]"),
    refuses("slice-of-everything", lambda x: x[::-1], x="[4, 3]"),
    refuses("slice-of-everything", lambda x: x[1:], x="[4, 3]"),
    refuses(
        "slice-of-everything",
        lambda x, s: gc.op.Slice(x, _ints(0), _ints(4), _ints(0), s * s + 1),
        x="[4]",
        s="int64[1]",
    ),
    matches("slice-of-concat", lambda x, y: gc.concat([x, y])[:3], lambda x, y: x, x="[3]", y="[n]"),
    matches("slice-of-concat", lambda x, y: gc.concat([x, y])[3:], lambda x, y: y, x="[3]", y="[n]"),
    matches("slice-of-concat", lambda x, y: gc.concat([x, y], 1)[:, -2:], lambda x, y: y, x="[n, 3]", y="[n, 2]"),
    matches("slice-of-concat", lambda x, y: gc.concat([y, x, y])[2:5], lambda x, y: x, x="[3]", y="[2]"),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y])[:2:2], x="[2]", y="[n]"),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y])[:2], x="[3]", y="[n]"),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y])[2:5], x="[3]", y="[2]"),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y], 1)[:2], x="[4, 2]", y="[4, 2]"),
    matches("shape-from-below", lambda x: gc.shape_of(gc.exp(x) * 2.0), gc.shape_of, x="[n, 3]"),
    matches(
        "shape-from-below", lambda x, y: _size(x + y, 1), lambda x, y: gc.op.Shape(x, start=1), x="[n, m]", y="[m]"
    ),
    matches("shape-from-below", lambda x: gc.shape_of(gc.sum(x, 1)), lambda x: _size(x, 0), x="[n, 4]"),
    matches(
        "shape-from-below", lambda x, y: _size(x @ y, 1), lambda x, y: gc.op.Shape(y, start=1), x="[n, 3]", y="[3, m]"
    ),
    refuses("shape-from-below", lambda x: gc.shape_of(x.T), x="[n, 3]"),
    refuses("shape-from-below", lambda x, y: gc.shape_of(x * y), x="[1, m]", y="[n, 1]"),
    refuses("shape-from-below", lambda x: gc.shape_of(gc.sum(x)), x="[n, 3]"),
    matches("size-from-below", lambda x: gc.op.Size(gc.exp(x)), gc.op.Size, x="[n, 3]"),
    matches("size-from-below", lambda x: gc.op.Size(gc.reshape(x.T, (-1,))), gc.op.Size, x="[n, 3]"),
    refuses("size-from-below", lambda x: gc.op.Size(gc.sum(x, 1)), x="[n, 3]"),
    matches(
        "gather-of-shape", lambda x: gc.take(gc.shape_of(x), _ints(1)), lambda x: gc.op.Shape(x, start=1), x="[n, m]"
    ),
    matches("gather-of-shape", lambda x: gc.take(gc.shape_of(x), _ints(-2)), lambda x: _size(x, 0), x="[n, m]"),
    refuses("gather-of-shape", lambda x: gc.take(gc.shape_of(x), _ints(1, 0)), x="[n, m]"),
    refuses("gather-of-shape", lambda x: gc.shape_of(x)[0], x="[n, m]"),
    refuses("gather-of-shape", lambda x: gc.take(gc.op.Shape(x, start=1), _ints(0)), x="[n, m]"),
    refuses("split-of-concat", lambda x: gc.op.Split(x, gc.concat([_ints(1), _ints(3)]), axis=0), x="[4]"),
    refuses("slice-of-concat", lambda x: gc.op.Slice(x, gc.concat([_ints(1)]), _ints(3), _ints(0)), x="[4]"),
    refuses(
        "slice-of-concat",
        lambda x, y, s: gc.op.Slice(gc.concat([x, y]), s * 0, _ints(3), _ints(0)),
        x="[3]",
        y="[n]",
        s="int64[1]",
    ),
    refuses(
        "slice-of-concat",
        lambda x, y, s: gc.op.Slice(gc.concat([x, y]), _ints(0), s * 0 + 3, _ints(0)),
        x="[3]",
        y="[n]",
        s="int64[1]",
    ),
    refuses(
        "slice-of-concat",
        lambda x, y, s: gc.op.Slice(gc.concat([x, y]), _ints(0), _ints(2), s * 0),
        x="[2, 2]",
        y="[2, 2]",
        s="int64[1]",
    ),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y])[3:, 1:], x="[3, 2]", y="[n, 2]"),
    refuses("slice-of-concat", lambda x, y: gc.concat([x, y], 1)[:2], x="[2, 2]", y="[2, 2]"),
    matches(
        "slice-of-concat",
        lambda x, y: gc.op.Slice(gc.concat([x, y]), _ints(0), _size(x, 0)),
        lambda x, y: x,
        x="[n]",
        y="[m]",
    ),
    refuses("gather-of-shape", lambda x, y: gc.take(x, gc.shape_of(y)), x="[5]", y="[3]"),
    refuses("gather-of-shape", lambda x, i: gc.take(gc.shape_of(x), i * 0), x="[n, m]", i="int64[1]"),
    refuses("gather-of-shape", lambda x: gc.take(gc.op.Shape(x, end=1), _ints(0)), x="[n, m]"),
]
