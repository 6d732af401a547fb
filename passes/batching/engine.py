"""The sweep that gives every tensor between some replaced ones and the outputs a batch axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.errors import BatchingError, ShapeError
from graphc.ir import build
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.types import TensorType
from passes.batching.registry import Call, Result, Unbatched, data_dependent, rule_of
from passes.batching.shapes import dim_of
from passes.vjp.function_body import expand, has_body

__all__ = ["vectorize"]


def vectorize(outputs: Sequence[Tensor], replacements: Mapping[Tensor, Tensor]) -> list[tuple[Tensor, bool]]:
    """`outputs` recomputed from `replacements`, which have a leading batch axis that the replaced tensors lack.

    With each result comes whether it has the batch axis, which it has not where all elements share one value.
    Iterative. Raises BatchingError that names every operator that cannot be batched.
    """
    sweep = _Sweep(replacements)
    sweep.run(outputs)
    sweep.raise_problems()
    return [(sweep.new.get(t, t), t in sweep.batched) for t in outputs]


class _Sweep:
    """What each tensor became, which of them have the batch axis, and what could not be batched."""

    def __init__(self, replacements: Mapping[Tensor, Tensor]) -> None:
        self.new: dict[Tensor, Tensor] = dict(replacements)
        self.batched: set[Tensor] = set(replacements)
        self.blocked: set[Tensor] = set()
        self.problems: list[tuple[Node, str]] = []
        self.size = _size(list(replacements.values()))
        self._used: set[Tensor] = set()
        self._done = {t.node for t in replacements if all(o in replacements for o in t.node.outputs)}

    def run(self, outputs: Sequence[Tensor]) -> None:
        """Visit what `outputs` depend on and nobody has visited, inputs first."""
        order = topological(outputs, self._done.__contains__)
        self._used.update(outputs)
        for node in order:
            self._used.update(t for t in node.inputs if t is not None)
        for node in order:
            with inherit(node.origin):
                self._visit(node)
            self._done.add(node)

    def _visit(self, node: Node) -> None:
        inputs = tuple([None if t is None else self.new.get(t, t) for t in node.inputs])
        flags = tuple([t in self.batched for t in node.inputs])
        blocked = any(t in self.blocked for t in node.inputs)
        if blocked or any(flags):
            rule = rule_of(node)
            if rule is not None:
                if blocked or not self._apply(rule, node, inputs, flags):
                    self.blocked.update(node.outputs)
            elif not self._apply_body(node):
                self.blocked.update(node.outputs)
        elif inputs != node.inputs:
            new = build.rebuild(node, inputs)
            for old, t in zip(node.outputs, new.outputs, strict=True):
                self.new.setdefault(old, t)

    def _apply(self, rule: object, node: Node, inputs: tuple[Tensor | None, ...], flags: tuple[bool, ...]) -> bool:
        """Run a rule and note its results; False when it cannot be applied."""
        used = tuple([t in self._used for t in node.outputs])
        try:
            made = rule(Call(node, inputs, flags, self.size, used))  # type: ignore[operator]
        except BatchingError as problem:
            self.problems.append((node, str(problem)))
            return False
        results: Sequence[Result] = made if type(made) in (tuple, list) else (made,)
        for old, result in zip(node.outputs, results, strict=False):
            if result is not None and old not in self.new:
                self._note(old, result)
        return True

    def _note(self, old: Tensor, result: Tensor | Unbatched) -> None:
        t = result if isinstance(result, Tensor) else result.tensor
        has_axis = t is result
        found, expected = t.type, old.type
        if isinstance(expected, TensorType):
            ok = isinstance(found, TensorType) and found.dtype is expected.dtype
            if ok and expected.shape is not None and found.shape is not None:  # type: ignore[union-attr]
                ok = len(found.shape) == len(expected.shape) + has_axis  # type: ignore[union-attr]
            if not ok:
                raise ShapeError(
                    f"vmap: the batching rule of {old.op} returned {found} for an output {expected}{location()}; "
                    f"expected its dtype, and {'one more axis' if has_axis else 'as many axes'}"
                )
        if old.name is not None and t.name is None and not t.node.is_leaf and not t.node.is_constant:
            t.named(old.name)
        self.new[old] = t
        if has_axis:
            self.batched.add(old)

    def _apply_body(self, node: Node) -> bool:
        """Batch the function body of an operator without a rule; False when there is none or it cannot be batched."""
        reason = data_dependent(node)
        if reason is None and not node.domain and has_body(node.op):
            known = len(self.problems)
            outputs = expand(node)
            self.run(outputs)
            inner, self.problems[known:] = self.problems[known:], []
            if not inner and not any(t in self.blocked for t in outputs):
                self.new.update((old, self.new.get(t, t)) for old, t in zip(node.outputs, outputs, strict=True))
                self.batched.update(old for old, t in zip(node.outputs, outputs, strict=True) if t in self.batched)
                return True
            reason = "in its function body " + "; ".join(f"{n.op}: {why}" for n, why in inner)
        self.problems.append((node, reason or "it has no batching rule"))
        return False

    def raise_problems(self) -> None:
        """Raise an error that names every operator that could not be batched, if any."""
        if self.problems:
            many = len(self.problems) > 1
            lines = "".join(
                f"\n  {n.op} [{n.origin}] -> {', '.join(map(str, n.types))}: {why}" for n, why in self.problems
            )
            raise BatchingError(
                f"vmap: {len(self.problems)} operator{'s' if many else ''} cannot be applied to a batch at once"
                f"{location()}:{lines}"
            )


def _size(replacements: list[Tensor]) -> Tensor:
    """The size of the batch, static if any of the tensors tells."""
    return dim_of(next((t for t in replacements if isinstance(t.shape[0], int)), replacements[0]), 0)
