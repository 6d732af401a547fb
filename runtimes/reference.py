"""ONNX's reference evaluator behind the interface of a session: NumPy, slow, every operator in every dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

__all__ = ["ReferenceSession"]


class ReferenceSession:
    """One model in `onnx.reference`. The oracle of tests: it computes float64 graphs in float64 throughout."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(model)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """All outputs for arrays by input name."""
        with np.errstate(all="ignore"):
            results = self._evaluator.run(None, dict(feeds))
        return [np.asarray(r) if isinstance(r, (np.generic, float, int)) else r for r in results]
