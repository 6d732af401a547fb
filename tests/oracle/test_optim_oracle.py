"""Every optimizer against PyTorch's, over 200 steps with a changing learning rate."""

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc.nn import init
from graphc.serial.export import to_model
from passes.train_step import train_step

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(32, 5)).astype("float32"), RNG.normal(size=(32, 3)).astype("float32")
START = {
    "w1": (RNG.normal(size=(5, 8)) * 0.5).astype("float32"),
    "w2": (RNG.normal(size=(8, 3)) * 0.5).astype("float32"),
}
RATES = [0.02 * (0.99**t) for t in range(200)]
CASES = {
    "sgd": (gc.optim.SGD(), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (
        gc.optim.SGD(momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01),
    ),
    "nesterov": (gc.optim.SGD(momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True)),
    "adam": (gc.optim.Adam(weight_decay=0.01), lambda p: torch.optim.Adam(p, weight_decay=0.01)),
    "adam-betas": (gc.optim.Adam(betas=(0.8, 0.99), eps=1e-5), lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.99), 1e-5)),
    "adamw": (gc.optim.AdamW(weight_decay=0.1), lambda p: torch.optim.AdamW(p, weight_decay=0.1)),
}


@pytest.mark.parametrize("name", CASES)
def test_optimizer_equals_pytorchs(name: str) -> None:
    ours, make = CASES[name]
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch", 3))
    w1, w2 = (gc.parameter(n, START[n].shape, START[n]) for n in ("w1", "w2"))
    step = train_step(gc.mean(gc.square(gc.tanh(x @ w1) @ w2 - y)), optimizer=ours)
    session = onnxruntime.InferenceSession(to_model(step.graph).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    state = init.initialize(step.graph, seed=0)

    parameters = {n: torch.tensor(v, requires_grad=True) for n, v in START.items()}
    theirs = make(list(parameters.values()))
    for rate in RATES:
        results = session.run(None, {"x": X, "y": Y, "learning_rate": np.array(rate, "float32"), **state})
        found = dict(zip(names, results, strict=True))
        state = {n: found.get(f"{n}.next", value) for n, value in state.items()}
        theirs.param_groups[0]["lr"] = rate
        theirs.zero_grad()
        loss = ((torch.tanh(torch.tensor(X) @ parameters["w1"]) @ parameters["w2"] - torch.tensor(Y)) ** 2).mean()
        loss.backward()
        theirs.step()
    for n, p in parameters.items():
        np.testing.assert_allclose(state[n], p.detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=n)
