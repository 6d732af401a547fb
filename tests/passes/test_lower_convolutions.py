"""The pass that chooses forms for gradients of convolutions and pooling: what it changes, and what it leaves."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import dims
from graphc.ir.build import apply
from passes.lowering import autotune, convolution
from passes.lowering.convolution import lower_convolutions
from passes.lowering.weight_gradient import FORMS, NAME
from passes.verify import verify

RNG = np.random.default_rng(0)


def weight_gradient(batch: Any = "batch", channels: int = 2) -> gc.Tensor:
    x, w = gc.input("x", (batch, channels, 8, 8)), gc.parameter("w", (3, channels, 3, 3))
    return gc.grad(gc.sum(gc.square(apply("Conv", (x, w), {"pads": (1, 1, 1, 1)}).out())), w)


def values(graph: gc.Graph, runtime: Any = "onnxruntime") -> Any:
    """The first output for fixed numbers."""
    rng = np.random.default_rng(1)
    sizes = {"batch": 4}
    feeds = {n: rng.normal(size=[dims.evaluate(d, sizes) for d in t.shape]) for n, t in graph.feeds.items()}
    feeds = {n: a.astype(graph.feeds[n].dtype.numpy) for n, a in feeds.items()}
    return next(iter(gc.evaluate(graph, feeds, runtime=runtime).values()))


def test_calls_become_standard_operators_of_the_same_value() -> None:
    graph = gc.graph({"y": weight_gradient()})
    lowered = lower_convolutions(graph)
    verify(lowered)
    assert graph.find(NAME)
    assert not lowered.find(where=lambda node: bool(node.domain) and not node.is_leaf)
    np.testing.assert_allclose(values(lowered), values(graph), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_of_an_empty_batch_is_zero_in_every_form(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "cheapest", lambda *_: form)
    convolution._rules.cache_clear()
    lowered = lower_convolutions(gc.graph({"y": weight_gradient()}))
    convolution._rules.cache_clear()
    found = gc.evaluate(lowered, {"x": np.zeros((0, 2, 8, 8), np.float32)}, state={"w": np.ones((3, 2, 3, 3), "f")})
    np.testing.assert_array_equal(found["y"], np.zeros((3, 2, 3, 3)))


def test_calls_inside_bodies_are_lowered_too() -> None:
    x, w = gc.input("x", ("batch", 2, 8, 8)), gc.parameter("w", (3, 2, 3, 3))
    loss = gc.sum(gc.square(gc.checkpoint(lambda t: gc.tanh(apply("Conv", (t, w), {}).out()))(x)))
    graph = gc.graph({"y": gc.grad(loss, w)})
    lowered = lower_convolutions(graph)
    (loop,) = lowered.find("Loop")
    assert not loop.attrs["body"].find(NAME)
    np.testing.assert_allclose(values(lowered), values(graph), rtol=1e-4, atol=1e-4)


def test_the_provider_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def choose(_what: Any, _x: Any, _g: Any, provider: str, default: int) -> str:
        asked.append((provider, default))
        return "single_product"

    monkeypatch.setattr(convolution, "cheapest", choose)
    convolution._rules.cache_clear()
    lower_convolutions(gc.graph(weight_gradient()), provider="cuda", default=7)
    convolution._rules.cache_clear()
    assert asked == [("cuda", 7)]
    with pytest.raises(gc.UnavailableError, match="provider is 'tpu'; expected 'any', 'cpu' or 'cuda'"):
        lower_convolutions(gc.graph(weight_gradient()), provider="tpu")


def test_a_graph_without_convolutions_stays_the_same_object() -> None:
    graph = gc.graph(gc.input("x", (3,)) * 2)
    assert lower_convolutions(graph) is graph


# --- ConvTranspose ------------------------------------------------------------------------------------------------

TURNED: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "same": ((2, 3, 5, 6), (3, 4, 3, 3), {"pads": (1, 1, 1, 1)}),
    "point": ((2, 3, 5, 6), (3, 4, 1, 1), {}),
    "wide_cut": ((2, 3, 5, 6), (3, 4, 3, 3), {"pads": (2, 1, 1, 2)}),
    "dilated": ((2, 3, 7, 6), (3, 2, 3, 2), {"pads": (2, 1, 2, 1), "dilations": (2, 1)}),
    "groups": ((2, 6, 5, 6), (6, 2, 3, 3), {"pads": (1, 1, 1, 1), "group": 3}),
    "one_axis": ((2, 3, 5), (3, 2, 3), {"pads": (1, 1)}),
    "small_data": ((1, 20, 3, 2), (20, 30, 3, 3), {"pads": (2, 1, 1, 2)}),
    "small_data_groups": ((1, 20, 3, 2), (20, 10, 3, 3), {"pads": (1, 1, 2, 1), "group": 2}),
    "three_axes": ((2, 3, 4, 3, 5), (3, 2, 1, 3, 3), {"pads": (0, 1, 1, 0, 1, 1)}),
}


@pytest.mark.parametrize("biased", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("name", TURNED)
def test_transposed_convolution_of_stride_1_becomes_a_convolution(name: str, biased: bool) -> None:
    x_shape, w_shape, attrs = TURNED[name]
    channels = w_shape[1] * attrs.get("group", 1)
    bias = [gc.parameter("b", (channels,), RNG.normal(size=channels), dtype="float64")] if biased else []
    x = gc.input("x", ("batch" if x_shape[0] > 1 else 1, *x_shape[1:]), "float64")
    w = gc.parameter("w", w_shape, RNG.normal(size=w_shape), dtype="float64")
    graph = gc.graph({"y": apply("ConvTranspose", (x, w, *bias), attrs).out()})
    lowered = lower_convolutions(graph)
    verify(lowered)
    assert lowered.count("Conv") == 1
    assert lowered.count("ConvTranspose") == 0
    np.testing.assert_allclose(values(lowered, "reference"), values(graph, "reference"), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "attrs",
    [
        {"strides": (2, 2), "pads": (1, 1, 1, 1)},
        {"pads": (0, 0, 0, 0)},
        {"pads": (1, 1, 0, 1)},
        {"pads": (3, 1, 1, 1)},
        {"auto_pad": "SAME_UPPER"},
        {"output_shape": (5, 6)},
    ],
    ids=["strided", "uncut", "partly_cut", "cut_beyond_the_kernel", "auto_pad", "output_shape"],
)
def test_other_transposed_convolutions_stay(attrs: dict[str, Any]) -> None:
    x, w = gc.input("x", (2, 3, 5, 6)), gc.parameter("w", (3, 4, 3, 3))
    graph = gc.graph(apply("ConvTranspose", (x, w), attrs).out())
    assert lower_convolutions(graph) is graph


def test_transposed_convolutions_stay_on_cuda() -> None:
    x, w = gc.input("x", (2, 3, 5, 6)), gc.parameter("w", (3, 4, 3, 3))
    graph = gc.graph(apply("ConvTranspose", (x, w), {"pads": (1, 1, 1, 1)}).out())
    assert lower_convolutions(graph, provider="cuda") is graph


# --- MaxPool ------------------------------------------------------------------------------------------------------


def pool_gradient(size: int = 6, dtype: str = "float32", **attrs: Any) -> gc.Graph:
    x = gc.input("x", ("batch", 2, size, size), dtype)
    y = apply("MaxPool", (x,), {"kernel_shape": (2, 2), "strides": (2, 2), **attrs}).out()
    return gc.graph({"y": gc.grad(gc.sum(gc.square(y)), x)})


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 0, 1)], ids=["plain", "shifted"])
def test_gradient_of_pooling_side_by_side_becomes_max_unpool(pads: tuple[int, ...]) -> None:
    graph = pool_gradient(pads=pads)
    for start in (graph, gc.simplify(graph)):
        lowered = lower_convolutions(start, provider="cpu")
        verify(lowered)
        assert lowered.count("MaxUnpool") == 1
        assert lowered.count("ScatterElements") == 0
        np.testing.assert_array_equal(values(lowered), values(graph))


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (2, 3), (1, 2), (6, 1), (2,), (2, 3, 1)], ids=str)
def test_indices_of_windows_that_fill_the_data_are_computed_from_their_parts(kernel: tuple[int, ...]) -> None:
    x = gc.input("x", ("batch", 3, *(6 for _ in kernel)))
    y = apply("MaxPool", (x,), {"kernel_shape": kernel, "strides": kernel}).out()
    graph = gc.graph({"y": gc.grad(gc.sum(gc.square(y)), x)})
    lowered = lower_convolutions(graph, provider="cpu")
    verify(lowered)
    assert not any(t is not None and t.node.op == "MaxPool" and t.index == 1 for n in lowered.nodes for t in n.inputs)
    rng = np.random.default_rng(0)
    for rows in (2, 1, 0):
        ties = rng.integers(-2, 3, (rows, 3, *(6 for _ in kernel))).astype(np.float32)  # the first maximum counts
        found, expected = (gc.compile(g)({"x": ties})["y"] for g in (lowered, graph))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rest", [{"kernel_shape": (5, 2), "strides": (5, 2)}, {"pads": (1, 0, 0, 1)}], ids=str)
def test_indices_of_other_windows_are_those_of_the_pooling(rest: dict[str, Any]) -> None:
    lowered = lower_convolutions(pool_gradient(10, **rest), provider="cpu")
    (unpool,) = lowered.find("MaxUnpool")
    assert unpool.inputs[1] is not None
    assert unpool.inputs[1].node.op == "MaxPool"


@pytest.mark.parametrize(
    "other",
    [
        {"strides": (1, 1)},
        {"kernel_shape": (1, 2)},
        {"pads": (1, 1, 1, 1)},
        {"size": 7},
        {"size": 7, "ceil_mode": 1},
        {"dtype": "float64"},
    ],
    ids=["overlapping", "apart", "padded", "left_over", "ceil", "double"],
)
def test_gradient_of_other_pooling_stays(other: dict[str, Any]) -> None:
    graph = pool_gradient(**other)
    assert lower_convolutions(graph, provider="cpu") is graph


def test_scattering_by_other_indices_stays() -> None:
    x, g = gc.input("x", (2, 1, 4, 4)), gc.input("g", (8,))
    indices = gc.reshape(apply("MaxPool", (x,), {"kernel_shape": (2, 2), "strides": (2, 2)}).out(1), (-1,))
    for places in (gc.input("places", (8,), "int64"), indices):
        graph = gc.graph(apply("ScatterElements", (gc.zeros((32,)), places, g)).out())
        assert lower_convolutions(graph, provider="cpu") is graph


@pytest.mark.parametrize("provider", ["any", "cuda"])
def test_max_unpool_is_for_the_cpu_alone(provider: str) -> None:
    graph = pool_gradient()
    assert lower_convolutions(graph, provider=provider) is graph


# --- autotune -----------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The forms that were measured, of which the last one is the fastest; the cache lies in a folder of its own."""
    asked: list[str] = []

    def measure(_ort: Any, _what: Any, form: str, *_rest: Any) -> float:
        asked.append(form)
        return -float(list(FORMS).index(form))

    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_measured", measure)
    return asked


