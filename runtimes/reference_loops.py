"""Loops of the reference evaluator: onnx's own run forwards along first axes only, and stack some results wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference.op_run import OpRun

__all__ = ["LOOP_OPERATORS"]


class _WithBody(OpRun):  # type: ignore[misc]
    """An operator with a graph `body` that may read names of the graph around it."""

    op_domain = ""

    def need_context(self) -> bool:
        """The names around it are passed to `_run` as `context`."""
        return True

    def _step(self, around: Mapping[str, Any] | None, arguments: Sequence[Any], attributes: Any) -> list[Any]:
        """The results of the body for its arguments in order."""
        named = dict(zip(self.body.input_names, arguments, strict=True))
        results: list[Any] = self.body.run(None, {**(around or {}), **named}, attributes=attributes)
        return results

    def _stacked(self, rows: Sequence[Sequence[Any]], first: int) -> list[Any]:
        """The results of the body from the `first` on, of all iterations; those of none by their declared types.

        Sizes that are not declared are 0 then.
        """
        if rows:
            return [np.stack(column) for column in zip(*rows, strict=True)]
        types = [t.tensor_type for t in self.body.output_types[first:]]
        return [
            np.zeros((0, *(d.dim_value for d in t.shape.dim)), tensor_dtype_to_np_dtype(t.elem_type)) for t in types
        ]


class Scan(_WithBody):
    """onnx's own knows no directions and no axes."""

    def _run(
        self,
        *values: Any,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        num_scan_inputs: int = 1,
        scan_input_axes: Sequence[int] | None = None,
        scan_input_directions: Sequence[int] | None = None,
        scan_output_axes: Sequence[int] | None = None,
        scan_output_directions: Sequence[int] | None = None,
        attributes: Any = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        count = len(values) - num_scan_inputs
        states, whole = list(values[:count]), values[count:]
        scanned = [
            _ordered(np.moveaxis(v, a, 0), d) for v, a, d in _each(whole, scan_input_axes, scan_input_directions)
        ]
        rows: list[list[Any]] = []
        for slices in zip(*scanned, strict=True):
            results = self._step(context, [*states, *slices], attributes)
            states = results[:count]
            rows.append(results[count:])
        turned = _each(self._stacked(rows, count), scan_output_axes, scan_output_directions)
        return (*states, *(np.moveaxis(_ordered(v, d), 0, a) for v, a, d in turned))


def _each(values: Sequence[Any], axes: Sequence[int] | None, directions: Sequence[int] | None) -> list[Any]:
    """Each value with its axis and its direction."""
    zeros = [0] * len(values)
    return list(zip(values, axes or zeros, directions or zeros, strict=True))


def _ordered(value: Any, direction: int) -> Any:
    return value[::-1] if direction else value


class Loop(_WithBody):
    """onnx's own takes a condition that is not given for false, and joins stacked results along an axis they have."""

    def _run(
        self,
        count: Any = None,
        condition: Any = None,
        *carried: Any,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        attributes: Any = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        states, rows, goes_on, trip = list(carried), [], True if condition is None else bool(condition), 0
        while goes_on and (count is None or trip < count):
            results = self._step(context, [np.int64(trip), np.array(goes_on), *states], attributes)
            goes_on, states = bool(results[0]), results[1 : 1 + len(carried)]
            rows.append(results[1 + len(carried) :])
            trip += 1
        return (*states, *self._stacked(rows, 1 + len(carried)))


LOOP_OPERATORS: list[type] = [Loop, Scan]
"""What replaces onnx's own."""
