"""The step executor: alternating state, prepared frames, outputs of every kind of shape."""

import numpy as np
import pytest

import graphc as gc
from graphc.serial.export import to_model
from runtimes import buffers
from runtimes.data import Dataset
from runtimes.device_state import DeviceState
from runtimes.executor import _BORROW, _FRAMES, DeviceInput, Executor
from runtimes.session import RuntimeOptions, Session

ONE = RuntimeOptions(threads=1)


def executor(graph, state=None, shared=None):
    session = Session(to_model(graph), options=ONE)
    shared = shared or DeviceState(graph, {**gc.init_state(graph), **(state or {})}, "cpu")
    return Executor(graph, session, shared)


def averaging(dtype="float32"):
    """A graph whose updates all read each other's state: any overwriting before the last read shows."""
    x = gc.input("x", ("batch", 1000), dtype)
    a, b = gc.parameter("a", (1000,), dtype=dtype), gc.parameter("b", (1000,), dtype=dtype)
    fixed = gc.parameter("fixed", (1000,), np.arange(1000).astype(a.dtype.numpy), dtype=dtype)
    mean = x.mean(axis=0)
    updates = {a: a * 0.5 + b * 0.25 + mean, b: a - b * 0.5 + fixed * mean}
    return gc.graph({"loss": (a * b).sum(), "rows": x.sum(axis=1)}, updates=updates)


def test_many_steps_equal_numpy_with_state_that_alternates():
    run = executor(averaging("float64"))
    rng = np.random.default_rng(0)
    a, b, fixed = np.zeros(1000), np.zeros(1000), np.arange(1000.0)
    for _ in range(21):
        x = rng.standard_normal((4, 1000))
        found = run.run({"x": x})
        np.testing.assert_allclose(found["loss"], (a * b).sum(), rtol=1e-12)
        np.testing.assert_allclose(found["rows"], x.sum(axis=1), rtol=1e-12, atol=1e-12)
        mean = x.mean(axis=0)
        a, b = a * 0.5 + b * 0.25 + mean, a - b * 0.5 + fixed * mean
    state = run.state.read()
    np.testing.assert_allclose(state["a"], a, rtol=1e-12)
    np.testing.assert_allclose(state["b"], b, rtol=1e-12)
    np.testing.assert_array_equal(state["fixed"], fixed)


def test_no_update_shares_its_buffer_with_the_state_that_it_replaces():
    first, second = executor(averaging()).state.sides
    assert first["a"].data_ptr() != second["a"].data_ptr()
    assert first["fixed"].data_ptr() == second["fixed"].data_ptr()


def test_states_may_be_exchanged_or_passed_on_unchanged():
    a, b = gc.parameter("a", (2,), np.array([1, 2], np.float32)), gc.parameter("b", (2,), np.array([3, 4], np.float32))
    c = gc.parameter("c", (2,))
    run = executor(gc.graph({"sum": a.sum()}, updates={a: b, b: a, c: c}))
    for expected in ([3, 4], [1, 2], [3, 4]):
        run.run({})
        assert run.state.read()["a"].tolist() == expected


def test_undo_returns_to_the_state_before_the_last_run():
    run = executor(averaging())
    run.run({"x": np.ones((2, 1000), np.float32)})
    before = run.state.read()
    run.run({"x": np.ones((2, 1000), np.float32)})
    after = run.state.read()
    run.undo()
    assert all(np.array_equal(before[n], v) for n, v in run.state.read().items())
    run.run({"x": np.ones((2, 1000), np.float32)})
    assert all(np.array_equal(after[n], v) for n, v in run.state.read().items())


def test_batches_of_changing_sizes_share_one_state_and_frames_are_few():
    run = executor(averaging("float64"))
    total = np.zeros(1000)
    for rows in [*range(1, 2 * _FRAMES), 3, 1, 3]:
        x = np.full((rows, 1000), 1.0)
        found = run.run({"x": x})
        assert found["rows"].tolist() == [1000.0] * rows
        total = total * 0.5 + 1
    assert len(run._frames) == _FRAMES
    assert run.state.read()["a"].shape == (1000,)
    frame = run.frame({"x": (3, 1000)})
    assert frame is run.frame({"x": (3, 1000)})


