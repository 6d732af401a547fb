"""Cases of choices, logic and comparisons."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses

TRUE, FALSE = np.array(True), np.array(False)

CASES: list[Case] = [
    matches("decided-choice", lambda x, y: gc.where(TRUE, x, y), lambda x, y: x, x="[n]", y="[n]"),
    matches("decided-choice", lambda x, y: gc.where(FALSE, x, y), lambda x, y: y, x="[n]", y="[n]"),
    refuses("decided-choice", lambda x, y: gc.where(TRUE, x, y), x="[1]", y="[n]"),
    refuses("decided-choice", lambda x, y: gc.where(np.array([True, False]), x, y), x="[2]", y="[2]"),
    matches("choice-of-equals", lambda c, x: gc.where(c, x, x), lambda c, x: x, c="bool[3]", x="[n, 3]"),
    refuses("choice-of-equals", lambda c, x: gc.where(c, x, x), c="bool[n, 3]", x="[3]"),
    matches(
        "choice-by-negation",
        lambda c, x: gc.where(gc.logical_not(c), x, 0.0),
        lambda c, x: gc.where(c, 0.0, x),
        c="bool[n]",
        x="[n]",
    ),
    refuses("choice-by-negation", lambda c, x: gc.where(c, x, 0.0), c="bool[n]", x="[n]"),
    matches(
        "nested-choice",
        lambda c, x, y: gc.where(c, gc.where(c, x, 1.0), y),
        lambda c, x, y: gc.where(c, x, y),
        c="bool[n]",
        x="[n]",
        y="[n]",
    ),
    matches(
        "nested-choice",
        lambda c, x, y: gc.where(c, x, gc.where(c, 1.0, y)),
        lambda c, x, y: gc.where(c, x, y),
        c="bool[n]",
        x="[n]",
        y="[n]",
    ),
    refuses("nested-choice", lambda c, d, x: gc.where(c, gc.where(d, x, 1.0), x), c="bool[n]", d="bool[n]", x="[n]"),
    refuses("nested-choice", lambda c, x, y: gc.where(c, gc.where(c, x, y), x), c="bool[1]", x="[1]", y="[n]"),
    matches("logic-with-constant", lambda x: gc.logical_and(x, TRUE), lambda x: x, x="bool[n]"),
    matches("logic-with-constant", lambda x: gc.logical_and(FALSE, x), lambda x: gc.full_like(x, False), x="bool[n]"),
    matches("logic-with-constant", lambda x: gc.logical_or(x, FALSE), lambda x: x, x="bool[n]"),
    matches("logic-with-constant", lambda x: gc.logical_or(x, TRUE), lambda x: gc.full_like(x, True), x="bool[n]"),
    matches("logic-with-constant", lambda x: gc.logical_xor(x, FALSE), lambda x: x, x="bool[n]"),
    matches("logic-with-constant", lambda x: gc.logical_xor(x, TRUE), gc.logical_not, x="bool[n]"),
    refuses("logic-with-constant", lambda x: gc.logical_and(x, np.array([True, True, True])), x="bool[n, 1]"),
    matches("logic-with-itself", lambda x: gc.logical_and(x, x), lambda x: x, x="bool[n]"),
    matches("logic-with-itself", lambda x: gc.logical_or(x, x), lambda x: x, x="bool[n]"),
    refuses("logic-with-itself", lambda x: gc.logical_xor(x, x), x="bool[n]"),
    matches("double-not", lambda x: gc.logical_not(gc.logical_not(x)), lambda x: x, x="bool[n]"),
    refuses("double-not", lambda x, y: gc.logical_not(gc.logical_or(x, y)), x="bool[n]", y="bool[n]"),
    matches("equal-to-itself", lambda x: gc.equal(x, x), lambda x: gc.full_like(x, True, "bool"), x="int64[n]"),
    matches("equal-to-itself", lambda x: x <= x, lambda x: gc.full_like(x, True, "bool"), x="int64[n]"),
    refuses("equal-to-itself", lambda x: gc.equal(x, x), x="[n]"),
    refuses("equal-to-itself", lambda x: x >= x, x="[n]"),
    matches("less-than-itself", lambda x: x < x, lambda x: gc.full_like(x, False, "bool"), x="[n]"),
    refuses("less-than-itself", lambda x, y: x < y, x="[n]", y="[n]"),
    *(
        matches("only-operand", lambda x, op=op: getattr(gc.op, op)(x), lambda x: x, x="[n]")
        for op in ("Max", "Min", "Sum", "Mean")
    ),
    refuses("only-operand", lambda x, y: gc.op.Max(x, y), x="[n]", y="[n]"),
    matches("repeated-operand", lambda x, y: gc.op.Max(x, y, x), gc.maximum, x="[n, 3]", y="[3]"),
    refuses("repeated-operand", lambda x, y: gc.op.Mean(x, y, x), rtol=1e-6, x="[n]", y="[n]"),
    matches("sum-of-two", lambda x, y: gc.op.Sum(x, y), gc.add, x="[n, 3]", y="[3]"),
    refuses("sum-of-two", lambda x, y: gc.op.Sum(x, y, x), rtol=1e-6, x="[n]", y="[n]"),
    matches(
        "sum-without-zeros", lambda x, y: gc.op.Sum(x, 0.0, y, x), lambda x, y: gc.op.Sum(x, y, x), x="[n]", y="[n]"
    ),
    refuses("sum-without-zeros", lambda x: gc.op.Sum(x, np.zeros((3, 1), np.float32), x), x="[n]"),
    *(
        matches("repeated-function", lambda x, op=op: op(op(x)), lambda x, op=op: op(x), x="[n]")
        for op in (gc.abs, gc.ceil, gc.floor, gc.relu, gc.round, gc.sign)
    ),
    matches("repeated-function", lambda x: gc.floor(gc.round(x)), gc.round, x="[n]"),
    refuses("repeated-function", lambda x: gc.relu(gc.floor(x)), x="[n]"),
    refuses("repeated-function", lambda x: gc.exp(gc.exp(x)), rtol=1e-6, x="[n]"),
    refuses("choice-of-equals", lambda c, x, y: gc.where(c, x, y), c="bool[n]", x="[n]", y="[n]"),
    refuses("nested-choice", lambda c, d, x: gc.where(c, x, gc.where(d, 1.0, x)), c="bool[n]", d="bool[n]", x="[n]"),
    refuses("logic-with-constant", lambda x: gc.logical_and(x, np.array([True, False, True])), x="bool[n, 3]"),
    refuses("equal-to-itself", gc.equal, x="int64[n]", y="int64[n]"),
    refuses("sum-without-zeros", lambda x: gc.op.Sum(gc.zeros_like(x), gc.zeros_like(x)), x="[n]"),
]
