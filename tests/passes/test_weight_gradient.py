"""The forms of a convolution's weight gradient: all equal, each chosen only where it applies, differentiable again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.ir.build import apply
from graphc.ir.call import inline
from passes.lowering.costs import PRICES, cheapest, sizes_of, work_of
from passes.lowering.weight_gradient import FORMS, NAME, WeightGradient, applicable
from passes.lowering.windows import Window
from passes.verify import verify


class Shape(NamedTuple):
    """A convolution: spatial sizes, output channels, input channels of a group, kernel, and how it moves."""

    data: tuple[int, ...]
    rows: int
    columns: int
    kernel: tuple[int, ...]
    pads: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1

    @property
    def what(self) -> WeightGradient:
        window = Window(self.kernel, self.strides, self.dilations)
        return WeightGradient((self.rows, self.columns, *self.kernel), window, self.pads, self.groups)

    @property
    def places(self) -> tuple[int, ...]:
        before, after = self.pads[: len(self.data)], self.pads[len(self.data) :]
        parts = zip(self.data, before, after, self.what.window.reach, self.strides, strict=True)
        return tuple((n + b + a - reach) // stride + 1 for n, b, a, reach, stride in parts)


SHAPES = {
    "plain": Shape((5, 6), 3, 2, (3, 3), (0, 0, 0, 0), (1, 1), (1, 1)),
    "padded": Shape((5, 6), 3, 2, (3, 3), (1, 1, 1, 1), (1, 1), (1, 1)),
    "point": Shape((4, 3), 5, 4, (1, 1), (0, 0, 0, 0), (1, 1), (1, 1)),
    "strided_point": Shape((5, 6), 4, 3, (1, 1), (0, 0, 0, 0), (2, 2), (1, 1)),
    "strided": Shape((8, 7), 3, 2, (3, 2), (1, 0, 1, 0), (2, 2), (1, 1)),
    "left_over": Shape((9, 8), 2, 3, (2, 2), (0, 0, 0, 0), (3, 3), (1, 1)),
    "dilated": Shape((9, 8), 2, 3, (3, 2), (0, 1, 0, 1), (1, 1), (2, 3)),
    "strided_and_dilated": Shape((11, 12), 2, 2, (3, 3), (2, 1, 0, 3), (2, 3), (2, 1)),
    "unequal_pads": Shape((5, 6), 3, 2, (3, 3), (2, 0, 1, 1), (1, 1), (1, 1)),
    "cut": Shape((7, 8), 3, 2, (3, 3), (0, 1, -1, 0), (1, 1), (1, 1)),
    "groups": Shape((5, 6), 6, 2, (3, 3), (1, 1, 1, 1), (1, 1), (1, 1), 3),
    "strided_groups": Shape((7, 6), 4, 3, (3, 2), (1, 0, 0, 1), (2, 1), (1, 2), 2),
    "depthwise": Shape((5, 6), 4, 1, (3, 3), (1, 1, 1, 1), (1, 1), (1, 1), 4),
    "row": Shape((5, 6), 3, 2, (1, 3), (0, 1, 0, 1), (1, 1), (1, 1)),
    "column": Shape((5, 6), 3, 2, (3, 1), (0, 0, 0, 0), (1, 1), (1, 1)),
    "whole": Shape((4, 5), 3, 2, (4, 5), (0, 0, 0, 0), (1, 1), (1, 1)),
    "one_axis": Shape((9,), 3, 2, (3,), (1, 2), (2,), (1,)),
    "three_axes": Shape((4, 5, 6), 3, 2, (2, 3, 2), (1, 0, 0, 0, 1, 1), (1, 2, 1), (1, 1, 2)),
    "three_axes_groups": Shape((4, 3, 5), 4, 1, (2, 2, 3), (0, 0, 1, 0, 0, 1), (2, 1, 1), (1, 1, 1), 2),
}
CASES = [(name, form) for name, shape in SHAPES.items() for form in applicable(shape.what)]
BATCH = 3


def arrays(s: Shape) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(BATCH, s.columns * s.groups, *s.data)), rng.normal(size=(BATCH, s.rows, *s.places))


def expected(s: Shape, x: Any, g: Any) -> Any:
    """The definition: for each element of the kernel, products with what lies under it."""
    rank = len(s.data)
    widths = [(0, 0), (0, 0), *zip(s.pads[:rank], s.pads[rank:], strict=True)]
    padded = np.pad(x, np.maximum(widths, 0))
    padded = padded[tuple(slice(None, n + min(after, 0)) for n, (_, after) in zip(padded.shape, widths, strict=True))]
    result = np.zeros((s.groups, s.rows // s.groups, s.columns, *s.kernel))
    cotangent = g.reshape(BATCH, s.groups, s.rows // s.groups, -1)
    for tap in np.ndindex(*s.kernel):
        starts = [t * d for t, d in zip(tap, s.dilations, strict=True)]
        index = [slice(i, i + n * st, st) for i, n, st in zip(starts, s.places, s.strides, strict=True)]
        ends = zip(index, s.places, strict=True)
        seen = padded[:, :, *(slice(i.start, i.start + (n - 1) * i.step + 1, i.step) for i, n in ends)]
        seen = seen.reshape(BATCH, s.groups, s.columns, -1)
        result[(slice(None), slice(None), slice(None), *tap)] = np.einsum("bgrp,bgcp->grc", cotangent, seen)
    return result.reshape(s.rows, s.columns, *s.kernel)


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
def test_each_form_is_the_gradient_by_its_definition(name: str, form: str, symbolic: bool) -> None:
    s = SHAPES[name]
    data, cotangent = arrays(s)
    batch = "batch" if symbolic else BATCH
    x = gc.input("x", (batch, *data.shape[1:]), "float64")
    g = gc.input("g", (batch, *cotangent.shape[1:]), "float64")
    result = s.what.apply(x, g, form)
    verify(gc.graph(result))
    assert result.shape == (s.rows, s.columns, *s.kernel)
    for t in (result, gc.simplify(gc.graph(result))):
        found = gc.evaluate(t, {"x": data, "g": cotangent}, runtime="reference")
        found = next(iter(found.values())) if isinstance(found, dict) else found
        np.testing.assert_allclose(found, expected(s, data, cotangent), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_forms_apply_to_symbolic_places_too(form: str) -> None:
    s = SHAPES["padded"]
    data, cotangent = arrays(s)
    x = gc.input("x", ("batch", 2, "height", "width"), "float64")
    g = gc.input("g", ("batch", 3, "height", "width"), "float64")
    found = gc.evaluate(s.what.apply(x, g, form), {"x": data, "g": cotangent}, runtime="reference")
    np.testing.assert_allclose(found, expected(s, data, cotangent), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_onnxruntime_computes_every_form(form: str) -> None:
    s = SHAPES["padded"]
    data, cotangent = (a.astype(np.float32) for a in arrays(s))
    x, g = gc.input("x", ("batch", *data.shape[1:])), gc.input("g", ("batch", *cotangent.shape[1:]))
    found = gc.evaluate(s.what.apply(x, g, form), {"x": data, "g": cotangent})
    np.testing.assert_allclose(found, expected(s, data, cotangent), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["padded", "strided", "cut", "strided_groups", "one_axis"])
def test_its_gradient_is_that_of_every_form(name: str) -> None:
    s = SHAPES[name]
    data, cotangent = arrays(s)
    x, g = gc.input("x", data.shape, "float64"), gc.input("g", cotangent.shape, "float64")
    weights = np.random.default_rng(1).normal(size=s.what.shape)
    whole = s.what.apply(x, g, "batched_product")
    plain = FORMS["batched_product"](s.what, x, g)
    results = [gc.grad(gc.sum(t * weights), [x, g]) for t in (whole, plain)]
    values = gc.evaluate([t for pair in results for t in pair], {"x": data, "g": cotangent}, runtime="reference")
    np.testing.assert_allclose(values[0], values[2], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(values[1], values[3], rtol=1e-12, atol=1e-12)


def test_it_can_be_batched_and_then_differentiated() -> None:
    s = SHAPES["padded"]
    data, _ = arrays(s)
    x, w = gc.input("x", (BATCH, 2, 5, 6), "float64"), gc.input("w", s.what.shape, "float64")
    sample = gc.input("sample", (1, 2, 5, 6), "float64")
    loss = gc.sum(gc.square(apply("Conv", (sample, w), {"pads": s.pads}).out()))
    gradients = gc.vmap(gc.grad(loss, w), {sample: gc.unsqueeze(x, 1)})
    second = gc.grad(gc.sum(gc.square(gradients)), w)
    assert second.shape == w.shape
    total = gc.grad(loss, w)
    feeds = {"x": data, "w": np.random.default_rng(2).normal(size=s.what.shape)}
    expected_second = sum(
        gc.evaluate(
            gc.grad(gc.sum(gc.square(total)), w), {"sample": data[i : i + 1], "w": feeds["w"]}, runtime="reference"
        )
        for i in range(BATCH)
    )
    np.testing.assert_allclose(gc.evaluate(second, feeds, runtime="reference"), expected_second, rtol=1e-10)


@st.composite
def convolutions(draw: st.DrawFn) -> Shape:
    """Convolutions of one or two axes, with all there is to vary."""
    rank, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, strides, dilations, pads = axes(1, 3), axes(1, 3), axes(1, 2), (*axes(0, 2), *axes(0, 2))
    reach = Window(kernel, strides, dilations).reach
    data = tuple(r + draw(st.integers(0, 4)) for r in reach)
    rows, columns = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return Shape(data, rows, columns, kernel, pads, strides, dilations, groups)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(convolutions())
def test_all_forms_of_any_convolution_agree(s: Shape) -> None:
    data, cotangent = arrays(s)
    x, g = gc.input("x", data.shape, "float64"), gc.input("g", cotangent.shape, "float64")
    found = gc.evaluate(
        [FORMS[f](s.what, x, g) for f in applicable(s.what)], {"x": data, "g": cotangent}, runtime="reference"
    )
    for value in found:
        np.testing.assert_allclose(value, expected(s, data, cotangent), rtol=1e-11, atol=1e-11)


# --- the choice ---------------------------------------------------------------------------------------------------


def test_forms_that_do_not_apply_are_never_chosen() -> None:
    assert "swapped_convolution" not in applicable(SHAPES["cut"].what)
    assert "batched_product_by_row" not in applicable(SHAPES["one_axis"].what)
    assert "batched_product_by_row" not in applicable(SHAPES["row"].what)
    assert set(applicable(SHAPES["plain"].what)) == set(FORMS)


@pytest.mark.parametrize("provider", PRICES)
@pytest.mark.parametrize("name", SHAPES)
def test_the_cheapest_form_applies_and_costs_the_least(name: str, provider: str) -> None:
    s = SHAPES[name]
    x, g = gc.input("x", ("batch", s.columns * s.groups, *s.data)), gc.input("g", ("batch", s.rows, *s.places))
    chosen = cheapest(s.what, x, g, provider)
    costs = {f: work_of(s.what, f, sizes_of(x), sizes_of(g)).at(PRICES[provider]) for f in applicable(s.what)}
    assert all(cost > 0 for cost in costs.values())
    assert costs[chosen] == min(costs.values())


def test_the_choice_depends_on_the_shape() -> None:
    def chosen(batch: int, channels: int, size: int, rows: int, k: int) -> str:
        pad = k // 2
        s = Shape((size, size), rows, channels, (k, k), (pad,) * 4, (1, 1), (1, 1))
        x, g = gc.input("x", (batch, channels, size, size)), gc.input("g", (batch, rows, size, size))
        return cheapest(s.what, x, g)

    late, early, point = chosen(16, 512, 7, 512, 3), chosen(16, 64, 56, 64, 3), chosen(16, 64, 56, 256, 1)
    assert late.startswith("single_product")  # few places, many channels: the batch inside of the product
    assert early.startswith("batched_product_by")  # many places: nothing put side by side
    assert point == "batched_product"
    assert chosen(8, 512, 4, 512, 3) == "single_product"  # a weight much larger than the data: not joined of parts


def test_symbolic_sizes_count_as_a_default() -> None:
    assert sizes_of(gc.input("x", ("batch", 3, "h", 4)), 8) == (8, 3, 8, 4)
    assert sizes_of(gc.input("x", ("2*batch", "h+1", None))) == (64, 33, 32)


# --- the rule -----------------------------------------------------------------------------------------------------


def test_the_gradient_rule_emits_one_node_which_exports_put_into_standard_operators() -> None:
    x, w = gc.input("x", ("batch", 2, 8, 8)), gc.parameter("w", (3, 2, 3, 3))
    g = gc.grad(gc.sum(apply("Conv", (x, w), {"pads": (1, 1, 1, 1)}).out()), w)
    (node,) = gc.graph(g).find(NAME)
    assert node.attrs["gradient"] == SHAPES["padded"].what
    assert g == gc.grad(gc.sum(apply("Conv", (x, w), {"pads": (1, 1, 1, 1)}).out()), w)
    assert not inline(gc.graph(g)).find(NAME)