def test_large_arrays_are_lent_and_small_ones_copied():
    x = gc.input("x", ("n",))
    run = executor(gc.graph({"y": x * 2.0}))
    small, large = np.ones(4, np.float32), buffers.aligned((_BORROW // 4,), np.dtype("float32"))
    large[:] = 1
    for array in (small, large):
        frame = run.frame({"x": array.shape})
        frame.inputs["x"].feed(array)
        array[:] = 5
        assert frame.run()["y"][0] == (2.0 if array is small else 10.0)
        frame.inputs["x"].buffer[:] = 7
        assert frame.run()["y"][0] == 14.0
        assert array[0] == 5
    frame = run.frame({"x": (len(large) - 1,)})
    large[1:] = 5
    frame.inputs["x"].feed(large[1:])  # starts at no cache line
    large[1:] = 6
    assert frame.run()["y"][0] == 10.0
    strided = np.arange(2 * len(large), dtype=np.float32)[::2]
    np.testing.assert_array_equal(run.run({"x": strided})["y"], strided * 2)


def test_read_only_arrays_can_be_lent():
    x = gc.input("x", ("n",))
    array = buffers.aligned((_BORROW,), np.dtype("float32"))
    array[:] = 1
    array.flags.writeable = False
    assert executor(gc.graph({"y": x * 2.0})).run({"x": array})["y"][-1] == 2


def test_outputs_of_unknown_shape_are_allocated_in_each_run():
    x = gc.input("x", ("n",))
    a = gc.parameter("a", ())
    run = executor(gc.graph({"where": gc.op.NonZero(x), "sum": x.sum()}, updates={a: a + x.sum()}))
    for values in ([0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]):
        found = run.run({"x": np.array(values, np.float32)})
        assert found["where"].tolist() == [np.flatnonzero(values).tolist()]
        assert found["sum"] == sum(values)
    assert run.state.read()["a"] == 7


def test_scalar_and_empty_inputs_run():
    x, scale = gc.input("x", ("n", 3)), gc.input("scale", ())
    run = executor(gc.graph({"y": x.sum(axis=0) * scale}))
    assert run.run({"x": np.zeros((0, 3), np.float32), "scale": np.float32(2) * np.ones((), np.float32)})[
        "y"
    ].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int32", "bool"])
def test_state_inputs_and_outputs_of_every_width_pass_through(dtype):
    x, a = gc.input("x", ("n",), dtype), gc.parameter("a", (2,), dtype=dtype, trainable=False)
    run = executor(gc.graph({"y": gc.concat([x, a], 0)}, updates={a: gc.identity(x[:2])}))
    values = np.array([1, 0, 1]).astype(a.dtype.numpy)
    assert run.run({"x": values})["y"].tolist() == [*values.tolist(), *np.zeros(2, values.dtype).tolist()]
    assert run.run({"x": values})["y"].tolist() == [*values.tolist(), *values[:2].tolist()]
    state = run.state.read()
    assert (state["a"].dtype, state["a"].tolist()) == (values.dtype, values[:2].tolist())
    run.state.write({"a": values[1:]})
    assert run.state.read_one("a").tolist() == values[1:].tolist()


def test_a_run_that_fails_leaves_the_state():
    x, a = gc.input("x", ("n",), "int64"), gc.parameter("a", (3,))
    run = executor(gc.graph({"y": gc.take(a, x)}, updates={a: a + 1}))
    run.run({"x": np.array([0, 2])})
    with pytest.raises(Exception, match="out of data bounds"):
        run.run({"x": np.array([7])})
    assert run.state.read()["a"].tolist() == [1, 1, 1]


def test_executors_share_state():
    a = gc.parameter("a", (2,))
    step = executor(gc.graph({"old": a.sum()}, updates={a: a + 1}))
    reader = executor(gc.graph({"double": a * 2}), shared=step.state)
    for expected in (2, 4, 6):
        step.run({})
        assert reader.run({})["double"].tolist() == [expected, expected]


def test_state_that_is_missing_or_of_another_type_is_refused():
    held = executor(gc.graph(gc.parameter("a", (2,)))).state
    with pytest.raises(gc.StateError, match=r"'b', float32\[2\], is missing"):
        executor(gc.graph(gc.parameter("b", (2,))), shared=held)
    with pytest.raises(gc.StateError, match=r"'a', float32\[3\], is held as float32\[2\]"):
        executor(gc.graph(gc.parameter("a", (3,))), shared=held)


def test_what_is_read_is_a_copy_and_what_is_written_is_checked():
    run = executor(averaging())
    run.state.read()["a"][:] = 9
    assert not run.state.read()["a"].any()
    with pytest.raises(gc.StateError, match="missing 'b'"):
        run.state.write({"a": np.zeros(1000, np.float32), "fixed": np.zeros(1000, np.float32)})


def test_writing_that_is_interrupted_leaves_the_state_whole(monkeypatch):
    run = executor(
        gc.graph({"sum": gc.constant(0.0)}, updates={p: p + 1 for p in (gc.parameter("a", ()), gc.parameter("b", ()))})
    )
    real, calls = buffers.fill, []

    def interrupted(value, array):
        calls.append(array)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(value, array)

    monkeypatch.setattr(buffers, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.state.write({"a": np.ones((), np.float32), "b": np.ones((), np.float32)})
    assert run.state.read() == {"a": 0, "b": 0}


@pytest.fixture
def device_input(monkeypatch):
    """Makes inputs that are copied to a device, here the CPU, with a count of the copies."""
    copies = []
    real = buffers.fill
    monkeypatch.setattr(buffers, "on_device", lambda array, *device: buffers.view(array.copy()))
    monkeypatch.setattr(buffers, "fill", lambda value, array: (copies.append(array), real(value, array)))

    class Binding:
        def bind_ortvalue_input(self, name, value):
            self.value = value

    def make(shape):
        binding = Binding()
        made = DeviceInput("x", shape, np.dtype(np.float32), (binding, binding))
        return made, binding.value, copies

    return make


def test_an_input_on_a_device_is_copied_when_it_was_filled_or_fed(device_input):
    made, value, copies = device_input((2,))
    made.buffer[:] = [1, 2]
    made.upload()
    assert buffers.to_numpy(value).tolist() == [1, 2]
    made.feed(np.arange(4, dtype=np.float32)[::2])
    made.upload()
    assert buffers.to_numpy(value).tolist() == [0, 2]
    assert len(copies) == 2


def test_a_scalar_on_a_device_is_copied_only_when_it_changes(device_input):
    made, value, copies = device_input(())
    for number in (0.5, 0.5, 0.25):
        made.buffer[...] = number
        made.upload()
        assert buffers.to_numpy(value) == number
    assert len(copies) == 2
    made.feed(np.array(4, np.float32))
    made.buffer[...] = 0.25
    made.upload()
    assert buffers.to_numpy(value) == 0.25


def test_shapes_that_do_not_fit_the_graph_are_refused():
    with pytest.raises(gc.FeedError, match="dimension 1 is 3; expected 1000"):
        executor(averaging()).frame({"x": (2, 3)})


def test_shuffled_rows_go_straight_into_the_buffer_of_the_frame():
    x = gc.input("x", ("n", 2))
    run = executor(gc.graph({"y": gc.identity(x)}))
    data = Dataset({"x": np.arange(12, dtype=np.float32).reshape(6, 2)}, [x])
    frame = run.frame(data.shapes(2))
    before = frame.inputs["x"].buffer
    data.fill(frame.inputs, np.array([5, 1]))
    assert frame.inputs["x"].buffer is before
    assert frame.run()["y"].tolist() == [[10, 11], [2, 3]]


@pytest.fixture
def pretended_cuda(monkeypatch):
    """State and tensors of "cuda" that are in truth on the CPU, in memory of their own."""
    monkeypatch.setattr(buffers, "on_device", lambda array, *device: buffers.copied(array, "cpu"))

    def make(graph, **options):
        session = Session(to_model(graph), options=RuntimeOptions(threads=1, **options))
        return Executor(graph, session, DeviceState(graph, gc.init_state(graph), "cuda"))

    return make


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_steps_on_a_device_equal_those_on_the_cpu(pretended_cuda, cuda_graph):
    on_device, expected = pretended_cuda(averaging(), cuda_graph=cuda_graph), executor(averaging())
    rng = np.random.default_rng(0)
    for rows in (4, 4, 2, 4):
        x = rng.standard_normal((rows, 1000)).astype(np.float32)
        found, wanted = on_device.run({"x": x}), expected.run({"x": x})
        assert {n: v.tolist() for n, v in found.items()} == {n: v.tolist() for n, v in wanted.items()}
    assert all(np.array_equal(v, expected.state.read()[n]) for n, v in on_device.state.read().items())


def test_each_binding_of_a_cuda_graph_is_recorded_on_its_own(pretended_cuda):
    run = pretended_cuda(averaging(), cuda_graph=True)
    frames = [run.frame({"x": (rows, 1000)}) for rows in (2, 3)]
    ids = [settings.get_run_config_entry("gpu_graph_id") for frame in frames for settings in frame._runs]
    assert len({*ids}) == 4
    assert "0" not in ids
    assert pretended_cuda(averaging()).frame({"x": (2, 1000)})._runs == (None, None)


def test_a_cuda_graph_of_an_output_of_unknown_shape_is_refused(pretended_cuda):
    run = pretended_cuda(gc.graph({"where": gc.op.NonZero(gc.input("x", ("n",)))}), cuda_graph=True)
    with pytest.raises(
        gc.UnavailableError, match=r"cuda_graph=True: the shape of the output 'where'.*test_executor.py"
    ):
        run.frame({"x": (3,)})


def test_state_inputs_and_results_are_on_the_device_that_was_chosen(monkeypatch):
    chosen = []
    monkeypatch.setattr(
        buffers, "on_device", lambda array, *device: (chosen.append(device), buffers.copied(array, "cpu"))[1]
    )
    graph = averaging()
    session = Session(to_model(graph), options=ONE)
    Executor(graph, session, DeviceState(graph, gc.init_state(graph), "cuda", 3)).run({"x": np.ones((2, 1000), "f")})
    assert {*chosen} == {("cuda", 3)}
