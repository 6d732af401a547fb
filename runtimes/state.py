"""State: the arrays of parameters and other variables by name, in memory and in safetensors files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from graphc.errors import DTypeError, FeedError, StateError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType, as_dtype
from graphc.nn.batchnorm import tracking_of
from graphc.nn.init import initialize
from graphc.nn.module import Module
from runtimes.atomic import Replacing
from runtimes.feeds import convert

__all__ = ["complete_state", "init_state", "load_state", "match_state", "read_state", "save_state"]

State = Mapping[str, ArrayLike]

_CHECKSUM = "graphc.checksum"
_FORMAT, _READABLE = "graphc.format", 1
"""What a file of state means may change; this number tells, and which is the latest that is understood."""
_STORABLE = {"float64", "float32", "float16", "bfloat16", "bool", "complex64"}
_STORABLE |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def init_state(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """The first value of every parameter and other state of `graph`, by name, drawn with `seed`."""
    return initialize(graph, seed)


def complete_state(state: State | None, graph: Graph, seed: int) -> dict[str, Array]:
    """A value for each parameter of `graph`: from `state`, or from its initializer where `state` lacks it.

    Other entries of `state` are left out; dtypes convert as those of feeds do. Raises StateError for a wrong shape.
    """
    state = state or {}
    parameters = graph.parameters
    missing = {name: t for name, t in parameters.items() if name not in state}
    drawn = initialize(missing, seed) if missing else {}
    return match_state({**{n: state[n] for n in parameters if n in state}, **drawn}, graph)


def match_state(state: State, target: Graph | Module, *, exact: bool = False) -> dict[str, Array]:
    """The entries of `state` for the parameters of a graph or of a module, in their order and dtypes.

    With `exact`, further entries and other dtypes are errors too; only the counts of batches that normalizations of the
    graph keep, as PyTorch's do, may be there or not. Raises StateError, which names every entry that is missing, not
    expected, or of the wrong shape or dtype.
    """
    if isinstance(target, Module):
        title, parameters, counts = type(target).__name__, dict(target.named_parameters()), {}
    else:
        title, parameters, counts = repr(target.name), target.parameters, _batch_counts(target)
    expected = parameters | {name: t for name, t in counts.items() if exact and name in state}
    matched: dict[str, Array] = {}
    problems = []
    for name, t in expected.items():
        if name not in state:
            problems.append(f"missing {name!r}, {t.type}")
            continue
        try:
            matched[name] = _fit(name, state[name], t, exact)
        except (FeedError, StateError) as error:
            problems.append(str(error))
    if exact:
        problems += [f"unexpected {name!r}, {_type_of(state[name])}" for name in state if name not in expected]
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise StateError(f"the state does not match {title}{location()}:{listed}{_prefix_hint(state, expected)}")
    return matched


def _batch_counts(graph: Graph) -> dict[str, Tensor]:
    """The counts that belong to running means of `graph` but do not take part in it unless it trains."""
    found = (tracking_of(t) for t in graph.inputs if t.node.is_parameter)
    counts = {str(tracking.batches.name): tracking.batches for tracking in found if tracking is not None}
    parameters = graph.parameters
    return {name: t for name, t in counts.items() if name not in parameters}


def _prefix_hint(state: State, expected: Mapping[str, Tensor]) -> str:
    """Advice where the names of one side are those of the other behind a common prefix."""
    if not state or not expected or set(state) & set(expected):
        return ""
    for longer, shorter, where in ((state, expected, "the state"), (expected, state, "the model")):
        first, other = min(longer), min(shorter)
        prefix = first.removesuffix(other)
        if prefix != first and set(longer) == {prefix + name for name in shorter}:
            return (
                f"\nThe names of {where} begin with {prefix!r}, the others are the same. Give the model the name "
                "of the saved one, as in nn.Sequential(..., name='net'), or rename the entries."
            )
    return ""


def _fit(name: str, value: ArrayLike, t: Tensor, exact: bool) -> Array:
    array = np.asarray(value) if exact else convert(repr(name), value, t.dtype)
    expected = t.tensor_type
    if array.dtype != expected.dtype.numpy or array.shape != expected.shape:
        raise StateError(f"{name!r} is {_type_of(array)}; expected {expected}")
    return array


def _type_of(value: ArrayLike) -> str:
    array = np.asarray(value)
    return str(TensorType(as_dtype(array.dtype), array.shape))


def save_state(
    state: State,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    target: Graph | Module | None = None,
) -> None:
    """Write `state` to a safetensors file, whole or not at all, with text entries of `metadata` and a checksum.

    With `target`, only the entries of that graph or module, all of them: those of a module are what a PyTorch module of
    the same structure loads with `strict=True`, without the slots of the optimizer.

    Raises StateError for a dtype that the format lacks or a state that lacks an entry, ExportError when the file cannot
    be written.
    """
    import safetensors
    from safetensors.numpy import save_file

    if target is not None:
        state = match_state(state, target)
    with Replacing(path) as fresh:
        arrays = {str(name): _storable(str(name), value) for name, value in state.items()}
        try:
            save_file(arrays, os.fspath(fresh), {**(metadata or {}), **_stamp(arrays)})
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error


def _stamp(arrays: Mapping[str, Array]) -> dict[str, str]:
    return {_FORMAT: str(_READABLE), _CHECKSUM: _checksum(arrays)}


def _check_format(found: str, metadata: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    """Refuse the file of a later graphc, whose entries may mean something else."""
    if not found.isdecimal() or int(found) > _READABLE:
        writer = metadata.get("graphc.version", "unknown")
        raise StateError(
            f"{os.fspath(path)!r} has the format {found}, written by graphc {writer}; expected {_READABLE} at most"
            f"{location()}. Update graphc, or use the version that wrote the file."
        )


def _checksum(state: Mapping[str, Array]) -> str:
    """A SHA-256 digest of the names, types and bytes of all arrays, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        digest.update(f"{name!r} {array.dtype.name} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _storable(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, order="C")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        known = as_dtype(array.dtype).name in _STORABLE
    except DTypeError:
        known = False
    if not known:
        raise StateError(
            f"save_state: {name!r} has the dtype {array.dtype}; safetensors files hold {', '.join(sorted(_STORABLE))}"
            f"{location()}"
        )
    return array


def load_state(path: str | os.PathLike[str], target: Graph | Module | None = None) -> dict[str, Array]:
    """Read a safetensors file, also one that PyTorch wrote of a model with the same layers.

    With `target`, check that it holds exactly the parameters and other state of that graph or module; the counts of
    batches that a normalization keeps are read for a graph, too, whether it uses them or not.

    Raises StateError: there is no such file, it is corrupt or cut off, or (with `target`) it does not match; every
    missing, unexpected or misfitting entry is named. No code of the file is run.
    """
    state, _ = read_state(path)
    return state if target is None else match_file(state, path, target)


def match_file(state: State, path: str | os.PathLike[str], target: Graph | Module) -> dict[str, Array]:
    """As `match_state` with `exact`, naming the file that the state comes from."""
    try:
        return match_state(state, target, exact=True)
    except StateError as error:
        raise StateError(f"{os.fspath(path)!r}: {error}") from None


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the text metadata of a safetensors file, held against their checksum where it has one.

    Raises StateError as `load_state` does.
    """
    import safetensors

    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise StateError(f"{os.fspath(path)!r} is no complete safetensors file: {error}{location()}") from error
    except OSError as error:
        raise StateError(f"cannot read the state file {os.fspath(path)!r}: {error}{location()}") from error
    _check_format(metadata.pop(_FORMAT, str(_READABLE)), metadata, path)
    expected = metadata.pop(_CHECKSUM, None)
    if expected is not None and expected != _checksum(state):
        raise StateError(
            f"{os.fspath(path)!r} is damaged: its arrays do not match their checksum{location()}. "
            "Use an earlier file, or a copy."
        )
    return state, metadata
