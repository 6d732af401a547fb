"""What an ONNX file cannot say of a graph in its own words, kept in the file's `metadata_props`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import onnx

from graphc.errors import ModelImportError
from graphc.ir.graph import Graph
from graphc.ir.origin import location

__all__ = [
    "BATCH_KEY",
    "HYPER_KEY",
    "NEXT_SUFFIX",
    "ORIGIN_KEY",
    "STATE_KEY",
    "SUFFIX_KEY",
    "VERSION_KEY",
    "State",
    "copy_name",
    "describe_state",
    "read_state",
    "state_text",
    "without_own",
]

NEXT_SUFFIX = ".next"
"""The state `name` comes back as the output `name` + this suffix."""

ORIGIN_KEY = "graphc.origin"
"""The key of a node's `metadata_props` that says which line of which layer built it."""

STATE_KEY = "graphc.state"
"""The key of a model's `metadata_props` that says which values are parameters and which outputs are their next values:
JSON text such as `{"parameters": {"w": true}, "next": {"w": "w.next"}}`, where true stands for trainable."""

VERSION_KEY = "graphc.version"
"""The key that says which version of graphc wrote a model."""

BATCH_KEY = "graphc.batch_inputs"
"""The key that lists what a training step is fed with in each batch, as JSON."""

HYPER_KEY = "graphc.hyperparameters"
"""The key that says which further inputs a training step has, and the values to feed, as JSON."""

SUFFIX_KEY = "graphc.suffix"
"""The key that says what follows the name of a state in the name of its next value."""


class State(NamedTuple):
    """The parameters of a model (name -> whether trainable), and the outputs that are the next values of some."""

    parameters: Mapping[str, bool]
    next: Mapping[str, str]


def describe_state(graph: Graph, suffix: str) -> str:
    """The text under STATE_KEY for a graph that has parameters."""
    parameters = {name: bool(t.node.attrs["trainable"]) for name, t in graph.parameters.items()}
    return state_text(State(parameters, {str(t.name): f"{t.name}{suffix}" for t in graph.updates}))


def state_text(state: State) -> str:
    """The text under STATE_KEY."""
    return json.dumps({"parameters": dict(state.parameters), "next": dict(state.next)})


def without_own(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The entries that are not graphc's own: what of a file's metadata still holds for another graph."""
    own = {STATE_KEY, VERSION_KEY, BATCH_KEY, HYPER_KEY, SUFFIX_KEY}
    return {key: value for key, value in (metadata or {}).items() if key not in own}


def read_state(model: onnx.ModelProto | onnx.GraphProto) -> State:
    """What :func:`describe_state` wrote, or nothing. Raises ModelImportError for a malformed text."""
    text = next((entry.value for entry in model.metadata_props if entry.key == STATE_KEY), None)
    if text is None:
        return State({}, {})
    try:
        found = json.loads(text)
        parameters, following = found["parameters"], found["next"]
    except (ValueError, TypeError, KeyError):
        parameters = following = None
    if not (_is_table(parameters, bool) and _is_table(following, str) and set(following) <= set(parameters)):
        raise ModelImportError(f"the metadata {STATE_KEY!r} is malformed: {text[:200]!r}{location()}")
    return State(parameters, following)


def _is_table(value: object, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(v, kind) for v in value.values())


def copy_name(output: str, source: str) -> str:
    """The name of an Identity node that is no operation of the graph but gives one value a second name.

    ONNX wants each output to be a value of its own; an output that is an input or another output is such a copy.
    """
    return f"{output} = {source}"
