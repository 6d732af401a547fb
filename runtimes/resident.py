"""Data that stay on the device: what is fed are the rows of each batch, and the step gathers them itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.ir.constant import Array
from passes.resident import DATA_PREFIX, ROWS
from runtimes.batches import Batch, FrameInputs, Shapes
from runtimes.data import Dataset, cut
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
        size = self.rows_per_batch(batch_size)
        order = np.arange(self._data.size) if order is None else order
        known: dict[int, Shapes] = {}
        for place in cut(self._data.size, size, start, drop_last, steps):
            rows = place.stop - place.start
            shapes = known.setdefault(rows, {ROWS: (rows,)})
            yield _Positions(self._data, order[place], shapes, max(rows // size, 1))


class _Positions:
    """A batch that is fed as the positions of its rows."""

    __slots__ = ("_chosen", "_data", "rows", "shapes", "steps")

    def __init__(self, data: Dataset, chosen: NDArray[np.int64], shapes: Shapes, steps: int) -> None:
        self._data, self._chosen, self.rows = data, chosen, len(chosen)
        self.shapes, self.steps = shapes, steps

    def fill(self, inputs: FrameInputs) -> None:
        inputs[ROWS].feed(self._chosen)

    def arrays(self) -> Mapping[str, Array]:
        return self._data.gather(self._chosen)
