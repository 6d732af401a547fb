"""Reductions of tensors without elements: onnxruntime leaves those over axes counted from the last undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("reduce", [gc.sum, gc.mean, gc.max, gc.min, gc.prod, gc.logsumexp, gc.argmax, gc.argmin])
def test_an_empty_batch_is_reduced_over_the_last_axis(reduce: Callable[..., gc.Tensor], keepdims: bool) -> None:
    x = gc.input("x", ("batch", 5))
    found = gc.evaluate(reduce(x, -1, keepdims=keepdims), {"x": np.zeros((0, 5), np.float32)})
    assert found.shape == ((0, 1) if keepdims else (0,))


def test_simplified_reductions_of_imported_graphs_are_right_for_empty_batches() -> None:
    x = gc.input("x", ("batch", 5))
    made: Any = gc.simplify(gc.graph([gc.op.ReduceL2(x, np.array([-1]), keepdims=0), gc.op.ArgMin(x, axis=-1)]))
    found = gc.evaluate(made.outputs, {"x": np.zeros((0, 5), np.float32)})
    assert [a.shape for a in found] == [(0,), (0, 1)]


def test_axes_from_the_last_and_from_the_first_are_one_expression() -> None:
    x = gc.input("x", ("batch", 5, 2))
    assert gc.sum(x, (-1, 0)) == gc.sum(x, (2, 0))
    assert gc.argmax(x, -2) == gc.argmax(x, 1)
