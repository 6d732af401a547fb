"""Cases of the classification losses."""

from __future__ import annotations

import itertools

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, real

op = gc.op
LABELS = given([2, 0, 1, 2], dims=("n",))
SCORES = real(4, 3, dims=("n", 3))
WEIGHTS = real(3, low=0.5, high=2)

CASES = [
    *(
        Case(
            name,
            f"{reduction}{'_weighted' if weighted else ''}{'' if ignore is None else f'_ignore_{ignore}'}",
            lambda x, y, *w, n=name, r=reduction, i=ignore: getattr(op, n)(x, y, *w, reduction=r, ignore_index=i),
            (
                SCORES,
                LABELS if ignore != -100 else given([2, -100, 1, 0], dims=("n",)),
                *([WEIGHTS] if weighted else []),
            ),
        )
        for name in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
        for reduction, weighted, ignore in itertools.product(("none", "mean", "sum"), (False, True), (None, 1, -100))
        if ignore != 1 or reduction == "mean"
    ),
    *(
        Case(
            name,
            f"spatial_{reduction}",
            lambda x, y, w, n=name, r=reduction: getattr(op, n)(x, y, w, reduction=r),
            (
                real(2, 3, 2, 2, dims=("n", "c", "h", 2)),
                given([[[0, 1], [2, 2]], [[1, 0], [0, 0]]], np.int32, dims=("n", "h", 2)),
                WEIGHTS._replace(dims=("c",)),
            ),
        )
        for name in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
        for reduction in ("none", "mean")
    ),
    Case(
        "NegativeLogLikelihoodLoss",
        "no_samples",
        lambda x, y: op.NegativeLogLikelihoodLoss(x, y, reduction="sum"),
        (real(0, 3), given([])),
    ),
    Case(
        "SoftmaxCrossEntropyLoss",
        "log_prob_too",
        lambda x, y: op.SoftmaxCrossEntropyLoss(x, y, outputs=2),
        (SCORES, LABELS),
    ),
    Case(
        "SoftmaxCrossEntropyLoss",
        "only_log_prob",
        lambda x, y: op.SoftmaxCrossEntropyLoss(x, y, outputs=2)[1],
        (SCORES, LABELS),
    ),
]
