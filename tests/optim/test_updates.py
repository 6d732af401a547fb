"""Every optimizer against its equations, written in NumPy float64."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc.nn import init
from graphc.serial.export import to_model
from passes.train_step import TrainStep, train_step

STEPS = 60
RNG = np.random.default_rng(5)
X = RNG.normal(size=(16, 3)).astype("float32")
Y = RNG.normal(size=(16, 2)).astype("float32")
START = {"w": RNG.normal(size=(3, 2)).astype("float32"), "b": RNG.normal(size=2).astype("float32")}

State = dict[str, np.ndarray]
Update = Callable[[np.ndarray, np.ndarray, dict[str, np.ndarray], float, int], np.ndarray]


def regression(optimizer: gc.optim.Optimizer) -> TrainStep:
    """Linear least squares: its gradient is easy to write down."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch", 2))
    w, b = gc.parameter("w", (3, 2), START["w"]), gc.parameter("b", (2,), START["b"])
    return train_step(gc.mean(gc.square(x @ w + b - y)), optimizer=optimizer)


def run(step: TrainStep, rates: list[float]) -> State:
    """The state after one step per learning rate, by onnxruntime."""
    session = onnxruntime.InferenceSession(to_model(step.graph).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    state = init.initialize(step.graph, seed=0)
    for rate in rates:
        results = session.run(None, {"x": X, "y": Y, "learning_rate": np.array(rate, "float32"), **state})
        found = dict(zip(names, results, strict=True))
        state = {name: found.get(f"{name}.next", value) for name, value in state.items()}
    return state


def by_hand(update: Update, rates: list[float]) -> State:
    """The same in float64, with the update rule `(p, g, slots, rate, t) -> p`."""
    p = {name: value.astype("float64") for name, value in START.items()}
    slots: dict[str, dict[str, np.ndarray]] = {name: {} for name in p}
    for t, rate in enumerate(rates, start=1):
        error = 2.0 / Y.size * (X.astype("float64") @ p["w"] + p["b"] - Y)
        gradients = {"w": X.T.astype("float64") @ error, "b": error.sum(0)}
        p = {name: update(p[name], gradients[name], slots[name], rate, t) for name in p}
    return p


def sgd(momentum: float = 0.0, nesterov: bool = False, decay: float = 0.0) -> Update:
    def update(p, g, slots, rate, t):
        g = g + decay * p
        if not momentum:
            return p - rate * g
        slots["v"] = momentum * slots.get("v", np.zeros_like(p)) + g
        return p - rate * (g + momentum * slots["v"] if nesterov else slots["v"])

    return update


def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, coupled: float = 0.0, decoupled: float = 0.0) -> Update:
    def update(p, g, slots, rate, t):
        g = g + coupled * p
        p = p * (1 - rate * decoupled)
        slots["m"] = b1 * slots.get("m", np.zeros_like(p)) + (1 - b1) * g
        slots["v"] = b2 * slots.get("v", np.zeros_like(p)) + (1 - b2) * g * g
        m, v = slots["m"] / (1 - b1**t), slots["v"] / (1 - b2**t)
        return p - rate * m / (np.sqrt(v) + eps)

    return update


CASES = {
    "sgd": (gc.optim.SGD(0.1), sgd()),
    "sgd-decay": (gc.optim.SGD(0.1, weight_decay=0.3), sgd(decay=0.3)),
    "sgd-momentum": (gc.optim.SGD(0.05, momentum=0.8), sgd(0.8)),
    "sgd-nesterov": (gc.optim.SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.1), sgd(0.8, True, 0.1)),
    "momentum": (gc.optim.Momentum(0.05), sgd(0.9)),
    "adam": (gc.optim.Adam(0.03), adam()),
    "adam-decay": (gc.optim.Adam(0.03, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.2), adam(0.8, 0.95, 1e-4, 0.2)),
    "adamw": (gc.optim.AdamW(0.03, weight_decay=0.4), adam(decoupled=0.4)),
}


@pytest.mark.parametrize("name", CASES)
def test_optimizer_follows_its_equations(name: str) -> None:
    optimizer, update = CASES[name]
    rates = [optimizer.learning_rate * (1 if t < STEPS // 2 else 0.5) for t in range(STEPS)]  # changed on the way
    found, expected = run(regression(optimizer), rates), by_hand(update, rates)
    for parameter, value in expected.items():
        np.testing.assert_allclose(found[parameter], value, rtol=1e-5, atol=1e-6, err_msg=parameter)
    assert found["step"] == STEPS


def test_every_optimizer_has_a_case() -> None:
    tested = {type(optimizer) for optimizer, _ in CASES.values()}
    named = {getattr(gc.optim, name) for name in gc.optim.__all__}
    assert {c for c in named if issubclass(c, gc.optim.Optimizer) and c is not gc.optim.Optimizer} == tested


def test_a_new_optimizer_is_an_update_rule() -> None:
    class SignSGD(gc.optim.Optimizer):
        def update(self, p, g, slots, hyper):
            return p - self.scale(hyper.learning_rate, p) * gc.sign(g), {}

    def sign(p, g, slots, rate, t):
        return p - rate * np.sign(g)

    found, expected = run(regression(SignSGD(0.01)), [0.01] * 5), by_hand(sign, [0.01] * 5)
    np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-6)


def test_an_optimizer_that_forgets_a_slot_is_refused() -> None:
    class Forgetful(gc.optim.Adam):
        def update(self, p, g, slots, hyper):
            value, _ = super().update(p, g, slots, hyper)
            return value, {}

    with pytest.raises(gc.GraphError, match=r"Forgetful.update returned the slots \[\]; expected \['exp_avg"):
        regression(Forgetful())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gc.optim.SGD(-1.0), "SGD: learning_rate is -1.0; expected a finite number >= 0"),
        (lambda: gc.optim.SGD(0.1, momentum=1.0), "SGD: momentum is 1.0; expected 0 <= momentum < 1"),
        (lambda: gc.optim.SGD(0.1, nesterov=True), "SGD: nesterov=True needs momentum > 0"),
        (lambda: gc.optim.Adam(betas=(0.9, 1.5)), r"Adam: betas\[1\] is 1.5; expected 0 <= betas\[1\] < 1"),
        (lambda: gc.optim.Adam(eps=float("nan")), "Adam: eps is nan; expected a finite number >= 0"),
        (lambda: gc.optim.AdamW(weight_decay=-0.1), "AdamW: weight_decay is -0.1; expected a finite number >= 0"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()
