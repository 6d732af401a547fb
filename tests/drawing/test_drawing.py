"""Drawings: what they show, that all text is escaped, and that both engines place every box."""

import pathlib
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

import graphc as gc
from graphc import nn
from graphc.drawing import graphviz, layered
from graphc.drawing.picture import LIMIT, Picture, picture_of
from graphc.drawing.style import BACKWARD, FORWARD
from graphc.ir import origin

ENGINES = {"dot": graphviz, "grandalf": layered}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    """Each engine that is installed."""
    if not ENGINES[request.param].is_available():
        pytest.skip(f"{request.param} is not installed")
    return request.param


def mlp(depth: int = 1) -> gc.Tensor:
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(16), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(3), name="mlp")
    return nn.cross_entropy(net(gc.input("x", ("batch", 8))), gc.input("y", ("batch",), "int64"))


def with_gradients(loss: gc.Tensor) -> gc.Graph:
    return gc.graph([loss, *gc.grad(loss, list(gc.graph(loss).parameters.values()))])


def texts(svg: str) -> list[str]:
    """All texts of a document, which must be well-formed."""
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]


# --- what is shown ------------------------------------------------------------------------------------------------


def boxes(picture: Picture) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(box.kind, box.title, box.lines) for box in picture.boxes]


def test_operators_are_boxes_with_their_parameters_and_shapes_stand_at_arrows() -> None:
    picture = picture_of(gc.graph(mlp()))
    assert boxes(picture) == [
        ("input", "x", ("[batch, 8]",)),
        ("operator", "Gemm", ("weight [16, 8]", "bias [16]")),
        ("operator", "Relu", ()),
        ("operator", "Gemm", ("weight [3, 16]", "bias [3]")),
        ("input", "y", ("int64[batch]",)),
        ("operator", "SoftmaxCrossEntropyLoss", ()),
        ("output", "output", ("scalar",)),
    ]
    assert [(a.source, a.target, a.label) for a in picture.arrows] == [
        (0, 1, "[batch, 8]"),
        (1, 2, "[batch, 16]"),
        (2, 3, "[batch, 16]"),
        (3, 5, "[batch, 3]"),
        (4, 5, "int64[batch]"),
        (5, 6, "scalar"),
    ]


def test_layers_are_clusters_and_their_backward_passes_others() -> None:
    picture = picture_of(with_gradients(mlp()))
    forward = [c.title for c in picture.clusters.values() if not c.backward]
    backward = [c.title for c in picture.clusters.values() if c.backward]
    assert forward == ["mlp.0", "mlp.1", "mlp.2"]
    assert set(backward) == {f"mlp.{k} · backward" for k in range(3)}
    for box in picture.boxes:
        if box.cluster is not None:
            assert picture.clusters[box.cluster].backward == box.backward
    assert {a.backward for a in picture.arrows} == {False, True}
    assert all(picture.boxes[a.target].backward == a.backward for a in picture.arrows)


def test_clusters_nest_as_layers_do() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, name="block")
    clusters = picture_of(gc.graph(layer(gc.input("x", ("t", "n", 8))))).clusters
    parents = {c.title: None if c.parent is None else clusters[c.parent].title for c in clusters.values()}
    assert parents["block"] is None
    assert parents["block.linear1"] == parents["block.self_attn"] == "block"
    assert parents["block.self_attn.out_proj"] == "block.self_attn"
    assert list(parents).index("block") < list(parents).index("block.self_attn")


def test_constants_and_states_are_shown() -> None:
    x, total = gc.input("x", (2,)), gc.parameter("total", (2,), trainable=False)
    graph = gc.graph({"y": x * 0.5 + [1, 2], "z": total}, updates={total: total + x})
    found = boxes(picture_of(graph))
    assert ("operator", "Mul", ("0.5",)) in found
    assert ("operator", "Add", ("constant [2]",)) in found
    assert ("parameter", "total", ("[2]",)) in found
    assert ("output", "total.next", ("[2]",)) in found


def test_loops_and_calls_say_what_they_run() -> None:
    x = gc.input("x", (4, 2))
    total, _ = gc.scan(lambda carry, row: (carry + gc.exp(row), None), x[0], x)
    doubled = gc.checkpoint(lambda t: gc.sin(t) * 2.0)(total)
    found = {box.title: box for box in picture_of(gc.graph(doubled)).boxes}
    assert found["Scan"].lines == ("body: 2 operators",)
    assert "num_scan_inputs=1" in found["Scan"].tooltip
    (call,) = (box for box in found.values() if box.lines == ("body: 2 operators",) and box.title != "Scan")
    assert " at 0x" not in call.tooltip


