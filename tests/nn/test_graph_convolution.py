"""Graph convolutions against the formulas of the papers on dense adjacency matrices; and Zachary's karate club."""

import networkx
import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(8)
NODES, FEATURES = 7, 3
PAIRS = np.array([[0, 1, 1, 2, 4, 5, 5, 0, 3], [1, 0, 2, 1, 0, 0, 4, 5, 5]])  # node 6 is alone
LOOPED = np.concatenate([PAIRS, [[2, 5], [2, 5]]], 1)
NO_EDGES = np.zeros((2, 0), np.int64)
EDGES = {"without loops": PAIRS, "with loops": LOOPED, "without edges": NO_EDGES}


def symbols(dtype: str = "float64") -> tuple[gc.Tensor, gc.Tensor]:
    return gc.input("x", ("nodes", FEATURES), dtype), gc.input("edges", (2, "edges"), "int64")


def evaluate(layer: nn.Module, edges: np.ndarray, *extra: gc.Tensor, **feeds: np.ndarray):
    """The layer's output in float64, its input and its state."""
    x = RNG.normal(size=(NODES, FEATURES))
    output = layer(*symbols(), *extra)
    state = {n: RNG.normal(size=t.shape) for n, t in layer.named_parameters()}
    found = gc.evaluate(output, {"x": x, "edges": edges} | feeds, state=state, runtime="reference")
    assert found.shape == (NODES, output.shape[1])
    return found, x, state


