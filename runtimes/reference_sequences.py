"""Operators on sequences and optionals of the reference evaluator where onnx's own are wrong or fail."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["SEQUENCE_OPERATORS"]


class Optional(OpRun):  # type: ignore[misc]
    """onnx's own makes a list of the value."""

    op_domain = ""

    def _run(self, value: Any = None, type: Any = None) -> tuple[Any]:
        return (value,)


class SequenceAt(OpRun):  # type: ignore[misc]
    """onnx's own takes no position that is a vector of one element, as the number of an iteration is to it."""

    op_domain = ""

    def _run(self, sequence: Any, position: Any) -> tuple[Any]:
        return (sequence[np.asarray(position).item()],)


class SequenceErase(OpRun):  # type: ignore[misc]
    """As SequenceAt."""

    op_domain = ""

    def _run(self, sequence: Any, position: Any = None) -> tuple[list[Any]]:
        place = range(len(sequence))[-1 if position is None else np.asarray(position).item()]
        return ([*sequence[:place], *sequence[place + 1 :]],)


class SequenceInsert(OpRun):  # type: ignore[misc]
    """onnx's own takes the position after the last element for the first, and fails for an empty sequence."""

    op_domain = ""

    def _run(self, sequence: Any, value: Any, position: Any = None) -> tuple[list[Any]]:
        place = len(sequence) if position is None else np.asarray(position).item()
        place += len(sequence) if place < 0 else 0
        return ([*sequence[:place], value, *sequence[place:]],)


class SequenceMap(OpRun):  # type: ignore[misc]
    """onnx's own fails for an empty sequence, and takes several sequences only if there are two and nothing else."""

    op_domain = ""

    def _run(self, *values: Any, body: Any = None, attributes: Any = None) -> tuple[list[Any], ...]:
        results: list[list[Any]] = [[] for _ in body.output_names]
        for position in range(len(values[0])):
            each = [v[position] if isinstance(v, list) else v for v in values]
            found = body.run(None, dict(zip(body.input_names, each, strict=True)), attributes=attributes)
            for result, value in zip(results, found, strict=True):
                result.append(value)
        return tuple(results)


SEQUENCE_OPERATORS: list[type] = [Optional, SequenceAt, SequenceErase, SequenceInsert, SequenceMap]
"""What replaces onnx's own."""
