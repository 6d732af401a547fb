"""Runtimes behind one interface: onnxruntime, the reference evaluator, and one of a user's own."""

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from graphc import nn
from graphc.ir.node import Node
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.protocol import Program, Runtime, as_runtime
from runtimes.reference import ReferenceRuntime

OPERATORS = {
    "Add": np.add,
    "Cast": lambda x, to, **_: x.astype(gc.graph([gc.input("x", (), to)]).outputs[0].dtype.numpy),
    "Gemm": lambda a, b, c=0, alpha=1, beta=1, transA=0, transB=0: (
        alpha * ((a.T if transA else a) @ (b.T if transB else b)) + beta * c
    ).astype(a.dtype),
    "MatMul": np.matmul,
    "Mul": np.multiply,
    "Neg": np.negative,
    "ReduceMean": lambda x, axes=None, keepdims=1, **_: x.mean(
        axis=None if axes is None else tuple(axes), keepdims=bool(keepdims), dtype=x.dtype
    ),
    "ReduceSum": lambda x, axes=None, keepdims=1, **_: x.sum(
        axis=None if axes is None else tuple(axes), keepdims=bool(keepdims), dtype=x.dtype
    ),
    "Reshape": lambda x, shape, **_: x.reshape(shape),
    "Div": lambda a, b: np.floor_divide(a, b) if a.dtype.kind in "iu" else np.divide(a, b),
    "Identity": lambda x: x.copy(),
    "Shape": lambda x, start=0, end=None: np.array(x.shape[start:end], np.int64),
    "Size": lambda x: np.int64(x.size),
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Transpose": lambda x, perm: x.transpose(perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
}


class Interpreter:
    """A program: a loop over the nodes of a graph."""

    def __init__(self, graph, constants):
        self.graph, self.constants = graph, constants

    def run(self, values):
        held = {t.node: values.get(str(t.name), self.constants.get(str(t.name))) for t in self.graph.inputs}
        for node in self.graph.nodes:
            if node not in held:
                held[node] = self.compute(node, held)
        wanted = [*self.graph.outputs, *self.graph.updates.values()]
        return [np.asarray(held[t.node], t.dtype.numpy) for t in wanted]

    def compute(self, node: Node, held):
        if node.is_constant:
            return node.attrs["value"].array
        inputs = [None if t is None else held[t.node] for t in node.inputs]
        return OPERATORS[node.op](*inputs, **node.attrs)


class NumPy:
    """A runtime of a user's own."""

    device = "numpy"

    def compile(self, graph, constants):
        missing = graph.operators().keys() - OPERATORS.keys()
        if missing:
            raise gc.UnavailableError(f"NumPy has no {', '.join(sorted(missing))}")
        return Interpreter(graph, constants)

    def put(self, array):
        return array.copy()

    def get(self, value):
        return value


@pytest.fixture
def regression():
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch", 1))
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((48, 4)).astype(np.float32)}
    data["y"] = data["x"][:, :1] * 2 + 1
    prediction = nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(1), name="net")(x)
    return prediction, gc.mean((prediction - y) * (prediction - y)), data


def train(loss, data, runtime, epochs=3, **options):
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.05, momentum=0.9), runtime=runtime, device="cpu", **options)
    history = trainer.fit(data, batch_size=16, epochs=epochs, verbose=False)
    return trainer, history


