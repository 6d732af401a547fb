"""Convolutions read digits with fewer weights; the exported file reads what the trained net reads."""

import gzip
import struct
from pathlib import Path

import digits
import numpy as np
import pytest
from digit_images import enlarged, mnist, scanned, shifted

import graphc as gc


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[digits.Result, Path]:
    out = tmp_path_factory.mktemp("digits")
    return digits.main(out, small=True), out


def test_the_nets_have_the_sizes_of_the_papers(found: tuple[digits.Result, Path]) -> None:
    sizes = {name: gc.summary(net.logits) for name, net in found[0].nets.items()}
    assert sizes["LeNet-5"].parameters == 61_706
    assert sizes["512-512-10"].parameters == 64 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    assert len([t for t in gc.graph(found[0].nets["small AlexNet"].logits).parameters.values() if t.ndim == 4]) == 5
    assert sizes["LeNet-5"].flops < sizes["small AlexNet"].flops


def test_all_nets_read_digits_that_they_have_not_seen(found: tuple[digits.Result, Path]) -> None:
    accuracy = {name: net.runs[0].accuracy for name, net in found[0].nets.items()}
    assert accuracy["LeNet-5"] > 0.95
    assert accuracy["512-512-10"] > 0.95
    assert accuracy["small AlexNet"] > 0.85


def test_the_exported_file_reads_what_the_net_reads(found: tuple[digits.Result, Path]) -> None:
    result, out = found
    assert (out / "lenet.onnx").exists()
    assert result.exported == result.nets["LeNet-5"].runs[0].accuracy


def test_the_figures_are_drawn(found: tuple[digits.Result, Path]) -> None:
    assert "LeNet-5" in (found[1] / "digits.svg").read_text()
    assert "digits_missed.svg" in {file.name for file in found[1].iterdir()}


def test_the_parts_of_the_digits_share_no_image_and_have_all_classes() -> None:
    split = scanned()
    images = [{image.tobytes() for image in data["x"]} for data in split]
    assert [len(data["y"]) for data in split] == [1257, 180, 360]
    assert not images[0] & images[2]
    assert not images[1] & images[2]
    assert not images[0] & images[1]
    for data in split:
        assert np.bincount(data["y"]).min() >= len(data["y"]) // 11


def test_enlarged_digits_are_the_same_digits() -> None:
    test = scanned().test
    large = enlarged(test, 32)["x"]
    assert large.shape == (360, 1, 32, 32)
    blocks = large.reshape(360, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), test["x"].ravel())[0, 1] > 0.97


def test_shifts_move_images_by_whole_pixels_and_fill_with_background() -> None:
    x = np.zeros((200, 1, 7, 7), "float32")
    x[:, :, 3, 3] = 1
    moved = shifted(x, 2, np.random.default_rng(0))
    assert moved.sum() == 200
    rows, columns = np.nonzero(moved)[2:]
    assert set(rows) == set(columns) == {1, 2, 3, 4, 5}


def test_mnist_is_read_from_its_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {}
    for part, count in (("train", 24), ("t10k", 5)):
        images[part] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 28, 28)
        label_header = struct.pack(">BBBBI", 0, 0, 8, 1, count)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images[part].tobytes()))
        (tmp_path / f"{part}-labels.idx1-ubyte").write_bytes(label_header + labels.tobytes())
    split = mnist(tmp_path)
    assert [len(data["y"]) for data in split] == [22, 2, 5]
    np.testing.assert_allclose(split.test["x"][:, 0] * 255, images["t10k"], rtol=1e-6)
    padded = enlarged(split.train, 32)["x"]
    assert padded.shape == (22, 1, 32, 32)
    np.testing.assert_array_equal(padded[:, :, 2:-2, 2:-2], split.train["x"])
