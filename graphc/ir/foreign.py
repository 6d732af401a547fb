"""Operators of domains that ONNX does not define, such as `com.microsoft`: kept as they are.

Nothing is known of such an operator but what a model says of it. Its node carries that as the attribute
`graphc.signature`, which no file sees: the version of its domain, and the types of its outputs. It runs where a runtime
knows it; it is differentiated where a rule is registered for it (`@vjp("com.acme.Foo")`). As it may draw random
numbers, no two of them are taken for one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import onnx.defs

from graphc.ir import build, schema
from graphc.ir.node import FUNCTION_DOMAIN, IR_DOMAIN, Node
from graphc.ir.schema import VARIADIC, AttrSpec, OpSpec, Parameter
from graphc.ir.types import Type

__all__ = ["SIGNATURE", "Signature", "apply_foreign", "foreign_spec", "is_foreign", "signature_of"]

SIGNATURE = "graphc.signature"


class Signature(NamedTuple):
    """The version of an operator's domain, and the types of its outputs; None for an output that is skipped."""

    version: int
    types: tuple[Type | None, ...]


def is_foreign(domain: str) -> bool:
    """Whether ONNX defines no operators of that domain."""
    return domain not in _known_domains()


@functools.cache
def _known_domains() -> frozenset[str]:
    return frozenset({s.domain for s in onnx.defs.get_all_schemas()} | {FUNCTION_DOMAIN, IR_DOMAIN})


def signature_of(node: Node) -> Signature | None:
    """What a model said of the operator, None for operators of ONNX and of graphc."""
    found: Signature | None = node.attrs.get(SIGNATURE) if node.domain else None
    return found


def apply_foreign(
    op: str, domain: str, inputs: Sequence[object], attrs: Mapping[str, Any], signature: Signature
) -> Node:
    """The node that applies an operator of a foreign domain. Raises OperatorError for attributes that hold graphs."""
    given = {**attrs, SIGNATURE: signature}
    return build.apply(op, inputs, given, outputs=len(signature.types), domain=domain)


class _AnyAttributes(Mapping[str, AttrSpec]):
    """Every name is that of an attribute of any kind; none is required, none has a default."""

    def __getitem__(self, name: str) -> AttrSpec:
        return AttrSpec(name, "SIGNATURE" if name == SIGNATURE else "ANY", False, None)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@functools.cache
def foreign_spec(name: str, domain: str) -> OpSpec:
    """The OpSpec of an operator of a foreign domain: any number of inputs and outputs, any attributes."""
    anything = frozenset(t for p in schema.spec("Identity").inputs for t in p.types)
    value = (Parameter("values", "V", False, True, False, anything),)
    return OpSpec(
        *(name, domain, 1, value, value, 0, VARIADIC, 1, VARIADIC),
        *(
            _AnyAttributes(),
            {},
            (),
            (SIGNATURE,),
            False,
            f"An operator of the domain {domain}.",
        ),
    )
