"""Margin, likelihood and contrastive losses against their definitions; what they say of arguments that do not fit."""

import math
import re

import numpy as np
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(5)
N = 6


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def hinge(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def kl(x, y):
    return np.where(y > 0, y * (np.log(np.where(y > 0, y, 1)) - x), 0)


def multi_margin(x, y, p, margin, weight):
    losses = []
    for scores, label in zip(x, y, strict=True):
        others = [hinge(margin - scores[label] + s) ** p for i, s in enumerate(scores) if i != label]
        losses.append(weight[label] * sum(others) / len(scores))
    return np.array(losses)


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def info_nce(q, k, temperature):
    logits = cosine(q[:, None], k[None]) / temperature
    return -np.diag(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def gaussian(x, y, v):
    v = np.maximum(v, 0.5)
    return 0.5 * (np.log(2 * np.pi * v) + (x - y) ** 2 / v)


def focal(x, y):
    p = np.where(y == 1, 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x)))
    return -np.where(y == 1, 0.3, 0.7) * (1 - p) ** 1.5 * np.log(p)


PROBABILITIES = RNG.dirichlet(np.ones(4), N)
PROBABILITIES[0] = [0, 0.5, 0.5, 0]
WEIGHT = np.array([1.0, 0.5, 2.0, 0.0])
SIGNS, LABELS = RNG.choice([-1.0, 1.0], N), RNG.integers(0, 4, N)
TRIPLETS = [normal(N, 3) for _ in range(3)]

DEFINITIONS = {
    "kl_div": (nn.kl_div, kl, [np.log(RNG.dirichlet(np.ones(4), N)), PROBABILITIES], {}),
    "hinge_embedding_loss": (
        nn.hinge_embedding_loss,
        lambda x, y: np.where(y == 1, x, hinge(0.5 - x)),
        [normal(N), SIGNS],
        {"margin": 0.5},
    ),
    "margin_ranking_loss": (
        nn.margin_ranking_loss,
        lambda a, b, y: hinge(0.1 - y * (a - b)),
        [normal(N), normal(N), SIGNS],
        {"margin": 0.1},
    ),
    "soft_margin_loss": (nn.soft_margin_loss, lambda x, y: np.log1p(np.exp(-x * y)), [normal(N), SIGNS], {}),
    "multi_margin_loss": (
        nn.multi_margin_loss,
        lambda x, y: multi_margin(x, y, 2, 0.7, WEIGHT),
        [normal(N, 4), LABELS],
        {"p": 2, "margin": 0.7, "weight": WEIGHT},
    ),
    "cosine_embedding_loss": (
        nn.cosine_embedding_loss,
        lambda a, b, y: np.where(y == 1, 1 - cosine(a, b), hinge(cosine(a, b) - 0.1)),
        [normal(N, 3), normal(N, 3), SIGNS],
        {"margin": 0.1},
    ),
    "triplet_margin_loss": (
        nn.triplet_margin_loss,
        lambda a, p, n: hinge(
            np.linalg.norm(a - p + 1e-6, 3, -1)
            - np.minimum(np.linalg.norm(a - n + 1e-6, 3, -1), np.linalg.norm(p - n + 1e-6, 3, -1))
            + 2
        ),
        TRIPLETS,
        {"margin": 2.0, "p": 3, "swap": True},
    ),
    "info_nce": (
        nn.info_nce,
        lambda q, k: info_nce(q, k, 0.3),
        TRIPLETS[:2],
        {"temperature": 0.3},
    ),
    "poisson_nll_loss": (
        nn.poisson_nll_loss,
        lambda x, y: np.exp(x) - x * y,
        [normal(N), RNG.poisson(2.0, N).astype(float)],
        {},
    ),
    "gaussian_nll_loss": (
        nn.gaussian_nll_loss,
        gaussian,
        [normal(N, 3), normal(N, 3), RNG.uniform(0.4, 2, (N, 1))],
        {"full": True, "eps": 0.5},
    ),
    "sigmoid_focal_loss": (
        nn.sigmoid_focal_loss,
        focal,
        [normal(N), (SIGNS + 1) / 2],
        {"alpha": 0.3, "gamma": 1.5},
    ),
}


