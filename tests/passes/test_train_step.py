"""The training step as a graph: its inputs, outputs and state, and what it refuses."""

import pytest

import graphc as gc
from passes.train_step import train_step


def model() -> tuple[gc.Tensor, gc.Tensor, gc.Tensor]:
    x = gc.input("x", ("batch", 3))
    w, b = gc.parameter("w", (3, 2)), gc.parameter("b", (2,))
    return gc.mean(gc.square(x @ w + b)), w, b


def test_step_takes_batch_rate_and_state_and_updates_all_state() -> None:
    loss, w, _b = model()
    step = train_step(loss, optimizer=gc.optim.Adam(), metrics={"size": gc.mean(gc.abs(w))})
    assert list(step.graph.feeds) == ["x", "learning_rate"]
    assert step.graph.output_names == ("loss", "size")
    slots = {f"{p}.{slot}" for p in "wb" for slot in ("exp_sum", "exp_sum_sq")}
    assert {t.name for t in step.graph.updates} == {"w", "b", "step"} | slots == set(step.graph.parameters)
    assert step.slots == {p: (f"{p}.exp_sum", f"{p}.exp_sum_sq") for p in "wb"}


def test_evaluation_graph_needs_neither_optimizer_nor_rate() -> None:
    loss, _w, _b = model()
    evaluation = train_step(loss, optimizer=gc.optim.Adam()).evaluation
    assert list(evaluation.feeds) == ["x"]
    assert set(evaluation.parameters) == {"w", "b"}


def test_only_the_given_parameters_are_trained() -> None:
    loss, w, _b = model()
    step = train_step(loss, optimizer=gc.optim.SGD(), parameters=[w])
    assert {t.name for t in step.graph.updates} == {"w", "step"}
    assert "b" in step.graph.parameters


def test_parameters_that_are_not_trainable_stay() -> None:
    x, frozen, w = gc.input("x", ("batch", 3)), gc.parameter("frozen", (3,), trainable=False), gc.parameter("w", (3,))
    step = train_step(gc.mean(x * frozen * w), optimizer=gc.optim.SGD())
    assert set(step.trained) == {"w"}


def test_a_parameter_that_the_loss_does_not_depend_on_is_refused() -> None:
    loss, w, _b = model()
    stranger = gc.parameter("stranger", (3,))
    with pytest.raises(gc.DifferentiationError, match=r"does not depend on 'stranger' \[test_train_step.py:\d+\]"):
        train_step(loss, optimizer=gc.optim.SGD(), parameters=[w, stranger])


def test_a_loss_without_parameters_is_refused() -> None:
    with pytest.raises(gc.DifferentiationError, match="the loss depends on no trainable parameter"):
        train_step(gc.mean(gc.input("x", (3,))), optimizer=gc.optim.SGD())


def test_a_loss_that_is_no_scalar_is_refused() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3,))
    with pytest.raises(gc.DifferentiationError, match=r"float32\[batch\]; expected a scalar .*\.mean\(\)"):
        train_step(x @ w, optimizer=gc.optim.SGD())


def test_a_metric_named_loss_is_refused() -> None:
    loss, w, _b = model()
    with pytest.raises(gc.GraphError, match="a metric is named 'loss'"):
        train_step(loss, optimizer=gc.optim.SGD(), metrics={"loss": gc.mean(w)})


def test_names_that_the_step_itself_needs_are_refused() -> None:
    rate, w = gc.input("learning_rate", ()), gc.parameter("w", ())
    with pytest.raises(gc.GraphError, match="two different inputs are named 'learning_rate'"):
        train_step(w * rate, optimizer=gc.optim.SGD())


def test_two_layers_of_one_name_are_refused() -> None:
    x = gc.input("x", (3,))
    first, second = gc.parameter("w", (3,)), gc.parameter("w", (3,))
    with pytest.raises(gc.GraphError, match=r"two different parameters are named 'w'.*nn\.Linear\(10, name='head'\)"):
        train_step(gc.sum(x * first * second), optimizer=gc.optim.SGD())