def close(a, b):
    assert list(a) == list(b)
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("runtime", ["reference", NumPy()], ids=["reference", "numpy"])
def test_another_runtime_trains_to_the_same_parameters(regression, runtime):
    prediction, loss, data = regression
    expected, wanted = train(loss, data, "onnxruntime", epochs=7)
    trainer, history = train(loss, data, runtime, epochs=7)
    assert trainer.step_count == 21
    assert trainer.device == runtime.device if isinstance(runtime, NumPy) else trainer.device == "reference"
    close(trainer.state, expected.state)
    np.testing.assert_allclose(history["loss"], wanted["loss"], rtol=1e-5)
    assert trainer.evaluate(data)["loss"] == pytest.approx(expected.evaluate(data)["loss"], rel=1e-5)
    for found, value in zip(*[t.predict(prediction, {"x": data["x"]}) for t in (trainer, expected)], strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


def test_twenty_steps_of_adam_on_a_classifier_agree_with_the_reference():
    pair = [PROBLEM.trainer(runtime=runtime, options=None) for runtime in ("reference", "onnxruntime")]
    for trainer in pair:
        trainer.fit(PROBLEM.data, batch_size=14, epochs=4, verbose=False)
    assert [t.step_count for t in pair] == [20, 20]
    close(*[t.state for t in pair])


def test_several_steps_in_a_call_and_resident_data_run_on_any_runtime(regression):
    _, loss, data = regression
    plain, _ = train(loss, data, "reference")
    other = gc.Trainer(loss, optimizer=gc.optim.SGD(0.05, momentum=0.9), runtime="reference")
    other.fit(data, batch_size=16, epochs=3, verbose=False, steps_per_call=3, resident=True)
    close(other.state, plain.state)


def test_state_of_another_runtime_is_saved_replaced_and_loaded(regression, tmp_path):
    _, loss, data = regression
    first, _ = train(loss, data, NumPy())
    first.save(tmp_path / "state.safetensors")
    second = gc.Trainer(loss, optimizer=gc.optim.SGD(0.05, momentum=0.9), runtime="onnxruntime", device="cpu")
    second.load(tmp_path / "state.safetensors")
    assert same_state(first.state, second.state)
    second.fit(data, batch_size=16, epochs=1, verbose=False)
    first.state = second.state
    assert same_state(first.state, second.state)


def test_a_run_that_makes_a_nan_is_undone_and_explained_on_any_runtime(regression):
    _, loss, data = regression
    trainer, _ = train(loss, data, "reference")
    before = trainer.state
    with pytest.raises(gc.NonFiniteError):
        trainer.train_step({"x": np.full((2, 4), np.nan, np.float32), "y": np.zeros((2, 1), np.float32)})
    assert same_state(trainer.state, before)


def test_evaluate_and_compile_take_a_runtime_of_ones_own():
    x, w = gc.input("x", ("n",)), gc.parameter("w", (), np.float32(3))
    feeds = {"x": np.arange(3, dtype=np.float32)}
    assert gc.evaluate(gc.tanh(x) * w, feeds, runtime=NumPy()).tolist() == (np.tanh(feeds["x"]) * 3).tolist()
    assert gc.compile({"y": x + w}, runtime=NumPy())(feeds)["y"].tolist() == [3, 4, 5]


def test_what_a_runtime_lacks_is_told_when_it_compiles():
    with pytest.raises(gc.UnavailableError, match="NumPy has no Det"):
        gc.compile(gc.op.Det(gc.input("x", (2, 2))), runtime=NumPy())


def test_only_onnxruntime_keeps_a_profile(regression):
    _, loss, data = regression
    trainer, _ = train(loss, data, "reference")
    with pytest.raises(gc.UnavailableError, match="keeps no times of operators"):
        trainer.profile(data)


@pytest.mark.parametrize("runtime", [OnnxRuntime("cpu"), ReferenceRuntime(), NumPy()], ids=["ort", "reference", "own"])
def test_values_that_are_put_on_a_device_come_back_and_are_copies(runtime):
    assert isinstance(runtime, Runtime)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = runtime.put(array)
    array[:] = 0
    assert np.asarray(runtime.get(value)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("name", ["onnxruntime", "reference"])
def test_programs_return_outputs_then_next_states(name):
    a, b = gc.parameter("a", ()), gc.parameter("b", ())
    x = gc.input("x", ())
    program: Program = as_runtime(name).compile(gc.graph({"sum": a + x}, updates={b: b + x, a: a * x}), {})
    results = program.run({"a": np.float32(2), "b": np.float32(3), "x": np.float32(5)})
    assert [float(r) for r in results] == [7, 8, 10]


def test_the_steps_of_a_device_take_its_form_of_gradients():
    assert gc.pipelines.train_on("reference") is gc.pipelines.train
    for device in ("cpu", "cuda"):
        (chosen,) = [p for p in gc.pipelines.train_on(device) if p not in gc.pipelines.train]
        assert chosen.keywords == {"provider": device}


def test_a_step_for_other_runtimes_is_made_of_what_all_have():
    x, y = gc.input("x", ("batch", 1, 8, 8)), gc.input("y", ("batch",), "int64")
    layers = [nn.Conv2d(4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3)]
    loss = nn.cross_entropy(nn.Sequential(*layers, name="net")(x), y)
    here = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), device="cpu")
    portable = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), device="cpu", passes=gc.pipelines.train)
    assert "MaxUnpool" in here.step.graph.operators()
    assert "MaxUnpool" not in portable.step.graph.operators()
    assert not gc.placement(portable).fallbacks
    assert not gc.placement(here).fallbacks