def symbols(arrays: list[np.ndarray]) -> list[gc.Tensor]:
    return [gc.input(f"x{k}", ("n", *a.shape[1:]), a.dtype) for k, a in enumerate(arrays)]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_loss_equals_its_definition(name: str, reduction: str) -> None:
    function, definition, arrays, options = DEFINITIONS[name]
    loss = function(*symbols(arrays), reduction=reduction, **options)
    found = gc.evaluate(loss, {f"x{k}": a for k, a in enumerate(arrays)}, runtime="reference")
    expected = definition(*arrays)
    expected = {"none": expected, "mean": expected.mean(), "sum": expected.sum()}[reduction]
    np.testing.assert_allclose(found, expected, rtol=1e-11)  # 1e-12 is added to squared norms


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if name != "gaussian_nll_loss"])
def test_gradients_equal_finite_differences(name: str) -> None:
    function, _, arrays, options = DEFINITIONS[name]
    given = symbols(arrays)
    targets = {"hinge_embedding_loss", "margin_ranking_loss", "cosine_embedding_loss", "soft_margin_loss", "kl_div"}
    wrt = given[:-1] if name in targets or not given[-1].dtype.is_float else given
    feeds = {f"x{k}": a for k, a in enumerate(arrays)}
    gc.testing.check_grads(function(*given, **options), wrt, feeds=feeds)


def test_a_variance_below_eps_has_the_gradient_of_eps() -> None:
    v = gc.input("v", (2,))
    loss = nn.gaussian_nll_loss(np.zeros(2, "f"), np.full(2, 3, "f"), v, eps=0.5, reduction="sum")
    found = gc.evaluate(gc.grad(loss, v), {"v": np.float32([0.5, 0.1])})
    np.testing.assert_allclose(found, np.full(2, (1 / 0.5 - 9 / 0.25) / 2), rtol=1e-6)


@pytest.mark.parametrize("name", ["kl_div", "poisson_nll_loss"])
def test_targets_of_zero_have_finite_gradients(name: str) -> None:
    x, y = gc.input("x", (3,)), gc.input("y", (3,))
    options = {"full": True} if name == "poisson_nll_loss" else {}
    gradient = gc.grad(getattr(nn, name)(x, y, reduction="sum", **options), [x, y])
    found = gc.evaluate(gradient, {"x": np.zeros(3, "f"), "y": np.float32([0, 0.5, 2])})
    assert np.isfinite(found).all()


def test_batchmean_divides_by_the_size_of_the_batch() -> None:
    _, _, arrays, _ = DEFINITIONS["kl_div"]
    found = gc.evaluate(
        nn.kl_div(*symbols(arrays), reduction="batchmean"), {"x0": arrays[0], "x1": arrays[1]}, runtime="reference"
    )
    np.testing.assert_allclose(found, kl(*arrays).sum() / N, rtol=1e-12)


def test_a_ranking_against_zero_is_the_hinge_loss_of_a_support_vector_machine() -> None:
    x = gc.input("x", ("n",))
    loss = nn.margin_ranking_loss(x, gc.zeros_like(x), np.float32([1, -1, 1]), margin=1.0, reduction="none")
    assert gc.evaluate(loss, {"x": np.float32([0.25, 0.25, 3])}).tolist() == [0.75, 1.25, 0]


def test_the_cosine_of_a_zero_vector_is_zero_with_a_finite_gradient() -> None:
    a = gc.input("a", (1, 3))
    loss = nn.cosine_embedding_loss(a, np.ones((1, 3), "f"), np.ones(1, "f"))
    value, gradient = gc.evaluate([loss, gc.grad(loss, a)], {"a": np.zeros((1, 3), "f")})
    assert value == 1
    assert np.isfinite(gradient).all()


