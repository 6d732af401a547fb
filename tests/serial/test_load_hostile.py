"""Damaged and hostile models: a clear ModelImportError, or a graph; never a crash, a hang or another exception."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from load_samples import FLOAT, SAMPLES, functions, info, mlp, model, parsed, values, weights
from onnx import TensorProto, helper

import graphc as gc

node = helper.make_node

# --- mutations ----------------------------------------------------------------------------------------------------


def flipped(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwritten(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def truncated(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def cut(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 8)]


def repeated(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randint(1, 30)]


BYTES = (flipped, flipped, flipped, overwritten, truncated, cut, repeated)


def messages(message: object, found: list[object]) -> list[object]:
    """A protobuf message and all inside of it."""
    found.append(message)
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.message_type is not None:
            for inner in value if not hasattr(value, "ListFields") else [value]:
                messages(inner, found)
    return found


INTEGERS = (0, 1, -1, 2, 3, 7, 2**31 - 1, -(2**31), 2**62, -(2**63))
TEXTS = ("", "x", "y", "w", "Conv", "Loop", "If", "ai.onnx.ml", "com.acme", "axis", "a" * 300)


def other_value(value: object, rng: random.Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(INTEGERS)
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    if isinstance(value, str):
        return rng.choice(TEXTS)
    return value[: rng.randrange(len(value) + 1)] if isinstance(value, bytes) else value


def restructured(made: onnx.ModelProto, rng: random.Random) -> None:
    """Change one field of one message: another number or text, an element dropped, repeated, or moved."""
    message = rng.choice([m for m in messages(made, []) if m.ListFields()])  # type: ignore[attr-defined]
    field, value = rng.choice(message.ListFields())  # type: ignore[attr-defined]
    if not hasattr(value, "append") or not len(value):
        if field.message_type is not None or rng.random() < 0.3:
            message.ClearField(field.name)  # type: ignore[attr-defined]
        else:
            assign(lambda v: setattr(message, field.name, v), other_value(value, rng))
        return
    position = rng.randrange(len(value))
    kind = rng.randrange(4)
    if kind == 0:
        del value[position]
    elif kind == 1:
        value.append(value[rng.randrange(len(value))])
    elif kind == 2 and field.message_type is None:
        assign(lambda v: value.__setitem__(position, v), other_value(value[position], rng))
    else:
        element = value[rng.randrange(len(value))]
        del value[position]
        value.insert(rng.randrange(len(value) + 1), element)


def assign(put: Callable[[object], object], value: object) -> None:
    """Put a number in a field, a small one where the field holds none as large."""
    try:
        put(value)
    except (ValueError, TypeError, OverflowError):
        put(type(value)(1))  # type: ignore[call-arg]


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged models: by turns bytes of the file, and fields of the model."""
    contents = {name: make().SerializeToString() for name, make in SAMPLES.items()}
    names = sorted(contents)
    for number in range(count):
        rng = random.Random(seed * 1_000_000 + number)
        name = rng.choice(names)
        if number % 2:
            data = bytearray(contents[name])
            rng.choice(BYTES)(data, rng)
            yield f"{name}, bytes of {number}", bytes(data)
        else:
            made = onnx.ModelProto.FromString(contents[name])
            for _ in range(rng.randint(1, 3)):
                restructured(made, rng)
            yield f"{name}, fields of {number}", made.SerializeToString()


@pytest.mark.parametrize(
    ("count", "seed"), [(300, 1), pytest.param(10_000, 2, marks=[pytest.mark.nightly, pytest.mark.timeout(0)])]
)
def test_damaged_models_are_refused_or_read_and_nothing_else_happens(count: int, seed: int) -> None:
    read = refused = 0
    for what, content in mutants(count, seed):
        start = time.monotonic()
        try:
            assert isinstance(gc.load(content).graph, gc.Graph)
            read += 1
        except gc.ModelImportError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        assert time.monotonic() - start < 20, what
    assert read > count // 20
    assert refused > count // 4


# --- wiring -------------------------------------------------------------------------------------------------------


def chain(*edges: tuple[str, str, str]) -> onnx.ModelProto:
    """A model of nodes (operator, input, output)."""
    nodes = [node(op, [source], [result]) for op, source, result in edges]
    return model(nodes, [info("x", 2)], [info("y", 2)], [])


def repeated_input() -> onnx.ModelProto:
    made = mlp()
    made.graph.input.append(made.graph.input[0])
    return made


def repeated_output() -> onnx.ModelProto:
    made = mlp()
    made.graph.output.append(made.graph.output[0])
    return made


def repeated_initializer() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer.append(made.graph.initializer[0])
    return made


def nameless_input() -> onnx.ModelProto:
    made = mlp()
    made.graph.input[0].name = ""
    return made


def calling(*calls: tuple[str, str]) -> onnx.ModelProto:
    """Functions that call one another."""
    made = functions()
    del made.functions[:]
    for name, called in calls:
        body = [node(called, ["a"], ["b"], domain="local")]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
        made.functions.append(helper.make_function("local", name, ["a"], ["b"], body, opsets))
    made.graph.node[0].op_type = calls[0][0]
    return made


