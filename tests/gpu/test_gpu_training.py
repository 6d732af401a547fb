"""Training on CUDA: the same as on the CPU, with all that CUDA alone has."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn

pytestmark = pytest.mark.gpu
RNG = np.random.default_rng(0)
IMAGES = {"x": RNG.standard_normal((96, 3, 12, 12), np.float32), "y": RNG.integers(0, 5, 96)}
EXACT = gc.RuntimeOptions(tf32=False)


def convolutional() -> gc.Tensor:
    """The loss of a network with convolutions, batch normalization and dropout."""
    x, y = gc.input("x", ("batch", 3, 12, 12)), gc.input("y", ("batch",), "int64")
    layers = [nn.Conv2d(8, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten()]
    return nn.cross_entropy(nn.Sequential(*layers, nn.Linear(5), name="net")(x), y)


def trained(device: str, options: gc.RuntimeOptions = EXACT, **fit: object) -> gc.Trainer:
    trainer = gc.Trainer(convolutional(), optimizer=gc.optim.Adam(1e-3), device=device, options=options, seed=3)
    trainer.fit(IMAGES, batch_size=32, epochs=4, verbose=False, **fit)
    return trainer


def close(a: gc.Trainer, b: gc.Trainer, tolerance: float) -> None:
    held = b.state
    for name, value in a.state.items():
        np.testing.assert_allclose(value, held[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_training_on_cuda_equals_training_on_the_cpu() -> None:
    close(trained("cuda"), trained("cpu"), 1e-3)


def test_nothing_of_a_step_falls_back_or_is_copied() -> None:
    trainer = trained("cuda", gc.RuntimeOptions(tf32=False, strict=True))
    assert gc.placement(trainer).fallbacks == ()


def test_cuda_graphs_that_alternate_between_bindings_train_alike() -> None:
    recorded = trained("cuda", gc.RuntimeOptions(tf32=False, cuda_graph=True))
    close(recorded, trained("cuda"), 1e-5)
    assert recorded.step_count == 12


@pytest.mark.parametrize(
    "fit", [{"resident": True}, {"steps_per_call": 3}, {"prefetch": 2}], ids=lambda f: next(iter(f))
)
def test_every_way_to_feed_trains_alike(fit: dict[str, object]) -> None:
    close(trained("cuda", **fit), trained("cuda"), 1e-5)


def test_two_runs_are_the_same_bits_with_deterministic_kernels() -> None:
    options = gc.RuntimeOptions(tf32=False, deterministic=True, cudnn_conv_algo_search="default")
    first, second = (trained("cuda", options).state for _ in range(2))
    assert all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("draw", ["mask", "uniform", "normal"])
def test_randomness_is_the_same_bits_as_on_the_cpu(draw: str) -> None:
    x = gc.input("x", (1000, 7))
    drawn = {
        "mask": lambda: nn.Dropout(0.3, name="drop")(x),
        "uniform": lambda: gc.op.RandomUniformLike(x),
        "normal": lambda: gc.op.RandomNormalLike(x),
    }[draw]()
    seed, step = (gc.parameter(n, (), np.int64(7), dtype="int64", trainable=False) for n in ("seed", "step"))
    graph = gc.counter_based(gc.graph(drawn), seed, step)
    feeds = {"x": np.ones((1000, 7), np.float32)} if graph.feeds else {}
    on_cuda, on_cpu = (gc.compile(graph, device=device)(feeds) for device in ("cuda", "cpu"))
    assert all(on_cuda[name].tobytes() == value.tobytes() for name, value in on_cpu.items())


def test_state_of_bfloat16_comes_back_from_the_device() -> None:
    p = gc.parameter("p", (3,), np.array([1.5, -2, 3]).astype(gc.bfloat16.numpy), dtype="bfloat16")
    loss = gc.mean(gc.square(gc.cast(p, "float32")))
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.0), device="cuda")
    assert trainer.state["p"].astype(np.float32).tolist() == [1.5, -2, 3]


def test_tf32_rounds_and_its_absence_does_not() -> None:
    a, b = gc.input("a", (256, 256)), gc.input("b", (256, 256))
    feeds = {n: RNG.standard_normal((256, 256), np.float32) for n in ("a", "b")}
    exact = feeds["a"].astype(np.float64) @ feeds["b"].astype(np.float64)
    errors = [
        np.abs(gc.compile(a @ b, device="cuda", options=gc.RuntimeOptions(tf32=tf32))(feeds) - exact).max()
        for tf32 in (True, False)
    ]
    assert errors[1] < 1e-4 < errors[0]
