"""What the grids of layers share: cases that hypothesis draws, and how each is held against PyTorch's layer.

A family of layers registers a function that draws the arguments of its layers and the axes of their inputs. The graph
of a case is built once, with symbols for the sizes that are names, and run for two sets of sizes.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import strategies as st

import graphc as gc
from graphc import nn
from passes.forms import updates_of

torch = pytest.importorskip("torch")

FAMILIES = ("grid_dense", "grid_graphs", "grid_images", "grid_losses", "grid_sequences")
Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


# --- inputs -------------------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.1, 2.0, shape).astype(np.float32)


def shares(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities away from 0 and 1."""
    return rng.uniform(0.02, 0.98, shape).astype(np.float32)


def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice(np.float32([-1, 1]), shape)


def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(np.float32)


def counts(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.poisson(2.0, shape).astype(np.float32)


def distributions(axis: int, log: bool = False) -> Values:
    """Probabilities that sum to 1 along an axis, or their logarithms."""

    def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        p = rng.uniform(0.05, 1, shape)
        p /= p.sum(axis, keepdims=True)
        return (np.log(p) if log else p).astype(np.float32)

    return values


def indices(stop: int, start: int = 0) -> Values:
    return lambda rng, shape: rng.integers(start, stop, shape)


def masks(share: float) -> Values:
    """Bools, of which a share is True, but never the first of a row."""

    def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        mask = rng.random(shape) < share
        mask[..., 0] = False
        return mask

    return values


@dataclass(frozen=True)
class Array:
    """An input: its axes are sizes, or names of symbols. `trained`: whether gradients in it are compared."""

    axes: tuple[int | str, ...]
    values: Values = normal
    trained: bool = True
    dtype: str = "float32"


def labels(stop: int, *axes: int | str, dtype: str = "int64", start: int = 0) -> Array:
    """Integers below `stop`."""
    return Array(axes, indices(stop, start), False, dtype)


def target(values: Values, *axes: int | str) -> Array:
    """Floats without a gradient."""
    return Array(axes, values, False)


# --- cases --------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """Arguments of a layer and the inputs it is called on.

    Attributes:
        options: keywords of both constructors; arrays become constants and torch tensors.
        inputs: what the layers are called on, in order.
        symbols: the two sizes of each symbol; "n" is there by itself.
        only_ours: keywords of our constructor that PyTorch has not.
        inferred: keywords that our constructor does not get, since inputs tell them.
        make: makes the layer of a library from its options, where it is more than a call of the class.
        ours, theirs: call the layer, where the two are called differently.
        training: whether the training form is compared, with the next running statistics.
        named: whether names of parameters, and their order, must be PyTorch's.
        rtol: relative to the largest element.
    """

    options: dict[str, Any]
    inputs: list[Array]
    symbols: dict[str, tuple[int, int]] = field(default_factory=dict)
    only_ours: dict[str, Any] = field(default_factory=dict)
    inferred: tuple[str, ...] = ()
    make: Callable[[Any, dict[str, Any]], Any] | None = None
    ours: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    theirs: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    training: bool = True
    named: bool = True
    rtol: float = 1e-5


class Drawn:
    """Draws the arguments of a case.

    Hypothesis begins with the first of all values, and shrinks towards them: so these are the ones that matter most.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def of(self, *values: Any) -> Any:
        return self._data.draw(st.sampled_from(values))

    def flag(self) -> bool:
        return self.of(True, False)

    def size(self, low: int, high: int) -> int:
        return self.of(*range(high, low - 1, -1))

    def number(self, low: float, high: float) -> float:
        return self._data.draw(st.floats(low, high, width=16))

    def per_axis(self, rank: int, low: int, high: int) -> Any:
        """One number, or one for each axis."""
        if self.flag():
            return tuple(self.size(low, high) for _ in range(rank))
        return self.size(low, high)

    def image(self, rank: int, channels: int, size: int) -> tuple[Array, dict[str, tuple[int, int]]]:
        """Samples and channels, and axes that are numbers or symbols; with the sizes of the symbols."""
        names = ("d", "h", "w")[-rank:]
        opened = self.flag()
        axes = names if opened else range(size, size + rank)
        sizes = {name: (size + k, size + 2 + k) for k, name in enumerate(names)} if opened else {}
        return Array(("n", channels, *axes)), sizes


def each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


GRID: dict[str, Callable[[Drawn, str], Case]] = {}
"""What draws the cases of a layer, by its name in `graphc.nn`."""
REFERENCES: dict[str, Callable[..., Any]] = {}
"""Layers that PyTorch lacks, written in its operators."""


def layers(*names: str) -> Callable[[Callable[[Drawn, str], Case]], Callable[[Drawn, str], Case]]:
    """Register what draws the cases of these layers."""

    def register(draw: Callable[[Drawn, str], Case]) -> Callable[[Drawn, str], Case]:
        for name in names:
            assert name not in GRID
            GRID[name] = draw
        return draw

    return register


def every_layer() -> dict[str, Callable[[Drawn, str], Case]]:
    """GRID with the layers of all families."""
    for family in FAMILIES:
        importlib.import_module(family)
    return GRID


def rank_of(name: str) -> int:
    """1, 2 or 3: the number of axes in the name of a layer."""
    return int(next(c for c in name if c.isdigit()))


def arguments(constructor: Any) -> dict[str, inspect.Parameter]:
    """The named arguments of a class, also those that it hands on to its bases; or of a function."""
    if not inspect.isclass(constructor) or "__signature__" in vars(constructor):
        return dict(inspect.signature(constructor).parameters)
    found: dict[str, inspect.Parameter] = {}
    for base in constructor.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
            for p in parameters:
                if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                    found.setdefault(p.name, p)
            if not any(p.kind == p.VAR_KEYWORD for p in parameters):
                break
    return found


# --- comparison ---------------------------------------------------------------------------------------------------


class Built:
    """The two layers of a case, our graph on symbolic inputs, and one state for both."""

    def __init__(self, name: str, case: Case, seed: int) -> None:
        self.case, self.rng = case, np.random.default_rng(seed)
        made = {name: value for name, value in case.options.items() if name not in case.inferred}
        self.inputs = [
            gc.input(f"x{k}", a.axes, a.dtype if a.values is not None else "float32") for k, a in enumerate(case.inputs)
        ]
        ours = {**made, **case.only_ours}
        theirs = {key: _tensor(v) if isinstance(v, np.ndarray) else v for key, v in case.options.items()}
        self.layer = case.make(nn, ours) if case.make else getattr(nn, name)(**ours)
        self.outputs = _flat(case.ours(self.layer, *self.inputs))
        if not case.training:
            self.outputs = gc.to_inference(self.outputs)
        reference = REFERENCES[name](**theirs) if name in REFERENCES else None
        self.other = reference or (case.make(torch.nn, theirs) if case.make else getattr(torch.nn, name)(**theirs))
        self.other.double().train(case.training)
        if case.named:
            assert self.layer.state_names() == list(self.other.state_dict())
        self.state = {key: self._value(key, t) for key, t in self.layer.named_parameters()}

    def _value(self, name: str, parameter: gc.Tensor) -> np.ndarray:
        shape = parameter.shape
        if not parameter.dtype.is_float:
            return np.array(self.rng.integers(0, 5), parameter.dtype.numpy)
        return (positive if name.endswith("running_var") else normal)(self.rng, shape)

    def feeds(self, which: int) -> dict[str, np.ndarray]:
        """Inputs of the first or the second sizes."""
        symbols = {"n": (2, 5)} | self.case.symbols
        sizes = [tuple(symbols[n][which] if isinstance(n, str) else n for n in a.axes) for a in self.case.inputs]
        arrays = [a.values(self.rng, size).astype(a.dtype) for a, size in zip(self.case.inputs, sizes, strict=True)]
        return {f"x{k}": array for k, array in enumerate(arrays)}

    def reference(self, feeds: dict[str, np.ndarray]) -> tuple[list[Any], list[Any]]:
        """PyTorch's outputs and inputs, in float64."""
        if self.case.named:
            self.other.load_state_dict({key: _tensor(v) for key, v in self.state.items()})
        self.other.zero_grad()
        trained = [a.trained and feeds[f"x{k}"].dtype.kind == "f" for k, a in enumerate(self.case.inputs)]
        given = [_tensor(a).requires_grad_(t) for a, t in zip(feeds.values(), trained, strict=True)]
        return _flat(self.case.theirs(self.other, *given)), given


def compare(name: str, case: Case, seed: int) -> None:
    """Outputs, gradients in all inputs and parameters, and next running statistics, for two sets of sizes."""
    built = Built(name, case, seed)
    floats = [k for k, y in enumerate(built.outputs) if y.dtype.is_float]
    cotangents = [gc.input(f"g{k}", built.outputs[k].shape) for k in floats]
    inputs = [x for x, a in zip(built.inputs, case.inputs, strict=True) if a.trained and x.dtype.is_float]
    parameters = {key: t for key, t in built.layer.named_parameters() if t.node.attrs["trainable"]}
    wrt = [*inputs, *parameters.values()]
    gradients = gc.vjp([built.outputs[k] for k in floats], wrt, cotangents, unused="zero") if wrt else []
    updates = updates_of(built.outputs)
    graph = gc.graph([*built.outputs, *gradients, *updates.values()])
    run = gc.compile(graph, state=built.state)
    for which in (0, 1):
        feeds = built.feeds(which)
        outputs, given = built.reference(feeds)
        upward = {f"g{k}": normal(built.rng, tuple(outputs[k].shape)) for k in floats}
        torch.autograd.backward([outputs[k] for k in floats], [_tensor(g) for g in upward.values()]) if wrt else None
        others = dict(built.other.named_parameters())
        expected = [t.detach() for t in outputs]
        expected += [_gradient(t) for t in given if t.requires_grad]
        expected += [_gradient(others[key]) for key in parameters]
        expected += [built.other.state_dict()[str(t.name)] for t in updates]
        found = run({key: value for key, value in (feeds | upward).items() if key in graph.feeds}).values()
        labels_ = [f"output {k}" for k in range(len(outputs))] + [f"gradient in {t.name}" for t in wrt]
        labels_ += [f"next {t.name}" for t in updates]
        steepest = max((float(t.grad.abs().max()) for t in [*given, *others.values()] if t.grad is not None), default=0)
        for label, a, b in zip(labels_, found, expected, strict=True):
            least = steepest if label.startswith("gradient") else 0.0  # terms of a gradient may cancel
            _assert_close(a, b.numpy(), case.rtol, f"{name}, {label}, of {case}", least)


def compare_exported(name: str, case: Case, seed: int, path: Any) -> None:
    """What onnxruntime computes from the exported file is what PyTorch's layer computes in its evaluation mode."""
    built = Built(name, case, seed)
    built.other.eval()
    verify: Any = all(x.dtype.is_float for x in built.inputs) or built.feeds(0)
    gc.export(built.outputs, path, built.state, verify=verify)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for which in (0, 1):
        feeds = built.feeds(which)
        expected, _ = built.reference(feeds)
        found = session.run(None, {x.name: feeds[x.name] for x in session.get_inputs()})
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            _assert_close(a, b.detach().numpy(), case.rtol, f"{name}, exported output {k}, of {case}")


def _assert_close(a: np.ndarray, b: np.ndarray, rtol: float, message: str, scale: float = 0.0) -> None:
    assert a.shape == b.shape, message
    if a.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, message)
        return
    scale = max(scale, np.abs(b[np.isfinite(b)]).max(initial=1e-3))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=message)


def _gradient(t: Any) -> Any:
    return torch.zeros_like(t) if t.grad is None else t.grad


def _tensor(a: np.ndarray) -> Any:
    """In PyTorch's default type of integers, and in float64."""
    return torch.tensor(a.astype({"f": np.float64, "i": np.int64}.get(a.dtype.kind, a.dtype)))


def _flat(outputs: Any) -> list[Any]:
    """Outputs in a list, whatever they are nested in; those that are None are left out."""

    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, (tuple, list)):
            for item in value:
                yield from walk(item)
        elif value is not None:
            yield value

    return list(walk(outputs))
