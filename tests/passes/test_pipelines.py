"""The named pipelines, and where pipelines are taken: training steps, trainers, exports."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc import nn
from graphc.errors import VerificationError
from graphc.ir.graph import Graph
from passes import pipelines
from passes.manager import BeforeGradient, apply, before_gradient, run
from runtimes.session import RuntimeOptions

PLAIN = RuntimeOptions(threads=1, spinning=False)


def norm(t: gc.Tensor, scale: gc.Tensor) -> gc.Tensor:
    d = t - gc.mean(t, -1, keepdims=True)
    return d / gc.sqrt(gc.mean(d * d, -1, keepdims=True) + 1e-5) * scale


def loss_of(x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
    """A loss with a normalization and a cross entropy written out."""
    hidden = norm(nn.Linear(6, name="in")(x), gc.parameter("scale", (6,), np.ones(6, np.float32)))
    return nn.nll_loss(gc.log_softmax(nn.Linear(3, name="out")(hidden), 1), y)


def example() -> gc.Tensor:
    return loss_of(gc.input("x", ("batch", 4)), gc.input("y", ("batch",), "int64"))


BATCH = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype("float32"), "y": np.array([0, 2, 1, 1, 0])}


def test_pipelines_are_lists_to_extend() -> None:
    for pipeline in (pipelines.train, pipelines.inference, pipelines.debug):
        assert type(pipeline) is list
        assert all(callable(step) for step in pipeline)


def test_what_is_before_the_gradient_is_fused_and_the_gradient_reuses_its_statistics() -> None:
    step = gc.train_step(example(), optimizer=gc.optim.SGD(0.1)).graph
    (made,) = step.find("LayerNormalization")
    used = {t.index for node in step.nodes for t in node.inputs if t is not None and t.node is made}
    assert used == {0, 1, 2}
    assert step.count("Sqrt") == 0
    assert step.count("LogSoftmax") == 1


@pytest.mark.parametrize("passes", [pipelines.train, pipelines.debug, []], ids=["train", "debug", "none"])
def test_training_does_the_same_with_every_pipeline(passes: list[pipelines.Pass]) -> None:
    trainer = gc.Trainer(example(), optimizer=gc.optim.SGD(0.1), passes=passes, options=PLAIN, device="cpu")
    losses = [trainer.train_step(BATCH)["loss"] for _ in range(3)]
    plain = gc.Trainer(example(), optimizer=gc.optim.SGD(0.1), passes=[], options=PLAIN, device="cpu")
    np.testing.assert_allclose(losses, [plain.train_step(BATCH)["loss"] for _ in range(3)], rtol=2e-6)
    assert losses[2] < losses[0]


def test_debug_leaves_what_was_written() -> None:
    loss = example()
    written = gc.train_step(loss, optimizer=gc.optim.SGD(0.1), passes=[])
    debug = gc.train_step(loss, optimizer=gc.optim.SGD(0.1), passes=gc.pipelines.debug)
    assert debug.graph.structurally_equal(written.graph)
    assert debug.graph.count("Sqrt") > 0


def test_debug_finds_a_broken_graph() -> None:
    node = gc.tanh(gc.input("x", ("n",))).node
    object.__setattr__(node, "types", (gc.input("other", (7,)).type,))
    with pytest.raises(VerificationError, match="its types are"):
        apply(Graph([node.inputs[0]], [node.out()]), pipelines.debug)  # type: ignore[list-item]


def test_a_pass_of_ones_own_gets_the_step_and_the_evaluation_and_one_ahead_the_loss() -> None:
    seen: list[str] = []

    def look(graph: Graph) -> Graph:
        seen.append(graph.name)
        return graph

    def ahead(graph: Graph) -> Graph:
        seen.append(f"{len(graph.outputs)} ahead")
        return graph

    loss = example()
    passes = [before_gradient(ahead), look]
    gc.train_step(loss, optimizer=gc.optim.SGD(0.1), metrics={"twice": loss * 2.0}, passes=passes)
    assert seen == ["2 ahead", "train_step", "evaluation"]


def test_the_trace_names_passes_before_the_gradient() -> None:
    _, trace = run(gc.graph(example()), pipelines.train)
    ahead = [step for step in pipelines.train if isinstance(step, BeforeGradient)]
    assert [record.name for record in trace][: len(ahead)] == ["lower_recurrent", "fuse_forward"]


def test_an_export_goes_through_the_inference_pipeline_and_states_no_younger_opset(tmp_path) -> None:
    x = gc.input("x", ("n", 4))
    t = nn.Dropout(0.5, name="drop")(norm(x + 0.0, gc.parameter("scale", (4,))))
    t = t * 0.5 * (1.0 + gc.erf(t / 2**0.5))
    state = {"scale": np.ones(4, np.float32)}
    made = gc.export(t, tmp_path / "model.onnx", state)
    operators = [node.op_type for node in made.graph.node]
    assert "LayerNormalization" in operators
    assert "Erf" in operators
    assert made.opset_import[0].version == 18
    plain = gc.export(t, tmp_path / "plain.onnx", state, passes=[])
    assert "Sqrt" in [node.op_type for node in plain.graph.node]
    onnx.checker.check_model(made)
