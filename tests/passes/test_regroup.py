"""Products regrouped around their known factors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gc
from graphc.functional.closure import varying
from graphc.ir.node import Tensor
from passes.regroup import regrouped

X, Y, A, B = (gc.input(name, (2, 3)) for name in "xyab")
COLUMN = gc.input("column", (2, 1))


def found(t: Tensor, fits: Callable[[Tensor], bool] = lambda t: True) -> Tensor:
    """`t` with A, B and COLUMN known, and what is computed of them alone."""
    dependent = varying([t], [X, Y])
    (made,) = regrouped([t], dependent, varying([t], [A, B, COLUMN]) - dependent, fits)
    return made


def test_known_factors_are_multiplied_first_on_whichever_side_they_are() -> None:
    assert found((X * A) * B) == X * (A * B)
    assert found(B * (A * X)) == X * (A * B)


def test_products_of_what_is_not_known_stay() -> None:
    assert found((X * Y) + (A * B)) == (X * Y) + (A * B)


def test_products_that_do_not_fit_stay() -> None:
    t = (X * COLUMN) * A
    assert found(t) == X * (COLUMN * A)
    assert found(t, lambda t: t.shape[1] == 1) == t


def test_joined_products_are_a_product_of_what_is_joined_at_once() -> None:
    joined = gc.concat([gc.concat([X * A, Y * B], 1), X * B], 1)
    assert found(joined) == gc.concat([X, Y, X], 1) * gc.concat([A, B, B], 1)


def test_joins_that_do_not_fit_and_those_of_factors_that_are_repeated_stay() -> None:
    joined = gc.concat([X * A, Y * B], 1)
    assert found(joined, lambda t: t.shape == (2, 3)) == joined
    repeated = gc.concat([X * COLUMN, Y * B], 1)
    assert found(repeated) == repeated


@pytest.mark.parametrize("axis", [0, 1])
def test_joins_along_another_axis_stay_apart(axis: int) -> None:
    inner, outer = gc.concat([X * A, Y * B], axis), gc.concat([X * B, Y * A], axis)
    assert found(gc.concat([inner, outer], 1 - axis)) == gc.concat(
        [gc.concat([X, Y], axis), gc.concat([X, Y], axis)], 1 - axis
    ) * gc.concat([gc.concat([A, B], axis), gc.concat([B, A], axis)], 1 - axis)
