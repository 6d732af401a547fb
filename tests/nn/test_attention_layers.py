"""Attention layers: masks, positions, names, and what is refused. Their numbers are held against PyTorch's oracle."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(4)


def _x(*axes: object) -> gc.Tensor:
    return gc.input("x", axes or ("batch", "steps", 8))


def test_sizes_of_batch_and_steps_stay_symbolic() -> None:
    x = _x()
    output, weights = nn.MultiheadAttention(8, 2, batch_first=True)(x, is_causal=True)
    assert output.type == x.type
    assert weights.type == gc.input("like", ("batch", "steps", "steps")).type
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert layer(gc.input("y", ("steps", "batch", 8))).type == gc.input("like", ("steps", "batch", 8)).type


def test_a_causal_output_does_not_depend_on_later_steps() -> None:
    x = _x()
    output, _ = nn.MultiheadAttention(8, 2, batch_first=True, rotary=100.0)(x, is_causal=True)
    run = gc.compile(output, seed=3)
    data = RNG.standard_normal((2, 6, 8)).astype(np.float32)
    changed = data.copy()
    changed[:, 4:] += 1.0
    np.testing.assert_allclose(run({"x": data})[:, :4], run({"x": changed})[:, :4], atol=1e-6)
    assert not np.allclose(run({"x": data})[:, 4:], run({"x": changed})[:, 4:], atol=1e-3)


def test_rotary_weights_depend_on_the_distance_of_positions_only() -> None:
    same = np.repeat(RNG.standard_normal((1, 1, 8)).astype(np.float32), 7, 1)
    _, single = nn.MultiheadAttention(8, 1, batch_first=True, rotary=10.0)(_x())
    scores = np.log(gc.evaluate(single, {"x": same}, seed=1)[0])
    relative = scores - np.diag(scores)[:, None]
    for distance in range(1, 4):
        np.testing.assert_allclose(np.diag(relative, distance), relative[0, distance], atol=1e-5)
    assert np.ptp(relative) > 1e-3


def test_weights_that_nobody_uses_are_not_computed() -> None:
    output, weights = nn.MultiheadAttention(8, 2)(_x())
    assert gc.graph(output).count("ReduceMean") == 0
    assert gc.graph(weights).count("ReduceMean") == 1


def test_self_attention_projects_in_one_product() -> None:
    output, _ = nn.MultiheadAttention(8, 2)(_x())
    assert sum(gc.graph(output).count(op) for op in ("MatMul", "Gemm")) == 4  # projections, scores, values, output


def test_copies_in_an_encoder_have_parameters_of_their_own() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, nn.LayerNorm(8), name="enc")
    names = [name for name, _ in encoder.named_parameters()]
    assert len(names) == len(set(names)) == 2 * 12 + 2
    assert "enc.layers.0.self_attn.in_proj_weight" in names
    assert "enc.layers.1.norm2.bias" in names
    assert "enc.norm.weight" in names


def test_dropout_acts_in_training_and_is_gone_in_inference() -> None:
    y = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)(_x())
    assert gc.graph(y).count("Dropout") == 4
    assert gc.graph(gc.to_inference(y)).count("Dropout") == 0


def test_a_small_transformer_learns_to_copy_from_before() -> None:
    tokens = RNG.integers(0, 6, (48, 8))
    tokens[:, 4:] = tokens[:, :4]
    x = gc.input("x", ("batch", 8), "int64")
    h = nn.Embedding(6, 32)(x) + gc.parameter("positions", (8, 32), nn.init.Normal(std=0.3))
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
    logits = nn.Linear(6)(nn.TransformerEncoder(layer, 2)(h, is_causal=True))
    loss = nn.cross_entropy(gc.transpose(logits[:, 3:-1], (0, 2, 1)), x[:, 4:])
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(5e-3), seed=0)
    history = trainer.fit({"x": tokens}, batch_size=None, epochs=60)
    assert history["loss"][0] > 1.5
    assert history["loss"][-1] < 0.2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda x: nn.MultiheadAttention(8, 3),
            gc.OperatorError,
            "embed_dim=8, num_heads=3; expected positive numbers",
        ),
        (lambda x: nn.MultiheadAttention(8, 2, 1.5), gc.OperatorError, r"dropout=1\.5; expected 0 <= dropout < 1"),
        (
            lambda x: nn.MultiheadAttention(6, 2, rotary=10.0),
            gc.OperatorError,
            "the heads have 3 features; expected an even",
        ),
        (lambda x: nn.MultiheadAttention(4, 2)(x), gc.ShapeError, r"the query is .*; expected \(steps, batch, 4\)"),
        (lambda x: nn.MultiheadAttention(8, 2)(x.cast("float64")), gc.DTypeError, "the query is float64"),
        (lambda x: nn.MultiheadAttention(8, 2)(x, attn_mask=np.zeros((3, 3), int)), gc.DTypeError, "the mask is int64"),
        (lambda x: nn.TransformerEncoderLayer(8, 2, activation="elu"), gc.OperatorError, "activation='elu'; expected"),
        (lambda x: nn.TransformerEncoder(nn.Identity(), 0), gc.OperatorError, "num_layers=0; expected at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make(_x())
