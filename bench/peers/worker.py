"""`python -m bench.peers.worker MODULE`: a peer's process. It reads requests from stdin and answers on stdout.

Both are JSON, one object per line. A request names a `command` and its arguments; an answer holds the results, or
`error` or `unsupported` and a text. MODULE is imported by the first `start`, so that its time can be told.

    start    workload, threads, arguments    -> import, build (seconds), loss: network to the end of the first step
    losses   steps                           -> losses
    time     steps                           -> seconds of that many steps, until the last loss is there
    memory                                   -> bytes: the peak of resident memory since the process began (VmHWM)
    artifact                                 -> bytes of the file that ships the training step, null where there is none

This module runs in the environment of the peer: it needs the standard library and NumPy alone.
"""

import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from bench.peers.workloads import Arrays, Unsupported, Workload, described

Answer = dict[str, Any]


class Worker:
    """What the commands do; each method of a public name is one."""

    def __init__(self, module: str) -> None:
        self._name = module
        self._module: ModuleType | None = None
        self._workload: Workload | None = None
        self._step: Callable[[Arrays], Any] | None = None
        self._batches: Iterator[Arrays] = iter(())

    def start(self, workload: dict[str, Any], threads: int, arguments: dict[str, Any]) -> Answer:
        """Build the program of a workload and train its first step."""
        self._step = None  # a further start frees the program before it
        self._workload = described(workload)
        self._batches = itertools.cycle(self._workload.batches)
        begin = time.perf_counter()
        self._module = importlib.import_module(self._name)
        imported = time.perf_counter()
        self._step = self._module.program(self._workload, threads=threads, **arguments)
        loss = float(self._step(next(self._batches)))
        return {"import": imported - begin, "build": time.perf_counter() - imported, "loss": loss}

    def losses(self, steps: int) -> Answer:
        """Train `steps` steps; the loss of each."""
        step = self._started()
        return {"losses": [float(step(next(self._batches))) for _ in range(steps)]}

    def time(self, steps: int) -> Answer:
        """Train `steps` steps without looking at a loss but the last."""
        step = self._started()
        begin = time.perf_counter()
        for _ in range(steps):
            loss = step(next(self._batches))
        float(loss)
        return {"seconds": time.perf_counter() - begin}

    def memory(self) -> Answer:
        """The peak of resident memory."""
        status = Path("/proc/self/status").read_text("ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return {"bytes": int(peak.split()[1]) * 1024}

    def artifact(self) -> Answer:
        """The size of what ships the training step, by the module's own `artifact(workload)`, where it has one."""
        made = getattr(self._module, "artifact", None)
        return {"bytes": None if made is None else int(made(self._workload))}

    def _started(self) -> Callable[[Arrays], Any]:
        if self._step is None:
            raise RuntimeError("nothing was started")
        return self._step


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer requests to the end of the stream."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("command"))(**request)
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        except Exception as error:  # whatever a library raises is the answer: a comparison goes on without this peer
            first = str(error).strip().split("\n")[0][:300]
            answer = {"error": f"{type(error).__name__}: {first}" if first else type(error).__name__}
            sys.excepthook(type(error), error, error.__traceback__)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve MODULE on the first cores of those allowed, as many as OMP_NUM_THREADS says."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between answers
    cores = sorted(os.sched_getaffinity(0))[: int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))]
    os.sched_setaffinity(0, cores)
    serve(Worker(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
