"""Graphs to and from ONNX's own textual form."""

from __future__ import annotations

import onnx.parser
import onnx.printer

from graphc.errors import ModelImportError
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.export import to_model
from graphc.serial.load import from_model

__all__ = ["parse", "to_text"]


def to_text(graph: Graph) -> str:
    """The graph in ONNX's textual form (`onnx.printer`), exported with its parameters as inputs.

    :func:`parse` reads it back to a structurally equal graph, except that the text leaves out the elements of constants
    of 4-bit and complex types. Raises ExportError as :func:`graphc.serial.export.to_model`.
    """
    text: str = onnx.printer.to_text(to_model(graph))
    return text


def parse(text: str) -> Graph:
    """The graph that a text in ONNX's textual form describes: a whole model, header included.

    Initializers become constants. Raises ModelImportError with the parser's position for a text that it does not
    understand, and as :func:`graphc.serial.load.from_model`.
    """
    try:
        model = onnx.parser.parse_model(text)
    except onnx.parser.ParseError as error:
        message = error.args[0]
        reason = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
        raise ModelImportError(f"the text is no ONNX model{location()}: {reason}") from error
    graph, _ = from_model(model)
    return graph
