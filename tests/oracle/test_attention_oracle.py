"""Attention and transformer layers against PyTorch's: outputs, weights, and the gradients of everything."""

import itertools

import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 3e-5, "atol": 3e-5}


def _same_gradients(ours: gc.Tensor, theirs, arrays: dict, module, name: str) -> None:
    """Compare the gradients of a sum of squares of the outputs by all inputs and parameters."""
    variables = {key: v for key, v in theirs["inputs"].items() if v.requires_grad}
    (theirs["output"] ** 2).sum().backward()
    state = {f"{name}.{key}": p.detach().numpy() for key, p in module.named_parameters()}
    loss = gc.sum(ours**2)
    graph = gc.graph(loss)
    wrt = {**{key: graph.feeds[key] for key in variables}, **graph.parameters}
    assert set(graph.parameters) == set(state)
    found = gc.evaluate([ours, *gc.grad(loss, wrt).values()], arrays, state=state)
    grads = {f"{name}.{key}": p.grad for key, p in module.named_parameters()}
    expected = [theirs["output"], *(variables[k].grad if k in variables else grads[k] for k in wrt)]
    for key, value, target in zip(["output", *wrt], found, expected, strict=True):
        np.testing.assert_allclose(value, target.detach().numpy(), err_msg=key, **CLOSE)


@pytest.mark.parametrize(("batch_first", "bias", "masked"), list(itertools.product([False, True], repeat=3)))
def test_self_attention_equals_pytorchs(batch_first: bool, bias: bool, masked: bool) -> None:
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first, bias=bias)
    ours = nn.MultiheadAttention(8, 2, batch_first=batch_first, bias=bias, name="a")
    arrays = {"x": RNG.standard_normal((3, 5, 8)).astype(np.float32)}
    batch, steps = (3, 5) if batch_first else (5, 3)
    x = gc.input("x", ("n", "t", 8) if batch_first else ("t", "n", 8))
    variable = torch.tensor(arrays["x"], requires_grad=True)
    options, torch_options = {}, {}
    if masked:
        padding = np.zeros((batch, steps), bool)
        padding[0, -1] = True
        blocked = np.triu(np.ones((steps, steps), bool), 1)
        options = {"key_padding_mask": gc.constant(padding), "attn_mask": gc.constant(blocked)}
        torch_options = {"key_padding_mask": torch.tensor(padding), "attn_mask": torch.tensor(blocked)}
    output, weights = ours(x, **options)
    expected, expected_weights = theirs(variable, variable, variable, **torch_options)
    state = {f"a.{key}": p.detach().numpy() for key, p in theirs.named_parameters()}
    np.testing.assert_allclose(gc.evaluate(weights, arrays, state=state), expected_weights.detach().numpy(), **CLOSE)
    _same_gradients(output, {"output": expected, "inputs": {"x": variable}}, arrays, theirs, "a")


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 4}])
def test_attention_to_other_data_equals_pytorchs(sizes: dict[str, int]) -> None:
    theirs = torch.nn.MultiheadAttention(8, 4, batch_first=True, **sizes)
    ours = nn.MultiheadAttention(8, 4, batch_first=True, name="a", **sizes)
    widths = {"q": 8, "k": sizes.get("kdim", 8), "v": sizes.get("vdim", 8)}
    arrays = {n: RNG.standard_normal((2, 5 if n == "q" else 7, w)).astype(np.float32) for n, w in widths.items()}
    inputs = [gc.input(n, ("n", "t" if n == "q" else "s", w)) for n, w in widths.items()]
    variables = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    added = RNG.standard_normal((2 * 4, 5, 7)).astype(np.float32)
    output, _ = ours(*inputs, attn_mask=gc.constant(added))
    expected, _ = theirs(*variables.values(), attn_mask=torch.tensor(added))
    _same_gradients(output, {"output": expected, "inputs": variables}, arrays, theirs, "a")


@pytest.mark.parametrize(("causal", "scale"), [(False, None), (True, None), (True, 0.3)])
def test_the_function_equals_pytorchs(causal: bool, scale: float | None) -> None:
    arrays = {n: RNG.standard_normal((2, 3, 6, 4)).astype(np.float32) for n in "qkv"}
    mask = None if causal else RNG.random((6, 6)) < 0.8
    found = gc.evaluate(
        nn.scaled_dot_product_attention(
            *map(gc.constant, arrays.values()), attn_mask=mask, is_causal=causal, scale=scale
        )
    )
    tensors = [torch.tensor(a) for a in arrays.values()]
    bools = None if mask is None else torch.tensor(mask)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *tensors, attn_mask=bools, is_causal=causal, scale=scale
    )
    np.testing.assert_allclose(found, expected.numpy(), **CLOSE)


