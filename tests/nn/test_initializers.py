"""Initializers: value equality, runnable text, statistics, fans, seeds by name."""

import math

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.types import TensorType, as_dtype
from graphc.nn.init import Initializer, as_initializer, calculate_gain, fans, initialize

F32 = as_dtype("float32")
EVERY = [
    nn.init.Zeros(),
    nn.init.Ones(),
    nn.init.Constant(0.5),
    nn.init.Eye(),
    nn.init.Uniform(-0.5, 2.0),
    nn.init.Normal(1.0, 0.25),
    nn.init.TruncatedNormal(0.5, 1.0, -1.0, 1.0),
    nn.init.XavierUniform(gain=2.0),
    nn.init.XavierNormal(),
    nn.init.KaimingUniform(a=math.sqrt(5)),
    nn.init.KaimingNormal(mode="fan_out", nonlinearity="relu"),
    nn.init.Orthogonal(gain=0.5),
    nn.init.FromArray(np.arange(6, dtype=np.float32).reshape(2, 3)),
]


def draw(init: Initializer, *shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return init(shape, as_dtype(dtype), np.random.Generator(np.random.Philox(seed)))


def test_the_list_above_names_every_initializer() -> None:
    classes = {v for v in vars(nn.init).values() if isinstance(v, type) and issubclass(v, Initializer)}
    assert {c.__name__ for c in classes if not c.__name__.startswith("_")} - {"Initializer"} == {
        type(i).__name__ for i in EVERY
    }


@pytest.mark.parametrize("init", EVERY, ids=lambda i: type(i).__name__)
def test_text_is_source_of_an_equal_initializer(init: Initializer) -> None:
    again = eval(repr(init), {"nn": nn})
    assert again == init
    assert hash(again) == hash(init)
    assert again is not init


@pytest.mark.parametrize("init", EVERY, ids=lambda i: type(i).__name__)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_an_initializer_gives_the_asked_shape_and_dtype_and_repeats(init: Initializer, dtype: str) -> None:
    if isinstance(init, nn.init.FromArray):
        init = nn.init.FromArray(init.array, dtype)
    first = draw(init, 2, 3, dtype=dtype)
    assert first.shape == (2, 3)
    assert first.dtype == as_dtype(dtype).numpy
    assert first.flags.writeable
    assert np.array_equal(first, draw(init, 2, 3, dtype=dtype))


def test_different_values_make_different_initializers() -> None:
    assert nn.init.Uniform(0, 1) == nn.init.Uniform(0.0, 1.0)
    assert nn.init.Uniform(0, 1) != nn.init.Uniform(0, 2)
    assert nn.init.XavierUniform() != nn.init.XavierNormal()
    assert nn.init.Zeros() != nn.init.Ones()
    assert nn.init.FromArray([1.0], "float32") != nn.init.FromArray([1.0], "float64")
    assert nn.init.FromArray([1.0]) != nn.init.FromArray([2.0])


def test_initializers_are_immutable() -> None:
    with pytest.raises(AttributeError):
        nn.init.Constant(1.0).value = 2.0
    source = np.zeros(3, np.float32)
    init = nn.init.FromArray(source)
    source[:] = 1
    assert not init.array.any()
    with pytest.raises(ValueError, match="read-only"):
        init.array[0] = 1


def test_numpy_scalars_do_not_show_in_the_text() -> None:
    assert repr(nn.init.Uniform(-np.float32(0.5), np.float64(0.5))) == "nn.init.Uniform(low=-0.5, high=0.5)"


def test_the_text_of_a_large_array_is_short() -> None:
    assert repr(nn.init.FromArray(np.zeros((100, 100), np.float32))) == (
        "nn.init.FromArray(float32[100, 100], dtype='float32')"
    )


def test_names_by_author_are_the_same_classes() -> None:
    assert nn.init.GlorotUniform is nn.init.XavierUniform
    assert nn.init.GlorotNormal is nn.init.XavierNormal
    assert nn.init.HeUniform is nn.init.KaimingUniform
    assert nn.init.HeNormal is nn.init.KaimingNormal


@pytest.mark.parametrize(("shape", "expected"), [((8, 3), (3, 8)), ((8, 3, 5, 7), (105, 280)), ((4, 2, 3), (6, 12))])
def test_fans_count_the_kernel(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert fans(shape) == expected


# (initializer, expected mean, expected standard deviation, bounds) for a weight of shape (200, 100, 5)
STATISTICS = [
    (nn.init.Uniform(-1, 3), 1.0, 4 / math.sqrt(12), (-1, 3)),
    (nn.init.Normal(2.0, 0.5), 2.0, 0.5, None),
    (nn.init.TruncatedNormal(), 0.0, 0.8796256610342398, (-2, 2)),  # scipy.stats.truncnorm(-2, 2).std()
    (nn.init.XavierUniform(3.0), 0.0, 3 * math.sqrt(2 / 1500), (-3 * math.sqrt(6 / 1500), 3 * math.sqrt(6 / 1500))),
    (nn.init.XavierNormal(), 0.0, math.sqrt(2 / 1500), None),
    (nn.init.KaimingUniform(), 0.0, math.sqrt(2 / 500), (-math.sqrt(6 / 500), math.sqrt(6 / 500))),
    (nn.init.KaimingUniform(a=math.sqrt(5)), 0.0, math.sqrt(1 / 1500), (-math.sqrt(1 / 500), math.sqrt(1 / 500))),
    (nn.init.KaimingNormal(mode="fan_out", nonlinearity="tanh"), 0.0, 5 / 3 / math.sqrt(1000), None),
]


@pytest.mark.parametrize(("init", "mean", "std", "bounds"), STATISTICS, ids=lambda v: repr(v)[:40])
def test_samples_have_the_stated_moments(
    init: Initializer, mean: float, std: float, bounds: tuple[float, float] | None
) -> None:
    values = draw(init, 200, 100, 5, dtype="float64")
    assert values.mean() == pytest.approx(mean, abs=4 * std / math.sqrt(values.size))
    assert values.std() == pytest.approx(std, rel=0.01)
    if bounds is not None:
        width = bounds[1] - bounds[0]
        assert bounds[0] <= values.min() < bounds[0] + 0.01 * width
        assert bounds[1] >= values.max() > bounds[1] - 0.01 * width


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (4, 3, 2), (9, 2, 2)])
def test_orthogonal_rows_or_columns_are_orthonormal_up_to_the_gain(shape: tuple[int, ...]) -> None:
    matrix = draw(nn.init.Orthogonal(gain=3.0), *shape, dtype="float64").reshape(shape[0], -1)
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(small @ small.T, 9 * np.eye(len(small)), atol=1e-13)


