"""Convolution, pooling, normalization and embedding layers against PyTorch's: outputs, all gradients, state names."""

import itertools

import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(3)


def compare(ours: nn.Module, theirs, x: np.ndarray, rtol: float = 2e-5) -> None:
    """Outputs and gradients for the same parameters, with a symbolic batch."""
    data = gc.input("x", ("batch", *x.shape[1:]), x.dtype)
    y = ours(data)
    assert ours.state_names() == list(theirs.state_dict())
    state = {n: RNG.normal(0.5, 1, tuple(v.shape)).astype(np.float32) for n, v in theirs.state_dict().items()}
    theirs.load_state_dict({n: torch.tensor(v) for n, v in state.items()})
    wrt = [*([data] if x.dtype.kind == "f" else []), *ours.parameters()]
    found = gc.evaluate([y, *gc.grad((y * gc.sin(y)).sum(), wrt)], {"x": x}, state=state)

    given = torch.tensor(x, requires_grad=x.dtype.kind == "f")
    result = theirs(given)
    (result * torch.sin(result)).sum().backward()
    expected = [result.detach(), *([given.grad] if given.requires_grad else []), *(p.grad for p in theirs.parameters())]
    assert found[0].shape == tuple(result.shape)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=rtol, atol=rtol * float(b.abs().max()))


def images(rank: int, channels: int = 4, size: int = 9) -> np.ndarray:
    return RNG.normal(size=(2, channels, *range(size, size + rank))).astype(np.float32)


CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "bias": False},
    {"groups": 2, "padding": 2, "dilation": 2, "stride": 3},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": 1, "padding_mode": "replicate", "stride": 2},
    {"padding": 2, "padding_mode": "circular"},
    {"padding": "same", "padding_mode": "replicate"},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2])
def test_convolution(rank: int, options: dict[str, object]) -> None:
    name = f"Conv{rank}d"
    compare(getattr(nn, name)(4, 6, 3, **options), getattr(torch.nn, name)(4, 6, 3, **options), images(rank))


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch's, on its speed
def test_convolution_with_an_option_for_each_axis() -> None:
    options = {"kernel_size": (2, 4), "stride": (1, 2), "padding": (1, 0), "dilation": (3, 1)}
    compare(nn.Conv2d(4, 6, **options), torch.nn.Conv2d(4, 6, **options), images(2))
    options = {"kernel_size": (2, 4), "padding": "same"}
    compare(nn.Conv2d(6, **options), torch.nn.Conv2d(4, 6, **options), images(2))


def test_convolution_of_volumes() -> None:
    x = images(3, channels=2, size=4)
    compare(nn.Conv3d(3, 2, padding=1), torch.nn.Conv3d(2, 3, 2, padding=1), x)
    compare(nn.ConvTranspose3d(3, 2, stride=2), torch.nn.ConvTranspose3d(2, 3, 2, stride=2), x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"groups": 2, "dilation": 2, "bias": False},
        {"dilation": 2, "padding": 1, "output_padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2])
def test_transposed_convolution(rank: int, options: dict[str, object]) -> None:
    name = f"ConvTranspose{rank}d"
    ours, theirs = getattr(nn, name)(4, 6, 3, **options), getattr(torch.nn, name)(4, 6, 3, **options)
    compare(ours, theirs, images(rank, size=5))


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (nn.Conv2d(12, 20, 3), torch.nn.Conv2d(12, 20, 3)),
        (nn.ConvTranspose2d(12, 20, 3), torch.nn.ConvTranspose2d(12, 20, 3)),
        (nn.Embedding(50, 20), torch.nn.Embedding(50, 20)),
    ],
    ids=["conv", "transposed", "embedding"],
)
def test_first_values_have_pytorchs_spread(make: nn.Module, other) -> None:
    values = nn.init.initialize(make.parameters())
    for name, theirs in other.state_dict().items():
        if theirs.numel() > 100:
            assert values[name].std() == pytest.approx(float(theirs.std()), rel=0.1)
        else:
            assert np.abs(values[name]).max() == pytest.approx(float(theirs.abs().max()), rel=0.3)


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 1},
]


@pytest.mark.parametrize("options", POOLS, ids=str)
@pytest.mark.parametrize(("kind", "rank"), list(itertools.product(["MaxPool", "AvgPool"], [1, 2, 3])))
def test_pooling(kind: str, rank: int, options: dict[str, object]) -> None:
    name = f"{kind}{rank}d"
    x = images(rank, channels=2, size=6 if rank == 3 else 9)
    compare(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x)


def test_pooling_options_of_one_kind() -> None:
    for options in ({"dilation": 2}, {"dilation": (1, 3), "stride": 1, "padding": 1}):
        compare(nn.MaxPool2d(3, **options), torch.nn.MaxPool2d(3, **options), images(2))
    for options in ({"padding": 1, "count_include_pad": False}, {"padding": 1, "stride": 2}):
        compare(nn.AvgPool2d(3, **options), torch.nn.AvgPool2d(3, **options), images(2))


