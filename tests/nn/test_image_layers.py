"""Convolution and pooling layers: sizes, graphs, names, errors. Values are compared with PyTorch's in tests/oracle."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.build import apply

X = gc.input("x", ("n", 4, 9, 10))


def signal(rank: int, channels: object = 4) -> gc.Tensor:
    return gc.input("x", ("n", channels, *[9] * rank))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(4, 6, 3),
        lambda: nn.Conv2d(6, 3),
        lambda: nn.Conv2d(6, kernel_size=3),
        lambda: nn.Conv2d(4, 6, kernel_size=(3, 3)),
        lambda: nn.Conv2d(in_channels=4, out_channels=6, kernel_size=3),
        lambda: nn.Conv2d(out_channels=6, kernel_size=3),
        lambda: nn.Conv2d(3, out_channels=6),
    ],
)
def test_sizes_of_a_convolution_are_given_or_inferred(make) -> None:
    layer = make()
    y = layer(X)
    assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (4, 6, (3, 3))
    assert y == apply("Conv", (X, layer.weight, layer.bias)).out()
    assert y.shape == (X.shape[0], 6, 7, 8)


def test_weights_have_pytorchs_layouts() -> None:
    assert nn.Conv2d(4, 6, (2, 3), groups=2).weight.shape == (6, 2, 2, 3)
    assert nn.ConvTranspose2d(4, 6, (2, 3), groups=2).weight.shape == (4, 3, 2, 3)
    assert nn.Conv2d(4, 6, 3).state_names() == ["weight", "bias"]
    assert nn.Conv2d(4, 6, 3, bias=False).state_names() == ["weight"]


def test_initializers_can_be_chosen() -> None:
    layer = nn.Conv1d(2, 3, 1, weight_init=nn.init.Ones(), bias_init=[1.0, 2.0, 3.0])
    y = gc.evaluate(layer(gc.input("x", ("n", 2, 2))), {"x": np.ones((1, 2, 2), np.float32)})
    np.testing.assert_array_equal(y, [[[3, 3], [4, 4], [5, 5]]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(),
        lambda: nn.Conv2d(6),
        lambda: nn.Conv2d(4, 6, 3, 2),
        lambda: nn.Conv2d(4, 6, kernel_size=3, out_channels=6),
    ],
)
def test_other_numbers_of_sizes_are_errors(make) -> None:
    with pytest.raises(gc.OperatorError, match=r"Conv2d: the sizes are \[.*\]; expected out_channels and kernel_size"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(0, 6, 3), "in_channels is 0; expected a positive integer"),
        (lambda: nn.Conv2d("c", 6, 3), "in_channels is 'c'; expected a positive integer"),
        (lambda: nn.Conv2d(4, 6, (3, 3, 3)), r"kernel_size is \(3, 3, 3\); .* at least 1, or 2 of them"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), "stride is 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), "padding is -1; expected an integer of at least 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding="full"), "padding is 'full'; expected numbers, 'same' or 'valid'"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), "padding_mode is 'mirror'; expected one of zeros, reflect"),
        (lambda: nn.Conv2d(4, 6, 3, stride=2, padding="same")(X), "padding='same' needs a stride of 1"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "out_channels is 6; expected a multiple of groups=4"),
        (lambda: nn.Conv2d(4, 6, 3, groups=3), "the input has 4 channels; expected a multiple of groups=3"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=-1), "output_padding is -1"),
        (lambda: nn.MaxPool2d(3, padding=2), r"padding is \(2, 2\); expected at most half of kernel_size=\(3, 3\)"),
        (lambda: nn.AdaptiveAvgPool2d((2, 0)), r"output_size is \[2, 0\]"),
        (lambda: nn.AvgPool2d(3, divisor_override=0), "divisor_override is 0; expected an integer of at least 1"),
    ],
)
def test_options_out_of_range_are_errors(make, message: str) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()


def test_unknown_options_are_errors() -> None:
    with pytest.raises(TypeError, match="strides"):
        nn.Conv2d(4, 6, 3, strides=2)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3), nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_other_ranks_are_errors(layer: nn.Module) -> None:
    with pytest.raises(gc.ShapeError, match="expected 4 axes, samples and channels first"):
        layer(signal(1))


def test_inputs_that_do_not_fit_are_errors() -> None:
    layer = nn.Conv2d(4, 6, 3, name="conv")
    with pytest.raises(gc.ShapeError, match=r"Conv2d 'conv': .*; expected 4 channels in axis 1"):
        layer(signal(2, channels=5))
    with pytest.raises(gc.DTypeError, match="expected float32"):
        layer(gc.input("x", ("n", 4, 9, 9), "float64"))
    with pytest.raises(gc.ShapeError, match="the channels, is c, a symbol"):
        nn.Conv2d(6, 3)(signal(2, channels="c"))


def test_functions_build_what_layers_build() -> None:
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    assert layer(X) == nn.conv2d(X, layer.weight, layer.bias, stride=2, padding=1)
    back = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1)
    assert back(X) == nn.conv_transpose2d(X, back.weight, back.bias, stride=2, padding=1, output_padding=1)


def test_global_pooling_takes_images_of_any_size() -> None:
    x = gc.input("x", ("n", 4, "h", "w"))
    assert nn.AdaptiveAvgPool2d(1)(x) == apply("GlobalAveragePool", (x,)).out()
    assert nn.AdaptiveMaxPool2d((1, 1))(x) == apply("GlobalMaxPool", (x,)).out()
    assert nn.AdaptiveAvgPool2d((None, 1))(x).shape[2] == x.shape[2]
    with pytest.raises(gc.ShapeError, match="axis 2 of the input is h, a symbol"):
        nn.AdaptiveAvgPool2d(2)(x)


def test_adaptive_pooling_of_equal_windows_is_one_operator() -> None:
    x = gc.input("x", ("n", 4, 8, 6))
    assert gc.graph(nn.AdaptiveAvgPool2d((4, 3))(x)).operators() == {"AveragePool": 1}
    assert gc.graph(nn.AdaptiveMaxPool2d(2)(x)).operators() == {"MaxPool": 1}
    tall = nn.AdaptiveMaxPool2d((None, 3))(gc.input("x", ("n", 4, "h", 6)))
    assert gc.graph(tall).operators() == {"MaxPool": 1}
    assert [str(d) for d in tall.shape] == ["n", "4", "h", "3"]


def test_modules_show_their_options() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=False),
        nn.ConvTranspose1d(6, 2, stride=2),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool1d(1),
        nn.LPPool1d(2, 3),
        nn.MaxUnpool2d(2, padding=1),
    )
    assert repr(layers) == (
        "Sequential(\n"
        "  (0): Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding='same', groups=2, bias=False)\n"
        "  (1): ConvTranspose1d(None, 6, kernel_size=(2,), stride=(2,))\n"
        "  (2): MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=False)\n"
        "  (3): AdaptiveAvgPool1d(output_size=(1,))\n"
        "  (4): LPPool1d(norm_type=2, kernel_size=(3,), stride=(3,), padding=(0,), ceil_mode=False)\n"
        "  (5): MaxUnpool2d(kernel_size=(2, 2), stride=(2, 2), padding=(1, 1))\n"
        ")"
    )


def test_lenet_trains() -> None:
    x, y = gc.input("x", ("batch", 1, 12, 12)), gc.input("y", ("batch",), dtype="int64")
    net = nn.Sequential(
        *(nn.Conv2d(6, 5, padding=2), nn.BatchNorm2d(), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.1), nn.Flatten(), nn.Linear(2)),
        name="lenet",
    )
    trainer = gc.Trainer(nn.cross_entropy(net(x), y), optimizer=gc.optim.Adam(1e-2), device="cpu", seed=1)
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.5, (64, 1, 12, 12)).astype(np.float32)
    labels = rng.integers(0, 2, 64)
    images[labels == 1, :, 3:6, 3:6] += 1
    history = trainer.fit({"x": images, "y": labels}, batch_size=16, epochs=8)
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_pooling_functions_build_what_layers_build() -> None:
    assert nn.MaxPool2d(3, 2, 1)(X) == nn.max_pool2d(X, 3, 2, 1)
    assert nn.AvgPool2d(3, padding=1)(X) == nn.avg_pool2d(X, 3, padding=1)
    assert nn.AdaptiveAvgPool2d(2)(X) == nn.adaptive_avg_pool2d(X, 2)
    with pytest.raises(gc.ShapeError, match=r"MaxPool3d: .*; expected 5 axes"):
        nn.max_pool3d(X, 2)


# --- padding, resampling ------------------------------------------------------------------------------------------


def test_padding_is_onnxs_operator_in_pytorchs_order() -> None:
    assert nn.ZeroPad2d((1, 2, 3, 4))(X) == gc.pad(X, [(0, 0), (0, 0), (3, 4), (1, 2)], 0.0)
    assert nn.ReflectionPad2d(1)(X) == nn.pad(X, (1, 1, 1, 1), "reflect")
    assert nn.ReplicationPad2d((0, -1, 0, 0))(X).shape == (X.shape[0], 4, 9, 9)
    assert repr(nn.Sequential(nn.ConstantPad1d(1, 0.5), nn.CircularPad1d(2))) == (
        "Sequential(\n  (0): ConstantPad1d((1, 1), value=0.5)\n  (1): CircularPad1d((2, 2))\n)"
    )


def test_upsampling_keeps_a_symbolic_batch_and_gives_sizes() -> None:
    assert nn.Upsample(scale_factor=2)(X).shape == (X.shape[0], 4, 18, 20)
    assert nn.Upsample(size=(3, 5), mode="bilinear")(X).shape == (X.shape[0], 4, 3, 5)
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2, mode='nearest')"


def test_pixels_move_to_channels_and_back() -> None:
    x = gc.input("x", ("n", 2, 6, "3*w"))
    y = nn.PixelUnshuffle(3)(x)
    assert y.shape == (x.shape[0], 18, 2, gc.dim("w"))
    data = np.random.default_rng(0).normal(size=(2, 2, 6, 9)).astype(np.float32)
    np.testing.assert_array_equal(gc.evaluate(nn.PixelShuffle(3)(y), {"x": data}), data)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ZeroPad2d((1, 2)), gc.OperatorError, r"padding is \(1, 2\); expected an integer, or 4 of them"),
        (lambda: nn.ZeroPad1d(1)(X), gc.ShapeError, "ZeroPad1d: .* expected 3 axes"),
        (
            lambda: nn.pad(X, (1, 1), "mirror"),
            gc.OperatorError,
            "expected one of constant, reflect, replicate",
        ),
        (lambda: nn.pad(X, (1, 1, 1)), gc.ShapeError, "expected two numbers for each axis, the last first"),
        (lambda: nn.interpolate(X), gc.OperatorError, "expected one of them"),
        (lambda: nn.interpolate(X, 3, 2.0), gc.OperatorError, "expected one of them"),
        (lambda: nn.interpolate(X, 3, mode="area"), gc.OperatorError, "mode is 'area'; expected one of nearest"),
        (lambda: nn.interpolate(X, 3, mode="linear"), gc.ShapeError, "'linear' expects 3 axes"),
        (lambda: nn.interpolate(X, 3, align_corners=True), gc.OperatorError, "'nearest' has no such option"),
        (lambda: nn.interpolate(X, (3, 4, 5)), gc.OperatorError, "expected a positive number, or 2"),
        (lambda: nn.interpolate(X, scale_factor=-1.0), gc.OperatorError, "scale_factor is -1.0"),
        (lambda: nn.pixel_shuffle(X, 3), gc.ShapeError, "a multiple of 9 channels"),
        (lambda: nn.pixel_unshuffle(X, 2), gc.ShapeError, "the last two multiples of 2"),
    ],
)
def test_padding_and_resampling_that_cannot_be_are_errors(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_unflatten_splits_an_axis() -> None:
    x = gc.input("x", ("n", 12, 5))
    assert nn.Unflatten(1, (3, 4))(x).shape == (x.shape[0], 3, 4, 5)
    assert nn.Unflatten(-2, (2, -1))(x).shape == (x.shape[0], 2, 6, 5)
    assert nn.Flatten(1, 2)(nn.Unflatten(1, (3, 4))(x)).shape == x.shape
    assert repr(nn.Unflatten(1, [3, 4])) == "Unflatten(dim=1, unflattened_size=(3, 4))"
    with pytest.raises(gc.ShapeError, match="which has no axis 3"):
        nn.Unflatten(3, (1, 1))(x)
    with pytest.raises(gc.ShapeError):
        nn.Unflatten(1, (5, 4))(x)


@pytest.mark.parametrize("options", [{"output_padding": 1}, {"stride": 2, "output_padding": (1, 2)}])
def test_what_a_transposed_convolution_adds_is_less_than_its_stride_or_dilation(options: dict) -> None:
    layer = nn.ConvTranspose2d(3, 3, **options)
    with pytest.raises(gc.OperatorError, match=r"output_padding is \(1, \d\); expected less than the stride"):
        layer(gc.input("x", ("n", 2, 8, 8)))


INDICES = gc.input("i", X.shape, "int64")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.MaxUnpool2d(2)(X, X), gc.DTypeError, "the indices are float32.*; expected int64"),
        (lambda: nn.MaxUnpool2d(2)(X, INDICES[:, :, 1:]), gc.ShapeError, r"the indices have shape \(n, 4, 8, 10\)"),
        (lambda: nn.MaxUnpool2d(2)(X, INDICES, (18,)), gc.ShapeError, r"output_size is \[18\]; expected 2 sizes"),
        (lambda: nn.ConvTranspose2d(6, 3)(X, output_size=(11,)), gc.ShapeError, "expected 2 sizes"),
        (lambda: nn.ConvTranspose2d(6, 3)(X, (12, 12)), gc.ShapeError, r"sizes from \[11, 12\] to \[11, 12\]"),
        (
            lambda: nn.ConvTranspose1d(6, 3)(gc.input("x", ("n", 4, "t")), (12,)),
            gc.ShapeError,
            "known ones of the input",
        ),
    ],
)
def test_sizes_and_indices_that_do_not_fit_are_errors(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_unpooling_undoes_pooling_of_what_it_made() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(np.float32)
    pool = nn.MaxPool2d(2, return_indices=True)
    maxima, places = pool(gc.input("x", ("n", 3, "h", "w")))
    back = nn.max_unpool2d(maxima, places, 2, output_size=("h", "w"))
    found, again = gc.evaluate([maxima, pool(back)[0]], {"x": abs(x)})
    np.testing.assert_array_equal(again, found)