def test_the_focal_loss_of_huge_logits_is_finite() -> None:
    x = gc.input("x", (4,))
    loss = nn.sigmoid_focal_loss(x, np.float32([0, 1, 0, 1]), reduction="sum")
    found = gc.evaluate([loss, gc.grad(loss, x)], {"x": np.float32([-1e4, -1e4, 1e4, 1e4])})
    assert np.isfinite(found[0])
    np.testing.assert_allclose(found[1], [0, -0.25, 0.75, 0], atol=1e-6)


# --- errors -------------------------------------------------------------------------------------------------------

X, V = gc.input("x", ("n", 4)), gc.input("v", ("n",))

FOCAL = (
    "sigmoid_focal_loss: alpha=2, gamma=-1; expected alpha up to 1 (negative for none) and a gamma that is not negative"
)
ERRORS = {
    "batchmean is for kl_div": (
        lambda: nn.mse_loss(X, X, "batchmean"),
        "mse_loss: the reduction is 'batchmean'; expected 'mean', 'sum' or 'none'",
    ),
    "kl_div's reductions": (
        lambda: nn.kl_div(X, X, "avg"),
        "kl_div: the reduction is 'avg'; expected 'batchmean', 'mean', 'sum' or 'none'",
    ),
    "batch of scalars": (
        lambda: nn.kl_div(gc.input("s", ()), gc.input("t", ()), "batchmean"),
        "kl_div: 'batchmean' needs a batch; the input is float32[]",
    ),
    "signs": (
        lambda: nn.margin_ranking_loss(X, X, V),
        "margin_ranking_loss: targets have shape (n,); expected 1 or -1 for each loss, of shape (n, 4)",
    ),
    "integers": (
        lambda: nn.hinge_embedding_loss(gc.input("i", (3,), "int64"), np.ones(3)),
        "hinge_embedding_loss: the input is int64[3]; expected floating point",
    ),
    "vectors": (
        lambda: nn.cosine_embedding_loss(gc.input("a", (2, 3, 4)), gc.input("b", (2, 3, 4)), np.ones(2)),
        "cosine_embedding_loss: the inputs are float32[2, 3, 4]; expected (N, D) or (D,)",
    ),
    "p of multi_margin": (
        lambda: nn.multi_margin_loss(X, gc.input("y", ("n",), "int64"), p=3),
        "multi_margin_loss: p is 3; expected 1 or 2",
    ),
    "p of triplets": (
        lambda: nn.triplet_margin_loss(X, X, X, p=0),
        "triplet_margin_loss: margin=1.0, p=0; expected positive numbers",
    ),
    "temperature": (
        lambda: nn.info_nce(X, X, temperature=0),
        "info_nce: the temperature is 0; expected a positive number",
    ),
    "negatives": (
        lambda: nn.info_nce(X, X, gc.input("k", (7, 3))),
        "info_nce: the negatives have shape (7, 3); expected (M, D) or (N, M, D) for queries of shape (n, 4)",
    ),
    "variance": (
        lambda: nn.gaussian_nll_loss(X, X, gc.input("var", (2, 3, 4))),
        "gaussian_nll_loss: var has shape (2, 3, 4); expected (n, 4), (n, 1) or (n,)",
    ),
    "eps": (lambda: nn.gaussian_nll_loss(X, X, X, eps=0), "gaussian_nll_loss: eps is 0; expected a positive number"),
    "alpha": (
        lambda: nn.sigmoid_focal_loss(X, X, alpha=2, gamma=-1),
        FOCAL,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_arguments_that_do_not_fit_are_errors(name: str) -> None:
    make, expected = ERRORS[name]
    with pytest.raises(gc.GraphcError) as error:
        make()
    text, places = re.subn(r" \[test_margin_losses\.py:\d+\]", "", str(error.value))
    assert text == expected
    assert places == 1


def test_an_infinite_norm_is_the_largest_difference() -> None:
    a, p, n = (np.float32([v]) for v in ([0, 0], [1, -3], [2, 5]))
    assert gc.evaluate(nn.triplet_margin_loss(a, p, n, p=math.inf, eps=0, margin=4.0)) == 2
