"""Layers, losses, initial values and names against PyTorch."""

import itertools

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.types import as_dtype
from graphc.nn import activation

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

CLOSE = {"rtol": 2e-6, "atol": 2e-6}


def value_and_gradient(function, x: np.ndarray, **feeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ours: a function of symbolic tensors, and the gradient of its sum in the first of them."""
    symbols = {name: gc.input(name, ("batch", *a.shape[1:]), a.dtype) for name, a in {"x": x, **feeds}.items()}
    output = function(*symbols.values())
    return gc.evaluate((output, gc.grad(gc.sum(output), symbols["x"])), {"x": x, **feeds})


def torch_value_and_gradient(function, x: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variable = torch.tensor(x, requires_grad=True)
    output = function(variable, *[torch.tensor(a) for a in others])
    output.sum().backward()
    return output.detach().numpy(), variable.grad.numpy()


# --- activations --------------------------------------------------------------------------------------------------

OPTIONS = {
    "LeakyReLU": {"negative_slope": 0.3},
    "ELU": {"alpha": 0.5},
    "CELU": {"alpha": 2.0},
    "GELU": {"approximate": "tanh"},
    "Softmax": {"dim": 1},
    "LogSoftmax": {"dim": 0},
    "Softmin": {"dim": 1},
    "Threshold": {"threshold": 0.25, "value": 20.0},
    "GLU": {"dim": 1},
    "Hardshrink": {"lambd": 1.5},
    "Softshrink": {"lambd": 1.5},
    "Softplus": {"beta": 3.0},
    "Hardtanh": {"min_val": -2.0, "max_val": 0.5},
    "PReLU": {"num_parameters": 6, "init": 0.1},
    "RReLU": {"lower": 0.2, "upper": 0.2},
}
NEEDED = {"Softmax", "LogSoftmax", "Softmin", "Threshold"}  # PyTorch has no default for dim, nor for a threshold
NEEDED |= {"RReLU"}  # which draws other slopes than PyTorch where there is a choice
ACTIVATIONS = [(name, {}) for name in activation.__all__ if name not in NEEDED] + list(OPTIONS.items())


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS, ids=lambda v: str(v))
def test_activation_and_its_gradient_equal_pytorchs(name: str, options: dict[str, object]) -> None:
    x = np.concatenate([np.linspace(-7.03, 7.03, 58), [50.0, -50.0]]).astype(np.float32).reshape(10, 6)
    ours = value_and_gradient(getattr(nn, name)(**options), x)
    theirs = torch_value_and_gradient(getattr(torch.nn, name)(**options), x)
    np.testing.assert_allclose(ours[0], theirs[0], **CLOSE)
    np.testing.assert_allclose(ours[1], theirs[1], **CLOSE)


# --- losses -------------------------------------------------------------------------------------------------------

REDUCTIONS = ["mean", "sum", "none"]
WEIGHT = np.array([0.5, 2.0, 0.0, 1.0, 3.0], np.float32)


def compare(ours, theirs, x: np.ndarray, y: np.ndarray) -> None:
    found, gradient = value_and_gradient(ours, x, y=y)
    expected, expected_gradient = torch_value_and_gradient(theirs, x, y.astype(np.int64) if y.dtype.kind == "i" else y)
    scale = max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * scale)
    np.testing.assert_allclose(gradient, expected_gradient, **CLOSE)


REGRESSION = [
    ("MSELoss", {}),
    ("L1Loss", {}),
    ("HuberLoss", {}),
    ("HuberLoss", {"delta": 2.5}),
    ("SmoothL1Loss", {}),
    ("SmoothL1Loss", {"beta": 0.3}),
    ("SmoothL1Loss", {"beta": 0.0}),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options"), REGRESSION, ids=str)
def test_regression_loss_equals_pytorchs(name: str, options: dict[str, float], reduction: str) -> None:
    rng = np.random.default_rng(3)
    x, y = (2 * rng.normal(size=(6, 4)).astype("float32") for _ in range(2))
    x[0, 0] = y[0, 0]
    ours, theirs = (getattr(m, name)(reduction=reduction, **options) for m in (nn, torch.nn))
    compare(ours, theirs, x, y)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_equals_pytorchs(reduction: str) -> None:
    p = np.array([1e-6, 0.25, 0.5, 0.999, 0.3], np.float32)
    y = np.array([1.0, 0.5, 0.0, 1.0, 0.7], np.float32)
    ours, theirs = (m.BCELoss(reduction=reduction) for m in (nn, torch.nn))
    found, gradient = value_and_gradient(ours, p, y=y)
    expected, expected_gradient = torch_value_and_gradient(theirs, p, y)
    np.testing.assert_allclose(found, expected, **CLOSE)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_bce_of_certain_probabilities_equals_pytorchs(target: float) -> None:
    p = np.array([0.0, 1.0, 1e-30, 1e-37], np.float32)
    y = np.full(4, target, np.float32)
    ours = gc.evaluate(
        nn.binary_cross_entropy(gc.input("p", (4,)), gc.input("y", (4,)), reduction="none"), {"p": p, "y": y}
    )
    theirs = torch.nn.functional.binary_cross_entropy(torch.tensor(p), torch.tensor(y), reduction="none")
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("pos_weight", [None, np.array([0.5, 3.0], np.float32)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_with_logits_equals_pytorchs(reduction: str, pos_weight: np.ndarray | None) -> None:
    x = np.array([[-1e4, 1e4], [-30, 30], [-2, 0.5], [0, 1], [1e4, -1e4]], np.float32)
    y = np.array([[0, 1], [1, 0], [0.25, 1], [0, 0.5], [0, 1]], np.float32)
    theirs = torch.nn.BCEWithLogitsLoss(
        reduction=reduction, pos_weight=None if pos_weight is None else torch.tensor(pos_weight)
    )
    compare(nn.BCEWithLogitsLoss(reduction=reduction, pos_weight=pos_weight), theirs, x, y)


SHAPES = {"matrix": (7, 5), "sequence": (3, 5, 4), "image": (2, 5, 3, 2)}
GRID = list(itertools.product(REDUCTIONS, [None, WEIGHT], [-100, 1], [0.0, 0.1, 1.0]))


def class_loss_inputs(shape: tuple[int, ...]) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(4)
    x = 4 * rng.normal(size=shape)
    x.flat[:2] = 1e4, -1e4
    return x.astype("float32"), rng


@pytest.mark.parametrize(("shape", "dtype"), [*zip(SHAPES.values(), ["int32", "int64", "int32"], strict=True)], ids=str)
@pytest.mark.parametrize(("reduction", "weight", "ignore_index", "smoothing"), GRID)
def test_cross_entropy_of_class_indices_equals_pytorchs(
    reduction: str,
    weight: np.ndarray | None,
    ignore_index: int,
    smoothing: float,
    shape: tuple[int, ...],
    dtype: str,
) -> None:
    x, rng = class_loss_inputs(shape)
    y = rng.integers(0, 5, (shape[0], *shape[2:])).astype(dtype)
    y.flat[0], y.flat[1] = ignore_index, 0
    ours = nn.CrossEntropyLoss(weight, ignore_index, reduction, smoothing)
    theirs = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=smoothing,
    )
    compare(ours, theirs, x, y)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_of_class_probabilities_equals_pytorchs(
    reduction: str, weight: np.ndarray | None, smoothing: float, shape: tuple[int, ...]
) -> None:
    x, rng = class_loss_inputs(shape)
    y = rng.random(shape).astype("float32")
    y /= y.sum(1, keepdims=True)
    ours = nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing, soft=True)
    theirs = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight), reduction=reduction, label_smoothing=smoothing
    )
    compare(ours, theirs, x, y)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_equals_pytorchs(reduction: str, weight: np.ndarray | None, shape: tuple[int, ...]) -> None:
    x, rng = class_loss_inputs(shape)
    y = rng.integers(0, 5, (shape[0], *shape[2:]))
    y.flat[0] = 2
    ours = nn.NLLLoss(weight, ignore_index=2, reduction=reduction)
    theirs = torch.nn.NLLLoss(None if weight is None else torch.tensor(weight), ignore_index=2, reduction=reduction)
    compare(ours, theirs, x, y)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_over_ignored_labels_is_nan_in_both(smoothing: float) -> None:
    x, y = np.ones((2, 3), np.float32), np.full(2, -100)
    ours = nn.cross_entropy(gc.input("x", (2, 3)), gc.input("y", (2,), "int64"), label_smoothing=smoothing)
    theirs = torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(y), label_smoothing=smoothing)
    assert np.isnan(gc.evaluate(ours, {"x": x, "y": y}))
    assert theirs.isnan()


# --- initial values -----------------------------------------------------------------------------------------------

WEIGHT_SHAPES = [(64, 48), (32, 16, 3), (24, 12, 5, 3)]
INITIALIZERS = [
    (nn.init.Uniform(-1, 2), lambda w: torch.nn.init.uniform_(w, -1, 2)),
    (nn.init.Normal(1, 2), lambda w: torch.nn.init.normal_(w, 1, 2)),
    (nn.init.TruncatedNormal(0.5, 1, -1, 1), lambda w: torch.nn.init.trunc_normal_(w, 0.5, 1, -1, 1)),
    (nn.init.XavierUniform(2), lambda w: torch.nn.init.xavier_uniform_(w, 2)),
    (nn.init.XavierNormal(), torch.nn.init.xavier_normal_),
    (nn.init.KaimingUniform(a=5**0.5), lambda w: torch.nn.init.kaiming_uniform_(w, a=5**0.5)),
    (nn.init.KaimingUniform(mode="fan_out"), lambda w: torch.nn.init.kaiming_uniform_(w, mode="fan_out")),
    (nn.init.KaimingNormal(nonlinearity="relu"), lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu")),
    (nn.init.KaimingNormal(nonlinearity="tanh"), lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="tanh")),
    (nn.init.Orthogonal(gain=3), lambda w: torch.nn.init.orthogonal_(w, 3)),
]


@pytest.mark.parametrize("shape", WEIGHT_SHAPES, ids=str)
@pytest.mark.parametrize(("ours", "theirs"), INITIALIZERS, ids=lambda v: repr(v) if repr(v).startswith("nn") else "")
def test_initial_values_are_distributed_as_pytorchs(ours, theirs, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    draws = [
        np.concatenate([ours(shape, as_dtype("float64"), np.random.default_rng(k)).ravel() for k in range(8)]),
        np.concatenate([theirs(torch.empty(shape, dtype=torch.float64)).numpy().ravel() for _ in range(8)]),
    ]
    deviation = draws[1].std()
    assert draws[0].std() == pytest.approx(deviation, rel=0.03)
    for level in (0, 1, 10, 25, 50, 75, 90, 99, 100):
        found, expected = (np.percentile(d, level) for d in draws)
        slack = 0.1 if 0 < level < 100 else 0.8  # extremes of normal distributions vary
        assert found == pytest.approx(expected, abs=slack * deviation), level


@pytest.mark.parametrize("shape", WEIGHT_SHAPES, ids=str)
def test_fans_are_pytorchs(shape: tuple[int, ...]) -> None:
    assert nn.init.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_pytorchs(name: str) -> None:
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    if name == "leaky_relu":
        assert nn.init.calculate_gain(name, 0.3) == torch.nn.init.calculate_gain(name, 0.3)


def test_linear_starts_as_pytorchs() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Linear(50, 2000)
    ours = nn.init.initialize(nn.Linear(50, 2000).parameters())
    for name, parameter in theirs.named_parameters():
        expected = parameter.detach().numpy()
        assert np.abs(ours[name]).max() == pytest.approx(np.abs(expected).max(), rel=2e-3)
        assert ours[name].std() == pytest.approx(expected.std(), rel=0.03)


# --- names --------------------------------------------------------------------------------------------------------


def model(library, module_class: type, linear) -> object:
    """One model written once for both libraries; attributes are assigned out of the order of use."""

    class Block(module_class):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.second = linear(width, width)
            self.activation = library.PReLU()
            self.first = linear(width, width, bias=False)

        def forward(self, x):
            return self.second(self.activation(self.first(x)))

    class Net(module_class):
        def __init__(self) -> None:
            super().__init__()
            self.out = linear(6, 3)
            shared = Block(6)
            self.body = library.Sequential(linear(4, 6), library.ReLU(), Block(6), library.Sequential(shared))
            self.again = shared

        def forward(self, x):
            return self.out(self.again(self.body(x)))

    return Net()


@pytest.mark.parametrize("inferred", [False, True])
def test_names_and_order_are_those_of_pytorchs_parameters(inferred: bool) -> None:
    theirs = model(torch.nn, torch.nn.Module, torch.nn.Linear)
    make = (lambda _, out, **options: nn.Linear(out, **options)) if inferred else nn.Linear
    ours = model(nn, nn.Module, make)
    x = gc.input("x", ("batch", 4))
    output = ours(x)
    expected = {name: tuple(p.shape) for name, p in theirs.named_parameters()}
    assert {name: t.shape for name, t in ours.named_parameters()} == expected
    assert ours.state_names() == list(expected)
    assert set(gc.graph(output).parameters) == set(expected)


@pytest.mark.parametrize("library", ["sequential", "linear"])
def test_names_of_a_state_dictionary_without_shared_modules(library: str) -> None:
    if library == "linear":
        theirs, ours = torch.nn.Linear(4, 3), nn.Linear(3)
    else:
        theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3, bias=False))
        ours = nn.Sequential(nn.Linear(5), nn.Tanh(), nn.Linear(3, bias=False))
    ours(gc.input("x", ("batch", 4)))
    assert ours.state_names() == list(theirs.state_dict())


def test_pytorchs_state_dictionary_gives_pytorchs_outputs() -> None:
    theirs = model(torch.nn, torch.nn.Module, torch.nn.Linear)
    output = model(nn, nn.Module, nn.Linear)(gc.input("x", ("batch", 4)))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    state = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(gc.evaluate(output, {"x": x}, state=state), expected, rtol=1e-5, atol=1e-6)
