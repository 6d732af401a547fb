"""Losses against their definitions in NumPy float64, at logits up to ten thousand; and what they say of bad targets."""

import re

import numpy as np
import pytest

import graphc as gc
from graphc import nn

REDUCTIONS = ["mean", "sum", "none"]
TOLERANCES = {"float32": 4e-7, "float64": 2e-15}  # relative to the largest loss


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def reduced(values: np.ndarray, reduction: str) -> np.ndarray:
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](values)


def check(loss: gc.Tensor, expected: np.ndarray, feeds: dict[str, np.ndarray], runtime: str = "onnxruntime") -> None:
    found = gc.evaluate(loss, feeds, runtime=runtime)
    assert found.dtype == loss.dtype.numpy
    assert np.isfinite(found).all()
    scale = max(float(np.abs(expected).max()), 1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * TOLERANCES[str(loss.dtype)])


# --- regression ---------------------------------------------------------------------------------------------------


def huber(d: np.ndarray, delta: float) -> np.ndarray:
    return np.where(np.abs(d) <= delta, 0.5 * d**2, delta * (np.abs(d) - 0.5 * delta))


ELEMENTWISE = {
    "mse": (nn.mse_loss, np.square),
    "l1": (nn.l1_loss, np.abs),
    "huber": (nn.huber_loss, lambda d: huber(d, 1.0)),
    "huber-2.5": (lambda p, y, reduction: nn.huber_loss(p, y, reduction, delta=2.5), lambda d: huber(d, 2.5)),
    "smooth-l1": (nn.smooth_l1_loss, lambda d: huber(d, 1.0)),
    "smooth-l1-0.1": (
        lambda p, y, reduction: nn.smooth_l1_loss(p, y, reduction, beta=0.1),
        lambda d: huber(d, 0.1) / 0.1,
    ),
    "smooth-l1-0": (lambda p, y, reduction: nn.smooth_l1_loss(p, y, reduction, beta=0), np.abs),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_regression_losses_equal_their_definitions(rng, name: str, reduction: str, dtype: str) -> None:
    function, definition = ELEMENTWISE[name]
    p, y = (3 * rng.normal(size=(6, 4)).astype(dtype) for _ in range(2))
    p[0] = y[0]
    p[1, 0], y[1, 0] = 1e4, -1e4
    loss = function(gc.input("p", ("n", 4), dtype), gc.input("y", ("n", 4), dtype), reduction)
    expected = reduced(definition(p.astype(float) - y.astype(float)), reduction)
    check(loss, expected, {"p": p, "y": y})


def test_huber_does_not_overflow_where_the_square_would() -> None:
    loss = nn.huber_loss(gc.input("p", (1,)), gc.input("y", (1,)))
    assert gc.evaluate(loss, {"p": np.array([1e30], "f"), "y": np.zeros(1, "f")}) == np.float32(1e30)


# --- binary cross-entropy -----------------------------------------------------------------------------------------

LOGITS = np.array([-1e4, -104.0, -88.0, -20.0, -1.5, -1e-6, 0.0, 1e-6, 0.5, 17.0, 90.0, 1e4])


@pytest.mark.parametrize("pos_weight", [None, 3.0, [0.5, 2.0]], ids=["unweighted", "scalar", "per-column"])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_with_logits_equals_its_definition(reduction: str, dtype: str, pos_weight) -> None:
    x = np.stack([LOGITS, LOGITS[::-1]], 1).astype(dtype)
    y = np.stack([np.linspace(0, 1, 12).round(1), np.arange(12) % 2], 1).astype(dtype)
    xx, yy = x.astype(float), y.astype(float)
    positive, negative = np.logaddexp(0, -xx), np.logaddexp(0, xx)
    expected = (1.0 if pos_weight is None else np.asarray(pos_weight)) * yy * positive + (1 - yy) * negative
    loss = nn.binary_cross_entropy_with_logits(
        gc.input("x", ("n", 2), dtype), gc.input("y", ("n", 2), dtype), reduction=reduction, pos_weight=pos_weight
    )
    runtime = "reference" if dtype == "float64" else "onnxruntime"  # whose Softplus is float32 only
    check(loss, reduced(expected, reduction), {"x": x, "y": y}, runtime)


def test_the_gradient_of_bce_with_logits_is_sigmoid_minus_target() -> None:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    gradient = gc.simplify(gc.graph(gc.grad(nn.binary_cross_entropy_with_logits(x, y, reduction="sum"), x)))
    assert gradient.structurally_equal(gc.graph(gc.sigmoid(x) - y))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_of_probabilities_clamps_logarithms_at_minus_100(reduction: str, dtype: str) -> None:
    p = np.array([0.0, 1e-30, 1e-6, 0.25, 0.5, 1.0, 0.0, 1.0, 0.999], dtype)
    y = np.array([0.0, 1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 1.0], dtype)
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(p.astype(float)), -100), np.maximum(np.log(1 - p.astype(float)), -100)
    yy = y.astype(float)
    loss = nn.binary_cross_entropy(gc.input("p", ("n",), dtype), gc.input("y", ("n",), dtype), reduction=reduction)
    check(loss, reduced(-(yy * log_p + (1 - yy) * log_q), reduction), {"p": p, "y": y})


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_gradient_of_bce_is_finite_at_zero_and_one(dtype: str) -> None:
    p, y = gc.input("p", ("n",), dtype), gc.input("y", ("n",), dtype)
    values = np.array([0.0, 1.0, 0.0, 1.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny, 0.25], dtype)
    targets = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0], dtype)
    found = gc.evaluate(gc.grad(nn.binary_cross_entropy(p, y, reduction="sum"), p), {"p": values, "y": targets})
    assert np.isfinite(found).all()
    assert found[-1] == -4


