"""Readers of data set files, on small files written here byte by byte."""

import gzip
import struct

import numpy as np
import pytest

import graphc as gc

RNG = np.random.default_rng(0)


def idx(array: np.ndarray, code: int) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "code", "shape"),
    [("uint8", 8, (5, 28, 28)), ("uint8", 8, (5,)), ("int32", 12, (2, 3)), ("float32", 13, (4,)), ("float64", 14, ())],
)
def test_idx_files_are_read_as_they_state(dtype, code, shape, packed, tmp_path) -> None:
    array = (RNG.random(shape) * 200).astype(dtype)
    content = idx(np.asarray(array), code)
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = gc.datasets.read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == dtype


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the header of an IDX file"),
        (b"PK\3\4", r"starts with b'PK\\x03\\x04'; expected the header"),
        (idx(np.zeros((3, 2), np.uint8), 8)[:-1], "has 17 bytes; its header says 18"),
        (idx(np.zeros((3, 2), np.uint8), 8) + b"\0", "has 19 bytes; its header says 18"),
        (b"\0\0\x08\x03\0\0", "has 6 bytes; its header says 16"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "its header says"),
        (b"\x1f\x8bnothing", "cannot read"),
    ],
)
def test_damaged_idx_files_are_refused(content, message, tmp_path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(gc.FeedError, match=message):
        gc.datasets.read_idx(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(gc.FeedError, match=r"cannot read 'nowhere': .*No such file"):
        gc.datasets.read_idx("nowhere")


def test_cifar10_files_are_joined_in_order(tmp_path) -> None:
    images = RNG.integers(0, 256, (5, 3, 32, 32), np.uint8)
    labels = np.array([3, 9, 0, 1, 5])
    records = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(5, -1)], 1)
    (tmp_path / "a.bin").write_bytes(records[:2].tobytes())
    (tmp_path / "b.bin").write_bytes(records[2:].tobytes())
    found = gc.datasets.read_cifar10([tmp_path / "a.bin", tmp_path / "b.bin"])
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)
    np.testing.assert_array_equal(gc.datasets.read_cifar10(tmp_path / "a.bin")[1], labels[:2])


def test_cifar100_has_fine_and_coarse_labels(tmp_path) -> None:
    record = np.concatenate([[19, 99], np.arange(3072) % 256]).astype(np.uint8)
    (tmp_path / "train.bin").write_bytes(record.tobytes())
    images, fine, coarse = gc.datasets.read_cifar100(tmp_path / "train.bin")
    assert (fine.tolist(), coarse.tolist()) == ([99], [19])
    np.testing.assert_array_equal(images.ravel(), record[2:])


def test_damaged_cifar_files_are_refused(tmp_path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\0" * 3072)
    with pytest.raises(gc.FeedError, match="has 3072 bytes; expected a multiple of 3073"):
        gc.datasets.read_cifar10(path)
    path.write_bytes(b"\x0a" + b"\0" * 3072)
    with pytest.raises(gc.FeedError, match="has the label 10; expected labels below 10"):
        gc.datasets.read_cifar10(path)
    with pytest.raises(gc.FeedError, match="no file of CIFAR is given"):
        gc.datasets.read_cifar10([])
