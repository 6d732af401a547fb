"""Cases of Reshape, Flatten, Squeeze and Unsqueeze."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses


def _ints(*values):
    return gc.constant(np.array(values, np.int64))


def _flatten(x):
    return gc.op.Flatten(x, axis=1)


CASES: list[Case] = [
    matches("view-of-own-shape", lambda x: gc.op.Reshape(x, _ints(4, 3)), lambda x: x, x="[4, 3]"),
    matches("view-of-own-shape", lambda x: gc.op.Reshape(x, _ints(-1, 3)), lambda x: x, x="[n, 3]"),
    matches("view-of-own-shape", lambda x: gc.op.Reshape(x, gc.shape_of(x)), lambda x: x, x="[n, m]"),
    matches("view-of-own-shape", _flatten, lambda x: x, x="[n, 3]"),
    refuses("view-of-own-shape", lambda x: gc.op.Reshape(x, _ints(3, -1)), x="[n, 3]"),
    matches("view-of-view", lambda x: gc.squeeze(gc.unsqueeze(x, 0), 0), lambda x: x, x="[n, 3]"),
    matches("view-of-view", lambda x: gc.unsqueeze(gc.squeeze(x, 1), 0), lambda x: gc.reshape(x, (1, -1)), x="[n, 1]"),
    matches("view-of-view", lambda x: gc.op.Reshape(gc.reshape(x, (-1,)), gc.shape_of(x)), lambda x: x, x="[n, 3]"),
    matches(
        "view-of-view", lambda x: gc.reshape(gc.reshape(x, (6, 2)), (3, 4)), lambda x: gc.reshape(x, (3, 4)), x="[12]"
    ),
    matches(
        "view-of-view", lambda x: gc.unsqueeze(gc.unsqueeze(x, 0), 2), lambda x: gc.unsqueeze(x, [0, 2]), x="[n, 3]"
    ),
    matches("view-of-view", lambda x: _flatten(gc.reshape(x, (-1, 2, 3))), lambda x: gc.reshape(x, (-1, 6)), x="[6*n]"),
    matches(
        "view-of-view",
        lambda x, y: gc.op.Reshape(gc.reshape(x, (-1,)), gc.shape_of(y), allowzero=1),
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y), allowzero=1),
        x="[n, m]",
        y="[m, n]",
    ),
    refuses(
        "view-of-view",
        lambda x, y: gc.op.Reshape(gc.reshape(x, (-1,)), gc.shape_of(y)),
        sizes=(4,),
        x="[n, m]",
        y="[m, n]",
    ),
    refuses("view-of-view", lambda x: gc.reshape(gc.transpose(x), (-1,)), x="[n, 3]"),
    matches(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y)),
        lambda x, y: gc.op.Reshape(x, _ints(0, 6)),
        x="[n, 2, 3]",
        y="[n, 6]",
    ),
    matches(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y)),
        lambda x, y: gc.unsqueeze(x, 1),
        sizes=(4,),
        x="[n, m]",
        y="[n, 1, m]",
    ),
    refuses(
        "reshape-by-constants", lambda x, y: gc.op.Reshape(x, gc.shape_of(y), allowzero=1), x="[n, m, 6]", y="[n, 6*m]"
    ),
    matches(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y)),
        lambda x, y: gc.reshape(x, (3, 2)),
        sizes=(1,),
        x="[n, 2, 3]",
        y="[3, 2]",
    ),
    refuses("reshape-by-constants", lambda x: gc.op.Reshape(x, _ints(-1, 6)), x="[n, 2, 3]"),
    matches("transpose-of-unit-axes", lambda x: x.T, lambda x: gc.reshape(x, (1, -1)), x="[n, 1]"),
    matches("transpose-of-unit-axes", lambda x: gc.unsqueeze(x, 0).T, lambda x: gc.unsqueeze(x, 1), x="[n]"),
    matches(
        "transpose-of-unit-axes",
        lambda x: gc.transpose(x, (1, 0, 2)),
        lambda x: gc.op.Reshape(x, _ints(1, -1, 3)),
        x="[n, 1, 3]",
    ),
    refuses("transpose-of-unit-axes", lambda x: x.T, x="[n, 3]"),
    refuses("transpose-of-unit-axes", lambda x: gc.transpose(x, (2, 1, 0)), x="[n, 1, 3]"),
    matches(
        "squeeze-before-elementwise",
        lambda x, y: gc.squeeze(gc.unsqueeze(x, 1) * y, 1),
        lambda x, y: x * y,
        x="[n]",
        y="[]",
    ),
    matches(
        "squeeze-before-elementwise",
        lambda x, y: gc.squeeze(gc.unsqueeze(x, 0) + gc.unsqueeze(y, 0), 0),
        lambda x, y: x + y,
        x="[n, 3]",
        y="[n, 3]",
    ),
    matches("squeeze-before-elementwise", lambda x: gc.squeeze(-gc.unsqueeze(x, 1), 1), lambda x: -x, x="[n]"),
    matches(
        "squeeze-before-elementwise",
        lambda x: gc.squeeze(gc.unsqueeze(x, 1) * np.float32([[3.0]]), 1),
        lambda x: x * gc.reshape(gc.constant(np.float32([[3.0]])), (1,)),
        x="[n]",
    ),
    refuses("squeeze-before-elementwise", lambda x, y: gc.squeeze(gc.unsqueeze(x, 1) * y, 1), x="[n]", y="[n, 1]"),
    refuses("squeeze-before-elementwise", lambda x: gc.squeeze(gc.softmax(gc.unsqueeze(x, 1)), 1), x="[n]"),
    matches("view-of-view", lambda x: gc.squeeze(gc.unsqueeze(gc.abs(x), 0), 0), gc.abs, x="[n, 3]"),
    matches(
        "view-of-view",
        lambda x: gc.reshape(gc.reshape(x, (3, 0)), (0, 2)),
        lambda x: gc.reshape(x, (0, 2)),
        x="[0, 3]",
    ),
    matches(
        "view-of-view",
        lambda x: gc.op.Reshape(gc.reshape(x, (-1,)), gc.shape_of(x), allowzero=1),
        lambda x: x,
        x="[n, 3]",
    ),
    refuses(
        "view-of-view",
        lambda x, y: gc.unsqueeze(gc.op.Reshape(x, gc.shape_of(y), allowzero=1), 0),
        x="[n, m]",
        y="[m, n]",
    ),
    refuses(
        "view-of-view",
        lambda x: gc.op.Reshape(x, gc.squeeze(gc.constant(np.array([[-1, 6]])), 0)),
        x="[n, 2, 3]",
    ),
    refuses(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y), allowzero=1),
        x="[n, 0]",
        y="[n, 0, 3]",
    ),
    refuses(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y), allowzero=1),
        x="[m + 1, 6]",
        y="[n, 2, 3]",
    ),
    refuses(
        "reshape-by-constants",
        lambda x, y: gc.op.Reshape(x, gc.shape_of(y), allowzero=1),
        x="[n*m]",
        y="[n, m]",
    ),
    refuses(
        "squeeze-before-elementwise",
        lambda x: gc.op.Squeeze(gc.softmax(gc.unsqueeze(x, 1)), gc.constant(np.array([0])) + 1),
        x="[n]",
    ),
]
