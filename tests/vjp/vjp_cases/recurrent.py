"""Cases of RNN, LSTM and GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Arg, Case, given, real

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LSTM_INPUTS = ("bias", "lengths", "hidden", "cell", "peephole")
STEPS, BATCH, INPUT, HIDDEN = 3, 2, 2, 3


def _layer(op: str, name: str, *optional: str, outputs: tuple[int, ...] = (0, 1), **attrs: Any) -> Case:
    """A case with some of the optional inputs: bias, lengths, hidden, cell, peephole."""
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    gates = GATES[op] * HIDDEN
    small = {"low": -0.8, "high": 0.8}
    state = real(directions, BATCH, HIDDEN, dims=(directions, "batch", HIDDEN), **small)
    known: dict[str, Arg] = {
        "bias": real(directions, 2 * gates, **small),
        "lengths": given([STEPS, 2], np.int32, dims=("batch",)),
        "hidden": state,
        "cell": state,
        "peephole": real(directions, 3 * HIDDEN, **small),
    }
    args = (
        real(STEPS, BATCH, INPUT, dims=("steps", "batch", INPUT), **small),
        real(directions, gates, INPUT, **small),
        real(directions, gates, HIDDEN, **small),
        *(known[k] for k in optional),
    )

    def build(x: Any, w: Any, r: Any, *rest: Any) -> Any:
        by_name = dict(zip(optional, rest, strict=True))
        inputs = [by_name.get(k) for k in known]
        made = getattr(gc.op, op)(
            x, w, r, *(inputs if op == "LSTM" else inputs[:3]), hidden_size=HIDDEN, outputs=max(outputs) + 1, **attrs
        )
        return [made[i] for i in outputs]

    return Case(op, name, build, args, half=False)  # onnx's reference Scan, the oracle of half, goes forwards only


CASES = [
    *(_layer(op, "plain") for op in GATES),
    *(_layer(op, "last_state_only", "bias", outputs=(1,)) for op in GATES),
    *(_layer(op, "all", "bias", "lengths", "hidden", direction="bidirectional") for op in ("RNN", "GRU")),
    _layer("GRU", "reset_after", "bias", "hidden", direction="reverse", linear_before_reset=1),
    _layer("LSTM", "all", *LSTM_INPUTS, outputs=(0, 1, 2), direction="bidirectional"),
    _layer("LSTM", "coupled", "cell", "peephole", outputs=(2,), direction="reverse", input_forget=1),
]
