"""Summaries: what belongs to which layer, and the totals against counts made by hand."""

import math

import pytest

import graphc as gc
from graphc import nn


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(6, 5, padding=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(10),
    )


def test_the_layers_of_a_convnet() -> None:
    found = convnet().summary(("batch", 1, 28, 28))
    assert [(layer.path, layer.kind, str(layer.output)) for layer in found] == [
        ("0", "Conv2d", "float32[batch, 6, 28, 28]"),
        ("1", "BatchNorm2d", "float32[batch, 6, 28, 28]"),
        ("2", "ReLU", "float32[batch, 6, 28, 28]"),
        ("3", "MaxPool2d", "float32[batch, 6, 14, 14]"),
        ("4", "Flatten", "float32[batch, 1176]"),
        ("5", "Linear", "float32[batch, 10]"),
    ]
    assert [layer.parameters for layer in found] == [156, 12, 0, 0, 0, 11770]
    assert found["1"].state == 12  # mean and variance
    assert found["0"].flops == 6 * 28 * 28 * (2 * 25 + 1)
    assert found["5"].flops == 10 * (2 * 1176 + 1)
    assert found["4"].flops == found.backward_flops == 0
    assert (found.parameters, found.state) == (11938, 12)
    assert found.flops == sum(layer.flops for layer in found)


def test_sizes_set_the_batch() -> None:
    net = nn.Sequential(nn.Linear(5), nn.ReLU())
    one, many = (net.summary(("batch", 3), sizes=sizes) for sizes in (None, {"batch": 64}))
    assert (one.flops, many.flops) == (35 + 5, 64 * 40)
    assert "FLOPs for a batch of one" in str(one)
    assert "FLOPs for batch=64" in str(many)


def test_the_table_lists_layers_and_totals() -> None:
    text = str(nn.Sequential(nn.Linear(5), nn.ReLU(), name="mlp").summary(("batch", 3)))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["Sequential"]
    assert ["layer", "type", "output", "parameters", "FLOPs"] in lines
    assert ["mlp.0", "Linear", "float32[batch,", "5]", "20", "35"] in lines
    assert ["mlp.1", "ReLU", "float32[batch,", "5]", "5"] in lines
    assert ["total", "20", "40"] in lines
    assert lines[-1] == ["20", "parameters;", "FLOPs", "for", "a", "batch", "of", "one"]


def test_markup_in_names_is_text() -> None:
    x = gc.input("x", (2,))
    with gc.ir.origin.scope("[bold]"):
        y = x * 2.0
    assert "[bold]" in str(gc.summary(y))


def test_depth_puts_layers_together() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, name="block")
    x = gc.input("x", ("t", "n", 8))
    whole, parts = layer.summary(x, depth=1), layer.summary(x)
    assert [(part.path, part.kind) for part in whole] == [("block", "TransformerEncoderLayer")]
    assert {"block.self_attn", "block.self_attn.out_proj", "block.linear1", "block.norm2"} <= {p.path for p in parts}
    assert whole["block"].output == parts["block.norm2"].output == x.type
    assert (whole.flops, whole.parameters) == (parts.flops, parts.parameters)
    assert whole.parameters == sum(math.prod(t.shape) for t in layer.parameters())


def test_gradients_are_the_backward_pass_of_their_layer() -> None:
    x = gc.input("x", ("batch", 3))
    net = nn.Sequential(nn.Linear(5, name="hidden"), nn.Linear(1, name="out"))
    forward = gc.graph(gc.sum(net(x)))
    found = gc.summary([*forward.outputs, *gc.grad(forward.outputs[0], list(forward.parameters.values()))])
    assert found.flops == gc.summary(forward).flops
    assert found["hidden"].backward_flops >= 2 * 3 * 5
    assert found["hidden"].output == gc.summary(forward)["hidden"].output
    assert "backward FLOPs" in str(found)
    assert "backward FLOPs" not in str(gc.summary(forward))


def test_a_training_step_has_a_summary() -> None:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",), "int64")
    loss = nn.cross_entropy(nn.Sequential(nn.Linear(4), nn.Dropout(0.1), nn.Linear(2))(x), y)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam())
    found = gc.summary(trainer.step.graph)
    assert found.parameters == 4 * 3 + 4 + 2 * 4 + 2
    assert found.backward_flops > found["0"].flops


def test_graphs_without_modules_list_their_operators() -> None:
    x = gc.input("x", (4, 4))
    found = gc.summary(gc.exp(x @ x))
    assert [(layer.path, layer.kind) for layer in found] == [("", "MatMul, Exp")]
    assert found[""].flops == 2 * 64 + 16
    with pytest.raises(KeyError):
        found["0"]


def test_modules_with_several_inputs_and_outputs() -> None:
    found = nn.LSTM(3, 4).summary(("t", "n", 3))
    assert found[""].kind == "LSTM"
    assert found.parameters == 4 * 4 * (3 + 4 + 2)
    found = nn.Transformer(8, 2, 1, 1, 16).summary(("s", "n", 8), ("t", "n", 8), depth=1)
    assert {layer.path for layer in found} == {"encoder", "decoder"}


def test_a_tied_parameter_counts_once() -> None:
    embedding, head = nn.Embedding(6, 3, name="embedding"), nn.Linear(3, 6, bias=False, name="head")
    head.weight = embedding.weight
    found = nn.Sequential(embedding, head).summary(gc.input("word", ("n",), "int64"))
    assert found.parameters == found["embedding"].parameters == 18
    assert found["head"].parameters == 0


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(
        gc.OperatorError, match=r'Linear needs inputs \[test_summary.*model.summary\(\("batch", 784\)\)'
    ):
        nn.Linear(3).summary()
    x = gc.input("x", (2, 3))
    with pytest.raises(gc.OperatorError, match="summary: Graph takes no inputs here; only a module does"):
        gc.summary(gc.graph(x * 2.0), x)
    with pytest.raises(gc.OperatorError, match="summary: depth is 0; expected a positive number or None"):
        nn.Linear(3).summary(x, depth=0)


def test_deep_graphs_have_a_summary() -> None:
    x = gc.input("x", (3,))
    y = x
    for _ in range(20_000):
        y = gc.sin(y)
    assert gc.summary(y).flops == 60_000
