"""ONNX's own backend tests, run by graphc and by onnxruntime alone.

onnxruntime takes its process with it when it crashes, so the cases run in another one: this file as a program.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import unittest
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.backend.base import Backend
from onnx.backend.test import BackendTest

from runtimes.onnx_backend import OnnxBackend
from runtimes.session import Session

CATEGORIES = {
    "NodeModel": "node",
    "SimpleModel": "simple",
    "PyTorchConvertedModel": "pytorch-converted",
    "PyTorchOperatorModel": "pytorch-operator",
}
"""Categories of the suite by the name of its runner. The real models are not among them: they are downloads."""

RANDOM = frozenset(
    {
        *(f"test_bernoulli{kind}{form}" for kind in ("", "_double", "_seed") for form in ("", "_expanded")),
        *(f"test_training_dropout{kind}{form}" for kind in ("", "_default") for form in ("", "_mask")),
    }
)
"""Cases whose expected outputs are those of another generator of random numbers; by chance they may be met."""

TRAINING = ("test_adagrad", "test_adam", "test_gradient_of", "test_momentum", "test_nesterov_momentum")
"""How the cases of the training domain begin, which belong to every sample."""

LAST_IR_VERSION = 13
"""onnxruntime 1.31 reads no later one; most of these models have a later one without using anything of it."""

_SECONDS = 120


class StockBackend(Backend):
    """onnxruntime alone. Models that state a later version of the file format than it reads get one that it reads."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Any:
        stated = onnx.ModelProto()
        stated.CopyFrom(model)
        stated.ir_version = min(stated.ir_version, LAST_IR_VERSION)
        return _StockRep(Session(stated), [i.name for i in model.graph.input])

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class _StockRep:
    def __init__(self, session: Session, names: Sequence[str]) -> None:
        self.session, self.names = session, names

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
        return self.session.run(dict(zip(self.names, inputs, strict=False)))


BACKENDS: dict[str, type[Backend]] = {"graphc": OnnxBackend, "onnxruntime": StockBackend}


class Outcome(NamedTuple):
    """What became of a case: "" when it passed, else the reason."""

    case: str
    backend: str
    failure: str


class Results(NamedTuple):
    """The names of all cases by category, and the outcomes of those that were run."""

    cases: dict[str, list[str]]
    outcomes: list[Outcome]

    def failed(self, backend: str) -> dict[str, str]:
        """Why cases fail with a backend, by name. Random ones count as failed."""
        return {o.case: o.failure for o in self.outcomes if o.backend == backend and (o.failure or o.case in RANDOM)}

    @property
    def lost(self) -> set[str]:
        """The cases that onnxruntime alone passes, and graphc does not."""
        return self.failed("graphc").keys() - self.failed("onnxruntime").keys()


def run(share: int = 1) -> Results:
    """Every `share`-th case, and those of training, with each backend.

    A case that ends the process, or does not end, has failed.
    """
    outcomes: list[Outcome] = []
    while True:
        cases, found, crashed = _run_until_crash(share, {o.case for o in outcomes})
        outcomes += found
        if not crashed:
            return Results(cases, outcomes)


def _run_until_crash(share: int, done: Iterable[str]) -> tuple[dict[str, list[str]], list[Outcome], bool]:
    command = [sys.executable, "-W", "ignore", __file__, str(share)]
    program = subprocess.run(command, input="\n".join(done), capture_output=True, text=True, check=False)
    if not program.stdout:
        raise RuntimeError(program.stderr)
    first, *lines = program.stdout.splitlines()
    outcomes: list[Outcome] = []
    pending: tuple[str, str] | None = None
    for line in lines:
        case, backend, failure = json.loads(line)
        pending = (case, backend) if failure is None else None
        if failure is not None:
            outcomes.append(Outcome(case, backend, failure))
    if pending is not None:
        outcomes.append(Outcome(*pending, "the process crashed"))
    return json.loads(first), outcomes, pending is not None


def _failure(function: Any) -> str:
    """Why a test function fails, "" when it does not."""
    try:
        with np.errstate(all="ignore"):
            function(None)
    except unittest.SkipTest as reason:
        return f"skipped: {reason}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:600]
    return ""


def _main() -> None:
    """Print the names of all cases, then a line before and a line after each run of a case with a backend."""
    suite = BackendTest(StockBackend)
    functions = {
        title: {name.removesuffix("_cpu"): item.func for name, item in items.items() if name.endswith("_cpu")}
        for key, title in CATEGORIES.items()
        for items in [suite._test_items[key]]
    }
    print(json.dumps({title: sorted(found) for title, found in functions.items()}), flush=True)
    every = {name: function for found in functions.values() for name, function in sorted(found.items())}
    done = set(sys.stdin.read().split())
    asked = {*list(every)[:: int(sys.argv[1])], *(case for case in every if case.startswith(TRAINING))}
    for case in sorted(asked - done):
        for backend, made in BACKENDS.items():
            suite.backend = made
            print(json.dumps([case, backend, None]), flush=True)
            signal.alarm(_SECONDS)
            print(json.dumps([case, backend, _failure(every[case])]), flush=True)
            signal.alarm(0)


if __name__ == "__main__":
    _main()
