"""Operators of later opsets are exported to earlier ones by their function bodies."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc import nn
from passes.lowering.older_opset import lower_to_opset

SCALE = np.linspace(0.5, 1.5, 8, dtype=np.float32)


def x():
    return gc.input("x", ("n", 4, 8))


def heads():
    return [gc.input(name, ("n", 3, 5, 4)) for name in "qkv"]


YOUNG = {
    "LayerNormalization": (17, lambda: gc.op.LayerNormalization(x(), SCALE, SCALE)[0]),
    "GroupNormalization": (21, lambda: gc.op.GroupNormalization(x(), SCALE[:4], SCALE[4:], num_groups=2)),
    "RMSNormalization": (23, lambda: gc.op.RMSNormalization(x(), SCALE)),
    "Attention": (23, lambda: gc.op.Attention(*heads(), is_causal=1)[0]),
    "RotaryEmbedding": (23, lambda: gc.op.RotaryEmbedding(heads()[0], *np.ones((2, 7, 5, 2), np.float32))),
    "Gelu": (20, lambda: gc.op.Gelu(x())),
    "Swish": (24, lambda: gc.op.Swish(x())),
    "HardSwish": (14, lambda: gc.op.HardSwish(x())),
    "Mish": (18, lambda: gc.op.Mish(x())),
}


def used(graph):
    return {n.op for n in graph.nodes}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("name", sorted(YOUNG))
def test_an_operator_that_the_opset_lacks_is_written_by_its_body(name, opset, tmp_path):
    since, build = YOUNG[name]
    feeds = None if name != "RotaryEmbedding" else {"q": np.random.default_rng(0).standard_normal((7, 3, 5, 4))}
    model = gc.export({"y": build()}, tmp_path / "m.onnx", opset=opset, verify=feeds or True)
    assert model.opset_import[0].version == opset
    assert (name in {n.op_type for n in model.graph.node}) == (since <= opset)


def test_what_the_opset_has_stays():
    graph = gc.graph(gc.op.LayerNormalization(x(), SCALE)[0])
    assert lower_to_opset(graph, 17) is graph
    assert "LayerNormalization" not in used(lower_to_opset(graph, 16))


def test_what_a_pipeline_fuses_is_taken_apart_again(tmp_path):
    h = x()
    centred = h - gc.mean(h, axis=-1, keepdims=True)
    normal = centred / gc.sqrt(gc.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    fused = gc.export({"y": normal * SCALE}, tmp_path / "young.onnx")
    assert "LayerNormalization" in {n.op_type for n in fused.graph.node}
    gc.export({"y": normal * SCALE}, tmp_path / "old.onnx", opset=14)


def test_bodies_of_control_flow_are_lowered_too(tmp_path):
    h = x()
    y = gc.cond(gc.sum(h) > 0, lambda: gc.op.Gelu(h), lambda: gc.op.Swish(h))
    gc.export({"y": y}, tmp_path / "m.onnx", opset=18)


def test_an_operator_without_a_body_is_named(tmp_path):
    with pytest.raises(gc.ExportError, match=r"opset=20 is too low: CumProd needs opset 26 \[test_older_opset.py:"):
        gc.export({"y": gc.op.CumProd(x(), 0)}, tmp_path / "m.onnx", opset=20)


def test_training_steps_are_lowered_too(tmp_path):
    inputs = gc.input("x", ("n", 8))
    scale = gc.parameter("scale", (8,), nn.init.Ones())
    y = gc.op.RMSNormalization(inputs, scale)
    step = gc.train_step(gc.mean(gc.op.Gelu(y)), optimizer=gc.optim.SGD(0.1))
    batch = {"x": np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)}
    losses = []
    for opset in (None, 16):
        gc.export_step(step, tmp_path / f"{opset}.onnx", opset=opset)
        gc.export_training_info(step, {"y": y}, tmp_path / f"info{opset}.onnx", opset=opset)
        for name in (f"{opset}.onnx", f"info{opset}.onnx"):
            found = gc.load_step(tmp_path / name)
            losses.append([found(batch)["loss"] for _ in range(3)])
    np.testing.assert_allclose(losses, losses[:1] * 4, rtol=1e-5)
    assert onnx.load(tmp_path / "16.onnx").opset_import[0].version == 16
