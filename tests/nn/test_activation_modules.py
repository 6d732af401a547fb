"""Every activation, as module and as function, against NumPy in float64."""

import inspect
import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.nn import activation

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis=-1):
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
CASES = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6)),
    (nn.LeakyReLU(), lambda x: np.where(x > 0, x, 0.01 * x)),
    (nn.LeakyReLU(negative_slope=0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
    (nn.ELU(), elu),
    (nn.ELU(alpha=0.5), lambda x: elu(x, 0.5)),
    (nn.CELU(alpha=2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))),
    (nn.SELU(), lambda x: SELU_SCALE * elu(x, SELU_ALPHA)),
    (nn.GELU(), lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))),
    (
        nn.GELU(approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    (nn.SiLU(), lambda x: x * sigmoid(x)),
    (nn.Mish(), lambda x: x * np.tanh(np.logaddexp(0, x))),
    (nn.Sigmoid(), sigmoid),
    (nn.LogSigmoid(), lambda x: -np.logaddexp(0, -x)),
    (nn.Tanh(), np.tanh),
    (nn.Tanhshrink(), lambda x: x - np.tanh(x)),
    (nn.Softplus(), lambda x: np.logaddexp(0, x)),
    (nn.Softplus(beta=3.0), lambda x: np.logaddexp(0, 3 * x) / 3),
    (nn.Softsign(), lambda x: x / (1 + np.abs(x))),
    (nn.Hardsigmoid(), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    (nn.Hardswish(), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    (nn.Hardtanh(), lambda x: np.clip(x, -1, 1)),
    (nn.Hardtanh(min_val=-2.0, max_val=0.5), lambda x: np.clip(x, -2, 0.5)),
    (nn.Softmax(), softmax),
    (nn.Softmax(dim=0), lambda x: softmax(x, 0)),
    (nn.LogSoftmax(dim=1), log_softmax),
    (nn.Softmin(dim=0), lambda x: softmax(-x, 0)),
    (nn.Hardshrink(), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    (nn.Softshrink(0.75), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.75, 0)),
    (nn.Threshold(0.25, 20.0), lambda x: np.where(x > 0.25, x, 20)),
    (nn.GLU(), lambda x: x[:, :3] * sigmoid(x[:, 3:])),
    (nn.PReLU(), lambda x: np.where(x > 0, x, 0.25 * x)),
    (nn.PReLU(6, init=0.5), lambda x: np.where(x > 0, x, 0.5 * x)),
    (nn.RReLU(0.5, 0.5), lambda x: np.where(x > 0, x, 0.5 * x)),  # of random slopes: test_random_layers.py
]
LARGE = [0.0, 1e-6, -1e-6, 20.0, -20.0, 88.0, -88.0, 104.0, -104.0, 1e4, -1e4, 3.0]
DATA = np.concatenate([np.linspace(-7, 7, 36), LARGE]).astype(np.float32).reshape(8, 6)


def test_the_table_names_every_activation() -> None:
    assert {type(module).__name__ for module, _ in CASES} == set(activation.__all__)


@pytest.mark.parametrize(("module", "expected"), CASES, ids=lambda v: repr(v) if isinstance(v, nn.Module) else "")
def test_an_activation_equals_its_formula_up_to_ten_thousand(module: nn.Module, expected) -> None:
    found = gc.evaluate(module(gc.input("x", ("n", 6))), {"x": DATA})
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected(DATA.astype(float)), rtol=1e-6, atol=4e-7)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.GELU("tanh"), lambda x: nn.gelu(x, approximate="tanh")),
        (nn.Softmax(dim=0), lambda x: nn.softmax(x, dim=0)),
        (nn.LogSoftmax(), nn.log_softmax),
        (nn.LogSigmoid(), nn.functional.logsigmoid),
        (nn.Hardtanh(-2.0, max_val=3.0), lambda x: nn.hardtanh(x, -2.0, 3.0)),
    ],
)
def test_module_and_function_build_the_same_node(module: nn.Module, function) -> None:
    x = gc.input("x", ("n", 6))
    assert module(x) == function(x)


def test_options_that_do_not_exist_are_errors() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'inplace'"):
        nn.ReLU(inplace=True)
    with pytest.raises(gc.OperatorError, match=r"gelu: approximate is 'erf'; expected 'none' or 'tanh'"):
        nn.GELU("erf")(gc.input("x", (2,)))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_gate_needs_two_halves(dim: int) -> None:
    with pytest.raises(gc.ShapeError, match=rf"glu: .*float32\[n, 5\]; expected an even size along axis {dim}"):
        nn.GLU(dim)(gc.input("x", ("n", 5)))


def test_signatures_are_those_of_the_functions() -> None:
    assert list(inspect.signature(nn.Hardtanh).parameters) == ["min_val", "max_val", "name"]
    assert list(inspect.signature(nn.ReLU).parameters) == ["name"]


# --- PReLU --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "slopes"), [((4,), 1), ((5, 3), 1), ((5, 3), 3), ((5, 3, 2), 1), ((5, 3, 2), 3), ((2, 3, 4, 5), 3)]
)
def test_prelu_has_one_slope_for_all_or_one_for_each_channel(shape: tuple[int, ...], slopes: int) -> None:
    data = np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    weight = np.array([0.1, 0.2, 0.3], np.float32)[:slopes]
    x = gc.input("x", shape)
    found = gc.evaluate(nn.PReLU(slopes)(x), {"x": data}, state={"weight": weight})
    channels = weight if len(shape) == 1 else weight.reshape(1, -1, *[1] * (len(shape) - 2))
    np.testing.assert_allclose(found, np.where(data > 0, data, channels * data), rtol=1e-7)


@pytest.mark.parametrize("shape", [(3,), ("n", 4), ("n", "c")])
def test_prelu_of_other_channels_is_an_error(shape: tuple) -> None:
    with pytest.raises(gc.ShapeError, match=r"prelu: the weight is float32\[3\] for an input .*expected one element"):
        nn.PReLU(3)(gc.input("x", shape))


def test_prelu_needs_a_slope() -> None:
    with pytest.raises(gc.OperatorError, match="PReLU: num_parameters is 0; expected at least 1"):
        nn.PReLU(0)
