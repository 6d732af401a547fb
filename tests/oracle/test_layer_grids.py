"""Every layer and every loss against PyTorch's, over the grid of its arguments.

Outputs, gradients in all inputs and parameters, and the next running statistics; each graph is built once and run for
two sizes of the batch. Exported files, too.
"""

import inspect

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from layer_grid import REFERENCES, Drawn, arguments, compare, compare_exported, every_layer, torch

from graphc import nn

GRID = every_layer()
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Using padding='same'"),  # PyTorch's, on its speed
    pytest.mark.filterwarnings("ignore:dropout option adds dropout"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides"),
]


FRAMEWORK = {"name", "dtype", "weight_init", "bias_init"}
"""Ours only: names and initial values; PyTorch's dtype is a keyword of every layer."""
UNDRAWN = {
    "MultiheadAttention": {"rotary"},  # not in PyTorch: tests/nn/test_attention_layers.py
    "Transformer": {"custom_encoder", "custom_decoder"},  # modules of one's own
}
MISSING: dict[str, set[str]] = {
    **{f"ConvTranspose{rank}d": {"padding_mode"} for rank in (1, 2, 3)},  # "zeros" is all that PyTorch takes
    **{name: {"proj_size"} for name in ("RNN", "GRU")},  # PyTorch's refuse it
    "EmbeddingBag": {"max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight"},
    "Embedding": {"max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight", "_freeze"},
    "TransformerEncoder": {"enable_nested_tensor", "mask_check"},  # on PyTorch's speed
    "Upsample": {"recompute_scale_factor"},
}
"""What PyTorch's layers take and ours do not."""
ABSENT = {
    "windows that are drawn, in evaluation too": {
        *("FractionalMaxPool2d", "FractionalMaxPool3d"),
    },
    "sizes come from the first input, of every layer": {
        "LazyLinear",
        *(
            f"Lazy{kind}{rank}d"
            for kind in ("BatchNorm", "Conv", "ConvTranspose", "InstanceNorm")
            for rank in (1, 2, 3)
        ),
    },
    "lists, tuples and dicts of modules are attributes": {"ModuleDict", "ModuleList", "ParameterDict", "ParameterList"},
    "other names of what is there": {
        *("Container", "CrossMapLRN2d", "NLLLoss2d", "UpsamplingBilinear2d", "UpsamplingNearest2d"),
    },
    "bases, and a batch over several devices": {"RNNBase", "RNNCellBase", "SyncBatchNorm"},
    "a linear layer and its loss in one, to save memory": {"LinearCrossEntropyLoss", "LinearCrossEntropyOptions"},
}
"""Layers of PyTorch's that are not here, by the reason."""
DEFAULTED = {name: {"dim"} for name in ("Softmax", "LogSoftmax", "Softmin")}  # PyTorch guesses, with a warning
DEFAULTED |= {f"Transformer{kind}": {"activation"} for kind in ("", "EncoderLayer", "DecoderLayer")}  # a name, here
LEGACY = {"device", "dtype", "inplace", "size_average", "reduce", "min_value", "max_value", "mode"}


COSTLY = ("Transformer", "RNN", "GRU", "LSTM")


def hold(name: str, check, count: int, *, derandomize: bool) -> None:
    @settings(
        max_examples=count,
        derandomize=derandomize,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data) -> None:
        check(name, GRID[name](Drawn(data), name), data.draw(st.integers(0, 999)))

    run()


@pytest.mark.parametrize("name", GRID)
def test_outputs_and_all_gradients_equal_pytorchs(name: str) -> None:
    hold(name, compare, 2 if name.startswith(COSTLY) else 4, derandomize=True)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", GRID)
def test_many_outputs_and_all_gradients_equal_pytorchs(name: str) -> None:
    hold(name, compare, 200, derandomize=False)


@pytest.mark.parametrize("name", GRID)
def test_exported_layers_equal_pytorchs(name: str, tmp_path) -> None:
    def check(name: str, case, seed: int) -> None:
        compare_exported(name, case, seed, tmp_path / "layer.onnx")

    hold(name, check, 1, derandomize=True)


def test_every_layer_and_loss_has_a_grid() -> None:
    found = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert set(GRID) == found - {"Module"}


def test_every_layer_of_pytorchs_is_here_or_absent_for_a_reason() -> None:
    theirs = {name for name in torch.nn.modules.__all__ if isinstance(getattr(torch.nn, name), type)}
    assert theirs - set(nn.__all__) == set().union(*ABSENT.values())


def drawn(name: str, count: int) -> set[str]:
    """The arguments that `count` cases of a layer state."""
    found: set[str] = set()

    def note(name: str, case, seed: int) -> None:
        found.update(case.options, case.only_ours)

    hold(name, note, count, derandomize=True)
    return found


@pytest.mark.parametrize("name", GRID)
def test_every_argument_is_drawn(name: str) -> None:
    ours = set(arguments(getattr(nn, name))) - FRAMEWORK
    assert ours - drawn(name, 20) == UNDRAWN.get(name, set())


@pytest.mark.parametrize("name", sorted(set(GRID) - set(REFERENCES)))
def test_every_argument_of_pytorchs_is_taken_with_its_default(name: str) -> None:
    ours, theirs = arguments(getattr(nn, name)), arguments(getattr(torch.nn, name))
    wanted = {key: p for key, p in theirs.items() if key not in LEGACY}
    assert set(wanted) - set(ours) == set(MISSING.get(name, ()))
    for key in wanted.keys() & ours.keys() - DEFAULTED.get(name, set()):
        if wanted[key].default is not inspect.Parameter.empty:
            assert ours[key].default == wanted[key].default, key
