"""Linear, Flatten, Identity, Sequential; and the three styles that build one graph."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn


def values(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


# --- Linear -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(7,), ("batch", 7), ("batch", "time", 7), (2, 3, 4, 7)], ids=["vector", "matrix", "sequence", "rank-4"]
)
def test_linear_is_x_times_weight_transposed_plus_bias(shape: tuple, bias: bool) -> None:
    x = gc.input("x", shape)
    layer = nn.Linear(5, bias=bias, bias_init=nn.init.Normal())
    output = layer(x)
    assert output.shape == (*x.shape[:-1], 5)
    data = values(*[d if isinstance(d, int) else 3 for d in shape])
    state = nn.init.initialize(layer.parameters())
    expected = data.astype(float) @ state["weight"].astype(float).T + (state["bias"] if bias else 0.0)
    np.testing.assert_allclose(gc.evaluate(output, {"x": data}, state=state), expected, rtol=2e-6, atol=2e-6)


def test_a_matrix_takes_one_gemm_and_other_ranks_a_matmul() -> None:
    assert gc.graph(nn.Linear(5)(gc.input("x", ("n", 3)))).operators() == {"Gemm": 1}
    assert gc.graph(nn.Linear(5, bias=False)(gc.input("x", ("n", 3)))).operators() == {"Gemm": 1}
    assert gc.graph(nn.Linear(5)(gc.input("x", ("n", "t", 3)))).operators() == {"Add": 1, "MatMul": 1, "Transpose": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(3, 5),
        lambda: nn.Linear(in_features=3, out_features=5),
        lambda: nn.Linear(3, out_features=5),
        lambda: nn.Linear(5),
        lambda: nn.Linear(out_features=5),
    ],
)
def test_sizes_are_given_as_in_pytorch_or_inferred(make) -> None:
    layer = make()
    layer(gc.input("x", ("n", 3)))
    assert (layer.in_features, layer.out_features) == (3, 5)
    assert layer.weight.shape == (5, 3)
    assert layer.bias.shape == (5,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(),
        lambda: nn.Linear(3, 4, 5),
        lambda: nn.Linear(3, 4, False),
        lambda: nn.Linear(in_features=3),
        lambda: nn.Linear(3.0, 4),
        lambda: nn.Linear("batch"),
        lambda: nn.Linear(-1),
        lambda: nn.Linear(3, 4, out_features=5),
    ],
)
def test_other_sizes_are_errors(make) -> None:
    with pytest.raises(gc.OperatorError, match=r"Linear: the sizes are \[.*\]; expected out_features, or in_features"):
        make()


def test_default_values_are_pytorchs() -> None:
    layer = nn.Linear(100, 400)
    initial = {name: t.node.attrs["initializer"] for name, t in layer.named_parameters()}
    assert initial == {"weight": nn.init.KaimingUniform(a=5**0.5), "bias": nn.init.Uniform(-0.1, 0.1)}


def test_initializers_and_arrays_set_the_first_values() -> None:
    layer = nn.Linear(2, weight_init=[[1, 2, 3], [4, 5, 6]], bias_init=nn.init.Ones())
    output = layer(gc.input("x", ("n", 3)))
    assert gc.evaluate(output, {"x": np.eye(3, dtype="float32")}).tolist() == [[2, 5], [3, 6], [4, 7]]


def test_no_features_give_the_bias() -> None:
    output = nn.Linear(2, bias_init=[1, 2])(gc.input("x", ("n", 0)))
    assert gc.evaluate(output, {"x": np.zeros((3, 0), "float32")}).tolist() == [[1, 2]] * 3


def test_dtype_is_that_of_the_parameters() -> None:
    layer = nn.Linear(2, dtype="float64")
    assert layer(gc.input("x", ("n", 3), "float64")).dtype is gc.float64
    assert layer.weight.dtype is layer.bias.dtype is gc.float64


def test_an_input_of_another_dtype_is_an_error() -> None:
    with pytest.raises(gc.DTypeError) as error:
        nn.Linear(2, name="head")(gc.input("x", ("n", 3), "int64"))
    message = str(error.value)
    assert message.startswith("Linear 'head': the input is int64[n, 3]; expected float32 [test_layers.py:")
    assert message.endswith("Convert it with .cast('float32'), or give the layer dtype='int64'.")


def test_an_input_of_another_width_is_an_error() -> None:
    layer = nn.Linear(2, name="head")
    layer(gc.input("x", ("n", 3)))
    with pytest.raises(gc.ShapeError) as error:
        layer(gc.input("z", ("n", 4)))
    message = str(error.value)
    assert message.startswith("Linear 'head': the input is float32[n, 4]; expected 3 features in the last axis [test_l")
    assert message.endswith("A layer keeps its sizes; make a second one for other inputs.")


def test_a_symbolic_width_is_an_error_when_it_must_be_known() -> None:
    with pytest.raises(gc.ShapeError) as error:
        nn.Linear(2)(gc.input("x", ("n", "features")))
    assert "the last axis of the input is features, a symbol [test_layers.py:" in str(error.value)
    assert nn.Linear(3, 2)(gc.input("x", ("n", "features"))).shape[-1] == 2


def test_a_scalar_is_an_error() -> None:
    with pytest.raises(gc.ShapeError, match="Linear: the input is a scalar; expected at least one axis"):
        nn.Linear(2)(gc.input("x", ()))


# --- Flatten, Identity, Sequential --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(nn.Flatten(), (2, 60)), (nn.Flatten(0), (120,)), (nn.Flatten(1, 2), (2, 12, 5)), (nn.Flatten(-2), (2, 3, 20))],
)
def test_flatten_joins_axes(layer: nn.Flatten, expected: tuple[int, ...]) -> None:
    data = values(2, 3, 4, 5)
    output = layer(gc.input("x", (2, 3, 4, 5)))
    assert output.shape == expected
    assert np.array_equal(gc.evaluate(output, {"x": data}), data.reshape(expected))


def test_flatten_keeps_a_symbolic_batch() -> None:
    x = gc.input("x", ("batch", 3, 4))
    assert nn.Flatten()(x).shape == (x.shape[0], 12)


def test_identity_is_no_node() -> None:
    x = gc.input("x", (2,))
    assert nn.Identity()(x) == x


def test_sequential_is_a_sequence() -> None:
    layers = [nn.Linear(3), nn.ReLU(), nn.Linear(2)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert list(net[1:]) == layers[1:]
    assert len(nn.Sequential()) == 0


def test_a_slice_shares_the_layers() -> None:
    net = nn.Sequential(nn.Linear(3), nn.ReLU(), nn.Linear(2), name="net")
    x = gc.input("x", ("n", 4))
    output = net(x)
    assert net[2:](net[:2](x)) == output


def test_a_function_is_no_layer() -> None:
    with pytest.raises(gc.OperatorError, match=r"Sequential: argument 1 is <function relu .*expected a module"):
        nn.Sequential(nn.Linear(3), nn.relu)


# --- three styles, one graph --------------------------------------------------------------------------------------


def functional_style(x: gc.Tensor) -> gc.Tensor:
    def layer(x: gc.Tensor, position: int, width: int) -> gc.Tensor:
        size = x.shape[-1]
        weight = gc.parameter(f"mlp.{position}.weight", (width, size), nn.init.KaimingUniform(a=5**0.5))
        bias = gc.parameter(f"mlp.{position}.bias", (width,), nn.init.Uniform(-(size**-0.5), size**-0.5))
        return nn.functional.linear(x, weight, bias)

    return layer(nn.relu(layer(x, 0, 16)), 2, 4)


def sequential_style(x: gc.Tensor) -> gc.Tensor:
    return nn.Sequential(nn.Linear(16), nn.ReLU(), nn.Linear(4), name="mlp")(x)


def subclass_style(x: gc.Tensor) -> gc.Tensor:
    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__(name="mlp")
            self.hidden = nn.Linear(9, 16, name="0")
            self.out = nn.Linear(16, 4, name="2")

        def forward(self, x):
            return self.out(nn.relu(self.hidden(x)))

    return MLP()(x)


@pytest.mark.parametrize("style", [sequential_style, subclass_style])
def test_three_styles_build_one_graph(style) -> None:
    def model(build) -> gc.Graph:
        x, y = gc.input("x", ("batch", 9)), gc.input("y", ("batch",), "int64")
        return gc.graph(nn.cross_entropy(build(x), y))

    ours, theirs = model(functional_style), model(style)
    gc.testing.assert_graphs_equal(ours, theirs)
    assert [p.node.attrs for p in ours.parameters.values()] == [p.node.attrs for p in theirs.parameters.values()]
    first, second = nn.init.initialize(ours), nn.init.initialize(theirs)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_styles_with_different_names_build_different_graphs() -> None:
    x = gc.input("x", ("batch", 9))
    other = nn.Sequential(nn.Linear(16), nn.ReLU(), nn.Linear(4))(x)
    assert not gc.graph(functional_style(x)).structurally_equal(gc.graph(other))