# --- cross-entropy ------------------------------------------------------------------------------------------------


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def hard(log_p, labels, weight=None, ignore_index=-100, reduction="mean", smoothing=0.0):
    """One position after another, as the definition reads."""
    classes = log_p.shape[1]
    weight = np.ones(classes) if weight is None else np.asarray(weight, float)
    losses, counts = np.zeros(labels.shape), np.zeros(labels.shape)
    for position in np.ndindex(*labels.shape):
        label = labels[position]
        if label == ignore_index:
            continue
        scores = log_p[(position[0], slice(None), *position[1:])]
        target = np.full(classes, smoothing / classes)
        target[label] += 1 - smoothing
        losses[position] = -(target * weight * scores).sum()
        counts[position] = weight[label]
    return losses.sum() / counts.sum() if reduction == "mean" else reduced(losses, reduction)


def soft_loss(log_p, target, weight=None, reduction="mean", smoothing=0.0):
    classes = log_p.shape[1]
    weight = np.ones(classes) if weight is None else np.asarray(weight, float)
    target = target * (1 - smoothing) + smoothing / classes
    along = weight.reshape(1, -1, *[1] * (log_p.ndim - 2))
    return reduced(-(along * target * log_p).sum(1), reduction)


def scores(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    x = 4 * rng.normal(size=shape)
    x[0] *= 1000
    x.flat[:2] = 1e4, -1e4
    return x.astype(dtype)


SHAPES = {"matrix": (7, 5), "sequence": (3, 5, 4), "image": (2, 5, 3, 2)}
WEIGHT = [0.5, 2.0, 0.0, 1.0, 3.0]


def symbolic(shape: tuple[int, ...], dtype: str, name: str) -> gc.Tensor:
    return gc.input(name, ("batch", *shape[1:]), dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignore_index", [-100, 1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_cross_entropy_of_class_indices(rng, shape, reduction, weight, ignore_index, smoothing) -> None:
    x = scores(rng, shape)
    labels = rng.integers(0, 5, (shape[0], *shape[2:])).astype("int64" if smoothing else "int32")
    labels.flat[0], labels.flat[1] = ignore_index, 0
    loss = nn.cross_entropy(
        symbolic(shape, "float32", "x"),
        symbolic(labels.shape, labels.dtype.name, "y"),
        weight,
        ignore_index,
        reduction,
        smoothing,
    )
    expected = hard(log_softmax(x.astype(float)), labels, weight, ignore_index, reduction, smoothing)
    check(loss, expected, {"x": x, "y": labels})


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_cross_entropy_of_class_probabilities(rng, shape, reduction, weight, smoothing) -> None:
    x, y = scores(rng, shape), rng.random(shape).astype("float32")
    y /= y.sum(1, keepdims=True)
    loss = nn.cross_entropy(
        symbolic(shape, "float32", "x"),
        symbolic(shape, "float32", "y"),
        weight,
        reduction=reduction,
        label_smoothing=smoothing,
        soft=True,
    )
    check(
        loss, soft_loss(log_softmax(x.astype(float)), y.astype(float), weight, reduction, smoothing), {"x": x, "y": y}
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_nll_of_log_probabilities(rng, shape, reduction) -> None:
    log_p = log_softmax(scores(rng, shape).astype(float)).astype("float32")
    labels = rng.integers(0, 5, (shape[0], *shape[2:]))
    labels.flat[0] = -100
    loss = nn.nll_loss(
        symbolic(shape, "float32", "x"), symbolic(labels.shape, "int64", "y"), WEIGHT, reduction=reduction
    )
    check(loss, hard(log_p.astype(float), labels, WEIGHT, reduction=reduction), {"x": log_p, "y": labels})


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_in_double_precision(rng, soft: bool) -> None:
    x = scores(rng, (7, 5), "float64")
    labels = rng.integers(0, 5, 7)
    y = np.eye(5)[labels] if soft else labels
    loss = nn.cross_entropy(symbolic((7, 5), "float64", "x"), symbolic(y.shape, y.dtype.name, "y"), soft=soft)
    check(loss, hard(log_softmax(x), labels), {"x": x, "y": y})


def test_class_indices_take_one_node() -> None:
    x, y = gc.input("x", ("batch", 10)), gc.input("y", ("batch",), "int64")
    graph = gc.graph(nn.cross_entropy(x, y))
    assert graph.operators() == {"SoftmaxCrossEntropyLoss": 1}
    (node,) = graph.find("SoftmaxCrossEntropyLoss")
    assert dict(node.attrs) == {"ignore_index": -100, "reduction": "mean"}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_mean_over_nothing_but_ignored_labels_is_nan(rng, weight, smoothing: float) -> None:
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), "int64")
    feeds = {"x": scores(rng, (3, 5)), "y": np.full(3, -100)}
    mean, total = (nn.cross_entropy(x, y, weight, reduction=r, label_smoothing=smoothing) for r in ("mean", "sum"))
    assert np.isnan(gc.evaluate(mean, feeds))
    assert gc.evaluate(total, feeds) == 0


# --- errors -------------------------------------------------------------------------------------------------------


def message(kind: type[Exception], make) -> str:
    with pytest.raises(kind) as error:
        make()
    text, places = re.subn(r" \[test_losses\.py:\d+\]", "", str(error.value))
    assert places == 1
    return text


X = gc.input("x", ("batch", 10))


def labels(*shape: object, dtype: str = "int64") -> gc.Tensor:
    return gc.input("y", shape, dtype)


@pytest.mark.parametrize(
    ("kind", "y", "found", "hint"),
    [
        (
            gc.ShapeError,
            labels("batch", 10, dtype="float32"),
            "(batch, 10) float32",
            " For one-hot labels pass soft=True.",
        ),
        (
            gc.ShapeError,
            labels("batch", 10),
            "(batch, 10) int64",
            " For one-hot labels pass soft=True, converted with .cast('float32').",
        ),
        (gc.DTypeError, labels("batch", dtype="float32"), "(batch,) float32", " Convert them with .cast('int64')."),
        (gc.DTypeError, labels("batch", dtype="uint8"), "(batch,) uint8", " Convert them with .cast('int64')."),
        (gc.ShapeError, labels("batch", 1), "(batch, 1) int64", ""),
    ],
)
def test_labels_that_do_not_fit_say_what_was_expected(
    kind: type[Exception], y: gc.Tensor, found: str, hint: str
) -> None:
    text = message(kind, lambda: nn.cross_entropy(X, y))
    assert text == f"cross_entropy: labels have shape {found}; expected integer class indices of shape (batch,).{hint}"


def test_labels_of_another_static_batch_are_an_error() -> None:
    x = gc.input("x", (8, 10))
    assert message(gc.ShapeError, lambda: nn.nll_loss(x, labels(7))) == (
        "nll_loss: labels have shape (7,) int64; expected integer class indices of shape (8,)."
    )


@pytest.mark.parametrize(
    "y", [labels("batch", 10), labels("batch", 9, dtype="float32"), labels("batch", dtype="float32")]
)
def test_soft_labels_have_the_type_of_the_logits(y: gc.Tensor) -> None:
    text = message((gc.ShapeError, gc.DTypeError), lambda: nn.cross_entropy(X, y, soft=True))
    assert text.endswith("expected class probabilities float32 of shape (batch, 10).")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: nn.cross_entropy(X, labels("batch"), reduction="avg"),
            "the reduction is 'avg'; expected 'mean', 'sum'",
        ),
        (
            lambda: nn.mse_loss(X, X, reduction="avg"),
            "mse_loss: the reduction is 'avg'; expected 'mean', 'sum' or 'none'",
        ),
        (lambda: nn.cross_entropy(X, labels("batch"), label_smoothing=1.5), "label_smoothing is 1.5; expected 0 to 1"),
        (lambda: nn.cross_entropy(X, X, soft=True, ignore_index=3), "found ignore_index=3 with soft labels"),
        (lambda: nn.huber_loss(X, X, delta=0), "huber_loss: delta is 0; expected a positive number"),
        (
            lambda: nn.smooth_l1_loss(X, X, beta=-1),
            "smooth_l1_loss: beta is -1; expected a number that is not negative",
        ),
    ],
)
def test_options_out_of_range_are_errors(make, expected: str) -> None:
    assert expected in message(gc.OperatorError, make)