def test_autotune_measures_each_shape_once_and_remembers_it(measured: list[str]) -> None:
    first = lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    assert measured == list(FORMS)
    again = lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    assert measured == list(FORMS)
    assert first.structurally_equal(again)
    assert first.count("MatMul") == 3  # by row: the last form, which the fixture calls the fastest
    lower_convolutions(gc.graph(weight_gradient(channels=4)), autotune=True)
    lower_convolutions(gc.graph(weight_gradient()), autotune=True, default=8)
    assert measured == 3 * list(FORMS)


def test_autotune_keeps_one_small_file(measured: list[str], tmp_path: Path) -> None:
    lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    (file,) = tmp_path.iterdir()
    content = json.loads(file.read_text())
    assert content["version"] == 1
    assert list(content["choices"].values()) == [measured[-1]]


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": 1}', '{"version": 1, "choices": 3}'])
def test_a_damaged_cache_is_ignored_with_a_warning(
    measured: list[str], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "autotune.json"
    file.write_text(damage)
    with caplog.at_level(logging.WARNING):
        lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    assert "cannot be read and is ignored" in caplog.text
    assert measured == list(FORMS)
    assert len(json.loads(file.read_text())["choices"]) == 1


def test_a_cache_of_another_version_is_not_read(measured: list[str], tmp_path: Path) -> None:
    lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    file = tmp_path / "autotune.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 0'))
    lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    assert measured == 2 * list(FORMS)


def test_a_cache_that_cannot_be_written_is_a_warning(
    measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GRAPHC_CACHE", str(blocked / "folder"))
    with caplog.at_level(logging.WARNING):
        lower_convolutions(gc.graph(weight_gradient()), autotune=True)
    assert "cannot be" in caplog.text
    assert measured == list(FORMS)


def test_autotune_measures_in_onnxruntime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    graph = gc.graph({"y": weight_gradient()})
    lowered = lower_convolutions(graph, autotune=True, default=2)
    np.testing.assert_allclose(values(lowered), values(graph), rtol=1e-4, atol=1e-4)
    (chosen,) = json.loads((tmp_path / "autotune.json").read_text())["choices"].values()
    assert chosen in FORMS


def test_autotune_without_the_provider_says_so() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(gc.UnavailableError, match=r"no provider CUDAExecutionProvider.*Choose provider='cpu'"):
        lower_convolutions(gc.graph(weight_gradient()), provider="cuda", autotune=True)


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_CACHE_HOME", "graphc/autotune.json"),
        ("win32", "LOCALAPPDATA", "graphc/autotune.json"),
        ("darwin", "HOME", "Library/Caches/graphc/autotune.json"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_such_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str, end: str
) -> None:
    monkeypatch.delenv("GRAPHC_CACHE", raising=False)
    monkeypatch.setattr(autotune.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert autotune.cache_file() == tmp_path / end


def test_trainers_train_by_the_passes_that_they_are_given() -> None:
    x, w = gc.input("x", ("batch", 2, 8, 8)), gc.parameter("w", (3, 2, 3, 3))
    loss = gc.mean(gc.square(apply("Conv", (x, w), {"pads": (1, 1, 1, 1)}).out()))
    plain, lowered = (gc.Trainer(loss, optimizer=gc.optim.SGD(), device="cpu", passes=p).step for p in ([], None))
    assert plain.graph.find(NAME)
    assert not lowered.graph.find(NAME)


@pytest.mark.parametrize("provider", ["any", "cpu", "cuda"])
def test_a_lowered_step_trains_as_the_plain_one(provider: str) -> None:
    x, y = gc.input("x", ("batch", 2, 12, 12)), gc.input("y", ("batch",), "int64")
    net = gc.nn.Sequential(
        *(gc.nn.Conv2d(4, 3, padding=1, name="a"), gc.nn.ReLU(), gc.nn.MaxPool2d(2)),
        *(gc.nn.Conv2d(6, 3, stride=2, name="b"), gc.nn.ReLU(), gc.nn.AvgPool2d(2), gc.nn.Flatten()),
        gc.nn.Linear(3, name="c"),
    )
    loss = gc.nn.cross_entropy(net(x), y)
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(8, 2, 12, 12)).astype(np.float32), "y": rng.integers(0, 3, 8)}

    def trained(passes: list[Any]) -> Any:
        trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), device="cpu", passes=passes)
        losses = [float(trainer.train_step(feeds)["loss"]) for _ in range(5)]
        return losses, dict(trainer.state)

    def lower(graph: gc.Graph) -> gc.Graph:
        return lower_convolutions(graph, provider=provider)

    (plain, before), (lowered, after) = trained([]), trained([lower, gc.simplify])
    np.testing.assert_allclose(lowered, plain, rtol=1e-5)
    assert plain[-1] < plain[0]
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
