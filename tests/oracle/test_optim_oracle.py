"""Every optimizer and schedule against PyTorch's, over 200 steps, with schedules and clipping.

Both compute in float64: with these learning rates some paths are chaotic, and rounding to float32 would part them."""

import itertools

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc.nn import init
from graphc.optim import schedule
from graphc.serial.export import to_model
from passes.train_step import train_step

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

o, t = gc.optim, torch.optim
RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(32, 5)), RNG.normal(size=(32, 3))
START = {"w1": RNG.normal(size=(5, 8)) * 0.5, "w2": RNG.normal(size=(8, 3)) * 0.5}
STEPS = 200
CASES = {
    "sgd": (o.SGD(), lambda p: t.SGD(p)),
    "sgd-decay": (o.SGD(momentum=0.9, weight_decay=0.01), lambda p: t.SGD(p, momentum=0.9, weight_decay=0.01)),
    "momentum": (o.Momentum(), lambda p: t.SGD(p, momentum=0.9)),
    "nesterov": (o.Nesterov(weight_decay=0.1), lambda p: t.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "adam": (o.Adam(), lambda p: t.Adam(p)),
    "adam-decay": (
        o.Adam(betas=(0.8, 0.99), eps=1e-5, weight_decay=0.1),
        lambda p: t.Adam(p, betas=(0.8, 0.99), eps=1e-5, weight_decay=0.1),
    ),
    "amsgrad": (o.AMSGrad(betas=(0.9, 0.9)), lambda p: t.Adam(p, betas=(0.9, 0.9), amsgrad=True)),
    "adamw": (o.AdamW(weight_decay=0.1), lambda p: t.AdamW(p, weight_decay=0.1)),
    "adamw-amsgrad": (o.AdamW(betas=(0.9, 0.9), amsgrad=True), lambda p: t.AdamW(p, betas=(0.9, 0.9), amsgrad=True)),
    "nadam": (o.NAdam(), lambda p: t.NAdam(p)),
    "nadam-decay": (
        o.NAdam(weight_decay=0.1, momentum_decay=0.01, decoupled_weight_decay=True),
        lambda p: t.NAdam(p, weight_decay=0.1, momentum_decay=0.01, decoupled_weight_decay=True),
    ),
    "adamax": (o.Adamax(weight_decay=0.1), lambda p: t.Adamax(p, weight_decay=0.1)),
    "adagrad": (o.Adagrad(), lambda p: t.Adagrad(p)),
    "adagrad-decay": (
        o.Adagrad(lr_decay=0.01, weight_decay=0.1, initial_accumulator_value=0.2),
        lambda p: t.Adagrad(p, lr_decay=0.01, weight_decay=0.1, initial_accumulator_value=0.2),
    ),
    "adadelta": (o.Adadelta(rho=0.8, eps=1e-5, weight_decay=0.1), lambda p: t.Adadelta(p, 1.0, 0.8, 1e-5, 0.1)),
    "rmsprop": (o.RMSProp(), lambda p: t.RMSprop(p)),
    "rmsprop-all": (
        o.RMSProp(alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.7, centered=True),
        lambda p: t.RMSprop(p, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.7, centered=True),
    ),
}
PAPERS_ONLY = {o.Lion, o.LAMB}  # tests/optim compares these with NumPy

s, lr = schedule, torch.optim.lr_scheduler
SCHEDULES = {
    "constant": (s.Constant(0.1), lambda opt: lr.ConstantLR(opt, 1.0)),
    "step": (s.Step(0.1, every=30, gamma=0.5), lambda opt: lr.StepLR(opt, 30, 0.5)),
    "multi-step": (s.MultiStep(0.1, (20, 90, 91), 0.3), lambda opt: lr.MultiStepLR(opt, [20, 90, 91], 0.3)),
    "exponential": (s.Exponential(0.1, 0.98), lambda opt: lr.ExponentialLR(opt, 0.98)),
    "polynomial": (s.Polynomial(0.1, 150, power=2.0), lambda opt: lr.PolynomialLR(opt, 150, 2.0)),
    "cosine": (s.Cosine(0.1, STEPS, minimum=0.01), lambda opt: lr.CosineAnnealingLR(opt, STEPS, 0.01)),
    "restarts": (s.CosineRestarts(0.1, 37), lambda opt: lr.CosineAnnealingWarmRestarts(opt, 37)),
    "restarts-longer": (
        s.CosineRestarts(0.1, 20, factor=2, minimum=0.01),
        lambda opt: lr.CosineAnnealingWarmRestarts(opt, 20, 2, 0.01),
    ),
    "one-cycle": (s.OneCycle(0.1, STEPS), lambda opt: lr.OneCycleLR(opt, 0.1, STEPS, cycle_momentum=False)),
    "one-cycle-linear": (
        s.OneCycle(0.1, STEPS, rising=0.4, start_divisor=10, final_divisor=100, shape="linear"),
        lambda opt: lr.OneCycleLR(opt, 0.1, STEPS, None, None, 0.4, "linear", False, 0.85, 0.95, 10, 100),
    ),
    "warm-up": (
        s.Warmup(s.Exponential(0.1, 0.97), 40, start_factor=0.1),
        lambda opt: lr.SequentialLR(opt, [lr.LinearLR(opt, 0.1, 1.0, 40), lr.ExponentialLR(opt, 0.97)], [40]),
    ),
}


def ours(optimizer, schedule, **options) -> dict[str, np.ndarray]:
    """The state after 200 steps of a small network whose learning rate follows the schedule."""
    x, y = gc.input("x", ("batch", 5), "float64"), gc.input("y", ("batch", 3), "float64")
    w1, w2 = (gc.parameter(n, START[n].shape, START[n], dtype="float64") for n in ("w1", "w2"))
    step = train_step(gc.mean(gc.square(gc.tanh(x @ w1) @ w2 - y)), optimizer=optimizer, **options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_model(step.graph).SerializeToString(), settings)
    names = [output.name for output in session.get_outputs()]
    state = init.initialize(step.graph, seed=0)
    for count in range(STEPS):
        rate = np.array(schedule(count), "float32")
        results = session.run(None, {"x": X, "y": Y, "learning_rate": rate, **state})
        found = dict(zip(names, results, strict=True))
        state = {n: found.get(f"{n}.next", value) for n, value in state.items()}
    return state


def theirs(make, schedule, clip=lambda parameters: None, averaged=False):
    """The same by PyTorch; with `averaged`, the moving averages."""
    torch.set_num_threads(1)
    parameters = torch.nn.ParameterDict({n: torch.tensor(v) for n, v in START.items()})
    average = torch.optim.swa_utils.AveragedModel(
        parameters, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.95)
    )
    optimizer = make(list(parameters.values()))
    for count in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = float(np.float32(np.float32(schedule(count)) * np.float32(group.get("scale", 1.0))))
        optimizer.zero_grad()
        loss = ((torch.tanh(torch.tensor(X) @ parameters["w1"]) @ parameters["w2"] - torch.tensor(Y)) ** 2).mean()
        loss.backward()
        clip(parameters.values())
        optimizer.step()
        average.update_parameters(parameters)
    chosen = average.module if averaged else parameters
    return {n: p.detach().numpy() for n, p in chosen.items()}


