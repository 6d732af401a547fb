"""Modules: names, shared weights, registration, errors, and memory."""

import copy
import gc as garbage
import threading

import pytest

import graphc as gc
from graphc import nn
from graphc.ir.node import live_nodes


def image() -> gc.Tensor:
    return gc.input("x", ("batch", 8))


def names(output: gc.Tensor) -> list[str]:
    return list(gc.graph(output).parameters)


class Block(nn.Module):
    """Attributes are assigned out of the order in which they are used."""

    def __init__(self, width: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.second = nn.Linear(width)
        self.first = nn.Linear(width)

    def forward(self, x):
        return self.second(nn.relu(self.first(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        self.body = nn.Sequential(Block(4), nn.ReLU(), Block(4))
        self.head = nn.Linear(2)
        self.scale = self.parameter("scale", (2,), nn.init.Ones())

    def forward(self, x):
        return self.head(self.body(x)) * self.scale


# --- names --------------------------------------------------------------------------------------------------------


def test_parameters_are_listed_in_the_order_of_registration_parents_first() -> None:
    net = Net()
    net(image())
    assert net.state_names() == [
        "scale",
        *(f"body.{i}.{layer}.{p}" for i in (0, 2) for layer in ("second", "first") for p in ("weight", "bias")),
        "head.weight",
        "head.bias",
    ]


def test_listed_names_are_those_of_the_graph() -> None:
    net = Net()
    graph = gc.graph(net(image()))
    assert dict(net.named_parameters()) == graph.parameters
    assert list(net.parameters()) == [t for _, t in net.named_parameters()]


def test_a_name_prefixes_an_outermost_module() -> None:
    assert names(nn.Sequential(nn.Linear(3), nn.ReLU(), nn.Linear(2), name="mlp")(image())) == [
        "mlp.0.weight",
        "mlp.0.bias",
        "mlp.2.weight",
        "mlp.2.bias",
    ]


def test_a_name_replaces_an_inner_modules_part_of_the_path() -> None:
    net = nn.Sequential(nn.Linear(3), nn.Linear(2, name="head"), name="mlp")
    net(image())
    assert net.state_names() == ["mlp.0.weight", "mlp.0.bias", "mlp.head.weight", "mlp.head.bias"]
    assert [path for path, _ in net.named_modules()] == ["", "0", "head"]


def test_unnamed_outermost_modules_are_numbered_after_the_first() -> None:
    x = image()
    y = nn.Linear(1)(nn.relu(nn.Linear(4)(nn.relu(nn.Linear(4)(x)))))
    assert names(y) == ["weight", "bias", "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"]
    assert names(Block(3)(nn.Linear(2)(x)))[2:] == [
        f"block_1.{layer}.{p}" for layer in ("first", "second") for p in ("weight", "bias")
    ]


def test_numbering_skips_names_that_are_taken() -> None:
    h = nn.Linear(4, name="linear_1")(nn.Linear(4)(image()))
    assert names(nn.Linear(1)(h))[-2:] == ["linear_2.weight", "linear_2.bias"]
    h = nn.Linear(4, name="linear_10")(nn.Linear(4)(image()))
    assert names(nn.Linear(1)(h))[-2:] == ["linear_1.weight", "linear_1.bias"]


def test_a_name_replaces_a_position_in_a_list() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            self.layers = [nn.Linear(3, name="first"), nn.Linear(2)]

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    assert names(Stack()(image())) == ["first.weight", "first.bias", "layers.1.weight", "layers.1.bias"]


def test_numbering_sees_tensors_in_collections_and_keywords() -> None:
    class Sum(nn.Module):
        def forward(self, xs, extra):
            return (xs["a"][0] + extra) * self.parameter("gain", ())

    h = nn.Linear(4)(image())
    assert "sum_1.gain" in names(Sum()({"a": [h]}, gc.ones((4,))))
    assert "sum_1.gain" in names(Sum()({"a": [gc.ones((4,))]}, extra=h))


def test_two_unnamed_models_in_one_graph_are_told_to_take_names() -> None:
    x = image()
    with pytest.raises(gc.GraphError, match="two different parameters are named 'weight'"):
        gc.graph(nn.Linear(1)(x) + nn.Linear(1)(x))


def test_the_first_path_of_a_shared_module_wins() -> None:
    shared = nn.Linear(8)
    net = nn.Sequential(shared, nn.ReLU(), shared, name="net")
    assert names(net(image())) == ["net.0.weight", "net.0.bias"]
    assert net.state_names() == ["net.0.weight", "net.0.bias"]


def test_a_module_called_before_its_parent_keeps_its_first_name() -> None:
    net = nn.Sequential(nn.Linear(8), nn.Linear(8))
    net[0](image())
    net(image())
    assert net.state_names() == ["weight", "bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("hold", [list, tuple, lambda ms: {str(i): m for i, m in enumerate(ms)}])
def test_modules_in_collections_are_registered(hold) -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            self.layers = hold([nn.Linear(3), nn.Linear(2)])

        def forward(self, x):
            for layer in self.layers.values() if isinstance(self.layers, dict) else self.layers:
                x = layer(x)
            return x

    assert names(Stack()(image())) == [f"layers.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")]


def test_a_submodule_made_during_forward_is_registered() -> None:
    class Late(nn.Module):
        def forward(self, x):
            if not hasattr(self, "fc"):
                self.fc = nn.Linear(8, 3)
            return self.fc(x)

    net = Late()
    assert names(net(image())) == ["fc.weight", "fc.bias"]
    assert names(net(image())) == ["fc.weight", "fc.bias"]


def test_a_submodule_added_after_the_first_call_is_named_at_the_next() -> None:
    net = nn.Sequential(nn.Linear(4), name="net")
    net(image())
    setattr(net, "1", nn.Linear(2))
    net(image())
    assert net.state_names() == ["net.0.weight", "net.0.bias", "net.1.weight", "net.1.bias"]


def test_nodes_know_the_layer_they_belong_to() -> None:
    graph = gc.graph(Net()(image()))
    scopes = {node.origin.scope for node in graph.find("Gemm")}
    assert scopes == {"body.0.first", "body.0.second", "body.2.first", "body.2.second", "head"}
    assert [node.origin.scope for node in graph.find("Mul")] == [""]


def test_named_modules_lists_each_module_once_parents_first() -> None:
    net = Net()
    assert [path for path, _ in net.named_modules()] == [
        "",
        "body",
        "body.0",
        "body.0.second",
        "body.0.first",
        "body.1",
        "body.2",
        "body.2.second",
        "body.2.first",
        "head",
    ]
    assert list(net.children()) == [net.body, net.head]


def test_threads_do_not_see_each_others_calls() -> None:
    inside, done = threading.Event(), threading.Event()

    class Slow(nn.Module):
        def forward(self, x):
            inside.set()
            assert done.wait(10)
            return x

    thread = threading.Thread(target=lambda: Slow()(image()))
    thread.start()
    assert inside.wait(10)
    try:
        assert names(nn.Linear(2)(image())) == ["weight", "bias"]
    finally:
        done.set()
        thread.join()


# --- parameters ---------------------------------------------------------------------------------------------------


def test_calls_share_parameters() -> None:
    layer = nn.Linear(8)
    x = image()
    assert layer(x) == layer(x)
    twice = gc.graph(layer(layer(x)))
    assert list(twice.parameters) == ["weight", "bias"]
    assert twice.parameters["weight"] == layer.weight


def test_parameters_of_known_size_exist_before_the_first_call_and_are_named_at_it() -> None:
    net = nn.Sequential(nn.Linear(8, 4), nn.PReLU(), name="net")
    before = list(net.parameters())
    assert net.state_names() == ["net.0.weight", "net.0.bias", "net.1.weight"]
    assert names(net(image())) == net.state_names()
    assert list(net.parameters()) == before


def test_parameters_can_be_tied() -> None:
    encoder = nn.Linear(8, 8, bias=False, name="tied")
    decoder = nn.Linear(8, bias=False)
    decoder.weight = encoder.weight
    net = nn.Sequential(encoder, decoder)
    graph = gc.graph(net(image()))
    assert list(graph.parameters) == net.state_names() == ["tied.weight"]


def test_an_assigned_parameter_keeps_its_name() -> None:
    class Affine(nn.Module):
        def __init__(self) -> None:
            self.w = gc.parameter("my.w", (8, 1), nn.init.Normal())

        def forward(self, x):
            return x @ self.w

    net = Affine()
    assert names(net(image())) == net.state_names() == ["my.w"]


def test_a_computed_tensor_may_stand_for_a_parameter() -> None:
    v, g = gc.parameter("v", (2, 8), nn.init.Normal()), gc.parameter("g", (2, 1), nn.init.Ones())
    layer = nn.Linear(2)
    layer.weight = g * v / gc.norm(v, axis=1, keepdims=True)  # weight normalization
    assert names(layer(image())) == ["g", "v", "bias"]


def test_state_that_is_not_trainable_is_listed_and_marked() -> None:
    class Counter(nn.Module):
        def forward(self, x):
            return x + self.parameter("count", (), 3, trainable=False)

    net = Counter()
    graph = gc.graph(net(image()))
    assert net.state_names() == ["count"]
    assert graph.trainable == {}


def test_copies_are_independent_and_named_where_they_are_used() -> None:
    block = Block(8)
    block(image())
    net = nn.Sequential(*[copy.deepcopy(block) for _ in range(2)], nn.Linear(8, 8))
    copied = copy.deepcopy(net)
    for model in (net, copied):
        model(image())
        assert model.state_names() == [
            *(f"{i}.{layer}.{p}" for i in (0, 1) for layer in ("second", "first") for p in ("weight", "bias")),
            "2.weight",
            "2.bias",
        ]
    everything = [*block.parameters(), *net.parameters(), *copied.parameters()]
    assert len(set(everything)) == len(everything) == 4 + 10 + 10
    assert block.first.weight.node.attrs == net[0].first.weight.node.attrs


def test_a_copied_option_is_the_same_tensor() -> None:
    weight, x, y = gc.input("w", (8,)), image(), gc.input("y", ("batch",), "int64")
    loss = nn.CrossEntropyLoss(weight)
    assert copy.deepcopy(loss)(x, y) == loss(x, y)


def test_tied_parameters_stay_tied_in_a_copy() -> None:
    net = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, bias=False))
    net[1].weight = net[0].weight
    copied = copy.deepcopy(net)
    assert names(copied(image())) == copied.state_names() == ["0.weight"]
    assert copied[0].weight != net[0].weight


# --- errors -------------------------------------------------------------------------------------------------------


def test_parameters_without_sizes_are_an_error() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(3), name="mlp")
    with pytest.raises(gc.ShapeError) as error:
        list(net.named_parameters())
    message = str(error.value)
    assert message.startswith("Sequential: the parameters of Linear 'mlp.1' have no sizes yet [test_module.py:")
    assert message.endswith("Call the module on an input first, or state its input sizes.")


def test_a_weight_that_does_not_exist_yet_is_an_error() -> None:
    with pytest.raises(AttributeError, match="Linear has no attribute 'weight'; parameters whose sizes are inferred"):
        nn.Linear(3).weight  # noqa: B018
    with pytest.raises(AttributeError, match=r"Linear has no attribute 'wieght'$"):
        nn.Linear(3, 2).wieght  # noqa: B018


def test_an_unregistered_layer_with_parameters_is_an_error() -> None:
    hidden = nn.Linear(3)

    class Net(nn.Module):
        def forward(self, x):
            return nn.relu(nn.Tanh()(hidden(x)))

    with pytest.raises(gc.OperatorError) as error:
        Net()(image())
    message = str(error.value)
    assert message.startswith(
        "Linear is called inside Net.forward but is not part of it, so that its parameters (weight, bias) have no name "
        "[test_module.py:"
    )
    assert message.endswith("Assign it to an attribute in __init__, or give it a name=.")


def test_an_unregistered_layer_may_have_a_name_of_its_own() -> None:
    hidden = nn.Linear(3, name="hidden")

    class Net(nn.Module):
        def forward(self, x):
            return hidden(x) * self.parameter("scale", ())

    assert names(Net()(image())) == ["hidden.weight", "hidden.bias", "scale"]


def test_a_shared_parameter_does_not_change_its_shape() -> None:
    class Scale(nn.Module):
        def forward(self, x):
            return x * self.parameter("scale", x.shape[-1:], nn.init.Ones())

    net = Scale(name="s")
    net(image())
    with pytest.raises(gc.ShapeError) as error:
        net(gc.input("z", ("batch", 5)))
    assert str(error.value).startswith(
        "Scale 's': the parameter 'scale' is float32[8], but this call needs float32[5] [test_module.py:"
    )


@pytest.mark.parametrize("name", ["forward", "taken", "a.b"])
def test_a_parameter_does_not_hide_an_attribute(name: str) -> None:
    class Net(nn.Module):
        taken = 1

        def forward(self, x):
            return x * self.parameter(name, ())

    with pytest.raises(gc.OperatorError, match=f"Net: '{name}' cannot name a parameter; it is taken or dotted"):
        Net()(image())


def test_a_module_without_forward_is_an_error() -> None:
    class Empty(nn.Module):
        """Nothing."""

    with pytest.raises(gc.OperatorError, match=r"Empty defines no forward method .*Add def forward\(self, x\)"):
        Empty()(image())


@pytest.mark.parametrize("name", ["", 3])
def test_a_name_is_a_non_empty_string(name: object) -> None:
    with pytest.raises(gc.OperatorError, match=r"Linear: name is .* expected a non-empty string"):
        nn.Linear(3, name=name)


def test_a_failed_call_leaves_nothing_behind() -> None:
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("boom")

    with pytest.raises(KeyError):
        Broken()(image())
    with pytest.raises(gc.ShapeError):
        nn.Sequential(nn.Linear(5, 3))(image())
    assert names(nn.Linear(2)(image())) == ["weight", "bias"]


# --- text and memory ----------------------------------------------------------------------------------------------


def test_text_shows_the_tree() -> None:
    net = nn.Sequential(nn.Linear(4, bias=False), nn.LeakyReLU(0.2), nn.Sequential(nn.Flatten()), nn.PReLU())
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=None, out_features=4, bias=False)\n"
        "  (1): LeakyReLU(negative_slope=0.2)\n"
        "  (2): Sequential(\n"
        "    (0): Flatten(start_dim=1, end_dim=-1)\n"
        "  )\n"
        "  (3): PReLU(num_parameters=1)\n"
        ")"
    )
    net(image())
    assert "in_features=8" in repr(net)


def test_dropped_modules_free_their_nodes_without_the_garbage_collector() -> None:
    def build() -> None:
        net = Net()
        nn.cross_entropy(net(image()), gc.input("y", ("batch",), dtype="int64"), label_smoothing=0.1)

    build()
    garbage.collect()
    garbage.disable()
    try:
        before = live_nodes()
        for _ in range(1000):
            build()
        assert live_nodes() == before
    finally:
        garbage.enable()


def test_a_failed_call_frees_its_nodes() -> None:
    net = nn.Sequential(nn.Linear(4), nn.Linear(5, 3))
    before = live_nodes()
    with pytest.raises(gc.ShapeError):
        net(image())
    garbage.collect()  # the traceback is a cycle
    assert live_nodes() == before + 2, "the parameters of the first layer"
