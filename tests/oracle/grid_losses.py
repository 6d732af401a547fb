"""Grids of the losses, and of distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from layer_grid import (
    REFERENCES,
    Array,
    Case,
    Drawn,
    bits,
    counts,
    distributions,
    indices,
    labels,
    layers,
    normal,
    positive,
    shares,
    signs,
    target,
)

CLASSES = 4


def _reduction(draw: Drawn) -> dict[str, Any]:
    return {"reduction": draw.of("mean", "sum", "none")}


def _axes(draw: Drawn) -> tuple[Any, ...]:
    return draw.of(("n",), ("n", 3), ("n", 3, "t"))


def _case(options: dict[str, Any], *inputs: Array, **fields: Any) -> Case:
    return Case(options, list(inputs), {"n": (3, 6), "t": (2, 4)}, named=False, **fields)


def _weights(draw: Drawn, *shape: int) -> np.ndarray | None:
    return draw.of(None, np.linspace(0.25, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape))


@layers("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss")
def _errors(draw: Drawn, name: str) -> Case:
    axes, options = _axes(draw), _reduction(draw)
    if name == "HuberLoss":
        options["delta"] = draw.number(0.25, 2)
    if name == "SmoothL1Loss":
        options["beta"] = draw.of(0.0, draw.number(0.25, 2))
    return _case(options, Array(axes), Array(axes))


@layers("BCELoss", "BCEWithLogitsLoss", "SigmoidFocalLoss")
def _binary(draw: Drawn, name: str) -> Case:
    options = _reduction(draw)
    axes = draw.of(("n", 3), ("n", "t", 3))
    wanted = target(draw.of(bits, shares), *axes)
    if name == "SigmoidFocalLoss":
        options |= {"alpha": draw.of(-1.0, draw.number(0, 1)), "gamma": draw.of(0.0, 1.0, 2.0, 3.5)}
        return _case(options, Array(axes), wanted)
    options["weight"] = _weights(draw, 3)
    if name == "BCEWithLogitsLoss":
        options["pos_weight"] = _weights(draw, 3)
    return _case(options, Array(axes, shares if name == "BCELoss" else normal), wanted)


@layers("CrossEntropyLoss")
def _cross_entropy(draw: Drawn, name: str) -> Case:
    axes = draw.of((), ("t",), (2, "t"))
    soft = draw.flag()
    options = _reduction(draw) | {"weight": _weights(draw, CLASSES), "label_smoothing": draw.of(0.0, 0.1, 1.0)}
    if soft:
        wanted = target(distributions(1), "n", CLASSES, *axes)
        return _case(options, Array(("n", CLASSES, *axes)), wanted, only_ours={"soft": True})
    options["ignore_index"] = draw.of(-100, 1)
    return _case(options, Array(("n", CLASSES, *axes)), labels(CLASSES, "n", *axes, dtype=draw.of("int64", "int32")))


@layers("NLLLoss")
def _nll(draw: Drawn, name: str) -> Case:
    axes = draw.of((), ("t",), (2, "t"))
    options = _reduction(draw) | {"weight": _weights(draw, CLASSES), "ignore_index": draw.of(-100, 1)}
    return _case(options, Array(("n", CLASSES, *axes), distributions(1, log=True)), labels(CLASSES, "n", *axes))


@layers("KLDivLoss")
def _kl(draw: Drawn, name: str) -> Case:
    axes = draw.of(("n", 4), ("n", "t", 4))
    options = {"reduction": draw.of("mean", "sum", "none", "batchmean"), "log_target": draw.flag()}
    wanted = Array(axes, distributions(-1, log=options["log_target"]))
    return _case(options, Array(axes, distributions(-1, log=True)), wanted)


@layers("PoissonNLLLoss")
def _poisson(draw: Drawn, name: str) -> Case:
    axes = _axes(draw)
    options = _reduction(draw) | {"log_input": draw.flag(), "full": draw.flag(), "eps": draw.of(1e-8, 0.1)}
    return _case(options, Array(axes, normal if options["log_input"] else positive), target(counts, *axes))


@layers("GaussianNLLLoss")
def _gaussian(draw: Drawn, name: str) -> Case:
    options = _reduction(draw) | {"full": draw.flag(), "eps": draw.of(1e-6, 0.5)}
    variance = Array(draw.of(("n", "t"), ("n", 1), ("n",)), positive)
    return _case(options, Array(("n", "t")), Array(("n", "t")), variance)


@layers("HingeEmbeddingLoss", "SoftMarginLoss")
def _hinges(draw: Drawn, name: str) -> Case:
    axes, options = _axes(draw), _reduction(draw)
    if name == "HingeEmbeddingLoss":
        options["margin"] = draw.number(-1, 2)
    return _case(options, Array(axes), target(signs, *axes))


@layers("MultiMarginLoss")
def _multi_margin(draw: Drawn, name: str) -> Case:
    options = _reduction(draw) | {"p": draw.size(1, 2), "margin": draw.number(0.25, 2)}
    options["weight"] = _weights(draw, CLASSES)
    return _case(options, Array(("n", CLASSES)), labels(CLASSES, "n"))


@layers("MarginRankingLoss")
def _ranking(draw: Drawn, name: str) -> Case:
    axes = _axes(draw)
    options = _reduction(draw) | {"margin": draw.number(-1, 2)}
    return _case(options, Array(axes), Array(axes), target(signs, *axes))


@layers("CosineEmbeddingLoss")
def _cosines(draw: Drawn, name: str) -> Case:
    axes: tuple[Any, ...] = draw.of(("n",), ())
    options = _reduction(draw) | {"margin": draw.number(-1, 1)}
    return _case(options, Array((*axes, 4)), Array((*axes, 4)), target(signs, *axes))


@layers("TripletMarginLoss")
def _triplets(draw: Drawn, name: str) -> Case:
    axes = draw.of((4,), ("n", 4))
    options = _reduction(draw) | {"margin": draw.number(0.25, 3), "p": draw.of(1.0, 2.0, 3.0, float("inf"))}
    options |= {"eps": draw.of(1e-6, 0.1), "swap": draw.flag()}
    return _case(options, *[Array(axes)] * 3, rtol=2e-5)


@layers("TripletMarginWithDistanceLoss")
def _triplets_by_distance(draw: Drawn, name: str) -> Case:
    options = _reduction(draw) | {"margin": draw.number(0.25, 3), "swap": draw.flag()}
    options["distance_function"] = draw.of(None, lambda x, y: abs(x - y).sum(-1))
    return _case(options, *[Array(draw.of((4,), ("n", 4)))] * 3, rtol=2e-5)


@layers("MultiLabelSoftMarginLoss")
def _yes_or_no(draw: Drawn, name: str) -> Case:
    axes = draw.of(("n", CLASSES), ("n", "t", CLASSES))
    options = _reduction(draw) | {"weight": _weights(draw, CLASSES)}
    return _case(options, Array(axes), target(bits, *axes))


@layers("MultiLabelMarginLoss")
def _several_labels(draw: Drawn, name: str) -> Case:
    def first_labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Different classes, some of them behind a -1, where they do not count."""
        rows = np.stack([rng.permutation(CLASSES) for _ in range(math.prod(shape[:-1]))])
        rows[np.arange(len(rows)), rng.integers(0, CLASSES, len(rows))] = -1
        return rows.reshape(shape)

    axes: tuple[Any, ...] = draw.of(("n", CLASSES), (CLASSES,))
    return _case(_reduction(draw), Array(axes), Array(axes, first_labels, False, "int64"))


