"""Margin, likelihood, contrastive and alignment losses against PyTorch's: values and the gradients of all inputs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

REDUCTIONS = ("mean", "sum", "none")
RNG = np.random.default_rng(11)


def compare(ours, theirs, *arrays: np.ndarray, rtol: float = 3e-6) -> None:
    """The losses of `arrays`, with symbolic sizes, and their gradients in all arrays of floats."""
    variables = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    result = theirs(*variables)
    upward = torch.cos(torch.arange(result.numel())).reshape(result.shape)
    (result * upward).sum().backward()
    expected = [result.detach(), *(t.grad for t in variables if t.requires_grad)]

    symbols = [
        gc.input(f"x{k}", [f"n{a.shape[0]}", *a.shape[1:]] if a.ndim else (), a.dtype) for k, a in enumerate(arrays)
    ]
    output = ours(*symbols)
    gradients = gc.grad(gc.sum(output * upward.numpy()), [t for t in symbols if t.dtype.is_float])
    found = gc.evaluate([output, *gradients], {f"x{k}": a for k, a in enumerate(arrays)})
    assert found[0].shape == tuple(result.shape)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=rtol, atol=rtol * max(1.0, float(b.abs().max())))


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def signs(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.choice([-1, 1], shape).astype(dtype)


def probabilities(*shape: int) -> np.ndarray:
    p = RNG.random(shape).astype(np.float32)
    return p / p.sum(-1, keepdims=True)


CASES = {
    "KLDivLoss": [
        *(({}, (np.log(probabilities(*s)), probabilities(*s))) for s in [(6, 4), (3, 2, 4)]),
        ({"log_target": True}, (np.log(probabilities(6, 4)), np.log(probabilities(6, 4)))),
    ],
    "PoissonNLLLoss": [
        (options | {"full": full}, (np.abs(normal(5, 3)) + 0.1, 1 + RNG.poisson(2.0, (5, 3)).astype(np.float32)))
        for options in ({}, {"log_input": False}, {"log_input": False, "eps": 0.1})
        for full in (False, True)
    ],
    "GaussianNLLLoss": [
        ({"full": full, "eps": eps}, (normal(5, 3), normal(5, 3), np.abs(normal(*shape))))
        for full, eps, shape in itertools.product((False, True), (1e-6, 0.5), ((5, 3), (5, 1), (5,)))
    ],
    "HingeEmbeddingLoss": [
        (options, (normal(7, 3), signs(7, 3))) for options in ({}, {"margin": 0.3}, {"margin": -0.2})
    ],
    "SoftMarginLoss": [({}, (20 * normal(7, 3), signs(7, 3)))],
    "MultiMarginLoss": [
        ({"p": p, "margin": margin, "weight": weight}, (normal(7, 5), RNG.integers(0, 5, 7)))
        for p, margin, weight in itertools.product((1, 2), (1.0, 0.2), (None, np.float32([0.5, 2, 0, 1, 3])))
    ],
    "MarginRankingLoss": [({"margin": margin}, (normal(7), normal(7), signs(7))) for margin in (0.0, 0.7, -0.5)],
    "CosineEmbeddingLoss": [
        ({"margin": margin}, (normal(*shape), normal(*shape), signs(*shape[:-1], dtype=dtype)))
        for margin, shape, dtype in itertools.product((0.0, 0.3, -0.2), ((9, 4), (4,)), ("float32", "int64"))
    ],
    "TripletMarginLoss": [
        ({"p": p, "margin": margin, "swap": swap}, (normal(8, 4), normal(8, 4), normal(8, 4)))
        for p, margin, swap in itertools.product((2.0, 1.0, 3.0, float("inf")), (1.0, 3.0), (False, True))
    ],
}
GRID = [
    pytest.param(name, options | {"reduction": reduction}, arrays, id=f"{name}-{number}-{reduction}")
    for name, cases in CASES.items()
    for number, (options, arrays) in enumerate(cases)
    for reduction in (*REDUCTIONS, *(["batchmean"] if name == "KLDivLoss" else []))
]


@pytest.mark.parametrize(("name", "options", "arrays"), GRID)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's, on the mean of KLDivLoss
def test_loss_and_all_gradients_equal_pytorchs(name: str, options: dict, arrays: tuple[np.ndarray, ...]) -> None:
    theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    trained = arrays
    if name in ("HingeEmbeddingLoss", "SoftMarginLoss", "MarginRankingLoss", "CosineEmbeddingLoss"):
        trained = arrays[:-1]  # targets get no gradient in PyTorch
    constants = arrays[len(trained) :]
    ours, reference = getattr(nn, name)(**options), getattr(torch.nn, name)(**theirs)
    compare(
        lambda *x: ours(*x, *map(gc.constant, constants)),
        lambda *x: reference(*x, *map(torch.tensor, constants)),
        *trained,
    )


def test_ties_have_pytorchs_gradients() -> None:
    """Where a hinge is exactly 0."""
    x, y = np.float32([1, 2, -3]), np.float32([1, -1, 1])
    compare(
        lambda a, b: nn.margin_ranking_loss(a, b, gc.constant(y)),
        lambda a, b: torch.nn.functional.margin_ranking_loss(a, b, torch.tensor(y)),
        *(x, x),
    )
    ones = np.ones(3, np.float32)
    compare(
        lambda a: nn.hinge_embedding_loss(a, gc.constant(-ones)),
        lambda a: torch.nn.functional.hinge_embedding_loss(a, torch.tensor(-ones)),
        ones,
    )


# --- losses that PyTorch lacks: written out in its operators ------------------------------------------------------


def focal(x, y, alpha: float, gamma: float, reduction: str):
    p = torch.sigmoid(x)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
    loss = loss * (1 - (p * y + (1 - p) * (1 - y))) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * y + (1 - alpha) * (1 - y))
    return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1, 2.0), (0.7, 0.0), (0.0, 3.5), (1.0, 1.0)])
def test_focal_loss(alpha: float, gamma: float, reduction: str) -> None:
    y = RNG.integers(0, 2, (6, 3)).astype(np.float32)
    y[0] = 0.3
    ours = nn.SigmoidFocalLoss(alpha, gamma, reduction)
    compare(
        lambda x: ours(x, gc.constant(y)), lambda x: focal(x, torch.tensor(y), alpha, gamma, reduction), normal(6, 3)
    )


def contrast(q, k, negatives, temperature: float, reduction: str):
    q, k = (torch.nn.functional.normalize(t, dim=-1) for t in (q, k))
    if negatives is None:
        logits, labels = q @ k.T, torch.arange(len(q))
    else:
        far = torch.nn.functional.normalize(negatives, dim=-1)
        cosines = q @ far.T if far.ndim == 2 else torch.einsum("nd,nmd->nm", q, far)
        logits, labels = torch.cat([(q * k).sum(1, keepdim=True), cosines], 1), torch.zeros(len(q), dtype=torch.int64)
    return torch.nn.functional.cross_entropy(logits / temperature, labels, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("shape", [None, (3, 4), (6, 3, 4)], ids=str)
def test_info_nce(shape: tuple[int, ...] | None, temperature: float, reduction: str) -> None:
    arrays = [normal(6, 4), normal(6, 4)]
    if shape is not None:
        arrays.append(normal(*shape))
    ours = nn.InfoNCELoss(temperature, reduction)

    def theirs(q, k, negatives=None):
        return contrast(q, k, negatives, temperature, reduction)

    compare(ours, theirs, *arrays, rtol=6e-6)


# --- CTC ----------------------------------------------------------------------------------------------------------


def compare_ctc(logits: np.ndarray, labels, steps, counts, rtol: float = 1e-5, **options: object) -> None:
    """From logits on: behind a log-softmax PyTorch's gradient is the exact one."""
    axes = ["steps", "batch", logits.shape[-1]] if logits.ndim == 3 else ["steps", logits.shape[-1]]
    x = gc.input("x", axes, logits.dtype)
    y = gc.input("y", [f"y{k}" for k in range(np.ndim(labels))], "int64")
    m, n = (gc.input(name, axes[1:-1], "int64") for name in ("m", "n"))
    output = nn.CTCLoss(**options)(gc.functional.log_softmax(x, -1), y, m, n)
    assert output.ndim == (len(axes) - 2 if options.get("reduction") == "none" else 0)
    feeds = {"x": logits, "y": labels, "m": steps, "n": counts}
    found = gc.evaluate([output, gc.grad(gc.sum(output), x)], {k: np.asarray(v) for k, v in feeds.items()})
    variable = torch.tensor(logits, requires_grad=True)
    lengths = [torch.tensor(np.asarray(v)) for v in (labels, steps, counts)]
    result = torch.nn.CTCLoss(**options)(torch.log_softmax(variable, -1), *lengths)
    result.sum().backward()
    for a, b in zip(found, (result.detach(), variable.grad), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=rtol, atol=rtol)


