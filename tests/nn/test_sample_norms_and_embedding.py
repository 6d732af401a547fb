"""Layer, RMS, group and instance normalization, and embeddings: graphs, names, errors."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.build import apply

X = gc.input("x", ("n", 6, 4))


def test_normalizations_are_onnxs_operators() -> None:
    norm = nn.LayerNorm((6, 4), eps=1e-3)
    expected = apply("LayerNormalization", (X, norm.weight, norm.bias), {"axis": -2, "epsilon": 1e-3}).out()
    assert norm(X) == expected
    rms = nn.RMSNorm(4)
    assert rms(X) == apply("RMSNormalization", (X, rms.weight), {"axis": -1, "epsilon": 2.0**-23}).out()
    group = nn.GroupNorm(3, 6)
    expected = apply("GroupNormalization", (X, group.weight, group.bias), {"num_groups": 3, "epsilon": 1e-5}).out()
    assert group(X) == expected
    instance = nn.InstanceNorm1d(6, affine=True)
    assert instance(X) == apply("InstanceNormalization", (X, instance.weight, instance.bias)).out()


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.LayerNorm(4), ["weight", "bias"]),
        (nn.LayerNorm(4, bias=False), ["weight"]),
        (nn.LayerNorm(4, elementwise_affine=False), []),
        (nn.RMSNorm(4), ["weight"]),
        (nn.GroupNorm(2, 6), ["weight", "bias"]),
        (nn.GroupNorm(2, 6, affine=False), []),
        (nn.InstanceNorm1d(6), []),
        (nn.InstanceNorm1d(6, affine=True), ["weight", "bias"]),
    ],
    ids=repr,
)
def test_states_have_pytorchs_names_and_the_shape_stays(layer: nn.Module, names: list[str]) -> None:
    assert layer.state_names() == names
    assert layer(X).type == X.type


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rms_of_zeros_is_regular_in_every_dtype(dtype: str) -> None:
    y = nn.RMSNorm(4, dtype=dtype)(gc.input("x", ("n", 4), dtype))
    assert y.dtype.name == dtype
    assert not gc.evaluate(y, {"x": np.zeros((2, 4), dtype)}, runtime="reference").any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LayerNorm(()), r"normalized_shape is \(\); expected the sizes of the last axes"),
        (lambda: nn.LayerNorm((4, "n")), "normalized_shape is"),
        (lambda: nn.RMSNorm(0), "RMSNorm: normalized_shape is 0"),
        (lambda: nn.GroupNorm(4, 6), "num_channels is 6; expected a multiple of num_groups=4"),
        (lambda: nn.InstanceNorm2d(0), "InstanceNorm2d: num_features is 0"),
        (lambda: nn.Embedding(0, 4), "num_embeddings is 0; expected a positive integer"),
        (lambda: nn.Embedding(5, 4, padding_idx=5), "padding_idx is 5; expected an index of 5 rows"),
    ],
)
def test_options_out_of_range_are_errors(make, message: str) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()


def test_inputs_that_do_not_fit_are_errors() -> None:
    with pytest.raises(gc.ShapeError, match="expected last axes of 5"):
        nn.LayerNorm(5)(X)
    with pytest.raises(gc.ShapeError, match="expected 9 channels in axis 1"):
        nn.GroupNorm(3, 9)(X)
    with pytest.raises(gc.ShapeError, match="expected 4 axes, and 6 channels in axis 1"):
        nn.InstanceNorm2d(6)(X)
    for layer in (nn.LayerNorm(4, dtype="float16"), nn.GroupNorm(3, 6, dtype="float64")):
        with pytest.raises(gc.DTypeError, match="the input is float32"):
            layer(X)


def test_an_embedding_gathers_rows() -> None:
    layer = nn.Embedding(7, 4)
    indices = gc.input("indices", ("n", "t"), "int64")
    y = layer(indices)
    assert y == apply("Gather", (layer.weight, indices), {"axis": 0}).out()
    assert y.shape == (*indices.shape, 4)
    with pytest.raises(gc.DTypeError, match="expected int32 or int64"):
        layer(gc.input("x", ("n",)))


def test_a_padding_row_begins_as_zeros_and_does_not_train() -> None:
    layer = nn.Embedding(5, 3, padding_idx=-2)
    (weight,) = nn.init.initialize(layer.parameters()).values()
    assert layer.padding_idx == 3
    assert [bool(row.any()) for row in weight] == [True, True, True, False, True]
    indices = gc.input("indices", ("n",), "int64")
    gradient = gc.grad(layer(indices).sum(), layer.weight)
    counts = gc.evaluate(gradient, {"indices": np.array([3, 1, 3, 1, 4])})[:, 0]
    np.testing.assert_array_equal(counts, [0, 2, 0, 0, 1])


def test_functions_build_what_layers_build() -> None:
    norm, rms, group = nn.LayerNorm(4), nn.RMSNorm(4, eps=0.1), nn.GroupNorm(3, 6)
    assert norm(X) == nn.layer_norm(X, 4, norm.weight, norm.bias)
    assert rms(X) == nn.rms_norm(X, (4,), rms.weight, eps=0.1)
    assert group(X) == nn.group_norm(X, 3, group.weight, group.bias)
    assert nn.InstanceNorm1d(6)(X) == nn.instance_norm(X)
    with pytest.raises(gc.ShapeError, match=r"layer_norm: .*; expected last axes of 5"):
        nn.layer_norm(X, 5)
    with pytest.raises(gc.ShapeError, match="expected a number of channels in axis 1"):
        nn.group_norm(gc.input("x", ("n", "c", 4)), 2)
