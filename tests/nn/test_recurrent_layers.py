"""Recurrent layers: shapes, names, and what is refused. Their numbers are held against PyTorch in tests/oracle."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn

LAYERS = [nn.RNN, nn.GRU, nn.LSTM]
RNG = np.random.default_rng(2)


def _state_of(last: object) -> list[gc.Tensor]:
    return list(last) if isinstance(last, tuple) else [last]


@pytest.mark.parametrize("layer", LAYERS)
def test_symbolic_batch_and_steps_stay_symbolic(layer) -> None:
    x = gc.input("x", ("batch", "steps", 3))
    output, last = layer(5, num_layers=2, bidirectional=True, batch_first=True)(x)
    assert output.type == gc.TensorType(gc.float32, gc.input("like", ("batch", "steps", 10)).shape)
    for state in _state_of(last):
        assert state.type == gc.input("like", (4, "batch", 5)).type


@pytest.mark.parametrize("layer", LAYERS)
def test_parameters_have_pytorchs_names_and_shapes(layer) -> None:
    made = layer(3, 5, num_layers=2, bidirectional=True, name="r")
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[layer]
    expected = {
        f"r.{kind}_l{k}{way}": shape
        for k in range(2)
        for way in ("", "_reverse")
        for kind, shape in (
            ("weight_ih", (gates * 5, 3 if k == 0 else 10)),
            ("weight_hh", (gates * 5, 5)),
            ("bias_ih", (gates * 5,)),
            ("bias_hh", (gates * 5,)),
        )
    }
    assert {name: t.shape for name, t in made.named_parameters()} == expected
    values = gc.init_state(gc.graph(made(gc.input("x", ("t", "n", 3)))[0]))
    largest = max(np.abs(value).max() for value in values.values())
    assert 0.9 / np.sqrt(5) < largest <= 1 / np.sqrt(5)


@pytest.mark.parametrize("layer", LAYERS)
def test_steps_beyond_the_length_do_not_count(layer) -> None:
    x, lengths = gc.input("x", ("t", "n", 3)), gc.input("lengths", ("n",), "int64")
    made = layer(4, bidirectional=True, name="r")
    output, last = made(x, lengths=lengths)
    data = RNG.standard_normal((6, 2, 3)).astype(np.float32)
    changed = data.copy()
    changed[4:, 1] = 99.0
    run = gc.compile([output, *_state_of(last)], seed=1)
    results = run({"x": data, "lengths": [6, 4]}), run({"x": changed, "lengths": [6, 4]})
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(results[0][0][4:, 1], 0.0)
    alone, _ = made(gc.input("y", ("t", 1, 3)))
    state = gc.init_state(gc.graph(output), 1)
    np.testing.assert_allclose(gc.evaluate(alone, {"y": data[:4, 1:]}, state=state), results[0][0][:4, 1:], atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_dropout_acts_between_layers_only(layer) -> None:
    x = gc.input("x", ("t", "n", 3))
    assert gc.graph(layer(4, num_layers=3, dropout=0.5)(x)[0]).count("Dropout") == 2
    assert gc.graph(layer(4, dropout=0.5)(x)[0]).count("Dropout") == 0


def test_a_character_model_learns_to_repeat() -> None:
    """The next symbol is that of three steps before: nothing without memory can tell it."""
    symbols = RNG.integers(0, 4, (64, 12))
    symbols[:, 3:] = symbols[:, :-3]
    for k in range(3, 12):
        symbols[:, k] = symbols[:, k - 3]
    x = gc.input("x", ("batch", 12), "int64")
    hidden, _ = nn.LSTM(24, batch_first=True)(gc.one_hot(x[:, :-1], 4))
    loss = nn.cross_entropy(gc.transpose(nn.Linear(4)(hidden), (0, 2, 1)), x[:, 1:])
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(2e-2), seed=0)
    history = trainer.fit({"x": symbols}, batch_size=None, epochs=120)
    assert history["loss"][0] > 1.2
    assert history["loss"][-1] < 0.4  # the first two symbols of eleven are free: 2 / 11 * log(4) = 0.25


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: nn.LSTM()(x), gc.OperatorError, r"LSTM: the sizes are \[\] and num_layers=1; expected hidden_size"),
        (lambda x: nn.GRU(0)(x), gc.OperatorError, r"GRU: the sizes are \[0\]"),
        (lambda x: nn.LSTM(4, num_layers=0)(x), gc.OperatorError, "num_layers=0"),
        (lambda x: nn.LSTM(4, dropout=1.0)(x), gc.OperatorError, r"dropout=1\.0; expected 0 <= dropout < 1"),
        (
            lambda x: nn.RNN(4, nonlinearity="gelu")(x),
            gc.OperatorError,
            "nonlinearity='gelu'; expected 'tanh' or 'relu'",
        ),
        (lambda x: nn.LSTM(4, proj_size=4), gc.OperatorError, "proj_size=4; expected 0, or a size below hidden_size=4"),
        (lambda x: nn.LSTM(3, 4, proj_size=-1), gc.OperatorError, "proj_size=-1; expected 0, or a size below"),
        (lambda x: nn.LSTM(7, 4)(x), gc.ShapeError, r"expected 7 features in the last axis"),
        (lambda x: nn.LSTM(4)(x[0]), gc.ShapeError, "expected three axes: steps, batch, features"),
        (lambda x: nn.GRU(4)(x.cast("float64")), gc.DTypeError, r"expected float32 .* Convert it with \.cast"),
        (
            lambda x: nn.GRU(4)(x, np.zeros((2, 3, 4), "f")),
            gc.ShapeError,
            r"a state is .*; expected float32\[1, n, 4\]",
        ),
        (lambda x: nn.GRU(4)(x, lengths=3), gc.ShapeError, "lengths are int32.*; expected one axis, the batch"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make(gc.input("x", ("t", "n", 3)))


def test_the_repr_tells_sizes_and_changed_options() -> None:
    assert repr(nn.LSTM(3, 5, num_layers=2, batch_first=True)) == "LSTM(3, 5, num_layers=2, batch_first=True)"
    assert repr(nn.LSTM(3, 5, proj_size=2)) == "LSTM(3, 5, proj_size=2)"


def _numpy_projected(state, x, h, c, suffix):
    """One direction of a layer that projects its hidden states, on (steps, features)."""
    w_ih, w_hh, w_hr = (state[f"r.weight_{part}{suffix}"].astype(np.float64) for part in ("ih", "hh", "hr"))
    bias = state[f"r.bias_ih{suffix}"].astype(np.float64) + state[f"r.bias_hh{suffix}"]
    outputs = []
    for row in x:
        i, f, g, o = np.split(w_ih @ row + w_hh @ h + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = w_hr @ (np.tanh(c) / (1 + np.exp(-o)))
        outputs.append(h)
    return np.array(outputs), h, c


def test_projected_hidden_states_are_numpys_also_backwards_and_of_unequal_length() -> None:
    x, lengths = gc.input("x", ("t", "n", 3)), gc.input("lengths", ("n",), "int64")
    made = nn.LSTM(3, 5, proj_size=2, bidirectional=True, name="r")
    assert [name for name in made.state_names() if "reverse" not in name] == [
        f"r.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    output, (h, c) = made(x, lengths=lengths)
    assert [str(d) for d in output.shape] == ["t", "n", "4"]
    state = gc.init_state(gc.graph([output, h, c]), 1)
    data, counts = RNG.standard_normal((6, 2, 3)).astype(np.float32), [6, 4]
    found = gc.compile([output, h, c], state=state)({"x": data, "lengths": counts})
    for n, count in enumerate(counts):
        for k, suffix in enumerate(("_l0", "_l0_reverse")):
            rows = data[:count, n].astype(np.float64)[:: -1 if k else 1]
            outputs, last, cell = _numpy_projected(state, rows, np.zeros(2), np.zeros(5), suffix)
            own = found[0][:, n, 2 * k : 2 * k + 2]
            np.testing.assert_allclose(own[:count], outputs[:: -1 if k else 1], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(own[count:], 0)
            np.testing.assert_allclose(found[1][k, n], last, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found[2][k, n], cell, rtol=1e-5, atol=1e-6)


def test_a_projected_lstm_trains() -> None:
    x, y = gc.input("x", ("n", 6, 2)), gc.input("y", ("n",))
    output, _ = nn.LSTM(8, proj_size=3, num_layers=2, batch_first=True)(x)
    loss = nn.mse_loss(gc.sum(output[:, -1], 1), y)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.02), device="cpu")
    data = RNG.standard_normal((64, 6, 2)).astype(np.float32)
    history = trainer.fit({"x": data, "y": np.tanh(data[:, -1, 0])}, batch_size=16, epochs=15, verbose=False)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