def adjacency(edges: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Row i, column j: the weight of the edge j -> i."""
    dense = np.zeros((NODES, NODES))
    np.add.at(dense, (edges[1], edges[0]), 1.0 if weight is None else weight)
    return dense


# --- GCN ----------------------------------------------------------------------------------------------------------


def normalized(a: np.ndarray) -> np.ndarray:
    degrees = a.sum(1)
    scale = np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    return scale[:, None] * a * scale


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
def test_gcn_is_the_normalized_adjacency_with_loops(edges: np.ndarray, improved: bool, weighted: bool) -> None:
    layer = nn.GCNConv(4, improved=improved, dtype="float64")
    weight = RNG.uniform(0.5, 2, edges.shape[1])
    given = (gc.input("w", ("edges",), "float64"),) if weighted else ()
    found, x, state = evaluate(layer, edges, *given, **({"w": weight} if weighted else {}))
    a = adjacency(edges, weight if weighted else None)
    a += np.diag(np.where(np.diag(a) > 0, 0, 2.0 if improved else 1.0))
    expected = normalized(a) @ x @ state["lin.weight"].T + state["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("normalize", [False, True])
def test_gcn_without_added_loops(edges: np.ndarray, normalize: bool) -> None:
    layer = nn.GCNConv(FEATURES, 4, normalize=normalize, add_self_loops=False, bias=False, dtype="float64")
    found, x, state = evaluate(layer, edges)
    a = adjacency(edges)
    expected = (normalized(a) if normalize else a) @ x @ state["lin.weight"].T
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# --- GAT ----------------------------------------------------------------------------------------------------------


def attended(x: np.ndarray, edges: np.ndarray, state: dict, heads: int, loops: bool) -> np.ndarray:
    """(nodes, heads, features), with one softmax after the other."""
    h = (x @ state["lin.weight"].T).reshape(NODES, heads, -1)
    a = adjacency(edges) > 0
    if loops:
        a |= np.eye(NODES, dtype=bool)
    scores = (h * state["att_dst"]).sum(2)[:, None] + (h * state["att_src"]).sum(2)[None]  # target, source, head
    scores = np.where(scores > 0, scores, 0.25 * scores)
    result = np.zeros_like(h)
    for i in range(NODES):
        for head in range(heads):
            e = np.exp(scores[i, a[i], head])
            result[i, head] = (e / e.sum()) @ h[a[i], head]
    return result


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
def test_gat_is_a_softmax_over_the_neighbours_of_each_node(edges: np.ndarray, loops: bool, concat: bool) -> None:
    layer = nn.GATConv(4, heads=2, concat=concat, negative_slope=0.25, add_self_loops=loops, dtype="float64")
    found, x, state = evaluate(layer, edges)
    expected = attended(x, edges, state, 2, loops)
    expected = (expected.reshape(NODES, -1) if concat else expected.mean(1)) + state["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_attention_to_huge_scores_is_finite() -> None:
    layer = nn.GATConv(2, bias=False)
    x, edges = symbols("float32")
    output = layer(x, edges)
    state = {n: np.full(t.shape, 30, "f") for n, t in layer.named_parameters()}
    feeds = {"x": 100 * RNG.normal(size=(NODES, FEATURES)).astype("f"), "edges": LOOPED}
    found = gc.evaluate([output, *gc.grad(output.sum(), [x, *layer.parameters()])], feeds, state=state)
    assert all(np.isfinite(a).all() for a in found)


def test_dropout_of_attention_weights_is_in_the_training_form_only() -> None:
    x, edges = symbols("float32")
    graph = gc.graph(nn.GATConv(4, dropout=0.6)(x, edges))
    assert graph.count("Dropout") == 2  # for edges and for loops
    assert gc.to_inference(graph).count("Dropout") == 0


# --- GIN ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
def test_gin_is_a_net_of_sums(edges: np.ndarray, trained: bool) -> None:
    net = nn.Sequential(nn.Linear(5, dtype="float64"), nn.Tanh())
    layer = nn.GINConv(net, eps=0.3, train_eps=trained, dtype="float64")
    found, x, state = evaluate(layer, edges)
    summed = (1 + state["eps"]) * x + adjacency(edges) @ x
    expected = np.tanh(summed @ state["nn.0.weight"].T + state["nn.0.bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert layer.eps.node.attrs["trainable"] is trained
    assert nn.init.initialize([layer.eps])["eps"].tolist() == [0.3]


# --- all ----------------------------------------------------------------------------------------------------------

LAYERS = {
    "gcn": lambda **o: nn.GCNConv(4, **o),
    "gat": lambda **o: nn.GATConv(4, heads=2, **o),
    "gin": lambda **o: nn.GINConv(nn.Linear(4, **o), train_eps=True, **o),
}


@pytest.mark.parametrize("edges", [PAIRS, LOOPED, NO_EDGES], ids=["pairs", "looped", "none"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_finite_differences(name: str, edges: np.ndarray) -> None:
    layer = LAYERS[name](dtype="float64")
    x, edge_index = symbols()
    output = layer(x, edge_index)
    feeds = {"x": RNG.normal(size=(NODES, FEATURES)), "edges": edges}
    gc.testing.check_grads(output, [x, *layer.parameters()], feeds=feeds)


@pytest.mark.parametrize("name", LAYERS)
def test_the_result_does_not_depend_on_the_order_of_nodes_and_edges(name: str) -> None:
    layer = LAYERS[name]()
    x, edge_index = symbols("float32")
    output = layer(x, edge_index)
    state = nn.init.initialize(layer.parameters())
    data = RNG.normal(size=(NODES, FEATURES)).astype("f")
    expected = gc.evaluate(output, {"x": data, "edges": PAIRS}, state=state)
    place = RNG.permutation(NODES)  # node k moves to place[k]
    moved = np.empty_like(data)
    moved[place] = data
    shuffled = place[PAIRS][:, RNG.permutation(PAIRS.shape[1])]
    found = gc.evaluate(output, {"x": moved, "edges": shuffled}, state=state)
    np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_exported_for_any_number_of_nodes_and_edges(name: str, tmp_path) -> None:
    x, edge_index = symbols("float32")
    output = LAYERS[name]()(x, edge_index)
    state = nn.init.initialize(gc.graph(output))
    gc.export(output, tmp_path / "layer.onnx", state)  # which verifies it
    session = onnxruntime.InferenceSession(tmp_path / "layer.onnx")
    for edges in EDGES.values():
        given = {"x": RNG.normal(size=(NODES, FEATURES)).astype("f"), "edges": edges}
        (found,) = session.run(None, given)
        np.testing.assert_allclose(found, gc.evaluate(output, given, state=state), rtol=1e-5, atol=1e-6)


def test_names_and_shapes_are_those_of_pytorch_geometric() -> None:
    x, edges = symbols("float32")
    found = {}
    for name, make in LAYERS.items():
        layer = make()
        layer(x, edges)
        found[name] = {n: t.shape for n, t in layer.named_parameters()}
    assert found == {
        "gcn": {"bias": (4,), "lin.weight": (4, 3)},
        "gat": {"att_src": (1, 2, 4), "att_dst": (1, 2, 4), "bias": (8,), "lin.weight": (8, 3)},
        "gin": {"eps": (1,), "nn.weight": (4, 3), "nn.bias": (4,)},
    }


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda x, e: nn.GCNConv(4)(x, e),
            gc.DTypeError,
            "GCNConv: the input is float64[nodes, 3]; expected float32",
        ),
        (
            lambda x, e: nn.GATConv(4, dtype="float64")(x, gc.input("e", (3, "edges"), "int64")),
            gc.ShapeError,
            "GATConv: edge_index is int64[3, edges]; expected (2, edges), sources over targets",
        ),
        (
            lambda x, e: nn.GINConv(nn.Linear(4, dtype="float64"), dtype="float64")(x, e.cast("float32")),
            gc.DTypeError,
            "GINConv: edge_index is float32[2, edges]; expected int64",
        ),
        (
            lambda x, e: nn.GCNConv(4, dtype="float64")(x[0], e),
            gc.ShapeError,
            "GCNConv: the input is float64[3]; expected (nodes, features)",
        ),
        (
            lambda x, e: nn.GCNConv(4, dtype="float64")(x, e, gc.input("w", (4, 1), "float64")),
            gc.ShapeError,
            "GCNConv: edge_weight is float64[4, 1]; expected one weight for each of edges edges",
        ),
        (
            lambda x, e: nn.GCNConv(4, normalize=False, add_self_loops=True),
            gc.OperatorError,
            "GCNConv: add_self_loops=True without normalize; expected both or neither",
        ),
        (
            lambda x, e: nn.GATConv(4, heads=0),
            gc.OperatorError,
            "GATConv: heads=0, dropout=0.0; expected at least one head, and a rate below 1",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(make, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        make(*symbols())
    assert str(error.value).startswith(message + " [test_graph_convolution.py:")


# --- Zachary's karate club ----------------------------------------------------------------------------------------


def karate_club() -> tuple[np.ndarray, np.ndarray]:
    """The edges, in both directions, and the side that each of 34 members took (Zachary 1977)."""
    club = networkx.karate_club_graph()
    edges = np.array(club.edges).T
    sides = np.array([club.nodes[k]["club"] == "Officer" for k in club], np.int64)
    return np.concatenate([edges, edges[::-1]], 1), sides


def test_gcn_tells_the_sides_of_the_karate_club_from_two_members_of_each() -> None:
    edges, sides = karate_club()
    known = np.array([0, 1, 32, 33])  # the instructor and the president, and the closest member of each
    node = gc.input("node", ("batch",), "int64")
    side = gc.input("side", ("batch",), "int64")
    accuracies = []
    for seed in range(5):
        first, second = nn.GCNConv(16, name="first"), nn.GCNConv(2, name="second")
        everyone = np.eye(34, dtype=np.float32)
        logits = gc.take(second(nn.relu(first(everyone, edges)), edges), node)
        trainer = gc.Trainer(
            nn.cross_entropy(logits, side),
            optimizer=gc.optim.Adam(0.01),
            metrics={"accuracy": gc.metrics.accuracy(logits, side)},
            seed=seed,
        )
        trainer.fit({"node": known, "side": sides[known]}, batch_size=4, epochs=100)
        others = np.setdiff1d(np.arange(34), known)
        accuracies.append(trainer.evaluate({"node": others, "side": sides[others]})["accuracy"])
    assert np.mean(accuracies) >= 0.95, accuracies
