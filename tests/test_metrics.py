"""Metrics against counting in NumPy."""

import numpy as np
import pytest

import graphc as gc
from graphc import metrics

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], np.float32)
LABELS = np.array([1, 2, 2, 1])


def value(metric, first: np.ndarray, second: np.ndarray, *args: object) -> float:
    """The metric over a batch of any size, as the float32 scalar that it must be."""
    tensors = [gc.input(n, ("batch", *a.shape[1:]), a.dtype) for n, a in (("p", first), ("y", second))]
    output = metric(*tensors, *args)
    assert output.type == gc.TensorType(gc.float32, ())
    return float(gc.evaluate(output, {"p": first, "y": second}))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_accuracy_counts_the_first_of_the_largest_scores(dtype: str) -> None:
    assert value(metrics.accuracy, SCORES, LABELS.astype(dtype)) == 0.5


def test_accuracy_of_positions_averages_over_all_of_them() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    labels = np.random.default_rng(1).integers(0, 4, (5, 3))
    expected = (scores.argmax(1) == labels).mean()
    assert value(metrics.accuracy, scores, labels) == pytest.approx(expected, rel=1e-7)
    assert value(metrics.top_k_accuracy, scores, labels, 1) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.5), (2, 0.75), (3, 1.0)])
def test_top_k_accuracy_counts_labels_among_the_k_largest(k: int, expected: float) -> None:
    assert value(metrics.top_k_accuracy, SCORES, LABELS, k) == expected


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_binary_accuracy_compares_with_the_threshold(dtype: str) -> None:
    p, y = np.array([0.1, 0.5, 0.6, 0.9], np.float32), np.array([0, 0, 1, 0]).astype(dtype)
    assert value(metrics.binary_accuracy, p, y) == 0.75
    assert value(metrics.binary_accuracy, p, y, 0.0) == 0.25
    assert value(metrics.binary_accuracy, p, y, 0.95) == 0.75


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_are_means_over_all_elements(dtype: str) -> None:
    p, y = np.array([[1.0, 2.0], [3.0, -4.0]], dtype), np.array([[1, 0], [0, 0]])
    assert value(metrics.mean_absolute_error, p, y) == 2.25
    assert value(metrics.mean_squared_error, p, y) == 7.25


def test_one_hot_labels_are_told_what_to_do() -> None:
    x = gc.input("x", ("batch", 3))
    with pytest.raises(gc.ShapeError) as error:
        metrics.accuracy(x, gc.input("y", ("batch", 3)))
    text = str(error.value)
    assert text.startswith(
        "accuracy: labels have shape (batch, 3) float32; expected integer class indices of shape (batch,) ["
    )
    assert text.endswith("For one-hot labels pass gc.argmax(y, 1).")


@pytest.mark.parametrize("k", [0, 4])
def test_k_is_at_most_the_number_of_classes(k: int) -> None:
    with pytest.raises(gc.ShapeError, match=f"top_k_accuracy: k is {k}; expected 1 to 3, the number of classes"):
        metrics.top_k_accuracy(gc.input("x", ("batch", 3)), gc.input("y", ("batch",), "int64"), k)


@pytest.mark.parametrize("metric", [metrics.binary_accuracy, metrics.mean_absolute_error, metrics.mean_squared_error])
def test_predictions_and_targets_do_not_broadcast(metric) -> None:
    with pytest.raises(
        gc.ShapeError, match=rf"{metric.__name__}: predictions have shape \(batch, 1\), targets \(batch,\)"
    ):
        metric(gc.input("p", ("batch", 1)), gc.input("y", ("batch",)))


def test_scores_need_a_class_axis() -> None:
    with pytest.raises(
        gc.ShapeError, match=r"accuracy: scores have shape \(batch,\); expected \(batch, classes, ...\)"
    ):
        metrics.accuracy(gc.input("x", ("batch",)), gc.input("y", ("batch",), "int64"))