def assert_equal(found, expected) -> None:
    for n, value in expected.items():
        np.testing.assert_allclose(found[n], value, rtol=1e-8, atol=1e-10, err_msg=n)


def rates_of(optimizer) -> s.Schedule:
    """A warm-up and half a wave, around the rate that fits the optimizer."""
    return s.Warmup(s.Cosine(3 * optimizer.learning_rate if optimizer.learning_rate < 1 else 1.0, 180), 20)


@pytest.mark.parametrize("name", CASES)
def test_optimizer_equals_pytorchs(name: str) -> None:
    optimizer, make = CASES[name]
    rates = rates_of(optimizer)
    assert_equal(ours(optimizer, rates), theirs(make, rates))


@pytest.mark.parametrize("name", CASES)
def test_optimizer_with_a_clipped_norm_equals_pytorchs(name: str) -> None:
    optimizer, make = CASES[name]
    rates = rates_of(optimizer)
    clip = lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.2)  # noqa: E731
    assert_equal(ours(optimizer, rates, clip_norm=0.2), theirs(make, rates, clip))


def test_gradients_clipped_by_value_equal_pytorchs() -> None:
    clip = lambda parameters: torch.nn.utils.clip_grad_value_(parameters, 0.02)  # noqa: E731
    rates = s.Constant(0.02)
    assert_equal(ours(o.Momentum(), rates, clip_value=0.02), theirs(lambda p: t.SGD(p, momentum=0.9), rates, clip))


def test_parameter_groups_equal_pytorchs() -> None:
    groups = {"w2": {"weight_decay": 0.5, "learning_rate_scale": 0.1}}
    make = lambda p: t.AdamW([{"params": p[:1]}, {"params": p[1:], "weight_decay": 0.5, "scale": 0.1}])  # noqa: E731
    rates = s.Constant(1e-2)
    assert_equal(ours(o.AdamW(), rates, groups=groups), theirs(make, rates))


def test_moving_averages_equal_pytorchs() -> None:
    rates = s.Constant(0.05)
    found = ours(o.Momentum(), rates, ema=0.95)
    expected = theirs(lambda p: t.SGD(p, momentum=0.9), rates, averaged=True)
    assert_equal({n: found[f"{n}.ema"] for n in expected}, expected)


def test_every_optimizer_has_a_case() -> None:
    named = [getattr(o, name) for name in o.__all__]
    classes = {c for c in named if isinstance(c, type) and issubclass(c, o.Optimizer) and c is not o.Optimizer}
    assert classes == {type(optimizer) for optimizer, _ in CASES.values()} | PAPERS_ONLY


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_pytorchs(name: str) -> None:
    rates, make = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make(optimizer)
    for count in range(STEPS):
        assert rates(count) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-10, abs=1e-16), count
        optimizer.step()
        if count < STEPS - 1:
            scheduler.step()


def test_every_schedule_has_a_case() -> None:
    named = [getattr(schedule, name) for name in schedule.__all__]
    classes = {c for c in named if isinstance(c, type) and issubclass(c, schedule.Schedule)}
    assert classes == {type(made) for made, _ in SCHEDULES.values()} | {schedule.Schedule, schedule.ReduceOnPlateau}


@pytest.mark.parametrize(
    ("mode", "relative", "patience", "cooldown"),
    list(itertools.product(["min", "max"], [True, False], [0, 3], [0, 2])),
)
def test_reduce_on_plateau_equals_pytorchs(mode: str, relative: bool, patience: int, cooldown: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    kind = "rel" if relative else "abs"
    scheduler = lr.ReduceLROnPlateau(optimizer, mode, 0.5, patience, 0.01, kind, cooldown, 1e-3, eps=0.0)
    rates = s.ReduceOnPlateau(0.1, "val_loss", 0.5, patience, 0.01, relative, cooldown, 1e-3, mode)
    memory = rates.start()
    for value in 1.0 + np.random.default_rng(patience).random(100):
        scheduler.step(float(value))
        memory = rates.observe(memory, {"val_loss": float(value)})
        assert rates.rate(0, memory) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
