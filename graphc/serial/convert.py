"""The opset of a model: which operators its nodes are."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.defs
import onnx.version_converter
from onnx.shape_inference import InferenceError
from onnx.version_converter import ConvertError

from graphc.errors import ModelImportError
from graphc.ir.origin import location
from graphc.ir.schema import OPSET
from graphc.serial.upgrade import scan_over_batch

__all__ = ["all_nodes", "at_readable_opset", "may_be_copied"]

_FIRST = 6
"""The first opset whose operators `graphc.serial.upgrade` knows; onnx converts models before it."""


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of all nested ones."""
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            yield node
            pending.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


def may_be_copied(model: onnx.ModelProto) -> bool:
    """Whether :func:`at_readable_opset` may make another model of it."""
    return any(o.version < _FIRST or o.version == 8 for o in model.opset_import if o.domain in ("", "ai.onnx"))


def at_readable_opset(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model in terms of an opset that can be read node by node, and that opset: mostly its own.

    Raises ModelImportError when the model states none though it uses ONNX's operators, or one that onnx lacks.
    """
    stated = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not stated and not any(n.domain in ("", "ai.onnx") for n in all_nodes(model.graph)):
        return model, OPSET
    if not stated:
        raise ModelImportError(f"the model states no opset{location()}")
    opset, latest = stated[0], onnx.defs.onnx_opset_version()
    if not 1 <= opset <= latest:
        raise ModelImportError(
            f"the model has opset {opset}; expected 1 to {latest}{location()}. "
            f"onnx {onnx.__version__} knows no other; a younger onnx may."
        )
    if opset >= _FIRST:
        return _without_old_scans(model) if opset == 8 else model, opset
    try:
        return onnx.version_converter.convert_version(model, _FIRST + 1), _FIRST + 1
    except (RuntimeError, ValueError, IndexError, ConvertError, InferenceError) as error:
        raise ModelImportError(
            f"the model has opset {opset}; onnx cannot convert it to {_FIRST + 1}{location()}: {error}"
        ) from error


def _without_old_scans(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model of opset 8 with today's Scan; inner ones first, as outer ones are copied with them."""
    if not any(n.op_type == "Scan" for n in all_nodes(model.graph)):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in reversed([n for n in all_nodes(changed.graph) if n.op_type == "Scan"]):
        node.CopyFrom(scan_over_batch(node))
    return changed
