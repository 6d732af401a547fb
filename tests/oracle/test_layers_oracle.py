"""First values of layers, and layers as functions, against PyTorch's. What layers compute: test_layer_grids.py."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(3)


def images(rank: int, channels: int = 4, size: int = 9) -> np.ndarray:
    return RNG.normal(size=(2, channels, *range(size, size + rank))).astype(np.float32)


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
    ("normalize", {"p": 3.0, "dim": 1}),
    ("normalize", {}),
    ("lp_pool2d", {"norm_type": 2, "kernel_size": 3, "stride": 2}),
    ("unfold", {"kernel_size": 3, "padding": 1}),
    ("interpolate", {"scale_factor": 2.0, "mode": "nearest-exact"}),
    ("softplus", {"beta": 2.0, "threshold": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), FUNCTIONS, ids=str)
def test_functions_of_one_tensor(name: str, options: dict[str, object]) -> None:
    x = images(2 if name.endswith("2d") or name == "unfold" else 1)
    found = gc.evaluate(getattr(nn.functional, name)(gc.input("x", ("batch", *x.shape[1:])), **options), {"x": x})
    expected = getattr(torch.nn.functional, name)(torch.tensor(x), **options).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    x = images(2)
    found = gc.evaluate(nn.pad(gc.input("x", ("batch", *x.shape[1:])), (1, 2, 3, 0), mode), {"x": x})
    expected = torch.nn.functional.pad(torch.tensor(x), (1, 2, 3, 0), mode).numpy()
    np.testing.assert_array_equal(found, expected)