def ctc_data(steps: int = 9, batch: int = 5, classes: int = 4, longest: int = 4, dtype: str = "float32"):
    logits = (2 * RNG.normal(size=(steps, batch, classes))).astype(dtype)
    counts = RNG.integers(1, longest + 1, batch)
    return logits, RNG.integers(1, classes, (batch, longest)), RNG.integers(2 * longest, steps + 1, batch), counts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc_and_its_gradient(reduction: str, dtype: str) -> None:
    logits, labels, steps, counts = ctc_data(dtype=dtype)
    counts[0] = 0
    rtol = 1e-5 if dtype == "float32" else 1e-12
    compare_ctc(logits, labels, steps, counts, rtol, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc_of_targets_one_after_the_other(reduction: str) -> None:
    logits, labels, steps, counts = ctc_data()
    counts[1] = 0
    flat = np.concatenate([row[:n] for row, n in zip(labels, counts, strict=True)])
    compare_ctc(logits, flat, steps, counts, reduction=reduction)


def test_ctc_with_another_blank() -> None:
    logits, labels, steps, counts = ctc_data()
    compare_ctc(logits, labels % 3, steps, counts, blank=3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc_of_one_sequence(reduction: str) -> None:
    logits, labels, steps, counts = ctc_data()
    compare_ctc(logits[:, 0], labels[0, : counts[0]], steps[0], counts[0], reduction=reduction)


def test_ctc_of_repeated_labels_needs_blanks_between() -> None:
    logits = 2 * normal(5, 2, 3)
    compare_ctc(logits, [[1, 1, 1], [1, 2, 1]], [5, 3], [3, 3], reduction="none")


def test_ctc_without_an_alignment_is_infinite_or_zero() -> None:
    logits, labels, steps, counts = ctc_data()
    steps[2], counts[2] = 2, 4
    compare_ctc(logits, labels, steps, counts, zero_infinity=True)
    x, y = gc.constant(logits), gc.constant(labels)
    theirs = torch.nn.functional.ctc_loss(*map(torch.tensor, (logits, labels, steps, counts)), reduction="none")
    np.testing.assert_allclose(gc.evaluate(nn.ctc_loss(x, y, steps, counts, reduction="none")), theirs, rtol=1e-5)


def test_ctc_of_one_step() -> None:
    compare_ctc(normal(1, 2, 3), [[2], [1]], [1, 1], [1, 0], reduction="none")


def test_ctc_of_long_sequences() -> None:
    logits = 3 * RNG.normal(size=(300, 2, 6))
    compare_ctc(logits, RNG.integers(1, 6, (2, 60)), [300, 233], [60, 41], rtol=1e-10, reduction="sum")


@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_ctc_of_any_sizes(data) -> None:
    steps, batch, longest = (data.draw(st.integers(low, high)) for low, high in ((1, 7), (1, 4), (0, 4)))
    classes = data.draw(st.integers(2, 4))
    blank = data.draw(st.integers(0, classes - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    labels = rng.choice([c for c in range(classes) if c != blank], (batch, longest))
    lengths, counts = rng.integers(1, steps + 1, batch), rng.integers(0, longest + 1, batch)
    options = {"blank": blank, "reduction": data.draw(st.sampled_from(REDUCTIONS)), "zero_infinity": True}
    compare_ctc(rng.normal(size=(steps, batch, classes)), labels, lengths, counts, 1e-11, **options)
