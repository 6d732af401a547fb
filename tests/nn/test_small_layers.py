"""Layers of few lines: what they refuse, and in which words. Values are compared with PyTorch's in tests/oracle."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn

X = gc.input("x", ("n", 4))
IMAGE = gc.input("image", ("n", 6, "h", "w"))
LABELS = gc.input("labels", ("n", 4), "int64")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Bilinear(2, 0, 3), gc.OperatorError, "in2_features=0.*; expected positive integers"),
        (lambda: nn.Bilinear(4, 3, 2)(X, X), gc.ShapeError, "an input is .*; expected 3 features"),
        (
            lambda: nn.bilinear(X, X, X),
            gc.ShapeError,
            r"expected \(\.\.\., in1\), \(\.\.\., in2\) and \(out, in1, in2\)",
        ),
        (lambda: nn.ChannelShuffle(4)(IMAGE), gc.ShapeError, "a multiple of groups=4"),
        (lambda: nn.ChannelShuffle(2)(gc.input("y", ("n", "c", 2))), gc.ShapeError, "a known number of channels"),
        (lambda: nn.LocalResponseNorm(0)(IMAGE), gc.OperatorError, "size is 0; expected a positive integer"),
        (lambda: nn.LocalResponseNorm(2)(X), gc.ShapeError, "expected at least three axes"),
        (lambda: nn.Softmax2d()(X), gc.ShapeError, "expected four axes"),
        (lambda: nn.CosineSimilarity(dim=2)(X, X), gc.ShapeError, "cosine_similarity: found .* with an axis 2"),
        (lambda: nn.PairwiseDistance(p=0)(X, X), gc.OperatorError, "p is 0; expected a positive number"),
        (lambda: nn.normalize(LABELS), gc.ShapeError, "normalize: found int64.*; expected floating point"),
        (lambda: nn.LPPool2d(0, 2), gc.OperatorError, "norm_type is 0; expected a positive number"),
        (lambda: nn.LPPool1d(2, 2)(IMAGE), gc.ShapeError, "expected 3 axes"),
        (lambda: nn.Unfold(2, stride=0), gc.OperatorError, "stride is 0; expected an integer of at least 1"),
        (lambda: nn.Unfold(2)(X), gc.ShapeError, "unfold: .* expected 4 axes"),
        (lambda: nn.Fold(4, 2)(gc.input("y", ("n", 6, 9))), gc.ShapeError, r"expected \(N, C \* 4, 9\)"),
        (lambda: nn.Fold(4, 2)(gc.input("y", ("n", 8, 8))), gc.ShapeError, r"expected \(N, C \* 4, 9\)"),
        (lambda: nn.RNNCell(4, 3, nonlinearity="elu"), gc.OperatorError, "nonlinearity='elu'"),
        (lambda: nn.GRUCell(0, 3), gc.OperatorError, "input_size=0.*; expected positive integers"),
        (lambda: nn.LSTMCell(3, 3)(X), gc.ShapeError, r"the input is .*; expected \(batch, 3\)"),
        (lambda: nn.LSTMCell(4, 3)(X, (X, X)), gc.ShapeError, r"the state is .*; expected \(batch, 3\)"),
        (lambda: nn.GRUCell(4, 3)(LABELS), gc.DTypeError, "the input is int64.*; expected float32"),
        (lambda: nn.multilabel_margin_loss(X, LABELS[:, :3]), gc.ShapeError, r"scores have shape \(n, 4\)"),
        (lambda: nn.EmbeddingBag(3, 2, "min"), gc.OperatorError, "mode is 'min'; expected one of sum, mean, max"),
        (lambda: nn.EmbeddingBag(3, 2)(LABELS, LABELS[0]), gc.ShapeError, r"expected \(bags, size\), or \(n,\)"),
        (lambda: nn.EmbeddingBag(3, 2)(LABELS[0], LABELS), gc.DTypeError, r"expected int64 \(bags,\)"),
        (lambda: nn.EmbeddingBag(3, 2)(LABELS, None, X), gc.OperatorError, "weights of samples need mode='sum'"),
        (lambda: nn.EmbeddingBag(3, 2, "sum")(LABELS, None, X[:, :2]), gc.ShapeError, "the weights are"),
        (lambda: nn.multilabel_margin_loss(X, X), gc.DTypeError, "expected floating point and int64"),
        (
            lambda: nn.multilabel_soft_margin_loss(X, X, np.ones((2, 1, 4), "f")),
            gc.ShapeError,
            "one weight for each class",
        ),
        (
            lambda: nn.binary_cross_entropy(X, X, np.ones((2, 1, 4), "f")),
            gc.ShapeError,
            "the weight does not broadcast",
        ),
        (
            lambda: nn.triplet_margin_with_distance_loss(X, X, X, margin=0),
            gc.OperatorError,
            "margin=0; expected a positive number",
        ),
    ],
)
def test_bad_arguments_are_named(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_fold_undoes_unfold_of_blocks_that_do_not_overlap() -> None:
    image = gc.input("image", ("n", 2, 4, 6))
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 6)).astype(np.float32)
    back = nn.fold(nn.unfold(image, (2, 3), stride=(2, 3)), (4, 6), (2, 3), stride=(2, 3))
    np.testing.assert_array_equal(gc.evaluate(back, {"image": x}), x)


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_normalized_vectors_have_length_one_and_zeros_stay(p: float) -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(3, 4)), np.zeros((1, 4))]).astype(np.float32)
    found = gc.evaluate(nn.normalize(X, p), {"x": x})
    np.testing.assert_allclose(np.linalg.norm(found, p, axis=1), [1, 1, 1, 0], rtol=1e-6)


def test_steps_of_a_cell_are_those_of_its_layer() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    cell, layer = nn.LSTMCell(4, 5, name="c"), nn.LSTM(4, 5, name="l")
    state, steps = None, gc.input("x", (3, "n", 4))
    for t in range(3):
        state = cell(steps[t], state)
    _, last = layer(steps)
    values = nn.init.initialize(cell.parameters())
    values |= {name.replace("c.", "l.") + "_l0": value for name, value in values.items()}
    h, c, last_h, last_c = gc.evaluate([*state, *last], {"x": x}, state=values)
    np.testing.assert_allclose(h, last_h[0], atol=1e-6)
    np.testing.assert_allclose(c, last_c[0], atol=1e-6)
