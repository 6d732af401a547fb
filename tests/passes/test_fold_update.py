"""Updates folded into the products that give the gradients: what becomes of the graph, and that the numbers stay."""

import numpy as np
import pytest

import graphc as gc
from passes.cost import cost
from passes.fold_update import fold_update
from passes.simplify import simplify
from passes.train_step import TrainStep, train_step

RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(8, 20)), "y": RNG.normal(size=(8, 30))}
OPTIMIZERS = {
    name: getattr(gc.optim, name)
    for name in gc.optim.__all__
    if isinstance(getattr(gc.optim, name), type)
    and issubclass(getattr(gc.optim, name), gc.optim.Optimizer)
    and getattr(gc.optim, name) is not gc.optim.Optimizer
}
OPTIONS = {
    "plain": {},
    "groups": {"groups": {"first*": {"learning_rate_scale": 3.0}}},
    "clipped": {"clip_norm": 0.1},
    "accumulated": {"accumulate": 2},
    "penalties": {"l1": 0.01, "l2": 0.01},
    "averages": {"ema": 0.9},
    "decay": {"groups": {"*": {"weight_decay": 0.1}}},
}


def loss(dtype: str = "float64") -> gc.Tensor:
    x, y = gc.input("x", ("batch", 20), dtype), gc.input("y", ("batch", 30), dtype)
    normal = gc.nn.init.Normal(0.0, 0.3)
    first, second = (
        gc.parameter("first", (40, 20), normal, dtype=dtype),
        gc.parameter("second", (30, 40), normal, dtype=dtype),
    )
    bias = gc.parameter("first.bias", (40,), normal, dtype=dtype)
    hidden = gc.relu(gc.gemm(x, first, bias, transB=True))
    return gc.mean(gc.square(gc.gemm(hidden, second, transB=True) - y))


def step(optimizer: gc.optim.Optimizer, dtype: str = "float64", **options) -> TrainStep:
    return train_step(loss(dtype), optimizer=optimizer, passes=[simplify], **options)


def following(graph: gc.Graph, name: str) -> gc.Tensor:
    (found,) = [value for state, value in graph.updates.items() if state.name == name]
    return found


def test_sgd_takes_no_pass_over_a_weight_but_the_product() -> None:
    graph = fold_update(step(gc.optim.SGD()).graph)
    for name in ("first", "second"):
        node = following(graph, name).node
        assert (node.op, node.attrs["alpha"], node.attrs["beta"]) == ("Gemm", -1.0, 1.0)
        assert node.inputs[2] == graph.parameters[name]


def test_the_learning_rate_goes_to_a_scalar_near_the_loss() -> None:
    graph = fold_update(step(gc.optim.SGD()).graph)
    rate = graph.feeds["learning_rate"]
    users = [n for n in graph.nodes if rate in n.inputs]
    scaled = [n for n in graph.nodes if any(u.out() in n.inputs for u in users)] if users[0].op == "Cast" else users
    assert [n.out().shape for n in scaled] == [()]


@pytest.mark.parametrize(("momentum", "dtype"), [(0.8, "float32"), (0.75, "float64")])
def test_momentum_is_the_beta_of_the_product(momentum, dtype) -> None:
    graph = fold_update(step(gc.optim.Momentum(momentum=momentum), dtype).graph)
    node = following(graph, "second.momentum_buffer").node
    assert (node.op, node.attrs["alpha"], node.attrs["beta"]) == ("Gemm", 1.0, np.float32(momentum))


def test_a_float64_momentum_that_is_no_float32_stays_exact() -> None:
    """Attributes of operators are float32."""
    node = following(fold_update(step(gc.optim.Momentum(momentum=0.8)).graph), "second.momentum_buffer").node
    assert node.attrs["beta"] == 1.0
    assert node.inputs[2].op == "Mul"


def test_different_learning_rates_scale_the_smaller_operands() -> None:
    """A cotangent that is needed for both rates would be computed twice: it is not."""
    made = step(gc.optim.SGD(), groups=OPTIONS["groups"]["groups"])
    graph = fold_update(made.graph)
    assert all(following(graph, name).op == "Gemm" for name in ("first", "second"))
    assert graph.count("Gemm") + graph.count("MatMul") == made.graph.count("Gemm") + made.graph.count("MatMul")


def test_factors_of_a_clipped_gradient_are_multiplied_first() -> None:
    made = step(gc.optim.SGD(), clip_norm=1.0).graph
    shapes = [n.out().shape for n in fold_update(made).find("Mul")]
    assert shapes.count((40, 20)) < [n.out().shape for n in made.find("Mul")].count((40, 20))


@pytest.mark.parametrize("name", ["Adam", "Adagrad", "RMSProp", "Lion", "Nesterov"])
def test_a_gradient_that_is_needed_for_more_is_left_alone(name) -> None:
    graph = step(OPTIMIZERS[name]()).graph
    assert fold_update(graph) is graph


def test_a_gradient_that_is_an_output_is_left_alone() -> None:
    x, w = gc.input("x", (8, 3)), gc.parameter("w", (3, 4))
    gradient = gc.matmul(gc.transpose(x), x @ w)
    graph = gc.graph({"gradient": gradient}, updates={w: w - gradient})
    assert fold_update(graph) is graph


@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_other_types_are_left_alone(dtype) -> None:
    x, w = gc.input("x", (8, 3), dtype), gc.parameter("w", (8, 4), dtype=dtype)
    graph = gc.graph({"o": x}, updates={w: w - x @ gc.constant(np.ones((3, 4), dtype))})
    assert fold_update(graph) is graph


def test_folding_again_changes_nothing() -> None:
    graph = fold_update(step(gc.optim.SGD()).graph)
    assert fold_update(graph) is graph


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_folded_steps_are_no_dearer_and_train_alike(name, options) -> None:
    make, chosen = OPTIMIZERS[name], dict(OPTIONS[options])
    if options == "decay" and "weight_decay" not in make().hyper_parameters:
        pytest.skip("has no weight decay")
    trainers = [
        gc.Trainer(loss(), optimizer=make(), device="cpu", passes=passes, **chosen)
        for passes in ([simplify], [simplify, fold_update])
    ]
    plain, folded = (trainer.step.graph for trainer in trainers)
    assert cost(folded).bytes <= cost(plain).bytes
    assert cost(folded).flops <= cost(plain).flops
    for trainer in trainers:
        for _ in range(4):
            trainer.train_step(DATA)
    expected, found = (trainer.state for trainer in trainers)
    for state, value in expected.items():
        np.testing.assert_allclose(found[state], value, rtol=1e-10, atol=1e-13, err_msg=state)
