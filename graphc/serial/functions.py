"""Functions of a model, put in place of the nodes that apply them."""

from __future__ import annotations

import onnx
import onnx.defs
import onnx.inliner
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError
from onnx.version_converter import ConvertError

from graphc.errors import ModelImportError
from graphc.ir.origin import location
from graphc.serial.validate import inner_nodes

__all__ = ["without_functions"]


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in which the bodies of functions stand in place of the nodes that apply them; itself without functions.

    Bodies of another opset than the model's are converted. Raises ModelImportError where onnx cannot do that.
    """
    if not model.functions:
        return model
    stated = {o.domain: o.version for o in model.opset_import}
    opset = stated.get("", stated.get("ai.onnx", 0))
    same = onnx.ModelProto()
    same.CopyFrom(model)
    convert = False
    for function in same.functions:
        for entry in function.opset_import:
            if entry.domain in ("", "ai.onnx") and opset and entry.version != opset:
                if _means_the_same(function, entry.version, opset):
                    entry.version = opset
                else:
                    convert = True
    try:
        inlined: onnx.ModelProto = onnx.inliner.inline_local_functions(same, convert_version=convert)
    except (RuntimeError, ValueError, IndexError, ConvertError, InferenceError, ValidationError) as error:
        raise ModelImportError(f"the functions of the model cannot be inlined{location()}: {error}") from error
    return inlined


def _means_the_same(function: onnx.FunctionProto, old: int, new: int) -> bool:
    """Whether no operator of the body changed between two opsets."""
    names = {node.op_type for node in inner_nodes(function.node) if node.domain in ("", "ai.onnx")}
    return all(_since(name, old) == _since(name, new) != 0 for name in names)


def _since(name: str, opset: int) -> int:
    """The opset that brought the operator as it is at `opset`; 0 where there is no such operator."""
    if not (0 < opset < 2**31 and onnx.defs.has(name, opset, "")):
        return 0
    version: int = onnx.defs.get_schema(name, opset, "").since_version
    return version
