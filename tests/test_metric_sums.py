"""Metrics that are no means over rows: exact over batches of unequal size, as scikit-learn defines them."""

import numpy as np
import pytest
import sklearn.metrics as expected

import graphc as gc
from graphc import nn
from graphc.metrics import Metric
from runtimes.totals import Totals, outputs_of, report

RNG = np.random.default_rng(3)
SCORES = RNG.standard_normal((101, 4)).astype(np.float32)
LABELS = np.where(RNG.random(101) < 0.5, SCORES.argmax(1), RNG.integers(0, 3, 101))
P = RNG.random(101).astype(np.float32)
Y = (RNG.random(101) < P).astype(np.float32)


def over_batches(metric, first: np.ndarray, second: np.ndarray, size: int, **options: object):
    """The metric over batches of `size` rows, the last one smaller."""
    tensors = [gc.input(n, ("batch", *a.shape[1:]), a.dtype) for n, a in (("p", first), ("y", second))]
    made = {"it": metric(*tensors, **options)}
    compute = gc.compile(outputs_of(made))
    totals = Totals(made)
    for start in range(0, len(first), size):
        p, y = first[start : start + size], second[start : start + size]
        totals.add(compute({"p": p, "y": y}), len(p))
    return totals.result()["it"]


@pytest.mark.parametrize("size", [7, 64, 101])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_scores_of_classes_are_those_of_scikit_learn(name: str, average: str, size: int) -> None:
    found = over_batches(getattr(gc.metrics, name), SCORES, LABELS, size, average=average)
    score = getattr(expected, f"{name}_score")
    assert found == pytest.approx(score(LABELS, SCORES.argmax(1), average=average, zero_division=0), rel=1e-12)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_binary_scores_count_what_is_above_the_threshold(name: str) -> None:
    found = over_batches(getattr(gc.metrics, name), P, Y, 10, threshold=0.4)
    assert found == pytest.approx(getattr(expected, f"{name}_score")(Y, P > 0.4), rel=1e-12)


def test_a_class_that_never_occurs_does_not_count_in_the_mean() -> None:
    scores = np.eye(4, dtype=np.float32)[[0, 1, 0]]
    assert over_batches(gc.metrics.f1, scores, np.array([0, 1, 0]), 2) == 1.0


def test_nothing_positive_gives_zero_not_nan() -> None:
    zeros = np.zeros(3, np.float32)
    for metric in (gc.metrics.precision, gc.metrics.recall, gc.metrics.f1):
        assert over_batches(metric, zeros, zeros, 2) == 0.0


def test_confusion_matrix_counts_labels_by_row() -> None:
    found = over_batches(gc.metrics.confusion_matrix, SCORES, LABELS, 13)
    np.testing.assert_array_equal(found, expected.confusion_matrix(LABELS, SCORES.argmax(1), labels=range(4)))


@pytest.mark.parametrize("size", [10, 101])
def test_regression_metrics_are_over_the_whole_data_set(size: int) -> None:
    y = (1000.0 + 3 * SCORES[:, 0]).astype(np.float32)
    p = y + 0.3 * SCORES[:, 1]
    assert over_batches(gc.metrics.r2, p, y, size) == pytest.approx(expected.r2_score(y, p), rel=1e-7)
    root = expected.root_mean_squared_error(y, p)
    assert over_batches(gc.metrics.root_mean_squared_error, p, y, size) == pytest.approx(root, rel=1e-6)


def test_r2_of_a_constant_is_one_where_it_is_met_and_else_zero() -> None:
    y = np.full(5, 0.1, np.float32)
    assert over_batches(gc.metrics.r2, y, y, 2) == 1.0
    assert over_batches(gc.metrics.r2, y + 1, y, 2) == 0.0


def test_a_trainer_reports_metrics_of_both_kinds() -> None:
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch",), "int64")
    logits = nn.Linear(4)(x)
    seen = []

    class Watch(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            seen.append(logs["f1"])

    metrics = {"f1": gc.metrics.f1(logits, y), "counts": gc.metrics.confusion_matrix(logits, y)}
    metrics["accuracy"] = gc.metrics.accuracy(logits, y)
    trainer = gc.Trainer(nn.cross_entropy(logits, y), optimizer=gc.optim.SGD(0.5), metrics=metrics)
    data = {"x": SCORES, "y": LABELS}
    history = trainer.fit(data, batch_size=16, epochs=3, validation=data, callbacks=[Watch()], verbose=True)
    assert set(history) == {f"{v}{n}" for v in ("", "val_") for n in ("loss", *metrics)} | {"seconds"}
    found = trainer.evaluate(data, batch_size=16)
    assert found["f1"] == history["val_f1"][-1]
    assert found["counts"].sum() == 101
    assert found["accuracy"] == pytest.approx(np.trace(found["counts"]) / 101, rel=1e-6)
    predicted = trainer.predict(logits, {"x": SCORES}).argmax(1)
    assert found["f1"] == pytest.approx(expected.f1_score(LABELS, predicted, average="macro"), rel=1e-12)
    assert len(seen) == 21
    assert set(trainer.train_step(data)) == {"loss", *metrics}


def test_a_batch_reports_its_own_numbers() -> None:
    x = gc.input("x", ("batch",))
    metrics = {"sum": Metric({"x": gc.sum(x)}, lambda s: float(s["x"])), "mean": gc.mean(x)}
    found = report(metrics, gc.evaluate(outputs_of(metrics), {"x": np.array([1.0, 2.0, 6.0], np.float32)}))
    assert found == {"sum": 9.0, "mean": 3.0}


def test_sums_must_be_static() -> None:
    x = gc.input("x", ("batch",))
    with pytest.raises(
        gc.GraphError, match=r"found the sums 'rows', float32\[batch\]; expected tensors of static shape"
    ):
        Metric({"rows": x, "total": gc.sum(x)}, lambda s: 0.0)
    with pytest.raises(gc.GraphError, match="found no sums"):
        Metric({}, lambda s: 0.0)


def test_bad_metrics_are_named() -> None:
    scores, y = gc.input("p", ("batch", "classes")), gc.input("y", ("batch",), "int64")
    with pytest.raises(gc.ShapeError, match="precision: there are classes classes; expected a static number"):
        gc.metrics.precision(scores, y)
    with pytest.raises(gc.OperatorError, match="f1: average='mean'; expected 'macro', 'micro' or 'weighted'"):
        gc.metrics.f1(gc.input("q", ("batch", 3)), y, average="mean")
    with pytest.raises(gc.GraphError, match=r"the metric 'it' is 3\.0; expected a tensor or a gc\.metrics\.Metric"):
        outputs_of({"it": 3.0})
