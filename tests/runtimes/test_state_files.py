"""State files: exact, atomic, checked."""

import os

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import graphc as gc
from graphc import nn
from runtimes.atomic import Replacing
from runtimes.state import read_state

DTYPES = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]


@pytest.fixture
def graph():
    return gc.graph(gc.parameter("w", (2, 3)) + gc.parameter("b", (3,)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_arrays_come_back_bit_for_bit(dtype, shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    gc.save_state({"a": array}, tmp_path / "s")
    found = gc.load_state(tmp_path / "s")["a"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_strided_and_big_endian_arrays_are_saved_by_value(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    gc.save_state({"t": array.T, "b": array.astype(">f4"), "l": [1.0, 2.0]}, tmp_path / "s")
    found = gc.load_state(tmp_path / "s")
    np.testing.assert_array_equal(found["t"], array.T)
    np.testing.assert_array_equal(found["b"], array)
    np.testing.assert_array_equal(found["l"], [1.0, 2.0])


def test_metadata_is_kept(tmp_path):
    gc.save_state({"a": np.zeros(1)}, tmp_path / "s", {"note": "ä"})
    assert read_state(tmp_path / "s")[1] == {"note": "ä"}


def test_dtypes_that_the_format_lacks_are_refused(tmp_path):
    for value in (np.array(["a"]), np.zeros(1, ml_dtypes.int4)):
        with pytest.raises(gc.StateError, match="'a' has the dtype"):
            gc.save_state({"a": value}, tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_first_values_are_those_of_the_initializers(graph):
    assert {n: v.shape for n, v in gc.init_state(graph, 3).items()} == {"w": (2, 3), "b": (3,)}


def test_a_matching_file_loads_against_its_graph(graph, tmp_path):
    state = gc.init_state(graph, 1)
    gc.save_state(state, tmp_path / "s")
    found = gc.load_state(tmp_path / "s", graph)
    assert list(found) == ["w", "b"]
    np.testing.assert_array_equal(found["w"], state["w"])


def test_every_misfit_of_a_file_is_reported_at_once(tmp_path):
    inputs = {"w": (2, 3), "b": (3,), "m": (1,), "d": (1,)}
    total = sum((gc.parameter(n, s).sum() for n, s in inputs.items()), gc.constant(0.0))
    gc.save_state(
        {"w": np.zeros((3, 2), np.float32), "d": np.zeros(1), "m": np.zeros(1, np.float32), "x": np.zeros(4)},
        tmp_path / "s",
    )
    with pytest.raises(gc.StateError) as error:
        gc.load_state(tmp_path / "s", gc.graph(total, name="model"))
    lines = str(error.value).splitlines()
    assert str(tmp_path / "s") in lines[0]
    assert "does not match 'model' [test_state_files.py:" in lines[0]
    assert [line.strip() for line in lines[1:]] == [
        "'w' is float32[3, 2]; expected float32[2, 3]",
        "missing 'b', float32[3]",
        "'d' is float64[1]; expected float32[1]",
        "unexpected 'x', float64[4]",
    ]


def normalized_net() -> tuple[nn.Module, gc.Graph]:
    net = nn.Sequential(nn.Linear(4), nn.BatchNorm1d())
    return net, gc.graph(net(gc.input("x", ("n", 3))))


def test_counts_of_batches_may_be_in_the_file_of_a_graph_that_does_not_use_them(tmp_path):
    net, graph = normalized_net()
    state = nn.init.initialize(net.parameters())
    assert "1.num_batches_tracked" not in graph.parameters
    gc.save_state(state, tmp_path / "s", target=net)
    assert set(gc.load_state(tmp_path / "s", graph)) == set(state)
    assert list(gc.load_state(tmp_path / "s", net)) == list(state)
    gc.save_state(state, tmp_path / "s", target=graph)
    assert set(gc.load_state(tmp_path / "s", graph)) == set(graph.parameters)
    with pytest.raises(gc.StateError, match=r"does not match Sequential .*:\n  missing '1.num_batches_tracked', int64"):
        gc.load_state(tmp_path / "s", net)


def test_saving_for_a_module_leaves_the_optimizer_out(tmp_path):
    net, _ = normalized_net()
    trainer = gc.Trainer(gc.mean(net(gc.input("x", ("n", 3)))), optimizer=gc.optim.Adam())
    gc.save_state(trainer.state, tmp_path / "s", target=net)
    assert list(gc.load_state(tmp_path / "s")) == sorted(net.state_names())
    with pytest.raises(gc.StateError, match=r"missing '0\.weight', float32"):
        gc.save_state({}, tmp_path / "s", target=net)


@pytest.mark.parametrize(
    ("prefixes", "hint"),
    [
        (("model.", ""), "The names of the state begin with 'model.', the others are the same."),
        (("", "model."), "The names of the model begin with 'model.', the others are the same."),
        (("a.", "b."), ""),
    ],
)
def test_names_that_differ_by_a_prefix_only_are_recognized(prefixes, hint, tmp_path):
    saved, wanted = prefixes
    gc.save_state({f"{saved}{n}": np.zeros(2, np.float32) for n in ("w", "0.b")}, tmp_path / "s")
    total = sum((gc.parameter(f"{wanted}{n}", (2,)).sum() for n in ("w", "0.b")), gc.constant(0.0))
    with pytest.raises(gc.StateError) as error:
        gc.load_state(tmp_path / "s", gc.graph(total))
    last = str(error.value).splitlines()[-1]
    assert last.startswith(hint) if hint else last.startswith("  unexpected")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:4], lambda b: b"", lambda b: b"\xff" * 40, lambda b: b + b"x"]
)
def test_a_damaged_file_is_named(damage, tmp_path):
    path = tmp_path / "s"
    gc.save_state({"a": np.arange(9.0)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(gc.StateError, match="is no complete safetensors file") as error:
        gc.load_state(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(gc.StateError, match=r"cannot read the state file .*nowhere"):
        gc.load_state(tmp_path / "nowhere")


def test_pickles_are_not_executed(tmp_path):
    import pickle

    (tmp_path / "s").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(gc.StateError):
        gc.load_state(tmp_path / "s")


# --- atomicity ----------------------------------------------------------------------------------------------------


def fail(*args, **kwargs):
    raise OSError(28, "No space left on device")


def no_space(*args, **kwargs):
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("owner", "name", "failure"),
    [(os, "fsync", fail), (os, "replace", fail), (safetensors.numpy, "save_file", no_space)],
)
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(owner, name, failure, tmp_path, monkeypatch):
    path = tmp_path / "s"
    gc.save_state({"a": np.zeros(1)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(owner, name, failure)
    with pytest.raises(gc.ExportError, match="No space left on device") as error:
        gc.save_state({"a": np.ones(1)}, path)
    assert repr(str(path)) in str(error.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_within_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "s"
    path.write_text("old")

    def interrupted():
        with Replacing(path) as fresh:
            fresh.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_found_out_before_the_block_runs(tmp_path):
    for path in (tmp_path / "missing" / "s", tmp_path):
        with pytest.raises(gc.ExportError, match=r"cannot write .*\[test_state_files.py:"), Replacing(path):
            pytest.fail("the block ran")


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    gc.save_state({"a": np.zeros(1)}, tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_written_through(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    gc.save_state({"a": np.zeros(1)}, link)
    assert link.is_symlink()
    assert list(gc.load_state(target)) == ["a"]
