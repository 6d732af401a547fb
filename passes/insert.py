"""Dropout and batch normalization put into a graph that has none: one built here, or one imported from ONNX."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar, overload

from graphc import functional as F
from graphc.errors import GraphError, OperatorError, ShapeError
from graphc.ir import graph as graphs
from graphc.ir import origin
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from graphc.nn.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from passes.forms import to_inference
from passes.sites import Place, Places, Site, Sites, insert

__all__ = ["insert_batchnorm", "insert_dropout"]

Mode: TypeAlias = Literal["train", "inference"]
Rate: TypeAlias = "float | Mapping[Place, float] | Callable[[Node], float]"
Given = TypeVar("Given", Graph, Tensor)

_SPATIAL = {3: Dropout1d, 4: Dropout2d, 5: Dropout3d}
_NORMS = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}


@overload
def insert_dropout(
    graph: Given, after: Places | None = None, rate: Rate = 0.5, *, spatial: bool = False, mode: Mode = "train"
) -> Given: ...
@overload
def insert_dropout(
    graph: Sequence[Tensor],
    after: Places | None = None,
    rate: Rate = 0.5,
    *,
    spatial: bool = False,
    mode: Mode = "train",
) -> list[Tensor]: ...


def insert_dropout(
    graph: Graph | Tensor | Sequence[Tensor],
    after: Places | None = None,
    rate: Rate = 0.5,
    *,
    spatial: bool = False,
    mode: Mode = "train",
) -> Graph | Tensor | list[Tensor]:
    """`graph` (or tensor, or tensors) with dropout after the given operators or layers.

    The data that these compute is replaced, for all that reads it, by its dropout (:func:`graphc.nn.dropout`).
    Everything else stays, names included. The inference form of the result is that of `graph`.

    Args:
        graph: any graph, an imported one too, before it is differentiated.
        after: operators (`"Relu"`), layers (`"mlp.0"`), names of tensors, patterns of these (`"mlp.*"`, see
            :mod:`passes.sites`), tensors, predicates on nodes, or a sequence of them. A layer's data is what leaves it.
        rate: the probability of dropping an element: one for all, a function of the node that computes the data, or a
            mapping of places to rates in place of `after`, where later entries overrule earlier ones.
        spatial: whether to drop whole channels; the data are (N, C, ...) then, of three to five axes.
        mode: "train", or "inference" for the inference form at once.

    Raises:
        GraphError: a place stands for nothing in the graph; the error lists what there is.
        OperatorError: a rate is not in [0, 1), `mode` is unknown, or both or none of `after` and a mapping are given.
        ShapeError: `spatial` data have another number of axes.
    """
    _check_mode("insert_dropout", mode)
    outputs = _outputs("insert_dropout", graph)
    sites = Sites(outputs, "insert_dropout")
    additions = _Additions(sites, "dropout")
    rates: dict[Site, float] = {}
    if isinstance(rate, Mapping):
        if after is not None or not rate:
            raise OperatorError(
                f"insert_dropout: a mapping of rates says where, too; found {rate!r} and after={after!r}{location()}"
            )
        for place, value in rate.items():
            by_tensor = {site.tensor: site for site in rates}
            rates.update({by_tensor.get(site.tensor, site): value for site in sites.after(place)})
    elif after is None:
        raise OperatorError(f"insert_dropout: after is None; expected operators, layers or tensors{location()}")
    else:
        for site in sites.after(after):
            rates[site] = rate(site.tensor.node) if callable(rate) else rate
    for site, value in rates.items():
        name = additions.name(site)
        additions.add(site, name, _dropout(site, value, spatial, name))
    return _result(graph, insert(outputs, additions.functions), mode)


def _dropout(site: Site, rate: float, spatial: bool, name: str) -> Dropout:
    if not spatial:
        return Dropout(rate, name=name)
    rank = site.tensor.ndim
    if rank not in _SPATIAL:
        raise ShapeError(
            f"insert_dropout: after {site.name!r} the data are {site.tensor.type}; spatial dropout needs samples, "
            f"channels, and one to three further axes{location()}"
        )
    return _SPATIAL[rank](rate, name=name)


@overload
def insert_batchnorm(
    graph: Given,
    *,
    before: Places | None = None,
    after: Places | None = None,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    affine: bool = True,
    axis: int = 1,
    mode: Mode = "train",
) -> Given: ...
@overload
def insert_batchnorm(
    graph: Sequence[Tensor],
    *,
    before: Places | None = None,
    after: Places | None = None,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    affine: bool = True,
    axis: int = 1,
    mode: Mode = "train",
) -> list[Tensor]: ...


def insert_batchnorm(
    graph: Graph | Tensor | Sequence[Tensor],
    *,
    before: Places | None = None,
    after: Places | None = None,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    affine: bool = True,
    axis: int = 1,
    mode: Mode = "train",
) -> Graph | Tensor | list[Tensor]:
    """`graph` (or tensor, or tensors) with batch normalization before or after the given operators or layers.

    After an operator or layer, the data that it computes are normalized for all that reads them; before one, the data
    that it reads are normalized for it alone. The parameters of the site `mlp.0` are `mlp.0.batchnorm.weight`, `.bias`,
    `.running_mean`, `.running_var` and `.num_batches_tracked`; a second one at a site is `mlp.0.batchnorm_1`. A site
    bears the name of its layer, else of its tensor, else of its operator and number (`gemm_0`). Other names stay.

    Args:
        graph: any graph, an imported one too, before it is differentiated.
        before: places, as those of :func:`graphc.insert_dropout`; a tensor stands for the operator that computes it.
        after: likewise.
        momentum: how far running statistics move towards those of each batch; None averages all batches alike.
        eps: added to the variance.
        affine: whether to have `weight` and `bias`.
        axis: the axis of the channels; its size must be a number. -1 are the features of a transformer.
        mode: "train", or "inference" for the inference form at once.

    Raises:
        GraphError: a place stands for nothing in the graph; the error lists what there is.
        OperatorError: an option is out of range, or there is neither `before` nor `after`.
        ShapeError: the data have less than two or more than five axes, or channels of unknown number.
    """
    _check_mode("insert_batchnorm", mode)
    if before is None and after is None:
        raise OperatorError(
            f"insert_batchnorm: before and after are None; expected operators, layers or tensors{location()}"
        )
    outputs = _outputs("insert_batchnorm", graph)
    sites = Sites(outputs, "insert_batchnorm")
    additions = _Additions(sites, "batchnorm")
    found = [*([] if after is None else sites.after(after)), *([] if before is None else sites.before(before))]
    for site in found:
        name = additions.name(site)
        additions.add(site, name, _Normalize(site, momentum, eps, affine, axis, name))
    return _result(graph, insert(outputs, additions.functions), mode)


class _Normalize:
    """A batch normalization over one axis of the data at a site."""

    def __init__(self, site: Site, momentum: float | None, eps: float, affine: bool, axis: int, name: str) -> None:
        t = site.tensor.tensor_type
        rank = t.rank
        if rank not in _NORMS or not -rank <= axis < rank:
            raise ShapeError(
                f"insert_batchnorm: at {site.name!r} the data are {t}; expected two to five axes, and the channels in "
                f"axis {axis}{location()}"
            )
        channels = site.tensor.shape[axis]
        if not isinstance(channels, int):
            raise ShapeError(
                f"insert_batchnorm: at {site.name!r} the data are {t}, and axis {axis}, the channels, is {channels!s}, "
                f"a symbol{location()}. Pass axis= for another axis."
            )
        dtype = "float64" if t.dtype.name == "float64" else "float32"
        self._axis = axis % rank
        self._norm = _NORMS[rank](channels, eps, momentum, affine, dtype=dtype, name=name)

    def __call__(self, x: Tensor) -> Tensor:
        if self._axis == 1:
            return self._norm(x)  # type: ignore[no-any-return]
        return F.swapaxes(self._norm(F.swapaxes(x, 1, self._axis)), 1, self._axis)


class _Additions:
    """What is inserted where. A layer named `<site>.<kind>`, with a number where that is taken, belongs to the site's.

    A site without a layer stays without: its name must not become one.
    """

    def __init__(self, sites: Sites, kind: str) -> None:
        self._taken = sites.names
        self._kind = kind
        self._where = origin.current()
        self.functions: dict[Site, Callable[[Tensor], Tensor]] = {}

    def name(self, site: Site) -> str:
        """A name for what is inserted at `site`."""
        base = name = f"{site.name}.{self._kind}"
        for count in itertools.count(1):
            if name not in self._taken:
                break
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def add(self, site: Site, name: str, function: Callable[[Tensor], Tensor]) -> None:
        """Insert `function`, of that name, at `site`."""
        where = None if self._where is None else self._where._replace(scope=name if site.in_layer else "")

        def build(x: Tensor) -> Tensor:
            with origin.inherit(where):
                return function(x)

        self.functions[site] = build


def _check_mode(title: str, mode: str) -> None:
    if mode not in ("train", "inference"):
        raise OperatorError(f"{title}: mode is {mode!r}; expected 'train' or 'inference'{location()}")


def _outputs(title: str, graph: Graph | Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The results to insert below: of a graph, also the next values of its state."""
    if isinstance(graph, Graph):
        return [*graph.outputs, *graph.updates.values()]
    outputs = [graph] if isinstance(graph, Tensor) else list(graph)
    if not outputs or not all(isinstance(t, Tensor) for t in outputs):
        raise GraphError(f"{title}: found {graph!r}; expected a Graph, a Tensor or a sequence of Tensors{location()}")
    return outputs


def _result(graph: Graph | Tensor | Sequence[Tensor], new: list[Tensor], mode: Mode) -> Graph | Tensor | list[Tensor]:
    if mode == "inference":
        new = to_inference(new)
    if isinstance(graph, Tensor):
        return new[0]
    if not isinstance(graph, Graph):
        return new
    count = len(graph.outputs)
    outputs = dict(zip(graph.output_names, new[:count], strict=True))
    updates = dict(zip(graph.updates, new[count:], strict=True))
    return graphs.graph(outputs, graph.inputs, updates=updates, name=graph.name)
