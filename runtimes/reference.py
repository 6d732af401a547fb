"""ONNX's reference evaluator behind the interface of a session: NumPy, slow, every operator in every dtype."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.serial.export import to_model

__all__ = ["ReferenceRuntime", "ReferenceSession"]


class ReferenceSession:
    """One model in `onnx.reference`. The oracle of tests: it computes float64 graphs in float64."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._evaluator = _evaluator()(model)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """All outputs for arrays by input name."""
        with np.errstate(all="ignore"):
            results = self._evaluator.run(None, dict(feeds))
        return [np.asarray(r) if isinstance(r, (np.generic, float, int)) else r for r in results]


class ReferenceRuntime:
    """The reference evaluator as a runtime (:class:`runtimes.protocol.Runtime`): values are NumPy's arrays."""

    device = "reference"

    def compile(self, graph: Graph, constants: Mapping[str, Array]) -> ReferenceSession:
        """The graph, ready to be evaluated."""
        return ReferenceSession(to_model(graph, state=constants))

    def put(self, array: Array) -> Array:
        """A copy of the array."""
        return array.copy()

    def get(self, value: Array) -> Array:
        """A copy of the array."""
        return value.copy()


@functools.cache
def _evaluator() -> Any:
    from onnx.reference import ReferenceEvaluator

    from runtimes.reference_edges import EDGE_OPERATORS
    from runtimes.reference_loops import LOOP_OPERATORS
    from runtimes.reference_ops import OPERATORS
    from runtimes.reference_sequences import SEQUENCE_OPERATORS

    replaced = [*OPERATORS, *EDGE_OPERATORS, *LOOP_OPERATORS, *SEQUENCE_OPERATORS]

    class Evaluator(ReferenceEvaluator):  # type: ignore[misc]
        """It makes evaluators of its own class for the bodies of functions, so that these get the operators too."""

        def __init__(self, proto: Any, *, new_ops: list[type] | None = None, **options: Any) -> None:
            super().__init__(proto, new_ops=[*(new_ops or []), *replaced], **options)

    return Evaluator
