"""Small vectors that are updated together: which, and that the numbers stay the same."""

import numpy as np
import pytest

import graphc as gc
from passes import apply_optimizer
from passes.train_step import TrainStep, train_step

RNG = np.random.default_rng(0)
OPTIMIZERS = {
    name: getattr(gc.optim, name)
    for name in gc.optim.__all__
    if isinstance(getattr(gc.optim, name), type)
    and issubclass(getattr(gc.optim, name), gc.optim.Optimizer)
    and getattr(gc.optim, name) is not gc.optim.Optimizer
}
SIZES = [3, 5, 2, 7, 3, 1, 4, 6, 3]


def loss(dtype: str = "float32", sizes: list[int] = SIZES) -> gc.Tensor:
    """Vectors of several sizes, each of which must come near random numbers."""
    x = gc.input("x", ("batch", 1))
    vectors = [gc.parameter(f"v{i}", (n,), gc.nn.init.Normal(), dtype=dtype) for i, n in enumerate(sizes)]
    targets = [RNG.normal(size=n).astype("float32") for n in sizes]
    return sum(gc.mean(gc.square(gc.cast(v, "float32") * x - t)) for v, t in zip(vectors, targets, strict=True))


def concats(step: TrainStep) -> int:
    return step.graph.count("Concat")


def step(optimizer: gc.optim.Optimizer, **options) -> TrainStep:
    return train_step(loss(), optimizer=optimizer, passes=[], **options)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_together_are_those_of_each(name, dtype, monkeypatch) -> None:
    model = loss(dtype)

    def trained() -> dict[str, np.ndarray]:
        trainer = gc.Trainer(
            model, optimizer=OPTIMIZERS[name](), device="cpu", groups={"v[0-8]": {"weight_decay": 0.1}}
        )
        for _ in range(3):
            trainer.train_step({"x": np.ones((4, 1), "float32")})
        return trainer.state

    together = trained()
    monkeypatch.setattr(apply_optimizer, "_LEAST", 1000)
    alone = trained()
    assert list(together) == list(alone)
    for key, value in alone.items():
        np.testing.assert_allclose(
            together[key].astype("float64"), value.astype("float64"), rtol=1e-6, atol=1e-7, err_msg=key
        )


@pytest.mark.parametrize(("name", "together"), [("Adam", True), ("Lion", True), ("Momentum", True), ("LAMB", False)])
def test_only_elementwise_updates_are_made_together(name, together) -> None:
    assert bool(concats(step(OPTIMIZERS[name]()))) == together


def test_an_optimizer_without_slots_is_left_alone() -> None:
    assert concats(step(gc.optim.SGD())) == 0


def test_a_subclass_with_an_update_of_its_own_is_left_alone() -> None:
    class Normalized(gc.optim.Adam):
        def update(self, p, g, slots, hyper):
            return super().update(p, g / gc.norm(g), slots, hyper)

    assert concats(step(Normalized())) == 0


def test_groups_are_kept_apart() -> None:
    assert concats(step(gc.optim.Adam(), groups={"v[0-3]": {"weight_decay": 0.1}})) == 0


@pytest.mark.parametrize("sizes", [[4] * 7, [1025] * 8])
def test_few_or_large_vectors_are_left_alone(sizes) -> None:
    assert concats(train_step(loss(sizes=sizes), optimizer=gc.optim.Adam(), passes=[])) == 0
