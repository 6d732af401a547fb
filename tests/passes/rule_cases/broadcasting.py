"""Cases of repetition that broadcasting does by itself."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses

F32 = np.float32


def _expand(x, like):
    return gc.op.Expand(x, gc.shape_of(like))


def _fill(like, value):
    return gc.op.ConstantOfShape(gc.shape_of(like), value=np.array([value], F32))


CASES: list[Case] = [
    matches("expand-into-broadcast", lambda x, s: x * _expand(s, x), lambda x, s: x * s, x="[n, 3]", s="[]"),
    matches("expand-into-broadcast", lambda x, s: _expand(s, x) / x, lambda x, s: s / x, x="[n, 3]", s="[3]"),
    matches(
        "expand-into-broadcast",
        lambda c, x: gc.where(c, _expand(x, c), 0.0),
        lambda c, x: gc.where(c, x, 0.0),
        c="bool[n, 3]",
        x="[1, 3]",
    ),
    refuses("expand-into-broadcast", lambda x, s, y: x * _expand(s, y), x="[3]", s="[]", y="[n, 3]"),
    refuses("expand-into-broadcast", lambda x, s, y: x * _expand(s, y), x="[1]", s="[1]", y="[n]"),
    refuses("expand-into-broadcast", lambda x, s: gc.concat([x, _expand(s, x)]), x="[n]", s="[]"),
    matches(
        "number-under-views",
        lambda x, s, y: x * gc.unsqueeze(_expand(s, y), 1),
        lambda x, s, y: x * s,
        x="[n, 3]",
        s="[]",
        y="[n]",
    ),
    matches(
        "number-under-views",
        lambda x, s, y: _expand(gc.unsqueeze(_expand(s, y), 1), x),
        lambda x, s, y: _expand(s, x),
        x="[n, 3]",
        s="[1]",
        y="[n]",
    ),
    refuses("number-under-views", lambda x, s, y: x * gc.unsqueeze(_expand(s, y), 1), x="[n, 3]", s="[3]", y="[n, 3]"),
    refuses("number-under-views", lambda x, s, y: x * gc.unsqueeze(_expand(s, y), 1), x="[3]", s="[]", y="[n]"),
    refuses("number-under-views", lambda x: gc.op.Expand(F32(2.0), gc.reshape(gc.op.Size(x), (1,))), x="[n]"),
    refuses("implied-leading-axes", lambda x: gc.op.Expand(F32(2.0), gc.unsqueeze(gc.op.Size(x), 0)), x="[n]"),
    matches("number-for-filled", lambda x: x * _fill(x, 3.0), lambda x: x * 3.0, x="[n, 3]"),
    matches("number-for-filled", lambda x: x + np.full((4, 3), 2.0, F32), lambda x: x + 2.0, x="[4, 3]"),
    matches("number-for-filled", lambda x: x + F32([[2.0]]), lambda x: x + 2.0, x="[n, 3]"),
    refuses("number-for-filled", lambda x: x + np.full((4, 3), 2.0, F32), x="[3]"),
    refuses("number-for-filled", lambda x: x + F32([1.0, 2.0, 1.0]), x="[n, 3]"),
    refuses("number-for-filled", lambda x: x + F32([np.nan, np.nan, 1.0]), x="[n, 3]"),
    matches("implied-leading-axes", lambda x, s: x * gc.unsqueeze(s, 0), lambda x, s: x * s, x="[n, 3]", s="[3]"),
    matches("implied-leading-axes", lambda x, s: x - gc.reshape(s, (1, 1)), lambda x, s: x - s, x="[n, 3]", s="[]"),
    refuses("implied-leading-axes", lambda x, s: x * gc.unsqueeze(s, 1), x="[n, 3]", s="[n]"),
    refuses("implied-leading-axes", lambda x, s: x * gc.unsqueeze(s, 0), x="[3]", s="[3]"),
    matches(
        "compute-before-expand",
        lambda s, y: _expand(s, y) * 3.0,
        lambda s, y: _expand(s * 3.0, y),
        s="[]",
        y="[n, 3]",
    ),
    matches(
        "compute-before-expand",
        lambda s, y: gc.exp(_expand(s, y)),
        lambda s, y: _expand(gc.exp(s), y),
        rtol=1e-6,
        s="[3]",
        y="[n, 3]",
    ),
    matches(
        "compute-before-expand",
        lambda s, t, y: _expand(s, y) - _expand(t, y),
        lambda s, t, y: _expand(s - t, y),
        s="[3]",
        t="[1]",
        y="[n, 3]",
    ),
    matches(
        "compute-before-expand",
        lambda s, y: _fill(y, 2.0) * s,
        lambda s, y: _expand(gc.constant(2.0) * s, y),
        s="[]",
        y="[n, 3]",
    ),
    refuses("compute-before-expand", lambda s, y: _expand(s, y) * y, s="[3]", y="[n, 3]"),
    refuses("compute-before-expand", lambda s, y, z: _expand(s, y) * z, s="[3]", y="[n, 3]", z="[m, 1, 1]"),
    refuses("compute-before-expand", lambda s, y: gc.cumsum(_expand(s, y), 0), s="[3]", y="[n, 3]", rtol=1e-6),
    matches("expand-to-own-shape", lambda x: _expand(x, x), lambda x: x, x="[n, 3]"),
    refuses("expand-to-own-shape", lambda x, y: _expand(x, y), x="[1, 3]", y="[n, 3]"),
    matches(
        "expand-of-expand",
        lambda x, y, z: _expand(_expand(x, y), z),
        lambda x, y, z: _expand(x, z),
        x="[3]",
        y="[n, 3]",
        z="[m, n, 3]",
    ),
    refuses("expand-of-expand", lambda x, y, z: _expand(_expand(x, y), z), x="[1]", y="[n]", z="[m, 1]"),
    matches(
        "implied-leading-axes",
        lambda x, y: _expand(gc.unsqueeze(x, 0), y),
        lambda x, y: _expand(x, y),
        x="[3]",
        y="[n, 3]",
    ),
    refuses("implied-leading-axes", lambda x, y: _expand(gc.unsqueeze(x, 1), y), x="[n]", y="[n, 3]"),
    refuses("implied-leading-axes", lambda x, y: _expand(gc.unsqueeze(x, 0), y), x="[3]", y="[3]"),
    matches("expanded-number", lambda y: _expand(gc.constant(2.0), y), lambda y: _fill(y, 2.0), y="[n, 3]"),
    matches("expanded-number", lambda y: _expand(gc.constant(F32([2, 2, 2])), y), lambda y: _fill(y, 2.0), y="[n, 3]"),
    refuses("expanded-number", lambda y: _expand(gc.constant(F32([1, 2, 3])), y), y="[n, 3]"),
    refuses("expanded-number", lambda y: _expand(gc.constant(F32([[2]])), y), y="[n]"),
    matches("view-of-filled", lambda: gc.full((200, 100), 2.0).T, lambda: gc.full((100, 200), 2.0)),
    matches("view-of-filled", lambda: gc.reshape(gc.full((200, 100), 2.0), (-1,)), lambda: gc.full((20_000,), 2.0)),
    refuses("view-of-filled", lambda y: _fill(y, 2.0).T, y="[n, 3]"),
    matches(
        "number-under-views",
        lambda x, s: x * gc.unsqueeze(gc.sum(s), 0),
        lambda x, s: x * gc.sum(s),
        rtol=1e-5,
        x="[n]",
        s="[3]",
    ),
    refuses("number-under-views", lambda x, s: x * gc.unsqueeze(s, 1), x="[n, n]", s="[n]"),
]
