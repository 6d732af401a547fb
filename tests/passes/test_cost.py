"""Costs of operators, by counting on one's fingers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Tensor
from passes.cost import Cost, cost, cost_of


def f32(*shape: Any) -> Tensor:
    return gc.input("x", shape)


N, C, H = 4, 6, 8
FLOPS: dict[str, tuple[Callable[[], Tensor], int]] = {
    "add": (lambda: f32(N, C) + f32(C), N * C),
    "where": (lambda: gc.where(gc.input("c", (N, 1), "bool"), f32(N, C), 0.0), N * C),
    "matmul": (lambda: f32(5, N, C) @ f32(C, 3), 2 * 5 * N * C * 3),
    "matrix_vector": (lambda: f32(N, C) @ f32(C), 2 * N * C),
    "gemm": (lambda: gc.gemm(f32(N, C), f32(C, 3), alpha=2.0), 2 * N * C * 3),
    "gemm_bias_transposed": (
        lambda: gc.gemm(f32(C, N), f32(3, C), f32(3), transA=True, transB=True),
        (2 * C + 1) * N * 3,
    ),
    "conv": (lambda: gc.op.Conv(f32(N, C, H, H), f32(10, C // 2, 3, 3), group=2), 2 * N * 10 * 36 * (C // 2) * 9),
    "conv_bias": (lambda: gc.op.Conv(f32(N, C, H), f32(10, C, 3), f32(10)), N * 10 * 6 * (2 * C * 3 + 1)),
    "conv_transpose": (
        lambda: gc.op.ConvTranspose(f32(N, C, H), f32(C, 5, 3), f32(5), strides=[2]),
        2 * N * C * H * 5 * 3 + N * 5 * 17,
    ),
    "attention": (
        lambda: gc.op.Attention(f32(2, 4, 7, 8), f32(2, 4, 9, 8), f32(2, 4, 9, 6)),
        2 * 4 * 7 * 9 * (16 + 5 + 12),
    ),
    "attention_3d": (
        lambda: gc.op.Attention(f32(2, 7, 32), f32(2, 9, 32), f32(2, 9, 24), q_num_heads=4, kv_num_heads=4),
        2 * 4 * 7 * 9 * (16 + 5 + 12),
    ),
    "sum": (lambda: gc.sum(f32(N, C)), N * C),
    "softmax": (lambda: gc.softmax(f32(N, C)), 5 * N * C),
    "layer_norm": (lambda: gc.op.LayerNormalization(f32(N, C), f32(C)), 7 * N * C),
    "max_pool": (lambda: gc.op.MaxPool(f32(N, C, H, H), kernel_shape=[2, 2], strides=[2, 2]), 4 * N * C * 16),
    "einsum": (lambda: gc.einsum("bij,bjk->bik", f32(2, 3, 4), f32(2, 4, 5)), 2 * 2 * 3 * 4 * 5),
    "lstm": (
        lambda: gc.op.LSTM(f32(7, N, C), f32(1, 20, C), f32(1, 20, 5), hidden_size=5)[0],
        2 * 7 * N * 4 * 5 * (C + 5),
    ),
    "transpose": (lambda: gc.transpose(f32(N, C)), 0),
    "reshape": (lambda: gc.reshape(f32(N, C), (C, N)), 0),
}


@pytest.mark.parametrize("name", FLOPS)
def test_operations_are_counted_exactly(name: str) -> None:
    build, expected = FLOPS[name]
    assert cost_of(build().node).flops == expected


def test_bytes_are_those_of_inputs_and_outputs_each_once() -> None:
    x = f32(N, C)
    assert cost_of((x + f32(C)).node).bytes == 4 * (N * C + C + N * C)
    assert cost_of((x * x).node).bytes == 4 * 2 * N * C
    assert cost_of(gc.cast(x, "float16").node).bytes == 6 * N * C
    assert cost_of(gc.reshape(x, (-1,)).node) == Cost(0, 0)


def test_outputs_that_nobody_reads_move_no_bytes() -> None:
    values, indices = gc.top_k(f32(N, C), 2)
    one = cost(gc.graph(values)).bytes
    assert cost(gc.graph([values, indices])).bytes == one + 8 * N * 2


def test_symbols_are_bound_by_sizes_and_32_otherwise() -> None:
    x = gc.input("x", ("batch", "2*n"))
    g = gc.graph(gc.exp(x))
    assert cost(g).flops == 32 * 64
    assert cost(g, {"batch": 5}).flops == 5 * 64
    assert cost(g, {"batch": 5, "n": 3}) == Cost(30, 240)
    assert cost(gc.graph(gc.exp(gc.input("x", ("n - 40",))))) == Cost(0, 0)


def test_updates_count_and_leaves_and_constants_do_not() -> None:
    state = gc.parameter("state", (3,), trainable=False)
    g = gc.Graph([state], {"y": state}, {state: state * np.full((3,), 2.0, np.float32)})
    assert cost(g) == Cost(3, 36)


def test_bodies_count_once_for_each_iteration_and_the_dearer_branch() -> None:
    x = gc.input("x", (5, 3))
    _, ys = gc.scan(lambda carry, row: (carry + row, carry), gc.zeros((3,)), x)
    assert cost(gc.graph(ys)).flops == 5 * 3
    flag = gc.input("flag", (), "bool")
    assert cost(gc.graph(gc.cond(flag, lambda: gc.exp(x), lambda: gc.exp(x) + gc.sin(x)))).flops == 3 * 15
    turned = gc.fori_loop(4, lambda i, c: gc.exp(c), x)
    assert cost(gc.graph(turned)).flops >= 4 * 15


def test_an_unknown_rank_is_no_obstacle() -> None:
    t = gc.op.Reshape(gc.input("x", ("n",)), gc.input("shape", (None,), "int64"))
    assert cost(gc.graph(gc.exp(t))).flops == 32
