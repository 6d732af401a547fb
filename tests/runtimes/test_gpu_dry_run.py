"""What is measured on GPUs runs on the CPU, too, so that it works when there is one."""

import pytest
from gpu_checks import Row, check, table
from vjp_cases import CASES

import graphc as gc
from bench import gpu, gpu_models


def test_the_check_of_gradients_agrees_with_itself_on_the_cpu():
    rows = [check(case, "float32", "cpu") for case in CASES[::150] if not case.reference]
    assert len(rows) > 5
    assert [row for row in rows if row is None or not row.passes] == []


def test_the_check_of_gradients_sees_a_wrong_one(monkeypatch):
    case = next(c for c in CASES if c.op == "Softmax")
    real = gc.evaluate
    monkeypatch.setattr(gc, "evaluate", lambda *a, **k: {n: v * 1.001 for n, v in real(*a, **k).items()})
    row = check(case, "float32", "cpu")
    assert row is not None
    assert not row.passes


def test_the_table_of_gradients_counts_failures_and_names_what_ran_on_the_cpu():
    rows = [Row("Det-plain", "float32", 1e-7, ("Det",), ("Det",)), Row("Det-other", "float32", 1.0, ("Mul",), ())]
    assert table(rows).splitlines()[-1] == "| Det | float32 | 2 | 1 | 1.0e+00 | Det, Mul | Mul |"


@pytest.mark.parametrize("network", gpu.NETWORKS)
def test_the_benchmark_runs_in_tiny_sizes(network):
    found = gpu.measured(network, "graphc", "fp32", tiny=True)
    assert found["rate"] > 0
    assert found["memory"] > 0


@pytest.mark.parametrize("network", gpu.NETWORKS)
def test_the_networks_of_the_benchmark_would_run_on_cuda_alone(network):
    build, _, _ = gpu.NETWORKS[network]
    step = gc.train_step(
        build(gpu_models.FULL), optimizer=gc.optim.SGD(1e-3, momentum=0.9), passes=gc.pipelines.train_on("cuda")
    )
    assert [f.operator for f in gc.placement(step.graph).fallbacks] == []


def test_a_figure_that_fails_is_told_in_its_row(monkeypatch):
    monkeypatch.setitem(gpu.NETWORKS, "broken", gpu.NETWORKS["ResNet-50"])
    rate, memory = gpu.apart("unknown", "graphc", "fp32", tiny=True)
    assert "KeyError" in rate
    assert memory == ""
