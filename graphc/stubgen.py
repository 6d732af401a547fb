"""Writes the stubs that editors and type checkers read: `op.pyi` from `onnx.defs`, `__init__.pyi` from the lazy table.

Run `python -m graphc.stubgen` after a change of the public surface or of the opsets.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import sys
import textwrap

import graphc
from graphc.ir import schema
from graphc.ir.schema import LATEST_OPSET, OPSET, VARIADIC, AttrSpec, OpSpec
from graphc.serial import literals

__all__ = ["face_stub", "main", "operator_stub"]

_HEADER = "# Written by `python -m graphc.stubgen`. Do not edit.\n"
_WIDTH = 120

_ATTRIBUTE_TYPES = {
    "INT": "int",
    "FLOAT": "float",
    "STRING": "str",
    "TENSOR": "ArrayLike",
    "GRAPH": "Graph",
    "TYPE_PROTO": "Type",
    "INTS": "Sequence[int]",
    "FLOATS": "Sequence[float]",
    "STRINGS": "Sequence[str]",
}


def operator_stub() -> str:
    """The text of `op.pyi`: a typed function for every operator."""
    imports = """\
from collections.abc import Sequence
from typing import TypeAlias, overload

from numpy.typing import ArrayLike

from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.types import DType, Type

_Operand: TypeAlias = Tensor | ArrayLike
_DType: TypeAlias = DType | str | int | type

"""
    functions = [_functions(schema.spec(name)) for name in schema.operator_names()]
    separator = "\n"
    source = f"# The operators of ONNX opset {OPSET}, and those introduced up to opset {LATEST_OPSET}.\n"
    return f"{_HEADER}{source}{imports}{separator.join(functions)}"


def _functions(op: OpSpec) -> str:
    doc = _docstring(op)
    if op.max_outputs == VARIADIC:
        return _function(op, ["outputs: int | None = None"], "tuple[Tensor, ...]", doc)
    count = op.min_outputs or op.max_outputs
    usual = "Tensor" if count == 1 else f"tuple[{', '.join(['Tensor'] * count)}]"
    if count == op.max_outputs:
        return _function(op, [], usual, doc)
    first = _function(op, ["outputs: None = None"], usual, doc)
    return f"@overload\n{first}\n@overload\n{_function(op, ['outputs: int'], 'tuple[Tensor, ...]', doc)}"


def _function(op: OpSpec, last: list[str], result: str, doc: str) -> str:
    inputs = []
    for p in op.inputs:
        if p.variadic:
            inputs.append(f"*{p.name}: _Operand")
        else:
            inputs.append(f"{p.name}: _Operand{' | None = None' if p.optional else ''}")
    attributes = sorted(op.attributes.values(), key=lambda a: (not a.required, a.name))
    keywords = [_keyword(a) for a in attributes if a.kind in _ATTRIBUTE_TYPES] + last
    star = ["*"] if keywords and not any(p.variadic for p in op.inputs) else []
    parameters = [*inputs, *star, *keywords]
    head = f"def {op.name}({', '.join(parameters)}) -> {result}:"
    if len(head) > _WIDTH:
        lines = "".join(f"    {p},\n" for p in parameters)
        head = f"def {op.name}(\n{lines}) -> {result}:"
    return f"{head}\n{doc}\n"


def _keyword(attr: AttrSpec) -> str:
    kind = _ATTRIBUTE_TYPES[attr.kind]
    if attr.kind == "INT" and attr.name in schema.DTYPE_ATTRIBUTES:
        kind = "_DType"
    if attr.required:
        return f"{attr.name}: {kind}"
    if attr.default is None:
        return f"{attr.name}: {kind} | None = None"
    text = str(attr.default) if kind == "_DType" else literals.attribute(attr.name, attr.kind, attr.default)
    return f"{attr.name}: {kind} = {text if text is not None and attr.kind in ('INT', 'FLOAT', 'STRING') else '...'}"


def _docstring(op: OpSpec) -> str:
    """The operator and its version, then the first paragraph of its ONNX documentation."""
    paragraph = re.split(r"\n\s*\n|```", op.doc.strip())[0]
    text = " ".join(re.sub(r"</?[a-z][^>]*>", " ", paragraph).split())
    text = f'{"r" if chr(92) in text else ""}"""{op.name}-{op.since_version}: {text}'
    lines = textwrap.wrap(text, _WIDTH - 4, break_long_words=False)
    if len(lines) == 1:  # the closing quotes must fit too
        lines = textwrap.wrap(text, _WIDTH - 7, break_long_words=False)
    ending = '"""' if len(lines) == 1 else '\n    """'
    return "\n".join(f"    {line}" for line in lines) + ending


def face_stub() -> str:
    """The text of `__init__.pyi`: every public name that exists, imported explicitly."""
    table = vars(graphc)
    lines = []
    for module, names in table["_LAZY"].items():
        if _exists(module):
            found = importlib.import_module(module)
            lines += [f"from {module} import {name} as {name}" for name in names if hasattr(found, name)]
    for name, module in table["_MODULES"].items():
        if _exists(module):
            parent, _, child = module.rpartition(".")
            lines.append(f"from {parent} import {child} as {name}")
    lines.append("from graphc.ir.types import DType as DType")
    dtypes = "".join(f"{name}: DType\n" for name in table["_DTYPES"])
    imports = "\n".join(sorted(set(lines), key=_import_order))
    return f"{_HEADER}{imports}\n\n{dtypes}__version__: str\n"


def _import_order(line: str) -> tuple[object, ...]:
    """Modules by name; in each, constants, classes, then functions."""
    _, module, _, name, *_ = line.split()
    return module, not name.isupper(), not name[0].isupper(), name.lower(), name


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    """Write both stubs next to this file."""
    folder = pathlib.Path(__file__).parent
    for name, text in (("op.pyi", operator_stub()), ("__init__.pyi", face_stub())):
        (folder / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {folder / name}\n")


if __name__ == "__main__":
    main()
