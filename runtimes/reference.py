"""ONNX's reference evaluator behind the interface of a session: NumPy, slow, every operator in every dtype."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

__all__ = ["ReferenceSession"]


class ReferenceSession:
    """One model in `onnx.reference`. The oracle of tests: it computes float64 graphs in float64."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._evaluator = _evaluator()(model)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """All outputs for arrays by input name."""
        with np.errstate(all="ignore"):
            results = self._evaluator.run(None, dict(feeds))
        return [np.asarray(r) if isinstance(r, (np.generic, float, int)) else r for r in results]


@functools.cache
def _evaluator() -> Any:
    """The reference evaluator, with operators of its own where onnx's are wrong or compute in float32."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class Erf(OpRun):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any) -> tuple[Any]:
            elements = [math.erf(v) for v in x.ravel().tolist()]
            return (np.array(elements, x.dtype).reshape(x.shape),)

    class Mean(OpRun):  # type: ignore[misc]
        """onnx's own does not broadcast the first operand."""

        op_domain = ""

        def _run(self, *operands: Any) -> tuple[Any]:
            return (functools.reduce(np.add, operands) / np.asarray(len(operands), operands[0].dtype),)

    class Pad(OpRun):  # type: ignore[misc]
        """onnx's own knows no negative pads, which crop."""

        op_domain = ""

        def _run(self, data: Any, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> tuple[Any]:
            rank = data.ndim
            widths = np.zeros((rank, 2), np.int64)
            widths[np.arange(rank) if axes is None else np.asarray(axes) % rank] = np.reshape(pads, (2, -1)).T
            options: dict[str, Any] = {"mode": mode}
            if mode == "constant":
                options["constant_values"] = 0 if value is None else value
            padded = np.pad(data, np.maximum(widths, 0), **options)
            crops = zip(np.maximum(-widths, 0), padded.shape, strict=True)
            return (padded[tuple(slice(before, size - after) for (before, after), size in crops)],)

    class Evaluator(ReferenceEvaluator):  # type: ignore[misc]
        """It makes evaluators of its own class for the bodies of functions, so that these get the operators too."""

        def __init__(self, proto: Any, *, new_ops: list[type] | None = None, **options: Any) -> None:
            super().__init__(proto, new_ops=[*(new_ops or []), Erf, Mean, Pad], **options)

    return Evaluator