def test_attributes_and_lines_are_in_the_tooltip() -> None:
    x = gc.input("x", ("batch", 1, 9, 9))
    box = picture_of(gc.graph(nn.Conv2d(2, 3, stride=2)(x))).boxes[1]
    assert box.tooltip.startswith("Conv(")
    assert "strides=(2, 2)" in box.tooltip
    assert "group" not in box.tooltip
    assert "test_drawing.py:" in box.tooltip


def test_unknown_sizes_are_question_marks_and_long_names_are_cut() -> None:
    picture = picture_of(gc.graph(gc.exp(gc.input("x" * 200, (None, 3)))))
    assert picture.boxes[0].lines == ("[?, 3]",)
    assert len(picture.boxes[0].title) == 48


# --- large graphs -------------------------------------------------------------------------------------------------


def test_large_graphs_are_drawn_layer_by_layer() -> None:
    small, large = gc.graph(mlp(10)), gc.graph(mlp(LIMIT))
    assert {box.kind for box in picture_of(small).boxes} == {"input", "operator", "output"}
    picture = picture_of(large)
    layers = [box for box in picture.boxes if box.kind == "layer"]
    assert len(picture.boxes) <= LIMIT + 10
    assert [box.title for box in layers if box.title == "mlp"] == ["mlp"]  # single layers are too many


def test_a_layer_is_one_box_with_its_operators_and_parameters() -> None:
    picture = picture_of(with_gradients(mlp()), by_layer=True)
    found = {box.title: box for box in picture.boxes if box.kind == "layer"}
    assert found["mlp.0"].lines == ("Gemm", "144 parameters")
    assert found["mlp.0 · backward"].backward
    assert found["mlp.1"].lines == ("Relu",)
    assert not picture.clusters


@pytest.mark.parametrize("lines", [1, 500])
def test_large_graphs_without_layers_are_cut_into_stretches(lines: int) -> None:
    y = gc.input("x", (3,))
    for k in range(2000):
        with origin.inherit(origin.Origin("model.py", k % lines)):
            y = gc.sin(y)
    picture = picture_of(gc.graph(y))
    assert LIMIT / 3 < len(picture.boxes) <= LIMIT + 10
    assert sum(int(box.title.split()[0]) for box in picture.boxes if box.kind == "layer") == 2000


def test_states_updated_by_one_layer_are_one_box() -> None:
    trainer = gc.Trainer(mlp(), optimizer=gc.optim.Adam())
    outputs = [box for box in picture_of(trainer.step.graph, by_layer=True).boxes if box.kind == "output"]
    together = [box for box in outputs if box.title.endswith("next states")]
    assert [box.title for box in together] == ["6 next states"] * 2
    assert all(len(box.lines) == 5 and box.lines[-1] == "…" for box in together)


def test_a_graph_of_twenty_thousand_nodes_is_drawn(engine: str) -> None:
    y = gc.input("x", (3,))
    for _ in range(20_000):
        y = gc.sin(y)
    assert len(texts(gc.draw(y, engine=engine).svg)) > LIMIT / 3


# --- documents ----------------------------------------------------------------------------------------------------


def twice() -> gc.Graph:
    layer = nn.Linear(3, 3, name="both")
    return gc.graph(layer(gc.exp(layer(gc.input("x", ("n", 3))))))


GRAPHS = {
    "forward": lambda: gc.graph(mlp()),
    "with gradients": lambda: with_gradients(mlp(2)),
    "a step by layer": lambda: gc.Trainer(mlp(3), optimizer=gc.optim.Adam()).step.graph,
    "nested layers": lambda: gc.graph(
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, norm_first=True), 2, name="e")(
            gc.input("x", ("t", "n", 8))
        )
    ),
    "an input alone": lambda: gc.graph(gc.input("x", (2,))),
    "two parts": lambda: gc.graph([gc.exp(gc.input("x", (2,))), gc.exp(gc.input("y", (2,)))]),
    "a module twice": twice,
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_box_arrow_and_cluster_is_in_the_document(name: str, engine: str) -> None:
    graph = GRAPHS[name]()
    picture = picture_of(graph)
    found = texts(gc.draw(graph, engine=engine).svg)
    expected = [line for box in picture.boxes for line in (box.title, *box.lines)]
    expected += [arrow.label for arrow in picture.arrows] + [c.title for c in picture.clusters.values()]
    assert sorted(found) == sorted(expected)


def test_forward_and_backward_have_two_colours(engine: str) -> None:
    forward = gc.draw(mlp(), engine=engine).svg
    both = gc.draw(with_gradients(mlp()), engine=engine).svg
    assert f'"{BACKWARD.fill}"' not in forward
    assert f'"{FORWARD.fill}"' in forward
    assert f'"{BACKWARD.fill}"' in both


