"""Cases of minus signs."""

import numpy as np

import graphc as gc
from rule_cases.case import Case, matches, refuses

CASES: list[Case] = [
    matches("double-negation", lambda x: gc.neg(-x), lambda x: x, x="[n]"),
    refuses("double-negation", lambda x: -gc.abs(-x), x="[n]"),
    matches("negated-difference", lambda x, y: -(x - y), lambda x, y: y - x, x="[n, 3]", y="[3]"),
    refuses("negated-difference", lambda x, y: -(x + y), x="[n]", y="[n]"),
    matches("negated-product-with-constant", lambda x: -(x * 3.0), lambda x: x * -3.0, x="[n]"),
    matches("negated-product-with-constant", lambda x: -(x / 3.0), lambda x: x / -3.0, x="[n]"),
    matches("negated-product-with-constant", lambda x: -(3.0 / x), lambda x: -3.0 / x, x="[n]"),
    matches("negated-product-with-constant", lambda x: -(x * 3), lambda x: x * -3, x="int64[n]"),
    refuses("negated-product-with-constant", lambda x: -(x * np.float32([1, 2, 3])), x="[n, 3]"),
    refuses("negated-product-with-constant", lambda x, y: -(x * y), x="[n]", y="[n]"),
    matches("add-negation", lambda x, y: x + (-y), lambda x, y: x - y, x="[n, 3]", y="[3]"),
    matches("add-negation", lambda x, y: (-x) + y, lambda x, y: y - x, x="[n, 3]", y="[3]"),
    refuses("add-negation", lambda x, y: -(x + y), x="[n]", y="[n]"),
    matches("subtract-negation", lambda x, y: x - (-y), lambda x, y: x + y, x="[n]", y="[n]"),
    refuses("subtract-negation", lambda x, y: x - y, x="[n]", y="[n]"),
    matches("negation-out-of-difference", lambda x, y: (-x) - y, lambda x, y: -(x + y), x="[n]", y="[n]"),
    refuses("negation-out-of-difference", lambda x, y: ((-x) - y, gc.exp(-x)), rtol=1e-6, x="[n]", y="[n]"),
    matches("negation-out-of-product", lambda x, y: x * (-y), lambda x, y: -(x * y), x="[n]", y="[n]"),
    matches("negation-out-of-product", lambda x, y: (-x) * (-y), lambda x, y: x * y, x="[n]", y="[n]"),
    matches("negation-out-of-product", lambda x, y: (-x) / y, lambda x, y: -(x / y), x="[n]", y="[n]"),
    matches("negation-out-of-product", lambda x, y: x @ (-y), lambda x, y: -(x @ y), rtol=1e-6, x="[n, 3]", y="[3, 2]"),
    refuses("negation-out-of-product", lambda x, y: (x * (-y), gc.exp(-y)), rtol=1e-6, x="[n]", y="[n]"),
    refuses("negation-out-of-product", lambda x, y: x * y, x="[n]", y="[n]"),
    matches("negation-out-of-sum", lambda x: gc.sum(-x, 0), lambda x: -gc.sum(x, 0), rtol=1e-6, x="[n, 3]"),
    matches("negation-out-of-sum", lambda x: gc.mean(-x), lambda x: -gc.mean(x), rtol=1e-6, x="[4, 3]"),
    refuses("negation-out-of-sum", lambda x: gc.max(-x), x="[4, 3]"),
    matches("negation-out-of-view", lambda x: (-x).T, lambda x: -(x.T), x="[n, 3]"),
    matches("negation-out-of-view", lambda x: gc.reshape(-x, (-1,)), lambda x: -gc.reshape(x, (-1,)), x="[n, 3]"),
    refuses("negation-out-of-view", lambda x: ((-x).T, -x), x="[n, 3]"),
    refuses("negation-out-of-view", lambda x: (-x)[1:], x="[4, 3]"),
    matches("absolute-of-negation", lambda x: gc.abs(-x), gc.abs, x="[n]"),
    refuses("absolute-of-negation", lambda x: gc.exp(-x), rtol=1e-6, x="[n]"),
    matches(
        "negation-out-of-choice",
        lambda c, x, y: gc.where(c, -x, -y),
        lambda c, x, y: -gc.where(c, x, y),
        c="bool[n]",
        x="[n]",
        y="[n]",
    ),
    matches(
        "negation-out-of-choice",
        lambda c, x: gc.where(c, 0.0, -x),
        lambda c, x: -gc.where(c, 0.0, x),
        c="bool[n]",
        x="[n]",
    ),
    refuses("negation-out-of-choice", lambda c, x: gc.where(c, 1.0, -x), c="bool[n]", x="[n]"),
    refuses("negated-product-with-constant", lambda x, s: -(x * s), x="[n]", s="[]"),
]
