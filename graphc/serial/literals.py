"""Numbers, constants and attribute values as text that Python reads back exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.constant import Constant
from graphc.ir.schema import DTYPE_ATTRIBUTES
from graphc.ir.types import DType, as_dtype

__all__ = ["attribute", "elements", "is_plain", "number", "quoted"]


def quoted(text: str) -> str:
    """A string literal, in double quotes where those need no escape."""
    literal = repr(text)
    return literal if '"' in literal or "\\'" in literal else f'"{literal[1:-1]}"'


def number(value: Any) -> str:
    """The shortest literal that a NumPy scalar is read back from, `inf` and `nan` bare."""
    if isinstance(value, (str, bool, np.bool_)):
        return quoted(value) if isinstance(value, str) else str(bool(value))
    dtype = as_dtype(value.dtype)
    if dtype.is_integer:
        return str(int(value))
    if dtype.kind == "c":
        return repr(complex(value))
    text = str(value)  # the shortest that reads back exactly, with a point or not
    return text if any(c in text for c in ".en") else f"{text}.0"


def elements(constant: Constant) -> str:
    """The elements of a constant as nested lists; one element of rank 0 stands alone."""
    return _nested(constant.array)


def _nested(array: Any) -> str:
    if array.ndim == 0:
        return number(array[()])
    return f"[{', '.join(_nested(array[i, ...]) for i in range(array.shape[0]))}]"


def is_plain(dtype: DType) -> bool:
    """Whether a bare literal says the dtype too, as `gc.constant` reads it: float32, int64, bool, string."""
    return dtype.name in ("float32", "int64", "bool", "string")


def attribute(name: str, kind: str, value: Any) -> str | None:
    """The literal of an attribute of numbers or strings; None for tensors, graphs, types. Element types are names."""
    if kind == "INT":
        return quoted(as_dtype(value).name) if name in DTYPE_ATTRIBUTES else str(value)
    if kind == "FLOAT":
        return number(np.float32(value))
    if kind == "STRING":
        return quoted(value)
    if kind == "STRINGS":
        return f"[{', '.join(map(quoted, value))}]"
    if kind == "INTS":
        return str(list(value))
    if kind == "FLOATS":
        return f"[{', '.join(number(np.float32(v)) for v in value)}]"
    return None
