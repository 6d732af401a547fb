"""A peer that computes nothing: its losses halve. `how` makes it misbehave. It prints, as libraries do."""

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from bench.peers.workloads import Unsupported, Workload

print("chatter on import")


def program(workload: Workload, *, threads: int, how: str = "well") -> Callable[[dict[str, Any]], float]:
    losses = (2.0**-number for number in itertools.count())
    print("chatter while building")
    os.system("echo chatter of a compiler")
    if how == "unsupported":
        raise Unsupported("no such layers")
    if how == "error":
        raise ValueError("a library's\nlong message")
    if how == "exit":
        os._exit(3)
    if how == "hang":
        time.sleep(60)

    def step(batch: dict[str, Any]) -> float:
        assert set(batch) == {"x", "y"}
        loss = next(losses)
        time.sleep(0.002 if how == "slow" else 0.0005)
        return loss * 1.01 if how == "wrong" else float("nan") if how == "nan" and loss < 0.1 else loss

    return step


def artifact(workload: Workload) -> int:
    return 1234
