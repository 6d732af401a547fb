"""Where the time of a step goes: onnxruntime's profile of each operator, with the layer and the user's line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.errors import FeedError, UnavailableError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.metadata import ORIGIN_KEY
from runtimes.atomic import Replacing
from runtimes.device_state import state_on
from runtimes.executor import Executor
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.protocol import Runtime
from runtimes.session import Session
from runtimes.state import State

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["OperatorTime", "Profile", "profile_step", "read_profile"]

_SUFFIX = "_kernel_time"
_ROWS = 30
_WARM_UP = 3


class OperatorTime(NamedTuple):
    """The time of one operator of the model: `microseconds` per step, the sum over its `calls` in a step.

    `operator` is the kernel that ran, `name` the node of the exported model ("" for one that onnxruntime made itself,
    of a function body say), `origin` its line and layer, `provider` where it ran.
    """

    operator: str
    name: str
    origin: str
    provider: str
    calls: float
    microseconds: float


@dataclass(frozen=True)
class Profile:
    """A profile of some steps. `str(profile)` is plain text, rich prints it as a table; the slowest come first.

    `operators` are the times of all operators, the slowest first; `step_microseconds` is the whole of a step in
    onnxruntime, and `steps` how many were run. Times are those of a session that measures, which costs some itself.
    """

    operators: tuple[OperatorTime, ...]
    step_microseconds: float
    steps: int
    _trace: bytes = b""

    def by_operator(self) -> dict[str, float]:
        """Microseconds per step of each kind of operator, the slowest first."""
        return self._grouped(lambda o: o.operator)

    def by_layer(self) -> dict[str, float]:
        """Microseconds per step of each layer; its gradients and its optimizer updates count with it."""
        return self._grouped(lambda o: _layer_of(o.origin))

    def _grouped(self, key: Callable[[OperatorTime], str]) -> dict[str, float]:
        total: dict[str, float] = {}
        for o in self.operators:
            total[key(o)] = total.get(key(o), 0.0) + o.microseconds
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the trace in Chrome's format, for chrome://tracing or ui.perfetto.dev. Raises ExportError."""
        with Replacing(path) as fresh:
            fresh.write_bytes(self._trace)

    def __str__(self) -> str:
        rows = [("operator", "us", "share", "calls", "where"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
            for a, b, c, d, e in rows
        )

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("operator", "µs", "share", "calls", "where", title=f"{self.step_microseconds:.0f} µs a step")
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> Iterable[tuple[str, str, str, str, str]]:
        total = sum(o.microseconds for o in self.operators) or 1.0
        shown, rest = self.operators[:_ROWS], self.operators[_ROWS:]
        for o in shown:
            yield (
                *(o.operator, f"{o.microseconds:.1f}", f"{o.microseconds / total:.1%}", f"{o.calls:g}"),
                o.origin or o.name,
            )
        if rest:
            left = sum(o.microseconds for o in rest)
            calls = sum(o.calls for o in rest)
            yield f"{len(rest)} more", f"{left:.1f}", f"{left / total:.1%}", f"{calls:g}", ""


def _layer_of(origin: str) -> str:
    """`mlp.0` of `train.py:12 mlp.0 (gradient of MatMul)`."""
    parts = origin.partition(" (")[0].split(" ")
    return parts[1] if len(parts) > 1 else ""


def profile_step(graph: Graph, state: State, feeds: Mapping[str, Array], runtime: Runtime, steps: int) -> Profile:
    """The profile of `steps` runs of `graph` from `state`, in a session of its own, after a few to warm up.

    Raises FeedError when `steps` is not positive, UnavailableError for another runtime than onnxruntime.
    """
    if steps < 1:
        raise FeedError(f"profile: steps={steps}; expected at least 1{location()}")
    if not isinstance(runtime, OnnxRuntime):
        raise UnavailableError(f"profile: {runtime!r} keeps no times of operators{location()}; onnxruntime does.")
    model = runtime.model(graph, {})
    with tempfile.TemporaryDirectory(prefix="graphc-profile-") as folder:
        recorded = replace(runtime.options, profile=os.path.join(folder, "profile"))
        session = Session(model, device=runtime.device, options=recorded)
        executor = Executor(graph, session, state_on(runtime, graph, state))
        for _ in range(_WARM_UP + steps):
            executor.run(feeds)
        trace = Path(session.raw.end_profiling()).read_bytes()
    origins = {n.name: next((p.value for p in n.metadata_props if p.key == ORIGIN_KEY), "") for n in model.graph.node}
    return read_profile(trace, origins, _WARM_UP, steps)


def read_profile(trace: bytes, origins: Mapping[str, str], warm_up: int, steps: int) -> Profile:
    """The profile in a trace of onnxruntime: of `steps` runs, after `warm_up` others. `origins` is by node name."""
    events: list[dict[str, Any]] = json.loads(trace)
    runs = sorted((e for e in events if e.get("name") == "model_run"), key=lambda e: int(e["ts"]))[warm_up:]
    since = int(runs[0]["ts"]) if runs else 0
    found: dict[tuple[str, str, str], list[int]] = {}
    for e in events:
        if e.get("cat") != "Node" or not str(e["name"]).endswith(_SUFFIX) or int(e["ts"]) < since:
            continue
        name = str(e["name"]).removesuffix(_SUFFIX)
        own = name if name in origins else name.removeprefix("fused ")
        args = e["args"]
        provider = str(args.get("provider", "")).removesuffix("ExecutionProvider")
        found.setdefault((args["op_name"], own, provider), []).append(int(e["dur"]))
    operators = [
        OperatorTime(
            *(operator, name if name in origins else "", origins.get(name, "")),
            *(provider, len(times) / steps, sum(times) / steps),
        )
        for (operator, name, provider), times in found.items()
    ]
    operators.sort(key=lambda o: -o.microseconds)
    whole = sum(int(e["dur"]) for e in runs) / steps
    return Profile(tuple(operators), whole, steps, trace)
