"""The placement audit: what would not run on CUDA, with its line, whether there is a GPU or not."""

import numpy as np
import pytest
from driving import PROBLEM

import graphc as gc
from graphc import nn
from graphc.ir.origin import scope
from runtimes import placement as placements
from runtimes.audit import Assignment


def test_a_trainer_of_common_layers_runs_on_cuda_alone():
    x, y = gc.input("x", ("batch", 3, 8, 8)), gc.input("y", ("batch",), "int64")
    net = nn.Sequential(nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3))
    trainer = gc.Trainer(nn.cross_entropy(net(x), y), optimizer=gc.optim.Adam(), device="cpu")
    found = gc.placement(trainer)
    assert (found.fallbacks, found.measured) == ((), False)
    assert found.operators > 50
    assert str(found).startswith(f"train_step on CUDA: 0 of {found.operators} operators run on the CPU (by the list")


def test_an_operator_without_a_kernel_is_named_with_its_line_its_layer_and_the_reason():
    x = gc.input("x", ("n", 4, 4))
    with scope("head"):
        volume = gc.op.Det(x)
    found = gc.placement({"volume": volume * 2.0})
    (fallback,) = found.fallbacks
    assert fallback.operator == "Det"
    assert fallback.origin.startswith("test_placement.py:")
    assert fallback.origin.endswith(" head")
    assert "  Det [test_placement.py:" in str(found)
    assert str(found).endswith("there is no CUDA kernel for this operator")


def test_where_cuda_works_onnxruntime_is_asked(monkeypatch):
    class Asked:
        def __init__(self, model, *, device, options):
            assert device == "cuda"
            nodes = [n.name for n in model.graph.node]
            self.found = [
                Assignment(n, "Det" if i == 0 else "Mul", "cuda" if i else "cpu") for i, n in enumerate(nodes)
            ]

        def assignments(self):
            return self.found

    monkeypatch.setattr(placements, "cuda_works", lambda device_id: True)
    monkeypatch.setattr(placements, "Session", Asked)
    found = gc.placement(gc.op.Det(gc.input("x", (4, 4))) * np.float32(2))
    assert found.measured
    assert [(f.operator, f.reason) for f in found.fallbacks] == [("Det", "there is no CUDA kernel for this operator")]
    assert "as onnxruntime placed them" in str(found)


@pytest.mark.parametrize("outputs", [PROBLEM.loss, [PROBLEM.loss, PROBLEM.logits], {"loss": PROBLEM.loss}])
def test_tensors_lists_and_dictionaries_are_taken(outputs):
    assert gc.placement(outputs).fallbacks == ()
