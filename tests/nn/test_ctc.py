"""CTC against its definition: the sum over all alignments, written out."""

import itertools
import re

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc import nn

BLANK = 0


def collapsed(path: tuple[int, ...], blank: int) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != blank]


def by_alignments(log_probs: np.ndarray, target: list[int], blank: int = BLANK) -> float:
    """-log of the summed probability of all paths (steps, classes) that collapse to `target`."""
    steps, classes = log_probs.shape
    total = sum(
        np.exp(sum(log_probs[t, label] for t, label in enumerate(path)))
        for path in itertools.product(range(classes), repeat=steps)
        if collapsed(path, blank) == target
    )
    return -np.log(total) if total else np.inf


def log_probabilities(*shape: int) -> np.ndarray:
    return np.log(np.random.default_rng(7).dirichlet(np.ones(shape[-1]), shape[:-1]))


TARGETS = [[1, 2], [1, 1], [2], [], [2, 1, 2], [1, 1, 1]]
STEPS = [5, 5, 4, 3, 5, 4]


def inputs(dtype: str = "float64") -> list[gc.Tensor]:
    return [
        gc.input("x", ("steps", "batch", 3), dtype),
        gc.input("y", ("batch", "longest"), "int64"),
        gc.input("m", ("batch",), "int32"),
        gc.input("n", ("batch",), "int64"),
    ]


def feeds(dtype: str = "float64", filler: int = 0) -> dict[str, np.ndarray]:
    return {
        "x": log_probabilities(5, len(TARGETS), 3).astype(dtype),
        "y": np.array([row + [filler] * (3 - len(row)) for row in TARGETS]),
        "m": np.array(STEPS, np.int32),
        "n": np.array([len(row) for row in TARGETS]),
    }


def expected() -> np.ndarray:
    x = log_probabilities(5, len(TARGETS), 3)
    return np.array([by_alignments(x[:m, k], row) for k, (m, row) in enumerate(zip(STEPS, TARGETS, strict=True))])


@pytest.mark.parametrize("filler", [0, -1, 99])
@pytest.mark.parametrize("runtime", ["reference", "onnxruntime"])
def test_ctc_is_the_sum_over_all_alignments(runtime: str, filler: int) -> None:
    loss = nn.ctc_loss(*inputs(), reduction="none")
    found = gc.evaluate(loss, feeds(filler=filler), runtime=runtime)
    np.testing.assert_allclose(found, expected(), rtol=1e-12)
    assert np.isinf(found[-1])  # three equal labels need five steps


def test_ctc_in_single_precision() -> None:
    found = gc.evaluate(nn.ctc_loss(*inputs("float32"), reduction="none"), feeds("float32"))
    np.testing.assert_allclose(found, expected(), rtol=1e-6)


def test_the_mean_is_over_losses_divided_by_their_target_lengths() -> None:
    loss = nn.ctc_loss(*inputs(), zero_infinity=True)
    lengths = np.maximum([len(row) for row in TARGETS], 1)
    finite = np.where(np.isinf(expected()), 0, expected())
    np.testing.assert_allclose(gc.evaluate(loss, feeds()), (finite / lengths).mean(), rtol=1e-12)


def test_ctc_takes_targets_one_after_the_other() -> None:
    x, _, m, n = inputs()
    y = gc.input("y", ("total",), "int64")
    given = feeds() | {"y": np.concatenate(TARGETS).astype(np.int64)}
    np.testing.assert_allclose(gc.evaluate(nn.ctc_loss(x, y, m, n, reduction="none"), given), expected(), rtol=1e-12)


def test_ctc_of_no_targets_at_all_is_the_probability_of_blanks() -> None:
    x = log_probabilities(4, 2, 3)
    loss = nn.ctc_loss(
        gc.input("x", (4, 2, 3), "float64"), np.zeros((2, 0), np.int64), [4, 3], [0, 0], reduction="none"
    )
    np.testing.assert_allclose(gc.evaluate(loss, {"x": x}), [-x[:, 0, 0].sum(), -x[:3, 1, 0].sum()], rtol=1e-12)


def test_gradients_equal_finite_differences() -> None:
    given = inputs()
    loss = nn.ctc_loss(*given, reduction="none")[:-1]  # the last is infinite
    gc.testing.check_grads(loss, given[:1], feeds=feeds())