def test_orthogonal_prefers_no_sign() -> None:
    corners = [draw(nn.init.Orthogonal(), 3, 3, seed=seed)[0, 0] for seed in range(200)]
    assert 60 < sum(c > 0 for c in corners) < 140


def test_eye_has_ones_on_the_diagonal() -> None:
    assert np.array_equal(draw(nn.init.Eye(), 2, 3), np.eye(2, 3, dtype=np.float32))


def test_a_parameter_without_elements_draws_nothing() -> None:
    for init in EVERY[:-1]:
        assert draw(init, 0, 3).shape == (0, 3)


def test_gains_are_those_of_the_literature() -> None:
    assert calculate_gain("relu") == math.sqrt(2)
    assert calculate_gain("selu") == 0.75
    assert calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(gc.OperatorError, match="the nonlinearity is 'swish'; expected one of linear, "):
        calculate_gain("swish")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.init.Uniform(1, 0), r"Uniform\(low=1, high=0\): expected low <= high \[test_initializers.py:\d+\]"),
        (lambda: nn.init.Normal(0, -1), r"Normal\(mean=0, std=-1\): expected std >= 0"),
        (lambda: nn.init.Normal(0, math.nan), "expected std >= 0"),
        (lambda: nn.init.TruncatedNormal(low=5, high=6), "at least 1 % of the distribution between low and high"),
        (lambda: nn.init.KaimingUniform(mode="fan_sum"), "expected the mode 'fan_in' or 'fan_out'"),
        (lambda: nn.init.KaimingNormal(nonlinearity="gelu"), "the nonlinearity is 'gelu'; expected one of linear"),
    ],
)
def test_impossible_arguments_are_errors(make, message: str) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()


@pytest.mark.parametrize(
    "init", [nn.init.XavierUniform(), nn.init.XavierNormal(), nn.init.KaimingUniform(), nn.init.Orthogonal()]
)
def test_a_vector_has_no_fans(init: Initializer) -> None:
    with pytest.raises(gc.ShapeError, match=r"found (the shape )?\(3,\)"):
        draw(init, 3)


def test_a_vector_is_no_eye() -> None:
    with pytest.raises(gc.ShapeError, match=r"found the shape \(3,\); expected a matrix"):
        draw(nn.init.Eye(), 3)


