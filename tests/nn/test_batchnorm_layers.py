"""Batch normalization as a layer: parameters, names, sizes, dtypes, errors. Values are compared in tests/oracle."""

import copy

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.build import apply
from graphc.nn.batchnorm import tracking_of
from passes.forms import updates_of

STATE = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
LAYERS = [(nn.BatchNorm1d, 2), (nn.BatchNorm1d, 3), (nn.BatchNorm2d, 4), (nn.BatchNorm3d, 5)]


def data(rank: int, channels: object = 4, dtype: str = "float32") -> gc.Tensor:
    return gc.input("x", ("n", channels, *[3] * (rank - 2)), dtype)


@pytest.mark.parametrize(("layer", "rank"), LAYERS)
def test_the_training_form_is_onnxs_operator(layer: type[nn.Module], rank: int) -> None:
    made, x = layer(momentum=0.3, eps=1e-3), data(rank)
    y = made(x)
    inputs = (x, made.weight, made.bias, made.running_mean, made.running_var)
    assert y == apply("BatchNormalization", inputs, {"training_mode": 1, "momentum": 0.7, "epsilon": 1e-3}).out()
    assert y.type == x.type


def test_parameters_have_pytorchs_names_shapes_and_first_values() -> None:
    layer = nn.BatchNorm2d(4)
    assert layer.state_names() == STATE
    values = nn.init.initialize(layer.parameters())
    assert {name: float(a.sum()) for name, a in values.items()} == dict(zip(STATE, (4, 0, 0, 4, 0), strict=True))
    assert [t.node.attrs["trainable"] for t in layer.parameters()] == [True, True, False, False, False]
    assert values["num_batches_tracked"].dtype == np.int64


def test_sizes_are_given_or_inferred() -> None:
    layer = nn.BatchNorm2d()
    layer(data(4))
    assert (layer.num_features, layer.weight.shape) == (4, (4,))
    assert repr(layer) == "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"


def test_without_affine_or_tracking_the_parameters_are_none() -> None:
    plain = nn.BatchNorm1d(4, affine=False, track_running_stats=False)
    assert plain.state_names() == []
    assert plain.weight is plain.bias is plain.running_mean is plain.running_var is plain.num_batches_tracked is None
    assert gc.graph(plain(data(2))).parameters == {}
    assert nn.BatchNorm1d(4, affine=False).state_names() == STATE[2:]
    assert nn.BatchNorm1d(4, track_running_stats=False).state_names() == STATE[:2]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_float32_parameters_take_half_precision(dtype: str) -> None:
    layer = nn.BatchNorm1d()
    y = layer(data(2, dtype=dtype))
    assert y.dtype.name == dtype
    assert layer.running_mean.dtype.name == "float32"


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_parameters_can_have_the_dtype_of_the_data(dtype: str) -> None:
    layer = nn.BatchNorm1d(dtype=dtype)
    y = layer(data(2, dtype=dtype))
    assert {str(t.dtype) for t in layer.parameters()} == {dtype, "int64"}
    assert {str(value.dtype) for value in updates_of([y]).values()} == {dtype, "int64"}
    values = gc.evaluate(y, {"x": np.array([[1, 2, 3, 4], [3, 2, 1, 0]], dtype)})
    np.testing.assert_allclose(values[0], [-1, 0, 1, 1], atol=1e-2 if dtype == "float16" else 1e-4)


def test_a_copy_counts_for_itself() -> None:
    layer = nn.BatchNorm1d(4, momentum=None)
    layer(data(2))
    other = copy.deepcopy(layer)
    other(data(2))
    assert tracking_of(other.running_mean).batches == other.num_batches_tracked
    assert tracking_of(layer.running_mean).batches == layer.num_batches_tracked
    assert tracking_of(other.weight) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_features": 0}, "num_features is 0; expected a positive integer"),
        ({"num_features": "many"}, "num_features is 'many'"),
        ({"momentum": 1.5}, "momentum is 1.5; expected 0 to 1, or None"),
        ({"eps": 0.0}, "eps is 0.0; expected a positive number"),
    ],
    ids=["no-features", "text", "momentum", "eps"],
)
def test_options_out_of_range_are_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(gc.OperatorError, match=f"BatchNorm1d: {message}"):
        nn.BatchNorm1d(**options)


def test_inputs_that_do_not_fit_are_errors() -> None:
    layer = nn.BatchNorm2d(4, name="norm")
    with pytest.raises(gc.ShapeError, match=r"BatchNorm2d 'norm': .*; expected 4 axes, samples and channels first"):
        layer(data(3))
    with pytest.raises(gc.ShapeError, match="expected 2 or 3 axes"):
        nn.BatchNorm1d()(data(4))
    with pytest.raises(gc.ShapeError, match="expected 4 channels in axis 1"):
        layer(data(4, channels=5))
    with pytest.raises(gc.ShapeError, match=r"the channels, is c, a symbol .*nn.BatchNorm2d\(num_features\)"):
        nn.BatchNorm2d()(data(4, channels="c"))
    with pytest.raises(gc.DTypeError, match="expected float32"):
        layer(data(4, dtype="float64"))
    with pytest.raises(gc.DTypeError, match="expected float16"):
        nn.BatchNorm2d(dtype="float16")(data(4))


def test_the_function_normalizes_by_what_it_is_given() -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    wide, given = x.astype(float), gc.input("x", ("n", 4))
    ours = gc.evaluate(nn.batch_norm(given, training=True), {"x": x})
    np.testing.assert_allclose(ours, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5), atol=1e-5)
    mean, var = np.arange(4, dtype=np.float32), np.arange(1, 5, dtype=np.float32)
    weight = np.full(4, 2, np.float32)
    ours = gc.evaluate(nn.batch_norm(given, mean, var, weight, eps=0.1), {"x": x})
    np.testing.assert_allclose(ours, (wide - mean) / np.sqrt(var + 0.1) * 2, atol=1e-5)


def test_the_function_needs_statistics_for_inference() -> None:
    x = data(2)
    for options in ({}, {"running_mean": np.zeros(4, np.float32), "training": True}):
        with pytest.raises(gc.OperatorError, match="expected both, or with training=True neither"):
            nn.batch_norm(x, **options)
    with pytest.raises(gc.ShapeError, match="expected a number of channels in axis 1"):
        nn.batch_norm(data(2, channels="c"), training=True)
