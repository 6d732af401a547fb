"""Every ONNX operator by name: `gc.op.Conv(x, w, strides=[2, 2])`.

Inputs are positional, or by their ONNX names; attributes are keywords. The result is one Tensor, or a tuple where the
operator has several required outputs. `outputs=n` asks for the first n outputs where some are optional. The names and
signatures are generated from `onnx.defs` into `op.pyi` (see `graphc/stubgen.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import OperatorError
from graphc.ir import schema
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.schema import OpSpec


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        builder = _builder(schema.spec(name))
    except OperatorError as error:
        raise AttributeError(str(error)) from None
    globals()[name] = builder
    return builder


def __dir__() -> list[str]:
    return schema.operator_names()


def _builder(op: OpSpec) -> Callable[..., Any]:
    names = {p.name: position for position, p in enumerate(op.inputs)}

    def build(*inputs: object, outputs: int | None = None, **keywords: Any) -> Any:
        given = list(inputs)
        for name in sorted((k for k in keywords if k in names), key=names.__getitem__):
            position = names[name]
            if position < len(given):
                raise OperatorError(f"{op.name}: input {name!r} is given twice{location()}")
            given.extend([None] * (position - len(given)))
            given.append(keywords.pop(name))
        made = apply(op.name, given, keywords, outputs=outputs)
        return _results(op, made.outputs, outputs)

    build.__name__ = build.__qualname__ = op.name
    build.__doc__ = op.doc
    return build


def _results(op: OpSpec, made: tuple[Tensor, ...], wanted: int | None) -> Tensor | tuple[Tensor, ...]:
    if wanted is None:
        if op.max_outputs == schema.VARIADIC:
            return made
        count = op.min_outputs or op.max_outputs
        return made[0] if count == 1 else made[:count]
    if not 1 <= wanted <= len(made):
        raise OperatorError(f"{op.name}: outputs={wanted}; it has {len(made)} outputs{location()}")
    return made[:wanted]