def test_an_integer_parameter_does_not_truncate_values() -> None:
    assert draw(nn.init.Constant(3), 2, dtype="int64").tolist() == [3, 3]
    assert draw(nn.init.Constant(2**60 + 1), dtype="int64") == 2**60 + 1
    with pytest.raises(gc.DTypeError, match=r"nn.init.Constant\(value=0.5\) gives values that int64 cannot hold"):
        draw(nn.init.Constant(0.5), 2, dtype="int64")


# --- as_initializer -----------------------------------------------------------------------------------------------


def test_values_become_initializers() -> None:
    t = TensorType(F32, (2,))
    given = nn.init.Normal()
    assert as_initializer(None, t) == nn.init.Zeros()
    assert as_initializer(given, t) is given
    assert as_initializer(2.5, t) == nn.init.Constant(2.5)
    assert as_initializer([1, 2], t) == nn.init.FromArray(np.array([1, 2], np.float32))
    assert as_initializer(np.array([1, 2], np.float32), t) == nn.init.FromArray(np.array([1, 2], np.float32))


def test_an_array_of_another_shape_names_both() -> None:
    with pytest.raises(gc.ShapeError) as error:
        gc.parameter("w", (3,), np.zeros(4, np.float32))
    assert str(error.value).startswith(
        "the initial array has the shape (4,); the parameter is float32[3] [test_initializers.py:"
    )
    assert "Reshape the array" in str(error.value)


def test_an_array_of_another_dtype_says_how_to_convert() -> None:
    with pytest.raises(gc.DTypeError, match=r"the initial array is float64; the parameter is float32\[3\] .*astype"):
        gc.parameter("w", (3,), np.zeros(3))
    assert gc.parameter("w", (3,), np.zeros(3, ml_dtypes.bfloat16), dtype="bfloat16").dtype.name == "bfloat16"


@pytest.mark.parametrize("bad", ["ones", nn.init.Ones, object()])
def test_what_is_no_initial_value_is_an_error(bad: object) -> None:
    with pytest.raises(gc.OperatorError, match=r"expected an initializer of graphc\.nn\.init"):
        gc.parameter("w", (3,), bad)


def test_a_parameter_needs_a_static_shape() -> None:
    with pytest.raises(gc.ShapeError, match=r"the parameter is float32\[batch, 3\]; expected a static shape"):
        gc.parameter("w", ("batch", 3))


# --- initialize ---------------------------------------------------------------------------------------------------


def normals(*names: str) -> list[gc.Tensor]:
    return [gc.parameter(name, (4,), nn.init.Normal()) for name in names]


def test_first_values_depend_on_the_name_alone() -> None:
    both = initialize(normals("a", "b"), seed=3)
    reversed_order = initialize(normals("c", "b", "a"), seed=3)
    assert np.array_equal(both["a"], reversed_order["a"])
    assert np.array_equal(both["b"], reversed_order["b"])
    assert not np.array_equal(both["a"], both["b"])


def test_first_values_depend_on_the_seed() -> None:
    (a,) = normals("a")
    assert np.array_equal(initialize([a], 1)["a"], initialize([a], 1)["a"])
    assert not np.array_equal(initialize([a], 1)["a"], initialize([a], 2)["a"])


def test_first_values_are_pinned() -> None:
    """So that a seed means the same model in every release; the generator and the keys must not change."""
    pinned = [-0.3636325001716614, -1.5314682722091675, 0.21774932742118835, 0.7231817841529846]
    np.testing.assert_allclose(initialize(normals("a"), 0)["a"], pinned, rtol=1e-6)


def test_a_graph_a_list_and_a_dictionary_are_initialized_alike() -> None:
    a, b = normals("a", "b")
    graph = gc.graph(a * b)
    of_graph = initialize(graph)
    assert list(of_graph) == ["a", "b"]
    for other in (initialize([a, b]), initialize(graph.parameters)):
        assert all(np.array_equal(of_graph[name], other[name]) for name in of_graph)


@pytest.mark.parametrize("seed", [-1, 0.5, True, None])
def test_a_seed_is_a_non_negative_integer(seed: object) -> None:
    with pytest.raises(gc.OperatorError, match=r"the seed is .*; expected a non-negative integer"):
        initialize(normals("a"), seed)


def test_an_input_cannot_be_initialized() -> None:
    with pytest.raises(gc.OperatorError, match="expected a parameter"):
        initialize([gc.input("x", (3,))])


def test_an_initializer_of_the_wrong_shape_is_caught() -> None:
    class Wrong(Initializer):
        def _sample(self, shape, rng):
            return np.zeros(7)

    with pytest.raises(gc.ShapeError, match=r"gave the shape \(7,\) for 'w', which is float32\[3\]"):
        initialize([gc.parameter("w", (3,), Wrong())])
