"""Labels and positions out of range are reported before anything runs."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from runtimes.index_ranges import IndexRange, index_ranges

X = np.zeros((4, 3), "float32")


def classifier(**options: object) -> gc.Tensor:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",), "int64")
    return nn.cross_entropy(nn.Linear(5)(x), y, **options)


def lookup() -> gc.Tensor:
    return gc.sum(gc.take(gc.parameter("table", (7, 2)), gc.input("position", ("n",), "int64")))


@pytest.mark.parametrize("label", [5, -1, -99])
def test_a_label_without_class_is_refused(label: int) -> None:
    y = np.array([0, 4, label, 1])
    message = rf"'y' holds {label} at 2; expected class labels of .* from 0 to 4, or -100 to ignore a sample"
    with pytest.raises(gc.FeedError, match=message):
        gc.evaluate(classifier(), {"x": X, "y": y})
    trainer = gc.Trainer(classifier(), optimizer=gc.optim.SGD())
    for use in (trainer.fit, trainer.evaluate, trainer.train_step):
        with pytest.raises(gc.FeedError, match=message):
            use({"x": X, "y": y})


def test_labels_in_range_and_ignored_ones_pass() -> None:
    assert np.isfinite(gc.evaluate(classifier(), {"x": X, "y": np.array([0, 4, -100, 1])}))
    assert np.isfinite(gc.evaluate(classifier(ignore_index=7), {"x": X, "y": np.array([7, 0, 4, 7])}))


def test_a_position_outside_a_table_is_refused_and_negative_ones_count_from_the_end() -> None:
    assert gc.evaluate(lookup(), {"position": np.array([-7, 6])}) == 0
    with pytest.raises(gc.FeedError, match=r"'position' holds 7 at 0; expected positions .* from -7 to 6"):
        gc.evaluate(lookup(), {"position": np.array([7])})


def test_an_input_used_twice_must_fit_both_uses() -> None:
    y = gc.input("y", ("n",), "int64")
    rows = gc.take(gc.parameter("table", (3, 5)), y)
    found = index_ranges(gc.graph(nn.cross_entropy(rows, y)))
    assert found["y"][:2] == (0, 2)


def test_symbolic_sizes_have_no_range() -> None:
    x, y = gc.input("x", ("batch", "classes")), gc.input("y", ("batch",), "int64")
    assert index_ranges(gc.graph(nn.cross_entropy(x, y))) == {}
    assert all(isinstance(r, IndexRange) for r in index_ranges(gc.graph(classifier())).values())