def exponential() -> onnx.ModelProto:
    """Forty functions, each of which calls the next one twice."""
    made = functions()
    del made.functions[:]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    for level in range(40):
        domain, op = ("", "Neg") if level == 39 else ("local", f"f{level + 1}")
        body = [node(op, ["a"], ["h"], domain=domain), node(op, ["h"], ["b"], domain=domain)]
        made.functions.append(helper.make_function("local", f"f{level}", ["a"], ["b"], body, opsets))
    made.graph.node[0].op_type = "f0"
    return made


def deep_functions() -> onnx.ModelProto:
    return calling(*[(f"f{i}", f"f{i + 1}") for i in range(500)], ("f500", "f501"))


def nested(depth: int) -> onnx.ModelProto:
    """An If in an If in an If, `depth` of them."""
    inner = helper.make_graph([node("Neg", ["x"], ["deepest"])], "g", [], [info("deepest", 2)])
    for level in range(depth):
        choice = node("If", ["c"], [f"o{level}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([choice], "g", [], [info(f"o{level}", 2)])
    inner.input.extend([info("c", dtype=TensorProto.BOOL), info("x", 2)])
    return helper.make_model(inner, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def narrow(depth: int) -> onnx.ModelProto:
    """A chain of bodies nested as deep as memory has room for, built from the outside in."""
    made = model([node("Neg", ["x"], ["y"])], [info("x", 2)], [info("y", 2)], [])
    graph = made.graph
    for _ in range(depth):
        inner = graph.node[0]
        inner.op_type = "If"
        a = inner.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        a.g.node.add(op_type="Neg", input=["x"], output=["y"])
        graph = a.g
    return made


def sized(data_type: int, dims: list[int], raw: bytes = b"") -> onnx.ModelProto:
    """A model that adds an initializer of these claims to x."""
    claimed = TensorProto(name="w", data_type=data_type, dims=dims, raw_data=raw)
    return model([node("Add", ["x", "w"], ["y"])], [info("x", 2)], [info("y", 2)], [claimed])


def sparse(dims: list[int], indices: list[int], shape: list[int]) -> onnx.ModelProto:
    made = model([node("Identity", ["w"], ["y"])], [], [info("y")], [])
    held = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("i", TensorProto.INT64, shape, indices)
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(held, places, dims))
    return made


def undecodable() -> onnx.ModelProto:
    """A model whose operators' names are no UTF-8."""
    content = mlp().SerializeToString().replace(b"Relu", b"R\xff\xfeu")
    return onnx.ModelProto.FromString(content)


def dimension(value: int) -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"])], [info("x", value, 2)], [info("y", value, 2)], [])


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a cycle": (
        lambda: chain(("Neg", "b", "a"), ("Neg", "a", "b"), ("Neg", "b", "y")),
        "the value '[ab]' is computed from itself",
    ),
    "a node that reads itself": (lambda: chain(("Neg", "y", "y")), "the value 'y' is computed from itself"),
    "a value computed twice": (lambda: chain(("Neg", "x", "y"), ("Abs", "x", "y")), "the value 'y' is defined twice"),
    "a node that computes an input": (lambda: chain(("Neg", "x", "x")), "the value 'x' is defined twice"),
    "an input twice": (repeated_input, "the value 'x' is defined twice"),
    "an output twice": (repeated_output, "the output 'logits' is listed twice"),
    "an initializer twice": (repeated_initializer, "the initializer 'fc1.weight' is defined twice"),
    "an input without a name": (nameless_input, "an input without a name"),
    "an output that nothing computes": (lambda: chain(("Neg", "x", "h")), "the value 'y' is read but not computed"),
    "a function that calls itself": (lambda: calling(("f", "f")), "the function 'f' calls itself: f -> f"),
    "functions in a ring": (lambda: calling(("f", "g"), ("g", "h"), ("h", "f")), "calls itself: f -> g -> h -> f"),
    "functions of one name": (lambda: calling(("f", "z"), ("f", "z")), "two functions of the model bear one name"),
    "functions that double": (exponential, "expand to more than 20,000,000 nodes"),
    "functions many levels deep": (deep_functions, "calls others more than 64 deep"),
    "bodies nested too deep": (lambda: narrow(3000), "graphs are nested more than 64 deep"),
    "text that is no text": (undecodable, r"a node is b'R\\xff\\xfeu', which is no UTF-8 text"),
    "a negative size": (lambda: sized(FLOAT, [-1, 4]), r"has the shape \(-1, 4\); expected no negative size"),
    "sizes that overflow": (lambda: sized(FLOAT, [2**62, 2**62]), "beyond what memory can hold"),
    "sizes that overflow though there is nothing": (lambda: sized(FLOAT, [0, 2**62]), "beyond what memory can"),
    "more data than its shape": (lambda: sized(FLOAT, [1], bytes(8)), "has 8 bytes; expected 4"),
    "less data than its shape": (lambda: sized(FLOAT, [2**33], bytes(8)), "has 8 bytes; expected 34359738368"),
    "an unknown element type": (lambda: sized(77, [1], bytes(4)), "element type 77 are not supported"),
    "sparse and too large": (lambda: sparse([2**20, 2**20], [0, 1], [2]), "more than 2 GiB in dense form"),
    "sparse and overflowing": (lambda: sparse([0, 2**62], [0, 1], [2]), "beyond what memory can hold"),
    "sparse and out of range": (lambda: sparse([3, 3], [0, 9], [2]), "that do not all lie inside"),
    "sparse at negative places": (lambda: sparse([3, 3], [0, 0, -1, 2], [2, 2]), "that do not all lie inside"),
    "sparse with other indices": (lambda: sparse([3, 3], [0, 1, 2], [3]), "that do not all lie inside"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_are_refused_with_the_reason(name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(gc.ModelImportError, match=message):
        gc.load(make())


def test_sizes_beyond_any_memory_are_types_like_others() -> None:
    loaded = gc.load(dimension(2**62))
    assert loaded.inputs["x"].shape == (2**62, 2)
    assert str(gc.load(dimension(-5)).inputs["x"].type).startswith("float32[unknown")


def test_bodies_nested_as_deep_as_files_allow_are_read() -> None:
    loaded = gc.load(onnx.ModelProto.FromString(nested(8).SerializeToString()))
    (y,) = gc.evaluate(
        list(loaded.outputs.values()), {"c": np.array(True), "x": np.array([1, 2], np.float32)}, runtime="reference"
    )
    np.testing.assert_array_equal(y, [-1, -2])


def test_files_nested_deeper_than_protobuf_reads_are_refused() -> None:
    with pytest.raises(gc.ModelImportError, match="is no ONNX model, or a damaged one"):
        gc.load(narrow(40).SerializeToString())


def test_a_value_of_a_body_may_bear_the_name_of_one_outside() -> None:
    loaded = gc.load(
        parsed(
            "g (bool c, float[2] x) => (float[2] y) { h = Neg(x) y = If(c) <then_branch: graph = t () => (float[2] h) "
            "{ h = Abs(x) }, else_branch: graph = e () => (float[2] b) { b = Neg(h) }> }"
        )
    )
    given = {"x": np.array([-1, 2], np.float32)}
    for c, expected in ((True, [1, 2]), (False, [-1, 2])):
        np.testing.assert_array_equal(gc.evaluate([loaded.outputs["y"]], {**given, "c": np.array(c)})[0], expected)


def test_names_with_any_characters_survive_a_round_trip() -> None:
    made = mlp()
    strange = "a/b.c:0 é\n\"'\\ {x} %s"
    for t in made.graph.initializer:
        if t.name == "fc1.weight":
            t.name = strange
    made.graph.node[0].input[1] = strange
    loaded = gc.load(made)
    assert strange in loaded.parameters
    from graphc.serial.export import to_model

    assert strange in gc.load(to_model(loaded.graph, state=loaded.state)).state


def test_nodes_in_any_order_are_read_as_onnxruntime_reads_them() -> None:
    loaded = gc.load(chain(("Neg", "h", "y"), ("Exp", "x", "h")))
    (y,) = gc.evaluate([loaded.outputs["y"]], {"x": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(y, [-1, -1])
    first = mlp()
    reversed_nodes = list(reversed(first.graph.node))
    del first.graph.node[:]
    first.graph.node.extend(reversed_nodes)
    assert gc.load(first).graph.structurally_equal(gc.load(mlp()).graph)


def test_what_a_body_reads_is_computed_before_its_node_in_any_order() -> None:
    made = SAMPLES["branching"]()
    neg, choice = made.graph.node
    nodes = [choice, neg]
    made.graph.ClearField("node")
    made.graph.node.extend(nodes)
    assert gc.load(made).graph.structurally_equal(gc.load(SAMPLES["branching"]()).graph)


# --- size ---------------------------------------------------------------------------------------------------------


def long_chain(length: int) -> bytes:
    made = model([], [info("t0", "n")], [info(f"t{length}", "n")], [weights("w", 8), values("unused", np.zeros(2))])
    for i in range(length):
        if i % 2:
            made.graph.node.add(op_type="Add", input=[f"t{i}", f"t{i - 1}"], output=[f"t{i + 1}"])
        else:
            made.graph.node.add(op_type="Sin", input=[f"t{i}"], output=[f"t{i + 1}"])
    return made.SerializeToString()


@pytest.mark.parametrize(
    "length", [100_000, pytest.param(1_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(0)])]
)
def test_long_graphs_are_read_in_linear_time(length: int) -> None:
    short = seconds(long_chain(length // 20))
    assert seconds(long_chain(length)) < 60 * short
    assert sys.getrecursionlimit() <= 10_000


def seconds(content: bytes) -> float:
    start = time.process_time()
    gc.load(content)
    return time.process_time() - start