@pytest.mark.parametrize(("norm_first", "activation"), [(False, "relu"), (True, "gelu")])
def test_encoder_layers_equal_pytorchs(norm_first: bool, activation: str) -> None:
    options = {"dim_feedforward": 12, "dropout": 0.0, "norm_first": norm_first, "activation": activation}
    theirs = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True, **options)
    stack = torch.nn.TransformerEncoder(theirs, 2, torch.nn.LayerNorm(8), enable_nested_tensor=False)
    ours = nn.TransformerEncoderLayer(8, 2, batch_first=True, **options)
    arrays = {"x": RNG.standard_normal((3, 5, 8)).astype(np.float32)}
    variable = torch.tensor(arrays["x"], requires_grad=True)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
    for k, p in enumerate(stack.parameters()):  # PyTorch copies the values of the first layer
        p.data = p.data + 0.01 * k
    expected = stack(variable, mask=mask, is_causal=True)
    output = nn.TransformerEncoder(ours, 2, nn.LayerNorm(8), name="e")(gc.input("x", ("n", "t", 8)), is_causal=True)
    _same_gradients(output, {"output": expected, "inputs": {"x": variable}}, arrays, stack, "e")


def test_decoder_layers_equal_pytorchs() -> None:
    theirs = torch.nn.TransformerDecoderLayer(8, 2, 12, 0.0)
    ours = nn.TransformerDecoderLayer(8, 2, 12, 0.0, name="d")
    arrays = {n: RNG.standard_normal((t, 3, 8)).astype(np.float32) for n, t in (("x", 5), ("memory", 6))}
    variables = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
    expected = theirs(variables["x"], variables["memory"], tgt_mask=mask)
    output = ours(gc.input("x", ("t", "n", 8)), gc.input("memory", ("s", "n", 8)), tgt_is_causal=True)
    _same_gradients(output, {"output": expected, "inputs": variables}, arrays, theirs, "d")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # PyTorch's, on its speed
@pytest.mark.parametrize(("norm_first", "batch_first", "bias"), [(False, False, True), (True, True, False)])
def test_transformers_equal_pytorchs(norm_first: bool, batch_first: bool, bias: bool) -> None:
    options = {"dim_feedforward": 12, "dropout": 0.0, "norm_first": norm_first, "batch_first": batch_first}
    theirs = torch.nn.Transformer(8, 2, 2, 3, bias=bias, **options)
    ours = nn.Transformer(8, 2, 2, 3, bias=bias, **options, name="t")
    arrays = {n: RNG.standard_normal((3, t, 8)).astype(np.float32) for n, t in (("src", 6), ("tgt", 5))}
    symbols = [gc.input("src", ("n", "s", 8)), gc.input("tgt", ("n", "t", 8))]
    if not batch_first:
        arrays = {n: a.swapaxes(0, 1) for n, a in arrays.items()}
        symbols = [gc.input("src", ("s", "n", 8)), gc.input("tgt", ("t", "n", 8))]
    variables = {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
    padding = np.zeros((3, 6), bool)
    padding[1, 4:] = True
    masks = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    expected = theirs(
        *variables.values(),
        tgt_mask=torch.triu(torch.ones(5, 5, dtype=torch.bool), 1),
        **{n: torch.tensor(a) for n, a in masks.items()},
    )
    output = ours(*symbols, tgt_is_causal=True, **masks)
    assert ours.state_names() == [f"t.{name}" for name in theirs.state_dict()]
    _same_gradients(output, {"output": expected, "inputs": variables}, arrays, theirs, "t")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # PyTorch's, on its speed
def test_transformers_begin_as_pytorchs() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Transformer(64, 4, 1, 1, 96)
    model, x = nn.Transformer(64, 4, 1, 1, 96), gc.input("x", ("t", "n", 64))
    model(x, x)
    ours = nn.init.initialize(model.parameters())
    for name, parameter in theirs.named_parameters():
        expected = parameter.detach().numpy()
        assert ours[name].std() == pytest.approx(expected.std(), rel=0.25 if expected.ndim == 1 else 0.03, abs=1e-7)
