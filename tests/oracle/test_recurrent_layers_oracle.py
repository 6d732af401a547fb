"""Recurrent layers against PyTorch's: outputs, last states, and the gradients of everything."""

import itertools

import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(0)
GRID = list(itertools.product(["RNN", "GRU", "LSTM"], [1, 2], [False, True], [False, True], [False, True]))
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.mark.parametrize(("kind", "layers", "bidirectional", "batch_first", "with_states"), GRID)
def test_outputs_states_and_gradients_equal_pytorchs(kind, layers, bidirectional, batch_first, with_states) -> None:
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    theirs = getattr(torch.nn, kind)(3, 5, **options)
    state = {f"r.{name}": p.detach().numpy() for name, p in theirs.named_parameters()}
    x = gc.input("x", ("n", "t", 3) if batch_first else ("t", "n", 3))
    arrays = {"x": RNG.standard_normal((4, 6, 3)).astype(np.float32)}
    ours = getattr(nn, kind)(5, name="r", **options)
    batch = arrays["x"].shape[0 if batch_first else 1]
    names = (["h", "c"] if kind == "LSTM" else ["h"]) if with_states else []
    for name in names:
        shape = (layers * (1 + bidirectional), batch, 5)
        arrays[name] = RNG.standard_normal(shape).astype(np.float32)
    inputs = {name: gc.input(name, (array.shape[0], "n", 5)) for name, array in arrays.items() if name != "x"}
    given = tuple(inputs.values()) if kind == "LSTM" else next(iter(inputs.values()), None)
    output, last = ours(x, given) if with_states else ours(x)

    variables = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    first = tuple(variables[n] for n in names) if kind == "LSTM" else variables.get("h")
    their_output, their_last = theirs(variables["x"], first) if with_states else theirs(variables["x"])
    finals = list(their_last) if kind == "LSTM" else [their_last]
    ((their_output**2).sum() + sum(t.sin().sum() for t in finals)).backward()

    mine = list(last) if kind == "LSTM" else [last]
    loss = gc.sum(output**2) + sum(gc.sum(gc.sin(t)) for t in mine)
    wrt = {"x": x, **inputs, **gc.graph(loss).parameters}
    found = gc.evaluate([output, *mine, *gc.grad(loss, wrt).values()], arrays, state=state)
    expected = [their_output, *finals, *(v.grad for v in variables.values())]
    expected += [dict(theirs.named_parameters())[name[2:]].grad for name in gc.graph(loss).parameters]
    for value, target in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, target.detach().numpy(), **CLOSE)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_sequences_of_unequal_length_equal_pytorchs_packed_ones(kind) -> None:
    theirs = getattr(torch.nn, kind)(3, 5, bidirectional=True, num_layers=2)
    state = {f"r.{name}": p.detach().numpy() for name, p in theirs.named_parameters()}
    data, lengths = RNG.standard_normal((7, 4, 3)).astype(np.float32), np.array([7, 2, 5, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(data), lengths, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])
    x, n = gc.input("x", ("t", "n", 3)), gc.input("lengths", ("n",), "int64")
    output, _ = getattr(nn, kind)(5, bidirectional=True, num_layers=2, name="r")(x, lengths=n)
    found = gc.evaluate(output, {"x": data, "lengths": lengths}, state=state)
    np.testing.assert_allclose(found, expected.detach().numpy(), **CLOSE)
