"""A loss that is not finite is traced to the operator, the layer and the user's line that made it so."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from runtimes.nonfinite import explain_nonfinite, find_source

X = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)


def _explained(y: gc.Tensor, **arrays: np.ndarray) -> str:
    return explain_nonfinite(gc.graph(y), arrays or {"x": X}, {})


def _x(dtype: str = "float32") -> gc.Tensor:
    return gc.input("x", ("batch", 2), dtype)


def test_the_first_operator_that_makes_a_nan_is_named_with_its_line_and_input() -> None:
    y = gc.sum(gc.exp(gc.log(_x()) * 2.0))
    text = _explained(y)
    assert text.startswith("The first NaN comes of Log [test_nonfinite.py:")
    assert text.endswith(", 1 of 4 values; its input x is from -2 to 4.")


def test_what_does_not_reach_the_output_is_no_source() -> None:
    x = _x()
    hidden = gc.where(x > 0.0, gc.log(x), 0.0)  # the NaN is not chosen
    assert _explained(gc.sum(hidden)) == ""
    text = _explained(gc.sum(gc.sqrt(hidden - 5.0)))
    assert text.startswith("The first NaN comes of Sqrt")


def test_an_infinity_that_becomes_a_nan_is_named_too() -> None:
    x = _x()
    large = gc.exp(x * 100.0)
    text = _explained(gc.sum(large - large * 2.0))
    assert text.startswith("The first NaN comes of Sub")
    assert "Before it, the first infinity comes of Exp [test_nonfinite.py:" in text


def test_an_infinite_output_without_nan_is_explained() -> None:
    assert _explained(gc.sum(gc.exp(_x() * 100.0))).startswith("The first infinity comes of Exp")


def test_an_infinity_that_was_put_in_is_no_source() -> None:
    x = _x()
    masked = gc.softmax(gc.where(x > 0.0, x, -np.inf), -1)  # the first row has one left, none is NaN
    assert _explained(gc.sum(masked)) == ""
    nothing = gc.softmax(gc.where(x > 9.0, x, -np.inf), -1)
    assert _explained(gc.sum(nothing)).startswith("The first NaN comes of Softmax")


def test_a_nan_in_the_data_is_not_the_fault_of_an_operator() -> None:
    assert _explained(gc.sum(gc.exp(_x())), x=np.array([[np.nan, 1.0]], np.float32)) == ""


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_traced(dtype: str) -> None:
    x = _x(dtype)
    found = find_source(gc.graph(gc.sum(gc.sqrt(x))), {"x": X.astype(dtype)}, {})
    assert found is not None
    assert (found.node.op, found.bad, found.size) == ("Sqrt", 1, 4)


def test_the_trainer_names_the_layer_that_made_the_nan() -> None:
    class Rooted(nn.Module):
        def forward(self, x: gc.Tensor) -> gc.Tensor:
            return gc.sqrt(nn.Linear(3, name="inner")(x))

    x = _x()
    loss = gc.mean(Rooted(name="rooted")(x))
    state = {"rooted.inner.weight": -np.ones((3, 2), np.float32)} | {"rooted.inner.bias": np.zeros(3, np.float32)}
    names = gc.graph(loss).parameters
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), state=dict(zip(names, state.values(), strict=True)))
    with pytest.raises(gc.NonFiniteError) as error:
        trainer.fit({"x": np.abs(X)}, batch_size=1, epochs=1, shuffle=False)
    text = str(error.value)
    assert "The first NaN comes of Sqrt [test_nonfinite.py:" in text
    assert "in rooted" in text
    assert "All parameters are finite still" in text
