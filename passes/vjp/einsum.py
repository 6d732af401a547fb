"""The gradient of Einsum: an Einsum of the cotangent and the other operands, for each operand."""

from __future__ import annotations

import functools
import itertools
import string
from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import shape_like
from passes.vjp.registry import Contribution, operand, vjp


@vjp("Einsum")
def _einsum(node: Node, g: Tensor) -> Sequence[Contribution]:
    operands = [operand(node, position) for position in range(len(node.inputs))]
    terms, output = _explicit(node.attrs["equation"], [t.ndim for t in operands], g.ndim)
    return [functools.partial(_of_operand, i, g, operands, terms, output) for i in range(len(operands))]


def _explicit(equation: str, ranks: Sequence[int], rank: int) -> tuple[list[str], str]:
    """The labels of each operand and of the output, one for each axis: `...` written out, the output given."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    unused = iter(sorted(set(string.ascii_letters) - set(equation)))
    hidden = max((r - len(term.replace("...", "")) for term, r in zip(terms, ranks, strict=True)), default=0)
    letters = "".join(itertools.islice(unused, hidden if "..." in left else 0))
    if not arrow:
        counts = "".join(terms).replace(".", "")
        output = ("..." if "..." in left else "") + "".join(sorted(c for c in set(counts) if counts.count(c) == 1))

    def written_out(term: str, rank: int) -> str:
        count = rank - len(term.replace("...", ""))
        return term.replace("...", letters[len(letters) - count :])

    return [written_out(t, r) for t, r in zip(terms, ranks, strict=True)], written_out(output, rank)


def _of_operand(i: int, g: Tensor, operands: list[Tensor], terms: list[str], output: str) -> Tensor:
    """The cotangent of one operand.

    A label that no one else has was summed away: the cotangent is repeated along it. A label that stands twice took a
    diagonal: the cotangent goes there.
    """
    x, term = operands[i], terms[i]
    others = [t for j, t in enumerate(terms) if j != i]
    known = set(output).union(*others)
    labels = "".join(dict.fromkeys(term))
    found = "".join(label for label in labels if label in known)
    factors = [g, *(t for j, t in enumerate(operands) if j != i)]
    result = _product(f"{','.join([output, *others])}->{found}", factors)
    first = [term.index(label) for label in found]
    missing = [axis for axis in range(len(term)) if axis not in first]
    if not missing:
        return result
    result = apply("Expand", (F.unsqueeze(result, missing), shape_like(x))).out()
    for axis, label in enumerate(term):
        if term.index(label) < axis:
            result = F.where(_is_diagonal(x, term.index(label), axis), result, 0.0)
    return result


def _product(equation: str, factors: list[Tensor]) -> Tensor:
    left, _, right = equation.partition("->")
    return factors[0] if left == right else F.einsum(equation, *factors)


def _is_diagonal(x: Tensor, first: int, second: int) -> Tensor:
    """Whether the positions along two axes of `x` are equal; to be broadcast."""
    count = F.reshape(shape_like(x)[first : first + 1], ())
    positions = F.arange(count)
    shapes = [[-1 if axis == chosen else 1 for axis in range(x.ndim)] for chosen in (first, second)]
    return F.equal(*(F.reshape(positions, shape) for shape in shapes))
