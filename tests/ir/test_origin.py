"""Source locations: the user's line, not ours; the layer; what a node derives from."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest

import graphc as gc
from graphc.errors import ShapeError
from graphc.ir import origin
from graphc.ir.origin import Origin


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_node_remembers_the_users_line() -> None:
    x, line = gc.input("x", (2, 3)), here()
    y, below = gc.softmax(x * 2.5 + 1.0), here()
    assert x.node.origin is not None
    assert (x.node.origin.filename, x.node.origin.lineno) == (__file__, line)
    for node in gc.graph(y).nodes:
        if not node.is_constant:  # a constant may be one that a rule holds
            assert node.origin is not None
            assert (node.origin.filename, node.origin.lineno) == (__file__, line if node is x.node else below)


def test_the_first_line_is_remembered() -> None:
    x = gc.input("x", (2,))
    first, line = gc.exp(x), here()
    second = gc.exp(x)
    assert second.node.origin == first.node.origin
    assert first.node.origin is not None
    assert first.node.origin.lineno == line


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x @ x,
        lambda x: x.reshape(4, 2),
        lambda x: x[5],
        lambda x: x.var(axis=7),
        lambda x: gc.op.MatMul(x, x),
        lambda x: gc.concat([x, gc.ones((3, 4))], axis=1),
        lambda x: list(x[0, 0]),
    ],
)
def test_errors_show_the_users_line_however_deep_in_graphc_they_arise(build: object) -> None:
    x = gc.input("x", (2, 3))
    line = build.__code__.co_firstlineno  # type: ignore[attr-defined]
    with pytest.raises(ShapeError, match=rf" \[test_origin.py:{line}\]"):
        build(x)  # type: ignore[operator]


def test_lines_of_generators_and_comprehensions_are_the_users() -> None:
    x = gc.input("x", (2,))

    def rows() -> Iterator[gc.Tensor]:
        yield gc.sin(x)

    line = here() - 2
    (t,) = rows()
    assert t.node.origin is not None
    assert t.node.origin.lineno == line


def test_scopes_nest_and_end() -> None:
    x = gc.input("x", (2,))
    with origin.scope("encoder"):
        a = gc.sin(x)
        with origin.scope("encoder.layer0"):
            b = gc.sin(a)
        c = gc.sin(b)
    d = gc.sin(c)
    assert [t.node.origin.scope for t in (a, b, c, d)] == ["encoder", "encoder.layer0", "encoder", ""]  # type: ignore[union-attr]


def test_a_scope_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError), origin.scope("layer"):
        raise RuntimeError
    current = origin.current()
    assert current is not None
    assert current.scope == ""


def test_derived_nodes_inherit_an_origin() -> None:
    x = gc.input("x", (2,))
    with origin.inherit(Origin("model.py", 7, "head"), "gradient of MatMul"):
        derived = gc.cos(x)
    with origin.inherit(derived.node.origin):
        again = gc.cos(derived)
    with origin.inherit(None, "nothing"):
        own, line = gc.cos(again), here()
    assert derived.node.origin == again.node.origin == Origin("model.py", 7, "head", "gradient of MatMul")
    assert own.node.origin == Origin(__file__, line)
    assert str(derived.node.origin) == "model.py:7"


def test_errors_of_derived_nodes_show_the_inherited_line() -> None:
    x = gc.input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"\[model.py:7\]"), origin.inherit(Origin("model.py", 7)):
        x @ x


def test_scopes_of_threads_are_their_own() -> None:
    found: list[str] = []

    def record() -> None:
        current = origin.current()
        found.append(current.scope if current else "")

    with origin.scope("main"):
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    assert found == [""]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/encoder/layers.0/attention/MatMul_1", "encoder.layers.0.attention"),
        ("/Relu", ""),
        ("node_17", ""),
        ("", ""),
    ],
)
def test_names_of_imported_nodes_tell_their_layer(name: str, layer: str) -> None:
    assert origin.Origin("model.onnx", 3, name, node=name).layer == layer
    assert origin.Origin("train.py", 3, "mlp.0", node=name).layer == "mlp.0"
