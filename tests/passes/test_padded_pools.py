"""Pads in front of pools, which onnxruntime would merge into them."""

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc import nn
from passes.lowering.padded_pools import keep_pads

X = -1 - np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
WIDTHS = ((0, 0), (0, 0), (2, 1), (2, 2))
POOLS = {
    "max": nn.MaxPool2d(3, stride=1, padding=1),
    "average": nn.AvgPool2d(3, stride=1, padding=1),
    "average-without-pads": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


def pooled(pool, dtype="float32"):
    x = gc.input("x", ("batch", 1, 6, 6))
    return pool(gc.cast(gc.pad(gc.cast(x, dtype), WIDTHS), "float32"))


def expected(y):
    return gc.evaluate(y, {"x": X}, runtime="reference")


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sessions_pool_what_was_padded(pool, dtype):
    y = pooled(pool, dtype)
    np.testing.assert_allclose(gc.evaluate(y, {"x": X}), expected(y), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_files_mean_the_same_to_onnxruntime_alone(pool, tmp_path):
    y = pooled(pool)
    gc.export({"y": y}, tmp_path / "pool.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "pool.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["y"], {"x": X})[0], expected(y), rtol=1e-6)


@pytest.mark.parametrize("opset", [13, 17])
def test_an_opset_without_named_axes_is_exported_as_before(opset, tmp_path):
    y = pooled(POOLS["average-without-pads"])
    model = gc.export({"y": y}, tmp_path / "pool.onnx", opset=opset)
    assert model.opset_import[0].version == opset


@pytest.mark.parametrize("before", [False, True])
def test_a_transpose_beside_the_pad_changes_nothing(before):
    x = gc.input("x", ("batch", 6, 6, 1))
    moved = gc.permute(x, (0, 3, 1, 2)) if before else x
    padded = gc.pad(moved, WIDTHS if before else (WIDTHS[0], *WIDTHS[2:], WIDTHS[1]))
    y = POOLS["max"](padded if before else gc.permute(padded, (0, 3, 1, 2)))
    feeds = {"x": X.reshape(1, 6, 6, 1)}
    np.testing.assert_array_equal(gc.evaluate(y, feeds), gc.evaluate(y, feeds, runtime="reference"))


def test_a_training_step_pools_what_was_padded():
    x, w = gc.input("x", ("batch", 1, 6, 6)), gc.parameter("w", (), np.float32(1))
    trainer = gc.Trainer(POOLS["max"](gc.pad(x * w, WIDTHS)).mean(), optimizer=gc.optim.SGD(0.0))
    found = trainer.train_step({"x": X})["loss"]
    np.testing.assert_allclose(found, gc.evaluate(trainer.step.evaluation, {"x": X}, runtime="reference")["loss"])


def test_only_pads_of_pools_name_their_axes():
    x = gc.input("x", (1, 1, 6, 6))
    padded = gc.pad(x, WIDTHS)
    graph = gc.graph({"y": nn.ReLU()(padded)})
    assert keep_pads(graph) is graph
    (pad,) = keep_pads(gc.graph({"y": POOLS["max"](padded)})).find("Pad")
    assert len(pad.inputs) == 4
