"""The sweep that gives every tensor between some replaced ones and the outputs a batch axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.errors import BatchingError, ShapeError
from graphc.ir import build
from graphc.ir.collector import collector_paused
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.types import TensorType
from passes.batching.registry import Call, Lowered, Result, Unbatched, data_dependent, rule_of
from passes.batching.shapes import dim_of
from passes.vjp.function_body import expand, has_body

__all__ = ["vectorize"]


def vectorize(outputs: Sequence[Tensor], replacements: Mapping[Tensor, Tensor]) -> list[tuple[Tensor, bool]]:
    """`outputs` recomputed from `replacements`, which have a leading batch axis that the replaced tensors lack.

    With each result comes whether it has the batch axis, which it has not where all elements share one value.
    Iterative. Raises BatchingError that names every operator that cannot be batched.
    """
    sweep = _Sweep(replacements)
    with collector_paused():
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
        if any(t in self.blocked for t in node.inputs):
            if rule_of(node) is None and not _has_usable_body(node):
                self.problems.append((node, _reason(node)))
            self.blocked.update(node.outputs)
        elif any(flags):
            call = Call(node, inputs, flags, self.size, tuple([t in self._used for t in node.outputs]))
            problem = self._apply(call)
            if problem is not None:
                self.problems.append((node, problem))
                self.blocked.update(node.outputs)
        elif inputs != node.inputs:
            new = build.rebuild(node, inputs)
            for old, t in zip(node.outputs, new.outputs, strict=True):
                self.new.setdefault(old, t)

    def _apply(self, call: Call) -> str | None:
        """Batch one node by its rule, or by its function body; the reason where neither is possible."""
        node = call.node
        rule = rule_of(node)
        if rule is None:
            return self._apply_lowered(node, expand(node), "function body") if _has_usable_body(node) else _reason(node)
        try:
            made = rule(call)
        except BatchingError as problem:
            return str(problem)
        except ShapeError:
            if not any(t is not None and isinstance(t.type, TensorType) and t.type.shape is None for t in call.inputs):
                raise
            return "the rank of an operand is not known, so neither is where the batch axis must stand"
        if isinstance(made, Lowered):
            return self._apply_lowered(node, made.outputs, "decomposition")
        results: Sequence[Result] = made if type(made) in (tuple, list) else (made,)  # type: ignore[assignment]
        for old, result in zip(node.outputs, results, strict=False):
            if result is not None and old not in self.new:
                self._note(old, result)
        missing = [t.index for t in node.outputs if call.is_used(t.index) and t not in self.new]
        return f"its batching rule gives no output {missing[0]}" if missing else None

    def _apply_lowered(self, node: Node, outputs: Sequence[Tensor], what: str) -> str | None:
        """Batch what an operator is made of; the reason where that is not possible."""
        known = len(self.problems)
        self.run(outputs)
        inner, self.problems[known:] = self.problems[known:], []
        if inner:
            return f"in its {what} " + "; ".join(f"{n.op}: {why}" for n, why in inner)
        for old, t in zip(node.outputs, outputs, strict=True):
            self.new.setdefault(old, self.new.get(t, t))
            if t in self.batched:
                self.batched.add(old)
        return None

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


def _has_usable_body(node: Node) -> bool:
    return not node.domain and has_body(node.op) and data_dependent(node) is None


def _reason(node: Node) -> str:
    return data_dependent(node) or "it has no batching rule"


def _size(replacements: list[Tensor]) -> Tensor:
    """The size of the batch, static if any of the tensors tells."""
    return dim_of(next((t for t in replacements if isinstance(t.shape[0], int)), replacements[0]), 0)
