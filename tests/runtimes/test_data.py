"""Mini-batches: every row once, in an order that depends on seed and epoch alone."""

import numpy as np
import pytest

import graphc as gc
from runtimes.data import Dataset, permutation

X, Y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",), "int64")


def dataset(rows, **options):
    return Dataset(
        {"x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), "y": np.arange(rows)}, [X, Y], **options
    )


class Sink(dict):
    """Stands for the inputs of a frame."""

    class Input:
        def __init__(self, shape, dtype):
            self.buffer = np.empty(shape, dtype)

        def feed(self, array):
            self.buffer = array

    def __init__(self, data, rows):
        super().__init__({n: self.Input(s, data._dtypes[n].numpy) for n, s in data.shapes(rows).items()})


def served(data, *arguments, **options):
    """The batches as lists of labels, having checked that x and y stay together."""
    batches = []
    for batch in data.batches(*arguments, **options):
        sink = Sink(data, batch.rows)
        batch.fill(sink)
        x, y = sink["x"].buffer, sink["y"].buffer
        assert len(x) == len(y) == batch.rows
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(x[:, 0], 2 * y)
        batches.append(y.tolist())
    return batches


def test_the_last_batch_is_smaller_or_left_out():
    assert served(dataset(5), 2) == [[0, 1], [2, 3], [4]]
    assert served(dataset(5), 2, drop_last=True) == [[0, 1], [2, 3]]
    assert served(dataset(4), 2, drop_last=True) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("size", [None, 3, 100])
@pytest.mark.parametrize("drop_last", [False, True])
def test_all_rows_make_one_batch_when_none_or_more_are_asked_for(size, drop_last):
    assert served(dataset(3), size, drop_last=drop_last) == [[0, 1, 2]]


def test_single_rows_make_batches():
    assert served(dataset(2), 1) == [[0], [1]]


def test_batches_go_on_from_a_row():
    assert served(dataset(5), 2, start=2) == [[2, 3], [4]]
    assert served(dataset(5), 2, start=2, order=np.array([4, 3, 2, 1, 0])) == [[2, 1], [0]]


def test_an_order_moves_every_row_once():
    order = permutation(50, 1, 2)
    batches = served(dataset(50), 7, order=order)
    assert [label for batch in batches for label in batch] == order.tolist()
    assert sorted(order) == list(range(50))


def test_an_order_is_a_function_of_seed_and_epoch_alone():
    assert permutation(10, 3, 4).tolist() == [1, 8, 6, 0, 2, 9, 7, 4, 3, 5]
    assert len({tuple(permutation(10, s, e)) for s in range(3) for e in range(3)}) == 9


def test_rows_of_unshuffled_data_are_not_copied():
    data = dataset(6)
    sink = Sink(data, 2)
    data.fill(sink, slice(2, 4))
    assert np.shares_memory(sink["x"].buffer, data.arrays["x"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_maps_are_read_batch_by_batch(dtype, tmp_path):
    values = np.arange(12, dtype=dtype).reshape(6, 2)
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = Dataset({"x": mapped, "y": np.arange(6)}, [X, Y])
    assert data.arrays["x"] is mapped
    assert served(data, 4) == [[0, 1, 2, 3], [4, 5]]
    assert served(data, 4, order=np.array([5, 4, 3, 2, 1, 0])) == [[5, 4, 3, 2], [1, 0]]


@pytest.mark.parametrize("order", [None, np.array([0, 1])])
def test_values_of_a_memory_map_that_do_not_fit_are_refused_in_their_batch(order, tmp_path):
    np.save(tmp_path / "x.npy", np.array([5, 300]))
    narrow = gc.input("x", ("batch",), "int8")
    data = Dataset({"x": np.load(tmp_path / "x.npy", mmap_mode="r")}, [narrow])
    first, second = data.batches(1, order=order)
    sink = Sink(data, 1)
    first.fill(sink)
    assert sink["x"].buffer.tolist() == [5]
    with pytest.raises(gc.FeedError, match="data 'x' is int64 with values that int8 cannot hold"):
        second.fill(sink)


def test_other_dtypes_are_converted_once():
    data = Dataset({X: np.arange(4).reshape(2, 2), Y: np.arange(2, dtype=np.uint8)}, [X, Y])
    assert {n: a.dtype.name for n, a in data.arrays.items()} == {"x": "float32", "y": "int64"}


def test_extra_names_are_left_out():
    assert list(Dataset({"x": np.zeros((1, 2)), "y": 3}, [X], extra=["y"]).arrays) == ["x"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, int)}, r"the data set is empty: 'x' has shape \(0, 2\)"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, r"need equally many rows; 'x' has 3, 'y' has 2"),
        ({"x": np.zeros((3, 2)), "z": np.zeros(3)}, r"missing feed: 'y' \(int64\[batch\]\); unknown feed 'z'"),
        ({"x": np.zeros((3, 2)), "y": 1}, r"data 'y' is a single number"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, r"data 'y' is float64; expected int64"),
        ({"x": np.full((3, 2), 1e300), "y": np.zeros(3, int)}, r"data 'x' is float64 with values that float32 cannot"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, message):
    with pytest.raises(gc.FeedError, match=message + r".* \[test_data.py:"):
        Dataset(data, [X, Y])


def test_nan_in_data_is_refused_on_request():
    with pytest.raises(gc.FeedError, match=r"'x' has 1 NaN among 2 values, the first at \(0, 1\)"):
        Dataset({"x": [[0, np.nan]]}, [X], check_nan=True)
