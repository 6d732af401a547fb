"""The exceptions that graphc raises.

Every message says what was found, what was expected, where in the user's code, and what to do about it.
All derive from :class:`GraphcError`; each also derives from the built-in exception that a caller would expect.
"""

from __future__ import annotations

__all__ = [
    "BatchingError",
    "DTypeError",
    "DifferentiationError",
    "DimensionError",
    "ExportError",
    "FeedError",
    "GraphError",
    "GraphcError",
    "ModelImportError",
    "NonFiniteError",
    "OperatorError",
    "ShapeError",
    "StateError",
    "UnavailableError",
    "VerificationError",
]


class GraphcError(Exception):
    """Base class of every error that graphc raises on purpose."""


class DimensionError(GraphcError, ValueError):
    """A dimension is not a non-negative integer, a name, or an expression over names."""


class ShapeError(GraphcError, ValueError):
    """Shapes that do not fit an operator."""


class DTypeError(GraphcError, TypeError):
    """A data type that an operator does not accept, or that does not match its neighbours."""


class OperatorError(GraphcError, ValueError):
    """An unknown operator or attribute, a wrong number of inputs, an attribute of the wrong kind."""


class GraphError(GraphcError, ValueError):
    """A graph that is not closed, or in which two inputs carry one name."""


class DifferentiationError(GraphcError, ValueError):
    """A gradient that does not exist or is not defined; names every offender at once."""


class BatchingError(GraphcError, ValueError):
    """An operator that cannot be applied to a whole batch at once; names every offender at once."""


class FeedError(GraphcError, ValueError):
    """Arrays that do not match the declared inputs of a graph."""


class NonFiniteError(GraphcError, FloatingPointError):
    """A NaN or an infinity where training needs finite numbers."""


class StateError(GraphcError, ValueError):
    """A state file or state dictionary that is corrupt or does not match the model."""


class ExportError(GraphcError, OSError):
    """A model that cannot be written where or as it was asked."""


class ModelImportError(GraphcError, ImportError):
    """An ONNX model that cannot be read."""


class UnavailableError(GraphcError, RuntimeError):
    """A device, a kernel or an optional package that is not there; the message says what to install or to choose."""


class VerificationError(GraphcError, AssertionError):
    """An exported file that does not compute what its graph computes, or a graph that breaks an invariant."""
