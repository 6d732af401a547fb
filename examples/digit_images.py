"""Handwritten digits for the examples: 1,797 small ones that scikit-learn ships, or MNIST from its files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc

Images = NDArray[np.float32]
Data = dict[str, NDArray]


class Split(NamedTuple):
    """Images "x" (count, 1, side, side) in [0, 1] and labels "y" (count,): to learn from, to choose by, to judge by."""

    train: Data
    validation: Data
    test: Data


def scanned() -> Split:
    """The 8x8 digits: 1,257 to train, 180 to validate, 360 to test; each digit has its share in each part.

    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (1998), of which these are the test images.
    """
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 1, 8, 8)
    x, test_x, y, test_y = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    x, validation_x, y, validation_y = train_test_split(x, y, test_size=180, stratify=y, random_state=0)
    return Split({"x": x, "y": y}, {"x": validation_x, "y": validation_y}, {"x": test_x, "y": test_y})


def mnist(folder: Path) -> Split:
    """The 28x28 digits of MNIST from its four IDX files, packed or not: 55,000, 5,000, and the 10,000 to test.

    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition" (1998).
    """
    files = {file.name.removesuffix(".gz").replace(".", "-"): file for file in sorted(folder.iterdir())}
    parts = {}
    for part in ("train", "t10k"):
        images = gc.datasets.read_idx(files[f"{part}-images-idx3-ubyte"])
        labels = gc.datasets.read_idx(files[f"{part}-labels-idx1-ubyte"])
        parts[part] = {"x": (images[:, None] / 255).astype("float32"), "y": labels.astype("int64")}
    held_out = len(parts["train"]["y"]) // 12
    train = {name: array[:-held_out] for name, array in parts["train"].items()}
    validation = {name: array[-held_out:] for name, array in parts["train"].items()}
    return Split(train, validation, parts["t10k"])


def enlarged(data: Data, side: int) -> Data:
    """The same with `side` x `side` pixels: interpolated for twice the size and more, else with a margin around."""
    x, before = data["x"], data["x"].shape[-1]
    if side >= 2 * before:
        factor = side / before
        return {**data, "x": zoom(x, (1, 1, factor, factor), order=1, mode="nearest", grid_mode=True)}
    margin = ((side - before) // 2, (side - before + 1) // 2)
    return {**data, "x": np.pad(x, ((0, 0), (0, 0), margin, margin))}


def shifted(x: Images, by: int, rng: np.random.Generator) -> Images:
    """Each image moved by up to `by` pixels in each direction, at random; what comes in at the edge is background."""
    side = x.shape[-1]
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (by, by), (by, by))), (side, side), (2, 3))
    row, column = rng.integers(0, 2 * by + 1, (2, len(x)))
    return windows[np.arange(len(x)), :, row, column]


def batches(data: Data, size: int, shift: int, seed: int) -> Callable[[], Iterator[Data]]:
    """A stream of shuffled batches for `Trainer.fit`, in which each epoch sees each image moved a little otherwise."""
    rng = np.random.default_rng(seed)

    def epoch() -> Iterator[Data]:
        order = rng.permutation(len(data["y"]))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield {"x": shifted(data["x"][rows], shift, rng), "y": data["y"][rows]}

    return epoch
