"""Feeds that do not match the declared inputs are refused, each with a message that says what and why."""

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
from runtimes.feeds import FeedChecker, convert

F64 = np.float64


def checker(**inputs):
    """A checker of inputs given as `name=(dtype, shape)`."""
    return FeedChecker([gc.input(name, shape, dtype) for name, (dtype, shape) in inputs.items()])


def refused(check, feeds, *parts):
    with pytest.raises(gc.FeedError) as error:
        check(feeds)
    for part in (*parts, "[test_feeds.py:"):
        assert part in str(error.value)


def test_feeds_of_the_declared_dtype_are_handed_on_without_a_copy():
    x = np.zeros((2, 3), np.float32)
    arrays, sizes = checker(x=("float32", ("batch", 3)))({"x": x})
    assert arrays["x"] is x
    assert sizes == {"batch": 2}


def test_feeds_may_be_keyed_by_tensor():
    x = gc.input("x", (2,))
    arrays, _ = FeedChecker([x])({x: [1.0, 2.0]})
    assert arrays["x"].tolist() == [1.0, 2.0]


def test_a_feed_given_by_name_and_by_tensor_is_refused():
    x = gc.input("x", (2,))
    refused(FeedChecker([x]), {x: [1.0, 2.0], "x": [1.0, 2.0]}, "'x' is given twice")


def test_missing_and_unknown_feeds_are_named_at_once_with_the_nearest_name():
    check = checker(images=("float32", ("batch", 3)), y=("int64", ("batch",)))
    refused(
        check,
        {"imagse": 0},
        "missing feeds: 'images' (float32[batch, 3]), 'y' (int64[batch])",
        "'imagse'; did you mean 'images'?",
    )


def test_an_unknown_feed_far_from_all_names_lists_the_names():
    refused(checker(x=("float32", ())), {"x": 1.0, "temperature": 1.0}, "unknown feed 'temperature'; expected 'x'")


def test_a_tensor_that_is_no_input_of_the_graph_is_an_unknown_feed():
    refused(checker(x=("float32", ())), {gc.input("z", ()): 1.0, "x": 1.0}, "unknown feed 'z'")


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((4,), ["'x' has shape (4,), of rank 1", "float32[batch, 3], of rank 2"]),
        ((2, 4), ["'x' has shape (2, 4)", "dimension 1 is 4; expected 3"]),
    ],
)
def test_a_wrong_rank_or_fixed_dimension_is_named(shape, parts):
    refused(checker(x=("float32", ("batch", 3))), {"x": np.zeros(shape, np.float32)}, *parts)


def test_inputs_that_disagree_on_a_symbol_are_both_named():
    check = checker(x=("float32", ("batch", 3)), y=("int64", ("batch",)))
    feeds = {"x": np.zeros((64, 3), np.float32), "y": np.zeros(32, np.int64)}
    refused(check, feeds, "'batch' is 32 in 'y', but 64 in 'x'")


def test_one_input_that_disagrees_with_itself_is_refused():
    refused(checker(x=("float32", ("n", "n"))), {"x": np.zeros((2, 3), np.float32)}, "'n' is 3 in 'x', but 2 in 'x'")


def test_a_derived_dimension_must_hold_exactly():
    check = checker(x=("float32", ("N",)), pairs=("float32", ("2*N",)))
    _, sizes = check({"x": np.zeros(2), "pairs": np.zeros(4)})
    assert sizes == {"N": 2}
    feeds = {"x": np.zeros(2), "pairs": np.zeros(3)}
    refused(check, feeds, "'pairs': dimension 0 is 3; expected 2*N = 4, as N is 2 in 'x'")


def test_a_symbol_is_solved_from_a_derived_dimension_and_used_elsewhere():
    check = checker(pairs=("float32", ("2*N + 1",)), rest=("float32", ("N*M", "M")))
    _, sizes = check({"pairs": np.zeros(7), "rest": np.zeros((12, 4))})
    assert sizes == {"N": 3, "M": 4}
    refused(check, {"pairs": np.zeros(7), "rest": np.zeros((13, 4))}, "dimension 0 is 13; expected M*N = 12")


