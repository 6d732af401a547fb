"""Models of any opset in terms of the operators that graphs are made of."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.version_converter

from graphc.errors import ModelImportError
from graphc.ir.origin import location
from graphc.ir.schema import LATEST_OPSET, OPSET
from graphc.serial.opsets import MIN_OPSET

__all__ = ["all_nodes", "at_pinned_opset"]

# Operators that mean something else before this opset, though a later schema accepts the node.
_CHANGED = {"DFT": 20, "GridSample": 20}

# Operators that meant something else before this opset, and that onnx.version_converter passes on unchanged.
_INCONVERTIBLE = {
    "GroupNormalization": (21, "scales groups, not channels"),
    "Scan": (9, "has a batch axis"),
}


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of all nested ones."""
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            yield node
            pending.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


def at_pinned_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in terms of graphc's opset."""
    stated = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not stated:
        raise ModelImportError(f"the model states no opset{location()}")
    version = stated[0]
    used = {n.op_type for n in all_nodes(model.graph)}
    for name, (since, difference) in _INCONVERTIBLE.items():
        if name in used and version < since:
            raise ModelImportError(
                f"{name} of opset {version} {difference}, and cannot be converted{location()}. "
                f"Export the model at opset {since} or later."
            )
    changed = any(version < since for name, since in _CHANGED.items() if name in used)
    if MIN_OPSET <= version <= LATEST_OPSET and not changed:
        return model
    target = LATEST_OPSET if version > LATEST_OPSET else OPSET
    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(model, target)
    except (RuntimeError, ValueError) as error:
        raise ModelImportError(
            f"the model has opset {version}; onnx cannot convert it to {target}{location()}: {error}"
        ) from error
    return converted
