"""A model read from a file: its graph, the values of its parameters, and everything in it by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from graphc.errors import GraphError
from graphc.ir import build
from graphc.ir.collector import collector_paused
from graphc.ir.constant import Array
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.patterns import matching
from graphc.serial.training_form import advanced_state, training_form

__all__ = ["Model"]


class Model:
    """What :func:`graphc.load` reads. Immutable: `freeze`, `unfreeze` and `training` return other models.

    `graph` is the whole function, `state` the values of its parameters by name (read-only arrays, mapped into memory
    where they lie in a file beside the model), `metadata` the entries of the file's `metadata_props`, `doc` its
    description. Build on any of its values, and hand `state` to `gc.Trainer` or `gc.export`.
    """

    __slots__ = ("_values", "doc", "graph", "metadata", "state")

    graph: Graph
    state: Mapping[str, Array]
    metadata: Mapping[str, str]
    doc: str
    _values: Mapping[str, Tensor]

    def __init__(
        self,
        graph: Graph,
        state: Mapping[str, Array],
        metadata: Mapping[str, str],
        values: Mapping[str, Tensor],
        doc: str = "",
    ) -> None:
        set_ = object.__setattr__
        set_(self, "graph", graph)
        set_(self, "state", MappingProxyType(dict(state)))
        set_(self, "metadata", MappingProxyType(dict(metadata)))
        set_(self, "_values", values)
        set_(self, "doc", doc)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What is fed, by name."""
        return self.graph.feeds

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What the model computes, by name."""
        return dict(zip(self.graph.output_names, self.graph.outputs, strict=True))

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters and other state by name; `graph.trainable` are those that optimizers change."""
        return self.graph.parameters

    def value(self, name: str) -> Tensor:
        """The value of that name in the file: an input, a parameter, an output, or what some node computes.

        Raises GraphError, with the nearest names, when there is none.
        """
        found = self._values.get(name)
        if found is None:
            near = difflib.get_close_matches(name, list(self._values), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise GraphError(f"the model has no value {name!r}{location()}.{hint}")
        return found

    def freeze(self, *patterns: str) -> Model:
        """The model with the parameters whose names match (`"backbone.*"`) no longer trainable.

        Raises GraphError when a pattern matches no parameter.
        """
        return self._marked("freeze", patterns, self.parameters, trainable=False)

    def unfreeze(self, *patterns: str) -> Model:
        """The model with the parameters whose names match trainable, but for running statistics and other such state.

        Raises GraphError when a pattern matches no parameter that can be trained.
        """
        fixed = advanced_state(self.graph)
        candidates = {name: t for name, t in self.parameters.items() if name not in fixed}
        return self._marked("unfreeze", patterns, candidates, trainable=True)

    def _marked(
        self, what: str, patterns: Iterable[str], parameters: Mapping[str, Tensor], *, trainable: bool
    ) -> Model:
        chosen = {name for pattern in patterns for name in matching(what, pattern, parameters)}
        replaced: dict[Tensor, Tensor] = {}
        for name in chosen:
            t = parameters[name]
            attrs = {**t.node.attrs, "trainable": trainable}
            if t.node.attrs["trainable"] is not trainable:
                replaced[t] = build.leaf("Parameter", name, t.type, attrs)
        return self._with(lambda roots: substitute(roots, replaced), replaced) if replaced else self

    def training(self, *, batch_norm: bool = True, dropout: bool = True) -> Model:
        """The model in training form, to build a loss on; exports undo it (:func:`graphc.to_inference`).

        With `batch_norm`, normalizations of the batch take its statistics, and training advances the running ones;
        without, they stay frozen, with the statistics of the file, as is usual for small data sets. With `dropout`,
        Dropout operators that are in the file draw masks at the rate that they state. Those in the bodies of If, Loop
        and Scan stay as they are.
        """
        return self._with(lambda roots: training_form(roots, batch_norm=batch_norm, dropout=dropout), {})

    def _with(self, change: Callable[[Sequence[Tensor]], list[Tensor]], replaced: Mapping[Tensor, Tensor]) -> Model:
        """The model with its values changed, and some of its leaves `replaced`."""
        graph, names = self.graph, list(self._values)
        with collector_paused():
            made = change([*graph.outputs, *graph.updates.values(), *(self._values[name] for name in names)])
        outputs = dict(zip(graph.output_names, made, strict=False))
        following = made[len(outputs) : len(outputs) + len(graph.updates)]
        updates = {replaced.get(t, t): new for t, new in zip(graph.updates, following, strict=True)}
        inputs = [replaced.get(t, t) for t in graph.inputs]
        values = dict(zip(names, made[len(outputs) + len(updates) :], strict=True))
        return Model(Graph(inputs, outputs, updates, graph.name), self.state, self.metadata, values, self.doc)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Model is immutable; cannot set {name!r}")

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(f"{name}: {t.type}" for name, t in of.items()) for of in (self.inputs, self.outputs)
        )
        trained = self.graph.trainable.values()
        return f"<Model {self.graph.name}: ({inputs}) -> ({outputs}), {len(trained)} trainable parameters>"