def test_a_derived_dimension_that_no_whole_number_gives_is_refused():
    refused(
        checker(p=("float32", ("2*N",))),
        {"p": np.zeros(3)},
        "dimension 0 is 3; expected 2*N, which no whole number gives",
    )


def test_a_dimension_that_cannot_be_solved_is_left_to_the_runtime():
    assert checker(p=("float32", ("N*M",)))({"p": np.zeros(6)})[1] == {}


def test_an_empty_batch_is_allowed():
    assert checker(x=("float32", ("batch", 3)))({"x": np.zeros((0, 3))})[1] == {"batch": 0}


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2], "float32", [1.0, 2.0]),
        (3, "float64", 3.0),
        (np.array([0.5], F64), "float32", [0.5]),
        (np.array([0.5], np.float32), "float64", [0.5]),
        (np.array([1, 255], np.uint8), "float32", [1.0, 255.0]),
        (np.array([1, 2], np.int64), "int8", [1, 2]),
        (np.array([True, False]), "int64", [1, 0]),
        (np.array([np.nan, np.inf]), "float32", [np.nan, np.inf]),
        (np.array([1.5], np.float32), "bfloat16", [1.5]),
        (np.array([1.5], ml_dtypes.bfloat16), "float32", [1.5]),
        (np.array([100_000], np.int64), "float32", [100_000.0]),
    ],
)
def test_values_convert_where_only_floating_point_precision_is_lost(value, dtype, expected):
    array = convert("feed 'x'", value, gc.constant(0, dtype).dtype)
    assert array.dtype.name == dtype
    np.testing.assert_array_equal(array.astype(F64), np.asarray(expected, F64))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([1.0, 2.0], "int64", "is float64; expected int64. Round it on purpose, with .astype('int64')"),
        ([300], "int8", "is int64 with values that int8 cannot hold"),
        ([-1], "uint8", "cannot hold"),
        ([-1], "uint64", "cannot hold"),
        (np.array([2**63], np.uint64), "int64", "cannot hold"),
        ([1e300], "float32", "float64 with values that float32 cannot hold"),
        ([2**24 + 1], "float32", "int64 with values that float32 cannot hold"),
        ([1e6], "float16", "cannot hold"),
        ([100_000], "float16", "cannot hold"),
        ([1], "bool", "is int64; expected bool"),
        ([1.0], "bool", "is float64; expected bool"),
        (["a"], "float32", "is string; expected float32"),
        ([1j], "float32", "is complex128; expected float32"),
        ([[1.0], [1.0, 2.0]], "float32", "is list; expected an array of float32"),
        (None, "float32", "is NoneType; expected float32"),
    ],
)
def test_conversions_that_would_lose_values_are_refused(value, dtype, message):
    with pytest.raises(gc.FeedError, match=r"^feed 'x' is ") as error:
        convert("feed 'x'", value, gc.constant(0, dtype).dtype)
    assert message in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_nan_is_refused_on_request_with_its_place(dtype):
    x = gc.input("x", ("batch", 2), dtype)
    value = np.array([[0, 1], [np.nan, np.nan]]).astype(x.dtype.numpy)
    FeedChecker([x])({"x": value})
    refused(FeedChecker([x], check_nan=True), {"x": value}, "'x' has 2 NaN among 4 values, the first at (1, 0)")


def test_infinities_pass_the_check_for_nan():
    FeedChecker([gc.input("x", (1,))], check_nan=True)({"x": [-np.inf]})


def test_every_call_is_checked_after_a_good_one():
    check = checker(x=("float32", ("batch", 3)), y=("int64", ("batch",)))
    good = {"x": np.zeros((4, 3), np.float32), "y": np.zeros(4, np.int64)}
    check(good)
    check(good)
    refused(check, good | {"y": np.zeros(5, np.int64)}, "'batch' is 5 in 'y', but 4 in 'x'")