def test_an_infinite_loss_has_a_zero_gradient() -> None:
    given = inputs()
    gradient = gc.grad(nn.ctc_loss(*given, reduction="sum"), given[0])
    found = gc.evaluate(gradient, feeds())
    assert np.isfinite(found).all()
    assert not found[:, -1].any()
    assert not found[4, 2].any()  # the third sequence has four steps


def test_log_probabilities_may_be_minus_infinity() -> None:
    x = gc.input("x", (3, 1, 3), "float64")
    values = np.log([[0.5, 0.5, 1e-300], [0.5, 1e-300, 0.5], [1.0, 1e-300, 1e-300]]).reshape(3, 1, 3)
    values[values < -100] = -np.inf
    loss = nn.ctc_loss(x, [[1, 2]], [3], [2])
    value, gradient = gc.evaluate([loss, gc.grad(loss, x)], {"x": values})
    np.testing.assert_allclose(value, np.log(4) / 2, rtol=1e-12)
    np.testing.assert_allclose(gradient.reshape(3, 3), [[0, -0.5, 0], [0, 0, -0.5], [-0.5, 0, 0]], atol=1e-12)


def test_training_on_unaligned_labels_learns_them() -> None:
    frames = gc.input("frames", ("batch", 8, 4))
    targets = gc.input("targets", ("batch", 2), "int64")
    steps, counts = gc.full_like(targets[:, 0], 8), gc.full_like(targets[:, 0], 2)
    log_probs = nn.functional.log_softmax(nn.Linear(4)(frames))
    loss = nn.ctc_loss(gc.swapaxes(log_probs, 0, 1), targets, steps, counts)
    rng = np.random.default_rng(0)
    labels = np.array([rng.permutation([1, 2, 3])[:2] for _ in range(64)])
    shown = np.concatenate([np.repeat(labels, 2, 1), np.zeros((64, 4), int)], 1)
    data = {"frames": np.eye(4, dtype="f")[shown], "targets": labels}
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.1))
    trainer.fit(data, batch_size=32, epochs=30)
    assert trainer.evaluate(data)["loss"] < 0.1


def test_ctc_and_its_gradient_are_exported(tmp_path) -> None:
    given = inputs("float32")
    loss = nn.ctc_loss(*given)
    outputs = {"loss": loss, "gradient": gc.grad(loss, given[0])}
    gc.export(outputs, tmp_path / "ctc.onnx")  # which verifies it
    data = feeds("float32")
    data["n"] = np.minimum(data["n"], 2)
    session = onnxruntime.InferenceSession(tmp_path / "ctc.onnx")
    found = session.run(None, data)
    for array, expected in zip(found, gc.evaluate(list(outputs.values()), data), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)


# --- errors -------------------------------------------------------------------------------------------------------

X, Y, M, L = inputs("float32")
ERRORS = {
    "blank": (lambda: nn.ctc_loss(X, Y, M, L, blank=3), "ctc_loss: blank is 3; expected one of the 3 classes"),
    "rank": (
        lambda: nn.ctc_loss(gc.input("x", (3,)), Y, M, L),
        "ctc_loss: log_probs have shape (3,); expected (steps, batch, classes) or (steps, classes)",
    ),
    "half": (
        lambda: nn.ctc_loss(X.cast("float16"), Y, M, L),
        "ctc_loss: log_probs are float16[steps, batch, 3]; expected float32 or float64. Cast them.",
    ),
    "targets": (
        lambda: nn.ctc_loss(X, Y.cast("float32"), M, L),
        "ctc_loss: targets are float32[batch, longest]; expected integers",
    ),
    "lengths": (
        lambda: nn.ctc_loss(X, Y, M, gc.input("n", ("batch", 1), "int64")),
        "ctc_loss: target_lengths have shape (batch, 1) for log_probs of shape (steps, batch, 3); expected (batch)",
    ),
    "batches": (
        lambda: nn.ctc_loss(gc.input("x", (9, 4, 3)), gc.input("y", (5, 2), "int64"), M, L),
        "ctc_loss: targets have shape (5, 2) for log_probs of shape (9, 4, 3); expected (4, targets)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_arguments_that_do_not_fit_are_errors(name: str) -> None:
    make, message = ERRORS[name]
    with pytest.raises(gc.GraphcError) as error:
        make()
    assert re.sub(r" \[test_ctc\.py:\d+\]", "", str(error.value)) == message