@pytest.mark.parametrize("size", [1, 3, 4, (2, None), (None, 1)], ids=str)
@pytest.mark.parametrize("kind", ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d"])
def test_adaptive_pooling(kind: str, size: object) -> None:
    compare(getattr(nn, kind)(size), getattr(torch.nn, kind)(size), images(2))


@pytest.mark.parametrize("kind", ["AdaptiveAvgPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("rank", [1, 3])
def test_adaptive_pooling_of_other_ranks(kind: str, rank: int) -> None:
    name = f"{kind}{rank}d"
    compare(getattr(nn, name)(2), getattr(torch.nn, name)(2), images(rank, channels=2, size=3))


NORMS = [
    ("LayerNorm", (7,), {}, (3, 5, 7)),
    ("LayerNorm", ((5, 7),), {"eps": 1e-2}, (3, 5, 7)),
    ("LayerNorm", (7,), {"bias": False}, (3, 7)),
    ("LayerNorm", (7,), {"elementwise_affine": False}, (3, 7)),
    ("RMSNorm", (7,), {}, (3, 5, 7)),
    ("RMSNorm", ((5, 7),), {"eps": 1e-2}, (3, 5, 7)),
    ("RMSNorm", (7,), {"elementwise_affine": False}, (3, 7)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4)),
    ("GroupNorm", (3, 6), {"eps": 1e-2}, (3, 6, 4, 5)),
    ("GroupNorm", (1, 6), {"affine": False}, (3, 6, 4)),
    ("InstanceNorm1d", (6,), {}, (3, 6, 4)),
    ("InstanceNorm2d", (6,), {"affine": True, "eps": 1e-2}, (3, 6, 4, 5)),
    ("InstanceNorm3d", (6,), {"affine": True}, (3, 6, 2, 3, 2)),
]


@pytest.mark.parametrize(("name", "sizes", "options", "shape"), NORMS, ids=str)
def test_normalization(name: str, sizes: tuple, options: dict[str, object], shape: tuple[int, ...]) -> None:
    x = RNG.normal(1, 2, shape).astype(np.float32)
    compare(getattr(nn, name)(*sizes, **options), getattr(torch.nn, name)(*sizes, **options), x, rtol=1e-4)


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding(padding: int | None) -> None:
    indices = np.array([[0, 2, 2], [6, 1, 0]])
    compare(nn.Embedding(7, 4, padding_idx=padding), torch.nn.Embedding(7, 4, padding_idx=padding), indices)


FUNCTIONS = [
    ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool1d", {"kernel_size": 3}),
    ("avg_pool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    ("avg_pool1d", {"kernel_size": 3}),
    ("adaptive_avg_pool2d", {"output_size": 4}),
    ("adaptive_max_pool1d", {"output_size": 4}),
    ("layer_norm", {"normalized_shape": (9,)}),
    ("layer_norm", {"normalized_shape": (4, 9), "eps": 0.1}),
    ("rms_norm", {"normalized_shape": (9,)}),
    ("group_norm", {"num_groups": 2, "eps": 0.1}),
    ("instance_norm", {"eps": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), FUNCTIONS, ids=str)
def test_functions_of_one_tensor(name: str, options: dict[str, object]) -> None:
    x = images(2 if name.endswith("2d") else 1)
    found = gc.evaluate(getattr(nn.functional, name)(gc.input("x", ("batch", *x.shape[1:])), **options), {"x": x})
    expected = getattr(torch.nn.functional, name)(torch.tensor(x), **options).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


PADS = [
    *((f"{kind}Pad{rank}d", rank) for kind in ("Reflection", "Replication", "Circular", "Zero") for rank in (1, 2, 3)),
    ("ConstantPad2d", 2),
]


@pytest.mark.parametrize(("name", "rank"), PADS)
def test_padding(name: str, rank: int) -> None:
    options = [1, tuple(range(2 * rank))] if rank < 3 else [(1, 0, 1, 1, 0, 1)]
    for padding in options:
        arguments = (padding, 2.5) if name.startswith("Constant") else (padding,)
        theirs = getattr(torch.nn, name)(*arguments)
        compare(getattr(nn, name)(*arguments), theirs, images(rank, channels=2, size=5))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    x = images(2)
    found = gc.evaluate(nn.pad(gc.input("x", ("batch", *x.shape[1:])), (1, 2, 3, 0), mode), {"x": x})
    expected = torch.nn.functional.pad(torch.tensor(x), (1, 2, 3, 0), mode).numpy()
    np.testing.assert_array_equal(found, expected)


RESAMPLINGS = [
    (1, {"scale_factor": 3.0}),
    (2, {"scale_factor": 2}),
    (2, {"size": (4, 17)}),
    (1, {"scale_factor": 2.5, "mode": "linear"}),
    (2, {"scale_factor": (2.0, 3.0), "mode": "bilinear"}),
    (2, {"size": (5, 14), "mode": "bilinear", "align_corners": True}),
    (3, {"scale_factor": 2.0, "mode": "trilinear", "align_corners": False}),
    (2, {"size": 12, "mode": "bicubic", "align_corners": False}),
    (2, {"scale_factor": 2.0, "mode": "bicubic", "align_corners": True}),
]


@pytest.mark.parametrize(("rank", "options"), RESAMPLINGS, ids=str)
def test_upsampling(rank: int, options: dict[str, object]) -> None:
    x = images(rank, channels=2, size=4 if rank == 3 else 9)
    compare(nn.Upsample(**options), torch.nn.Upsample(**options), x, rtol=1e-4)


def test_unflatten() -> None:
    compare(nn.Unflatten(1, (2, -1)), torch.nn.Unflatten(1, (2, -1)), images(2))


def test_pixels_and_channels() -> None:
    compare(nn.PixelShuffle(2), torch.nn.PixelShuffle(2), images(2, channels=12))
    compare(nn.PixelUnshuffle(3), torch.nn.PixelUnshuffle(3), RNG.normal(size=(2, 2, 6, 9)).astype(np.float32))
