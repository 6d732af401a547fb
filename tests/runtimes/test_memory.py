"""Memory: steady over thousands of steps; and why updates have buffers of their own."""

import os
import pathlib

import numpy as np
import pytest
from driving import PROBLEM

import graphc as gc
from graphc.serial.export import to_model
from runtimes import buffers
from runtimes.session import RuntimeOptions, Session

GROWTH = 1 << 20  # bytes; one leaked OrtValue or array a step would be far more


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    "options", [{}, {"steps_per_call": 5}, {"resident": True}], ids=["plain", "several", "resident"]
)
@pytest.mark.parametrize("steps", [2000, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_memory_is_steady_over_thousands_of_steps(steps, options):
    trainer = PROBLEM.trainer()
    per_epoch = 5  # 70 rows in batches of 14
    trainer.fit(PROBLEM.data, batch_size=14, epochs=200 // per_epoch, verbose=False, **options)
    before = resident()
    trainer.fit(PROBLEM.data, batch_size=14, epochs=steps // per_epoch, verbose=False, **options)
    assert resident() - before < GROWTH
    assert trainer.step_count == steps + 200


def exchanging() -> gc.Graph:
    """Two parameters, each of which takes in the other."""
    a, b = (gc.parameter(name, (64,), np.full(64, value, np.float32)) for name, value in (("a", 1), ("b", 2)))
    return gc.graph({"sum": (a * b).sum()}, updates={a: a + b, b: b - a})


@pytest.mark.parametrize("order", ["default", "priority"])
def test_an_update_in_the_memory_of_its_state_would_be_wrong_in_every_order_of_execution(order):
    """onnxruntime writes the first update before the second has read what it overwrites."""
    graph = exchanging()
    session = Session(to_model(graph), options=RuntimeOptions(threads=1, execution_order=order))
    binding = session.raw.io_binding()
    held = {name: buffers.aligned(value.shape, value.dtype) for name, value in gc.init_state(graph).items()}
    for name, value in gc.init_state(graph).items():
        held[name][:] = value
        binding.bind_ortvalue_input(name, buffers.view(held[name]))
        binding.bind_ortvalue_output(f"{name}.next", buffers.view(held[name]))
    binding.bind_output("sum", "cpu")
    session.raw.run_with_iobinding(binding)
    assert {name: value[0] for name, value in held.items()} != {"a": 3, "b": 1}
