"""Checks of exported files: the same numbers from a fresh session as from the graph."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from graphc.errors import VerificationError
from graphc.ir import dims
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.export import to_model
from runtimes.reference import ReferenceSession
from runtimes.session import Session

__all__ = ["TOLERANCES", "random_feeds", "verify_file"]

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far an output may be off, relative to its largest element, by dtype; integers and booleans must be equal."""

_SIZES = (2, 5)


def verify_file(path: str | os.PathLike[str], graph: Graph, state: Mapping[str, Array]) -> None:
    """Compare an ONNX file in onnxruntime on the CPU with the reference evaluation of `graph`, for two batch sizes.

    Raises VerificationError, which names the output and how far it is off.
    """
    session = Session(path)
    reference = ReferenceSession(to_model(graph))
    for size in _SIZES:
        feeds = random_feeds(graph, size)
        expected = reference.run({**feeds, **{name: state[name] for name in graph.parameters}})
        for name, found, value in zip(graph.output_names, session.run(feeds), expected, strict=True):
            problem = _difference(found, value)
            if problem:
                shapes = ", ".join(f"{feed}: {array.shape}" for feed, array in feeds.items())
                raise VerificationError(f"{graph.name}: output {name!r} of the exported file {problem} (for {shapes})")


def random_feeds(graph: Graph, size: int, seed: int = 0) -> dict[str, Array]:
    """Random arrays for the fed inputs: normal floats, 0 and 1 for other dtypes; symbols are `size` or a bit more."""
    rng = np.random.default_rng(seed)
    kinds = {name: t.tensor_type for name, t in graph.feeds.items()}
    names = sorted(dims.symbols(d for kind in kinds.values() for d in kind.shape or ()))
    sizes = {name: size + i for i, name in enumerate(names)}
    return {name: _random(kind, sizes, rng) for name, kind in kinds.items()}


def _random(kind: TensorType, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    shape = [int(str(dims.evaluate(d, sizes))) for d in kind.shape or ()]
    if kind.dtype.is_float:
        return rng.standard_normal(shape).astype(kind.dtype.numpy)
    return rng.integers(0, 2, shape).astype(kind.dtype.numpy)


def _difference(found: Array, expected: Array) -> str | None:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"is {found.dtype}{list(found.shape)}; expected {expected.dtype}{list(expected.shape)}"
    tolerance = TOLERANCES.get(as_dtype(found.dtype).name, 0.0)
    if not tolerance:
        return None if np.array_equal(found, expected) else f"differs in {int((found != expected).sum())} elements"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "is finite elsewhere than the graph's"
    error, scale = (float(np.abs(x[np.isfinite(b)]).max(initial=0.0)) for x in (a - b, b))
    if error > tolerance * max(scale, 1.0):
        return f"is off by {error:.3g} where the largest element is {scale:.3g}; tolerance {tolerance:g}"
    return None