HOSTILE = [
    '<script>alert("&")</script>',
    'a"b\\',
    "line\nbreak",
    "nul\x00 and \x1b[31m",
    "]]> --> %s {x} <B>",
    "日本語 ü",
    "\\N",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_escaped(name: str, engine: str) -> None:
    x = gc.input(name, ("batch", 3))
    with origin.scope(name):
        y = gc.exp(x * gc.parameter(name + ".w", (3,)))
    found = texts(gc.draw(gc.Graph([*gc.graph(y).inputs], {name + "!": y}, name=name), engine=engine).svg)
    shown = "".join(c if c.isprintable() else "�" for c in name)
    assert {shown, shown + "!"} <= set(found)


def test_boxes_of_the_layout_library_do_not_overlap() -> None:
    pytest.importorskip("grandalf")
    for make in GRAPHS.values():
        tree = ET.fromstring(gc.draw(make(), engine="grandalf").svg)
        groups = [g for g in tree.iter(f"{SVG}g") if g.get("class") not in ("arrow", "cluster")]
        places = [[float(g.find(f"{SVG}rect").get(a)) for a in ("x", "y", "width", "height")] for g in groups]
        size = float(tree.get("width")), float(tree.get("height"))
        for k, (x, y, w, h) in enumerate(places):
            assert x >= 0
            assert y >= 0
            assert x + w <= size[0] + 1
            assert y + h <= size[1] + 1
            for x2, y2, w2, h2 in places[:k]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_arrows_of_a_plain_net_point_down() -> None:
    pytest.importorskip("grandalf")
    svg = gc.draw(with_gradients(mlp(3)), engine="grandalf").svg
    paths = re.findall(r'<path d="M[-\d.]+ ([-\d.]+)C.*? ([-\d.]+)" fill="none"', svg)
    assert paths
    assert all(float(start) < float(end) for start, end in paths)


def test_a_drawing_is_the_same_each_time(engine: str) -> None:
    graph = with_gradients(mlp(3))
    first = gc.draw(graph, engine=engine).svg
    elsewhere = []
    for k in range(5):
        elsewhere.append([object() for _ in range(997 * k)])  # at other addresses
        assert gc.draw(graph, engine=engine).svg == first


def test_a_drawing_is_written_to_a_file(engine: str, tmp_path: pathlib.Path) -> None:
    drawing = gc.draw(mlp(), tmp_path / "mlp.svg", engine=engine)
    assert (tmp_path / "mlp.svg").read_text(encoding="utf-8") == drawing.svg == str(drawing)
    assert drawing.svg.startswith("<svg")
    with pytest.raises(gc.ExportError, match=r"draw: cannot write .*nowhere"):
        drawing.save(tmp_path / "nowhere" / "mlp.svg")


# --- notebooks, and engines that are not there --------------------------------------------------------------------


def test_notebooks_show_graphs_tensors_and_drawings(engine: str) -> None:
    loss = mlp()
    for shown in (loss, gc.graph(loss), gc.draw(loss, engine=engine)):
        bundle = shown._repr_mimebundle_()
        assert bundle["image/svg+xml"].startswith("<svg")
        assert bundle["text/plain"]
    assert gc.graph(loss)._repr_mimebundle_()["text/plain"] == str(gc.graph(loss))
    assert loss._repr_mimebundle_()["text/plain"] == repr(loss)


def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


def test_without_an_engine_notebooks_show_text(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = mlp()
    none_installed(monkeypatch)
    assert gc.graph(loss)._repr_mimebundle_() == {"text/plain": str(gc.graph(loss))}
    assert loss._repr_mimebundle_() == {"text/plain": repr(loss)}


def test_without_an_engine_draw_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = mlp()
    none_installed(monkeypatch)
    with pytest.raises(gc.UnavailableError, match=r"nothing to place the boxes with \[test_drawing.*graphc\[draw\]"):
        gc.draw(loss)
    for engine in ENGINES:
        with pytest.raises(gc.UnavailableError, match="is not installed"):
            gc.draw(loss, engine=engine)


def test_an_unknown_engine_is_an_error() -> None:
    with pytest.raises(gc.OperatorError, match="draw: the engine is 'neato'; expected one of dot, grandalf"):
        gc.draw(mlp(), engine="neato")


def test_a_failing_dot_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/dot")
    failed = subprocess.CompletedProcess([], 1, b"", b"Error: syntax error in line 1")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    with pytest.raises(gc.UnavailableError, match="draw: Graphviz failed: Error: syntax error in line 1"):
        gc.draw(mlp(), engine="dot")