@layers("InfoNCELoss")
def _info_nce(draw: Drawn, name: str) -> Case:
    options = _reduction(draw) | {"temperature": draw.of(0.1, 1.0)}
    negatives: list[Any] = draw.of([], [Array(("m", 4))], [Array(("n", "m", 4))])
    case = _case(options, Array(("n", 4)), Array(("n", 4)), *negatives, rtol=2e-5)
    case.symbols["m"] = (3, 5)
    return case


@layers("CTCLoss")
def _ctc(draw: Drawn, name: str) -> Case:
    """Of logits: behind a log-softmax PyTorch's gradient is the exact one. All targets have an alignment."""
    options = _reduction(draw) | {"blank": draw.size(0, CLASSES - 1), "zero_infinity": draw.flag()}
    longest = draw.size(0, 3)
    others = [c for c in range(CLASSES) if c != options["blank"]]

    def wanted(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.choice(others, shape)

    def call(softmax: Any) -> Any:
        return lambda layer, x, *further: layer(softmax(x), *further)

    import graphc as gc

    return _case(
        options,
        Array((8, "n", CLASSES)),
        Array(("n", longest), wanted, False, "int64"),
        Array(("n",), indices(9, 6), False, "int64"),
        Array(("n",), indices(longest + 1), False, "int64"),
        ours=call(lambda x: gc.log_softmax(x, 2)),
        theirs=call(lambda x: torch.log_softmax(x, 2)),
    )


# --- losses that PyTorch lacks, in its operators ------------------------------------------------------------------

_REDUCED = {"mean": torch.mean, "sum": torch.sum, "none": lambda loss: loss}


class Focal(torch.nn.Module):
    def __init__(self, alpha: float, gamma: float, reduction: str) -> None:
        super().__init__()
        self.alpha, self.gamma, self.reduction = alpha, gamma, reduction

    def forward(self, x: Any, y: Any) -> Any:
        p = torch.sigmoid(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
        loss = loss * (1 - (p * y + (1 - p) * (1 - y))) ** self.gamma
        if self.alpha >= 0:
            loss = loss * (self.alpha * y + (1 - self.alpha) * (1 - y))
        return _REDUCED[self.reduction](loss)


class Contrast(torch.nn.Module):
    def __init__(self, temperature: float, reduction: str) -> None:
        super().__init__()
        self.temperature, self.reduction = temperature, reduction

    def forward(self, q: Any, k: Any, negatives: Any = None) -> Any:
        q, k = (torch.nn.functional.normalize(t, dim=-1) for t in (q, k))
        if negatives is None:
            logits, right = q @ k.T, torch.arange(len(q))
        else:
            far = torch.nn.functional.normalize(negatives, dim=-1)
            cosines = q @ far.T if far.ndim == 2 else torch.einsum("nd,nmd->nm", q, far)
            logits, right = (
                torch.cat([(q * k).sum(1, keepdim=True), cosines], 1),
                torch.zeros(len(q), dtype=torch.int64),
            )
        return torch.nn.functional.cross_entropy(logits / self.temperature, right, reduction=self.reduction)


REFERENCES |= {"SigmoidFocalLoss": Focal, "InfoNCELoss": Contrast}


@layers("AdaptiveLogSoftmaxWithLoss")
def _adaptive_softmax(draw: Drawn, name: str) -> Case:
    cutoffs = draw.of([2, 5], [3], [1, 2, 7])
    options = {"in_features": 9, "n_classes": draw.size(8, 10), "cutoffs": cutoffs, "div_value": draw.of(2.0, 1.5)}
    options["head_bias"] = draw.flag()
    features = Array(("n", 9))
    if draw.flag():
        return Case(options, [features, labels(options["n_classes"], "n")], {"n": (3, 12)})
    return Case(options, [features], theirs=lambda layer, x: layer.log_prob(x))
