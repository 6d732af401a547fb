"""Loaded models differentiated and trained: gradients by finite differences, forms, heads, exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import pytest
from load_samples import SAMPLES, convolutional, info, mlp, model, parsed, recurrent, values, weights
from onnx import helper

import graphc as gc
from graphc import nn
from graphc.ir.graph import first_difference
from runtimes.testing import check_grads

node = helper.make_node


def weighted_sum(t: gc.Tensor) -> gc.Tensor:
    """A scalar that every element of `t` moves differently."""
    return gc.sum(gc.sin(t * 1.3 + 0.2))


# --- gradients ----------------------------------------------------------------------------------------------------

LOADED: dict[str, Callable[[], gc.Model]] = {
    "mlp": lambda: gc.load(mlp()),
    "convolution with frozen batch normalization": lambda: gc.load(convolutional()).training(
        batch_norm=False, dropout=False
    ),
    "convolution with batch normalization that trains": lambda: gc.load(convolutional()).training(dropout=False),
    "lstm": lambda: gc.load(recurrent()),
}


@pytest.mark.parametrize("name", LOADED)
def test_gradients_of_all_parameters_equal_finite_differences(name: str) -> None:
    loaded = LOADED[name]()
    tokens = {"tokens": np.array([[1, 2], [0, 6], [3, 3]])}
    x = next(iter(loaded.inputs.values()))
    rng = np.random.default_rng(1)
    shape = [d if isinstance(d, int) else 3 for d in x.shape]
    feeds = tokens if "tokens" in loaded.inputs else {str(x.name): rng.standard_normal(shape).astype(np.float32)}
    check_grads(
        weighted_sum(loaded.outputs["logits"]), list(loaded.graph.trainable.values()), {**loaded.state, **feeds}
    )


def test_gradients_through_dropout_equal_finite_differences_for_fixed_masks() -> None:
    loaded = gc.load(convolutional()).training()
    seed, step = (gc.input(name, (), "int64") for name in ("seed", "step"))
    outputs = {"loss": weighted_sum(loaded.outputs["logits"]), "dropped": loaded.value("dropped")}
    loss, dropped = gc.counter_based(gc.graph(outputs), seed, step).outputs
    image = np.random.default_rng(2).standard_normal((4, 1, 6, 6)).astype(np.float32)
    feeds = {"image": image, "seed": np.array(3), "step": np.array(0)}
    kept, whole = gc.evaluate([dropped, loaded.value("flat")], feeds)
    assert 0.3 < (kept[whole > 0] == 0).mean() < 0.5
    parameters = {name: t for name, t in loaded.graph.trainable.items() if name != "conv.bias"}
    check_grads(loss, list(parameters.values()), {**loaded.state, **feeds})


# --- forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [8, 15])
def test_the_training_form_undone_is_the_loaded_graph(opset: int) -> None:
    loaded = gc.load(convolutional(opset))
    trained = loaded.training()
    (norm,) = trained.graph.find("BatchNormalization")
    (dropout,) = trained.graph.find("Dropout")
    assert norm.attrs["training_mode"] == 1
    assert dropout.inputs[2] is not None
    assert bool(dropout.inputs[2].node.attrs["value"].array)
    assert dropout.inputs[1] is not None
    assert float(dropout.inputs[1].node.attrs["value"].array) == pytest.approx(0.4)
    assert first_difference(gc.to_inference(trained.graph), gc.to_inference(loaded.graph)) is None
    assert loaded.graph.find("BatchNormalization")[0].attrs["training_mode"] == 0


def test_values_of_the_training_form_are_its_own() -> None:
    trained = gc.load(convolutional()).training()
    assert trained.value("n").node.attrs["training_mode"] == 1
    assert trained.value("logits") == trained.outputs["logits"]
    assert trained.value("n").name == "n"


def test_each_part_of_the_training_form_can_be_left_out() -> None:
    loaded = gc.load(convolutional())
    frozen = loaded.training(batch_norm=False)
    assert frozen.graph.find("BatchNormalization")[0].attrs["training_mode"] == 0
    assert len(frozen.graph.find("Dropout")[0].inputs) == 3
    still = loaded.training(dropout=False)
    assert still.graph.find("Dropout")[0] != frozen.graph.find("Dropout")[0]
    assert still.graph.find("BatchNormalization")[0].attrs["training_mode"] == 1


def test_statistics_that_layers_share_by_a_copy_advance_too() -> None:
    made = convolutional()
    made.graph.node.insert(0, node("Identity", ["bn.mean"], ["mean.copy"], "copy"))
    made.graph.node[2].input[3] = "mean.copy"
    loaded = gc.load(made).training()
    loss = weighted_sum(loaded.outputs["logits"])
    step = gc.train_step(loss, optimizer=gc.optim.SGD(0.1))
    assert {"bn.mean", "bn.var"} <= {str(t.name) for t in step.graph.updates}


# --- training -----------------------------------------------------------------------------------------------------


def blobs(rows: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of images that differ in the half that is bright."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, rows)
    images = rng.standard_normal((rows, 1, 6, 6)).astype(np.float32) * 0.3
    for row, label in enumerate(labels):
        images[row, 0, :, 2 * label : 2 * label + 2] += 1
    return images, labels


def test_a_loaded_model_is_trained_and_exported_with_its_names(tmp_path: Path) -> None:
    images, labels = blobs()
    loaded = gc.load(convolutional()).training()
    label = gc.input("label", ("n",), "int64")
    loss = nn.cross_entropy(loaded.outputs["logits"], label)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(2e-2), state=loaded.state)
    data = {"image": images, "label": labels}
    before = trainer.evaluate(data)["loss"]
    trainer.fit(data, batch_size=32, epochs=8)
    assert trainer.evaluate(data)["loss"] < before / 4
    assert not np.allclose(trainer.state["bn.mean"], loaded.state["bn.mean"], atol=1e-3)
    exported = gc.export(loaded.outputs, tmp_path / "trained.onnx", trainer.state, metadata={"author": "somebody"})
    onnx.checker.check_model(exported, full_check=True)
    again = gc.load(tmp_path / "trained.onnx")
    assert again.metadata["author"] == "somebody"
    assert list(again.inputs) == ["image"]
    expected = trainer.predict(loaded.outputs["logits"], {"image": images})
    (found,) = gc.evaluate([again.outputs["logits"]], {"image": images})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    names = [n.name for n in exported.graph.node]
    assert names == ["conv", "act", "pool", "flatten", "fc"]
    assert [n.output[0] for n in exported.graph.node] == ["n", "r", "p", "flat", "logits"]


def test_a_new_head_on_frozen_features_leaves_the_rest_of_the_state_alone() -> None:
    images, labels = blobs()
    loaded = gc.load(convolutional()).freeze("*")
    logits = nn.Linear(3, name="head")(loaded.value("flat"))
    label = gc.input("label", ("n",), "int64")
    trainer = gc.Trainer(nn.cross_entropy(logits, label), optimizer=gc.optim.Adam(2e-2), state=loaded.state)
    trainer.fit({"image": images, "label": labels}, batch_size=32, epochs=5)
    for name, array in loaded.state.items():
        if name in trainer.state:
            np.testing.assert_array_equal(trainer.state[name], array)
    assert "fc.weight" not in trainer.state
    assert trainer.evaluate({"image": images, "label": labels})["loss"] < 0.5


@pytest.mark.parametrize("name", SAMPLES)
def test_untouched_models_are_exported_as_they_were(name: str, tmp_path: Path) -> None:
    loaded = gc.load(SAMPLES[name](), parameters=[])
    path = tmp_path / "again.onnx"
    gc.export(loaded.outputs, path, loaded.state, verify=False)
    again = gc.load(path, parameters=[])
    assert list(again.inputs) == list(loaded.inputs)
    assert list(again.outputs) == list(loaded.outputs)


# --- operators of other domains -----------------------------------------------------------------------------------

MICROSOFT = ', "com.microsoft": 1'


def gated(declared: bool = False, domain: str = "com.microsoft", op: str = "QuickGelu") -> onnx.ModelProto:
    """A product, an operator of another domain, a product."""
    made = parsed(
        f"g (float[n, 2] x) => (float[n, 3] y) {{ h = MatMul(x, w) a = {domain}.{op}<alpha: float = 1.5>(h) "
        "y = MatMul(a, v) }",
        domains=f', "{domain}": 7',
    )
    made.graph.initializer.extend([weights("w", 2, 4), weights("v", 4, 3)])
    if declared:
        made.graph.value_info.append(info("a", "n", 4))
    return made


def test_operators_that_onnxruntime_knows_are_kept_and_run() -> None:
    made = gated()
    made.opset_import[1].version = 1
    loaded = gc.load(made)
    assert loaded.graph.count("QuickGelu") == 1
    x = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    h = x @ loaded.state["w"]
    expected = (h / (1 + np.exp(-1.5 * h))) @ loaded.state["v"]
    np.testing.assert_allclose(gc.evaluate([loaded.outputs["y"]], {"x": x})[0], expected, rtol=1e-5, atol=1e-6)


def test_unknown_operators_are_kept_with_attributes_version_and_declared_types() -> None:
    from graphc.serial.export import to_model

    loaded = gc.load(gated(declared=True, domain="com.acme", op="Gate"))
    (gate,) = loaded.graph.find("Gate")
    assert str(gate.types[0]) == "float32[n, 4]"
    assert "com.acme.Gate(h, alpha=1.5)" in str(loaded.graph)
    again = to_model(loaded.graph, state=loaded.state)
    assert {o.domain: o.version for o in again.opset_import}["com.acme"] == 7
    assert [v.name for v in again.graph.value_info] == ["a"]
    assert first_difference(gc.load(again).graph, loaded.graph) is None


def test_unknown_operators_of_undeclared_type_are_an_error_that_says_what_to_add() -> None:
    message = r"com.acme.Gate computes 'a', of a type that is not known \[.*\]. State it in the model: .*'a'"
    with pytest.raises(gc.ModelImportError, match=message):
        gc.load(gated(domain="com.acme", op="Gate"))


def test_outputs_that_a_foreign_operator_skips_stay_skipped() -> None:
    from graphc.serial.export import to_model

    made = model(
        [node("SkipLayerNormalization", ["x", "x", "g"], ["y", "", "", "s"], domain="com.microsoft")],
        [info("x", 1, "n", 4)],
        [info("y", 1, "n", 4), info("s", 1, "n", 4)],
        [values("g", np.ones(4, np.float32))],
    )
    made.opset_import.add(domain="com.microsoft", version=1)
    again = to_model(gc.load(made).graph)
    assert list(again.graph.node[0].output) == ["y", "", "", "s"]


def test_two_applications_of_an_unknown_operator_are_two_nodes() -> None:
    made = parsed(
        "g (float[n] x) => (float[n] y) { a = com.acme.Draw(x) b = com.acme.Draw(x) y = Add(a, b) }",
        domains=', "com.acme": 1',
    )
    made.graph.value_info.extend([info("a", "n"), info("b", "n")])
    assert gc.load(made).graph.count("Draw") == 2


def test_without_a_rule_the_error_names_the_unknown_operator_and_with_one_it_is_differentiated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from passes.vjp import registry

    made = gated(declared=True)
    made.opset_import[1].version = 1
    loaded = gc.load(made)
    y = gc.sum(loaded.outputs["y"])
    with pytest.raises(gc.DifferentiationError, match=r"no gradient rule.*\n  QuickGelu \[g:2\]"):
        gc.grad(y, loaded.parameters["w"])
    assert gc.grad(y, loaded.parameters["v"]).shape == (4, 3)
    registry.rules()
    monkeypatch.setitem(registry._RULES, "com.microsoft.QuickGelu", lambda node, g: g * node.attrs["alpha"])
    slope = gc.grad(y, loaded.parameters["w"])
    x = np.ones((3, 2), np.float32)
    expected = x.T @ np.ones((3, 3), np.float32) @ loaded.state["v"].T * 1.5
    np.testing.assert_allclose(gc.evaluate([slope], {"x": x})[0], expected, rtol=1e-5)


def test_attributes_of_every_kind_are_kept_and_others_refused() -> None:
    from graphc.serial.export import to_model

    given = {"i": 3, "f": 0.5, "s": "text", "ints": [1, 2], "floats": [0.5, 1.0], "strings": ["a", "b"]}
    gate = node("Gate", ["x"], ["y"], domain="com.acme", t=values("", np.eye(2, dtype=np.float32)), **given)
    made = model([gate], [info("x", "n")], [info("y", "n")], [])
    made.opset_import.add(domain="com.acme", version=1)
    (again,) = to_model(gc.load(made).graph).graph.node
    found = {a.name: helper.get_attribute_value(a) for a in again.attribute}
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found.pop("t")), np.eye(2))
    assert found == {**given, "s": b"text", "strings": [b"a", b"b"]}

    entries, places = helper.make_tensor("", 1, [1], [1.0]), helper.make_tensor("", 7, [1], [0])
    for name, value, message in (
        ("sparse", helper.make_sparse_tensor(entries, places, [2]), "has a sparse attribute"),
        ("body", made.graph, "has graphs as attributes"),
    ):
        refused = onnx.ModelProto()
        refused.CopyFrom(made)
        refused.graph.node[0].attribute.append(helper.make_attribute(name, value))
        with pytest.raises(gc.ModelImportError, match=rf"com.acme.Gate {message}"):
            gc.load(refused)


def test_python_source_cannot_spell_unknown_operators_and_says_so() -> None:
    loaded = gc.load(gated(declared=True, domain="com.acme", op="Gate"))
    with pytest.raises(gc.ExportError, match=r"to_python: the operator com.acme.Gate is not one of ONNX's own"):
        loaded.graph.to_python()
