"""Data that stay on the device: what is fed are the rows of each batch, and the step gathers them itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.ir.constant import Array
from passes.resident import DATA_PREFIX, ROWS
from runtimes.batches import Batch, FrameInputs, Shapes
from runtimes.data import Dataset, choose
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.protocol import Runtime

__all__ = ["ResidentData"]


class ResidentData:
    """A data set of arrays, copied to a device once. On the CPU, arrays of the inputs' dtypes are not even copied.

    `values` holds the data by name of the state that :func:`passes.resident.read_rows` makes of them, `shapes` their
    shapes by input.
    """

    def __init__(self, data: Dataset, runtime: Runtime) -> None:
        self._data = data
        self.size: int | None = data.size
        self.rows_per_batch = data.rows_per_batch
        arrays = data.gather(slice(0, data.size))
        self.shapes: Shapes = {name: array.shape for name, array in arrays.items()}
        put = runtime.lend if isinstance(runtime, OnnxRuntime) else runtime.put
        self.values: Mapping[str, Any] = {DATA_PREFIX + name: put(array) for name, array in arrays.items()}
        self._kept = arrays if runtime.device == "cpu" else {}  # OrtValues on the CPU borrow their memory

    def batches(
        self,
        batch_size: int | None,
        *,
        order: NDArray[np.int64] | None = None,
        start: int = 0,
        drop_last: bool = False,
        steps: int = 1,
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch from row `start` on, as of any :class:`runtimes.sources.Source`."""
        size, known = self.rows_per_batch(batch_size), dict[tuple[int, ...], Shapes]()
        for rows in choose(self._data.size, size, order=order, start=start, drop_last=drop_last, steps=steps):
            positions = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            yield _Positions(self._data, positions, known.setdefault(positions.shape, {ROWS: positions.shape}))


class _Positions:
    """A batch that is fed as the positions of its rows."""

    __slots__ = ("_chosen", "_data", "rows", "shapes", "steps")

    def __init__(self, data: Dataset, chosen: NDArray[np.int64], shapes: Shapes) -> None:
        self._data, self._chosen, self.shapes = data, chosen, shapes
        self.rows, self.steps = chosen.size, len(chosen) if chosen.ndim == 2 else 1

    def fill(self, inputs: FrameInputs) -> None:
        inputs[ROWS].feed(self._chosen)

    def arrays(self) -> Mapping[str, Array]:
        return self._data.gather(self._chosen)
