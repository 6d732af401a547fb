"""Shape mistakes fail where they are written: the message names the operator, both shapes, the line and the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import op
from graphc.errors import GraphcError, ShapeError

x = gc.input("x", ("batch", 784))
w = gc.input("w", (10, 784))
image = gc.input("image", ("N", 3, 32, 32))
vector = gc.input("vector", (5,))
scalar = gc.input("scalar", ())
query = gc.input("query", (1, 4, 10))
labels = gc.input("labels", ("batch",), "int64")


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


ONES, INTS = gc.graph(gc.ones((2,))), gc.graph(gc.ones((2,), "int64"))

MISTAKES: list[tuple[Callable[[], object], str]] = [
    (
        lambda: x @ w,
        r"MatMul: shapes \(batch, 784\) and \(10, 784\) do not fit: 784 columns meet 10 rows \[.*Transpose",
    ),
    (lambda: x @ zeros(3), r"MatMul: shapes \(batch, 784\) and \(3,\) do not fit: 784 columns meet 3 rows"),
    (lambda: x @ scalar, r"MatMul: found shapes \(batch, 784\) and \(\); expected at least one axis each .*Use \*"),
    (lambda: x + vector, r"Add: shapes \(batch, 784\) and \(5,\) do not broadcast: 784 and 5 differ at axis -1"),
    (
        lambda: gc.where(x > 0, x, vector),
        r"Where: shapes .* do not broadcast: 784 and 5 differ at axis -1 .*aligned at",
    ),
    (lambda: op.Gemm(x, w), r"Gemm: shapes \(batch, 784\) and \(10, 784\) do not fit: the inner sizes are 784 and 10"),
    (lambda: op.Gemm(x, vector), r"Gemm: found shapes .*; expected two matrices .*Use MatMul"),
    (lambda: op.Gemm(x, w, vector, transB=1), r"Gemm: 'C' is \(5,\); it does not broadcast to \(batch, 10\)"),
    (lambda: op.PRelu(vector, x), r"PRelu: 'slope' is \(batch, 784\); it does not broadcast to \(5,\)"),
    (lambda: gc.einsum("ij,jk->ik", x, w), r"Einsum: the label 'j' of 'ij,jk->ik' stands for 784 and for 10"),
    (lambda: gc.einsum("ijk->i", x), r"Einsum: the term 'ijk' of 'ijk->i' does not fit the shape \(batch, 784\)"),
    (lambda: gc.einsum("ij->k", x), r"Einsum: the output label 'k' of 'ij->k' is in no input"),
    (lambda: gc.einsum("ij,jk", x), r"Einsum: the equation 'ij,jk' has 2 terms for 1 inputs"),
    (lambda: vector.reshape(2, 3), r"Reshape: cannot turn \(5,\) into \(2, 3\): they have 5 and 6 elements"),
    (lambda: vector.reshape(2, -1), r"Reshape: cannot turn \(5,\) into a shape with 2 elements per unit of the -1"),
    (lambda: vector.reshape(-1, -1), r"Reshape: the target \(-1, -1\) has more than one -1"),
    (lambda: op.Reshape(vector, np.array([5, 0])), r"Reshape: a 0 at axis 1 copies an axis that the input \(5,\)"),
    (lambda: op.Reshape(vector, np.array([-2])), r"Reshape: the target \(-2,\) has a negative dimension"),
    (lambda: x.reshape("batch", 783), r"reshape: cannot turn float32\[batch, 784\] into \(batch, 783\): the sizes are"),
    (
        lambda: op.Transpose(x, perm=[0, 0]),
        r"Transpose: perm=\[0, 0\] is no permutation of the 2 axes of \(batch, 784\)",
    ),
    (lambda: op.Flatten(x, axis=3), r"Flatten: axis 3 is out of range for \(batch, 784\)"),
    (lambda: x.squeeze(1), r"Squeeze: axis 1 of \(batch, 784\) is 784; only axes of size 1 can be squeezed"),
    (lambda: x.unsqueeze(4), r"Unsqueeze: axis 4 is out of range for rank 3 .*Use an axis from -3 to 2"),
    (lambda: x.unsqueeze([1, 1]), r"Unsqueeze: the axes \['1', '1'\] repeat one"),
    (lambda: gc.concat([x, vector]), r"Concat: found ranks 2 and 1 in \(batch, 784\) and \(5,\)"),
    (
        lambda: gc.concat([x, w[:, :5]], axis=0),
        r"Concat: \(batch, 784\) and \(10, 5\) differ at axis 1; only axis 0 may",
    ),
    (lambda: gc.split(vector, [2, 2]), r"Split: the parts \['2', '2'\] do not add up to 5, axis 0 of \(5,\)"),
    (lambda: gc.split(gc.input("s", (3,)), 5), r"Split: cannot split axis 0 of \(3,\) into 5 parts"),
    (lambda: gc.tile(x, [2]), r"Tile: found 1 repeats for the 2 axes of \(batch, 784\)"),
    (lambda: op.Pad(x, np.array([1, 1])), r"Pad: found 2 pads for 2 axes; expected 4"),
    (lambda: op.Pad(vector, np.array([-3, -3])), r"Pad: the pads \['-3', '-3'\] crop more than axis 0 of \(5,\) has"),
    (lambda: x.sum(axis=2), r"ReduceSum: axis 2 is out of range for rank 2 .*Use an axis from -2 to 1"),
    (lambda: x.argmax(axis=-3), r"ArgMax: axis -3 is out of range for rank 2"),
    (lambda: gc.softmax(x, axis=2), r"Softmax: axis 2 is out of range for rank 2"),
    (lambda: gc.top_k(vector, 6), r"TopK: k is 6, but axis 0 has only 5 elements"),
    (lambda: op.Gather(scalar, labels), r"Gather: found a scalar; expected at least one axis"),
    (
        lambda: op.GatherElements(x, labels),
        r"GatherElements: found data \(batch, 784\) and indices \(batch,\); expected eq",
    ),
    (lambda: op.GatherND(vector, gc.input("i", (2, 3), "int64")), r"GatherND: indices \(2, 3\) address 3 axes after 0"),
    (lambda: op.Slice(x, [0], [1], [1], [0]), r"Slice: the step of axis 1 is 0"),
    (lambda: op.Range(0, 5, 0), r"Range: delta is 0"),
    (
        lambda: op.Conv(image, zeros(8, 4, 3, 3)),
        r"Conv: the input \(N, 3, 32, 32\) has 3 channels, but the weight \(8, 4, 3, 3\) with group=1 takes 4",
    ),
    (
        lambda: op.Conv(image, zeros(8, 3, 3)),
        r"Conv: found input \(N, 3, 32, 32\) and weight \(8, 3, 3\); expected equal",
    ),
    (
        lambda: op.Conv(image, zeros(8, 3, 33, 3)),
        r"Conv: a window of 33 does not fit 32 padded elements of spatial axis 0",
    ),
    (lambda: op.Conv(image, zeros(8, 3, 3, 3), zeros(7)), r"Conv: the bias is \(7,\); expected \(8,\)"),
    (
        lambda: op.Conv(image, zeros(8, 3, 3, 3), strides=[1]),
        r"Conv: strides has 1 entries; expected 2 for 2 spatial axes",
    ),
    (
        lambda: op.Conv(image, zeros(8, 3, 3, 3), kernel_shape=[5, 5]),
        r"Conv: kernel_shape=\[5, 5\], but the weight has",
    ),
    (lambda: op.Conv(vector, zeros(1, 1, 1)), r"Conv: found shape \(5,\); expected \(batch, channels, spatial...\)"),
    (
        lambda: op.ConvTranspose(image, zeros(4, 8, 3, 3)),
        r"ConvTranspose: the input .* has 3 channels, but the weight .* 4",
    ),
    (lambda: op.MaxPool(image, kernel_shape=[2]), r"MaxPool: kernel_shape has 1 entries; expected 2 for the input"),
    (
        lambda: op.BatchNormalization(image, zeros(4), zeros(3), zeros(3), zeros(3)),
        r"BatchNormalization: 'scale' is \(4,\); expected \(3,\)",
    ),
    (
        lambda: op.LayerNormalization(x, zeros(10)),
        r"LayerNormalization: 'Scale' is \(10,\); it does not broadcast to \(784,",
    ),
    (
        lambda: op.Conv(image, zeros(8, 3, 3, 3), strides=[1, 0]),
        r"Conv: strides is \[1, 0\]; expected positive numbers",
    ),
    (lambda: op.Split(vector, num_outputs=0), r"Split: num_outputs is 0; expected a positive number"),
    (lambda: op.DepthToSpace(image, blocksize=2), r"DepthToSpace: 3 channels cannot be split into blocks of 2x2"),
    (
        lambda: op.SoftmaxCrossEntropyLoss(x, gc.input("t", ("batch", 784), "int64")),
        r"SoftmaxCrossEntropyLoss: the labels are \(batch, 784\); expected class indices of shape \(batch,\)",
    ),
    (lambda: op.NegativeLogLikelihoodLoss(vector, labels), r"the scores are \(5,\); expected \(batch, classes, ...\)"),
    (lambda: op.LSTM(x, zeros(1, 16, 4), zeros(1, 16, 4)), r"LSTM: the input is \(batch, 784\); expected three axes"),
    (
        lambda: op.Attention(image, image, zeros(1, 3, 31, 8)),
        r"Attention: there are 32 keys for 31 values",
    ),
    (lambda: op.Attention(image, zeros(1, 3, 4, 7), image), r"the queries have heads of 32 elements, the keys of 7"),
    (
        lambda: op.Attention(query, zeros(1, 4, 10), zeros(1, 4, 10)),
        r"Attention: Q is \(1, 4, 10\), and the attribute q_num_heads is not given .*Say how many heads",
    ),
    (
        lambda: op.Attention(query, zeros(1, 4, 10), zeros(1, 4, 10), q_num_heads=3, kv_num_heads=3),
        r"Attention: Q is \(1, 4, 10\), which cannot be split into 3 heads",
    ),
    (lambda: op.RotaryEmbedding(gc.input("q", (1, 4, 8)), zeros(4, 4), zeros(4, 4)), r"and num_heads is not given"),
    (lambda: op.Resize(image), r"Resize: found neither of scales and sizes; expected one of them"),
    (lambda: op.Resize(image, None, np.ones(3, np.float32)), r"Resize: found 3 scales for 4 axes of \(N, 3, 32, 32\)"),
    (lambda: op.GridSample(image, zeros(1, 4, 4, 3)), r"GridSample: grid is \(1, 4, 4, 3\); expected 2 coordinates"),
    (
        lambda: op.DequantizeLinear(gc.input("q", (2, 3), "int8"), zeros(2)),
        r"DequantizeLinear: the scale is \(2,\); expected one for each of the 3 elements of axis 1",
    ),
    (
        lambda: op.If(gc.constant(True), then_branch=ONES, else_branch=INTS),
        r"If: the outcomes have types float32\[2\] and int64\[2\]; expected one type",
    ),
    (
        lambda: op.Attention(query, query, query, q_num_heads=0, kv_num_heads=2),
        r"Attention: the attribute q_num_heads is 0; expected a positive number",
    ),
    (
        lambda: op.Reshape(vector, gc.input("shape", (2**40,), "int64")),
        r"Reshape: the result has 1099511627776 axes .*Runtimes take up to 64",
    ),
    (
        lambda: op.Scan(vector, body=ONES, num_scan_inputs=2),
        r"Scan: num_scan_inputs is 2; expected 1 to 1",
    ),
]


@pytest.mark.parametrize(("build", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_shape_mistake_names_the_shapes_and_the_line(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        build()
    assert "[test_messages.py:" in str(caught.value)


def test_symbolic_shapes_that_may_fit_are_accepted() -> None:
    a, b = gc.input("a", ("N", "K")), gc.input("b", ("L", "M"))
    assert (a @ b).shape == (a.shape[0], b.shape[1])
    assert str((a + b).shape) == "(Max(L, N), Max(K, M))"
    assert op.Gemm(a, b, gc.input("c", ("P",))).shape == (a.shape[0], b.shape[1])
    assert gc.concat([a, zeros(3, 2)], axis=1).shape[0] == 3
    assert gc.concat([a, b], axis=1).shape[1] == a.shape[1] + b.shape[1]  # type: ignore[operator]


def test_onnx_conflicts_of_other_operators_are_told_as_ours() -> None:
    with pytest.raises(GraphcError, match=r"Det: .*\[test_messages.py:"):
        op.Det(vector)