def test_scores_need_a_class_axis() -> None:
    text = message(gc.ShapeError, lambda: nn.cross_entropy(gc.input("x", (10,)), labels()))
    assert text.startswith("cross_entropy: scores have shape (10,) float32; expected floating-point scores of shape ")


@pytest.mark.parametrize("weight", [np.ones(9), gc.input("w", (10,), "float64"), np.ones((1, 10)), 2.0])
def test_class_weights_have_one_element_for_each_class(weight: object) -> None:
    text = message(gc.ShapeError, lambda: nn.cross_entropy(X, labels("batch"), weight))
    assert text.startswith("cross_entropy: class weights have shape ")
    assert text.endswith("; expected float32 of shape (10,)")


def test_smoothing_needs_a_number_of_classes() -> None:
    x = gc.input("x", ("batch", "classes"))
    text = message(gc.ShapeError, lambda: nn.cross_entropy(x, labels("batch"), label_smoothing=0.1))
    assert text == "cross_entropy: the logits are float32[batch, classes]; label smoothing needs a number of classes"


@pytest.mark.parametrize(
    "function",
    [
        nn.mse_loss,
        nn.l1_loss,
        nn.huber_loss,
        nn.smooth_l1_loss,
        nn.binary_cross_entropy,
        nn.binary_cross_entropy_with_logits,
    ],
)
def test_predictions_and_targets_do_not_broadcast(function) -> None:
    p = gc.input("p", ("batch", 1))
    assert message(gc.ShapeError, lambda: function(p, gc.input("y", ("batch",)))) == (
        f"{function.__name__}: predictions have shape (batch, 1), targets (batch,); expected equal shapes. "
        "Add or remove axes with .unsqueeze or .squeeze."
    )
    with pytest.raises(gc.ShapeError):
        function(p, gc.input("y", ("batch", "d")))
    assert message(gc.DTypeError, lambda: function(p, gc.input("y", ("batch", 1), "int64"))) == (
        f"{function.__name__}: found predictions float32[batch, 1] and targets int64[batch, 1]; expected one "
        "floating-point dtype. Convert with .cast('float32')."
    )


def test_an_unknown_size_may_fit() -> None:
    assert nn.mse_loss(gc.input("p", ("batch", 1)), gc.input("y", (None, None))).shape == ()


def test_pos_weight_does_not_widen_the_loss() -> None:
    weight = np.ones((3, 1, 10), "f")
    text = message(gc.ShapeError, lambda: nn.binary_cross_entropy_with_logits(X, X, pos_weight=weight))
    assert text.startswith("binary_cross_entropy_with_logits: pos_weight does not broadcast to float32[batch, 10].")
