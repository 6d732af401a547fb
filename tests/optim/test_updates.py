"""Every optimizer against its equations, written in NumPy; all in float64, so that only rounding differs."""

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime
import pytest
from update_rules import CASES, Update, sgd

import graphc as gc
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.serial.export import to_model
from passes.train_step import train_step

STEPS = 60
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(16, 3)), RNG.normal(size=(16, 2))
START = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2)}

State = dict[str, np.ndarray]


def regression(dtype: str = "float64") -> gc.Tensor:
    """The loss of linear least squares: its gradient is easy to write down."""
    x, y = gc.input("x", ("batch", 3), "float64"), gc.input("y", ("batch", 2), "float64")
    first = {name: value.astype(as_dtype(dtype).numpy) for name, value in START.items()}
    w, b = (gc.parameter(name, value.shape, value, dtype=dtype) for name, value in first.items())
    error = x @ gc.cast(w, "float64") + gc.cast(b, "float64") - y
    return gc.mean(gc.square(error))


def run(optimizer: gc.optim.Optimizer, rates: Sequence[float]) -> State:
    """The state after one step per learning rate, by onnxruntime."""
    step = train_step(regression(), optimizer=optimizer)
    session = onnxruntime.InferenceSession(to_model(step.graph).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    state = init.initialize(step.graph, seed=0)
    for rate in rates:
        results = session.run(None, {"x": X, "y": Y, "learning_rate": np.array(rate, "float32"), **state})
        found = dict(zip(names, results, strict=True))
        state = {name: found.get(f"{name}.next", value) for name, value in state.items()}
    return state


def by_hand(update: Update, rates: Sequence[float], start: State = START) -> State:
    """The same with the update rule."""
    p = dict(start)
    slots: dict[str, dict[str, np.ndarray]] = {name: {} for name in p}
    for t, rate in enumerate(rates, start=1):
        error = 2.0 / Y.size * (X @ p["w"] + p["b"] - Y)
        gradients = {"w": X.T @ error, "b": error.sum(0)}
        p = {name: update(p[name], gradients[name], slots[name], float(np.float32(rate)), t) for name in p}
    return p


def registered() -> list[type[gc.optim.Optimizer]]:
    named = [getattr(gc.optim, name) for name in gc.optim.__all__]
    classes = [c for c in named if isinstance(c, type) and issubclass(c, gc.optim.Optimizer)]
    return [c for c in classes if c is not gc.optim.Optimizer]


@pytest.mark.parametrize("name", CASES)
def test_optimizer_follows_its_equations(name: str) -> None:
    optimizer, update = CASES[name]
    rates = [optimizer.learning_rate * (1 if t < STEPS // 2 else 0.5) for t in range(STEPS)]  # changed on the way
    found, expected = run(optimizer, rates), by_hand(update, rates)
    for parameter, value in expected.items():
        np.testing.assert_allclose(found[parameter], value, rtol=1e-11, atol=1e-12, err_msg=parameter)
    assert found["step"] == STEPS


def test_every_optimizer_has_a_case() -> None:
    assert {type(optimizer) for optimizer, _ in CASES.values()} == set(registered())


@pytest.mark.parametrize("make", registered())
def test_hyper_parameters_are_attributes_that_groups_can_replace(make: type[gc.optim.Optimizer]) -> None:
    optimizer = make()
    rebuilt = make(**optimizer.hyper_parameters)
    assert repr(rebuilt) == repr(optimizer)
    assert repr(optimizer.replace(learning_rate=0.25)).startswith(f"{make.__name__}(learning_rate=0.25")


def test_replacing_what_an_optimizer_lacks_is_refused() -> None:
    with pytest.raises(gc.OperatorError, match=r"Lion has no hyper-parameter 'eps'; expected one of learning_rate, be"):
        gc.optim.Lion().replace(eps=1.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_parameter_of_16_bits_moves_as_its_float32_form_does(dtype: str) -> None:
    """Each of 300 steps is far below half a unit of the last place of the parameters; together they are not."""
    trainer = gc.Trainer(regression(dtype), optimizer=gc.optim.SGD(2e-5), device="cpu")
    for _ in range(300):
        trainer.train_step({"x": X, "y": Y})
    found = trainer.state
    start = {name: value.astype(as_dtype(dtype).numpy).astype("float64") for name, value in START.items()}
    expected = by_hand(sgd(), [2e-5] * 300, start)
    for name, value in expected.items():
        assert found[name].dtype == as_dtype(dtype).numpy
        assert found[f"{name}.residual"].dtype == np.float32
        whole = found[name].astype("float64") + found[f"{name}.residual"]
        np.testing.assert_allclose(whole - start[name], value - start[name], rtol=4e-3, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(whole.astype("float32").astype(found[name].dtype), found[name])


def test_a_new_optimizer_is_an_update_rule() -> None:
    class SignSGD(gc.optim.Optimizer):
        def update(self, p, g, slots, hyper):
            return p - self.scale(hyper.learning_rate, p) * gc.sign(g), {}

    def sign(p, g, slots, rate, t):
        return p - rate * np.sign(g)

    found, expected = run(SignSGD(0.01), [0.01] * 5), by_hand(sign, [0.01] * 5)
    np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-12)


def test_an_optimizer_that_forgets_a_slot_is_refused() -> None:
    class Forgetful(gc.optim.Adam):
        def update(self, p, g, slots, hyper):
            value, _ = super().update(p, g, slots, hyper)
            return value, {}

    with pytest.raises(gc.GraphError, match=r"Forgetful.update returned the slots \[\]; expected \['exp_sum"):
        train_step(regression(), optimizer=Forgetful())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gc.optim.SGD(-1.0), "SGD: learning_rate is -1.0; expected a finite number >= 0"),
        (lambda: gc.optim.SGD(0.1, momentum=1.0), "SGD: momentum is 1.0; expected 0 <= momentum < 1"),
        (lambda: gc.optim.SGD(0.1, nesterov=True), "SGD: nesterov=True needs momentum > 0"),
        (lambda: gc.optim.Nesterov(momentum=0.0), "Nesterov: nesterov=True needs momentum > 0"),
        (lambda: gc.optim.Adam(betas=(0.9, 1.5)), r"Adam: betas\[1\] is 1.5; expected 0 <= betas\[1\] < 1"),
        (lambda: gc.optim.Lion(betas=(0.9,)), r"Lion: betas is \(0.9,\); expected two numbers"),
        (lambda: gc.optim.Adam(eps=float("nan")), "Adam: eps is nan; expected a finite number >= 0"),
        (lambda: gc.optim.Adadelta(eps=0.0), "Adadelta: eps is 0.0; expected a finite number > 0"),
        (lambda: gc.optim.Adadelta(rho=-0.1), "Adadelta: rho is -0.1; expected 0 <= rho < 1"),
        (lambda: gc.optim.RMSProp(alpha=1.0), "RMSProp: alpha is 1.0; expected 0 <= alpha < 1"),
        (lambda: gc.optim.AdamW(weight_decay=-0.1), "AdamW: weight_decay is -0.1; expected a finite number >= 0"),
        (lambda: gc.optim.NAdam(momentum_decay=-1), "NAdam: momentum_decay is -1; expected a finite number >= 0"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()
