"""State files in both directions: PyTorch's models load ours, ours load PyTorch's, and both compute the same."""

import pathlib

import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(2)


def mlp(lib):
    hidden = lib.Linear(7, 9), lib.ReLU(), lib.Dropout(0.1), lib.Linear(9, 9, bias=False), lib.PReLU(9)
    return lib.Sequential(*hidden, lib.Linear(9, 3))


def convnet(lib):
    return lib.Sequential(
        lib.Conv2d(2, 4, 3, padding=1, bias=False),
        lib.BatchNorm2d(4),
        lib.ReLU(),
        lib.MaxPool2d(2),
        lib.Sequential(lib.Conv2d(4, 6, 3, groups=2), lib.GroupNorm(2, 6), lib.GELU()),
        lib.ConvTranspose2d(6, 4, 2),
        lib.BatchNorm2d(4, affine=False),
        lib.Flatten(),
        lib.Linear(4 * 3 * 3, 5),
        lib.BatchNorm1d(5),
    )


def recurrent(lib):
    class Tagger(lib.Module):
        def __init__(self):
            super().__init__()
            self.embedding = lib.Embedding(11, 6)
            self.lstm = lib.LSTM(6, 5, num_layers=2, bidirectional=True)
            self.gru = lib.GRU(10, 4)
            self.out = lib.Linear(4, 3)

        def forward(self, words):
            return self.out(self.gru(self.lstm(self.embedding(words))[0])[0])

    return Tagger()


def transformer(lib):
    class Model(lib.Module):
        def __init__(self):
            super().__init__()
            self.embedding = lib.Embedding(11, 8)
            layer = lib.TransformerEncoderLayer(8, 2, 12, 0.1, batch_first=True, norm_first=True)
            extra = {"enable_nested_tensor": False} if lib is torch.nn else {}
            self.encoder = lib.TransformerEncoder(layer, 2, lib.LayerNorm(8), **extra)
            self.head = lib.Linear(8, 11)

        def forward(self, words):
            return self.head(self.encoder(self.embedding(words)))

    return Model()


IMAGES = RNG.normal(size=(6, 2, 8, 8)).astype("float32")
WORDS = RNG.integers(0, 11, (5, 3))
MODELS = {
    "mlp": (mlp, RNG.normal(size=(5, 7)).astype("float32")),
    "convnet": (convnet, IMAGES),
    "recurrent": (recurrent, WORDS),
    "transformer": (transformer, WORDS),
}


def trained(theirs, x: np.ndarray) -> None:
    """Random weights, and running statistics of two batches."""
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(RNG.normal(scale=0.5, size=tuple(p.shape))))
        theirs.train()
        for _ in range(2):
            theirs(torch.tensor(x))
    theirs.eval()


@pytest.fixture(params=MODELS)
def pair(request):
    """A model of PyTorch, ours of the same layers, and an input."""
    make, x = MODELS[request.param]
    torch.manual_seed(0)
    theirs = make(torch.nn)
    trained(theirs, x)
    return theirs, make(nn), x


def ours_of(model: nn.Module, x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    output = model(gc.input("x", ("a", *x.shape[1:]) if x.dtype.kind == "f" else ("a", "b"), x.dtype))
    return gc.evaluate(gc.to_inference(gc.graph(output)).outputs[0], {"x": x}, state=state)


def test_a_state_file_of_pytorch_loads_and_computes_the_same(pair, tmp_path: pathlib.Path) -> None:
    theirs, ours, x = pair
    safetensors_torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    state = gc.load_state(tmp_path / "model.safetensors", ours)
    assert list(state) == list(theirs.state_dict())
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours_of(ours, x, state), expected, rtol=1e-4, atol=1e-5)


def test_our_state_file_loads_in_pytorch_and_computes_the_same(pair, tmp_path: pathlib.Path) -> None:
    theirs, ours, x = pair
    state = {n: RNG.normal(scale=0.5, size=t.shape).astype(t.dtype.numpy) for n, t in ours.named_parameters()}
    state = {n: np.abs(a) + 0.5 if n.endswith("running_var") else a for n, a in state.items()}
    gc.save_state(state | {"optimizer.slot": np.zeros(3)}, tmp_path / "model.safetensors", target=ours)
    theirs.load_state_dict(safetensors_torch.load_file(tmp_path / "model.safetensors"), strict=True)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours_of(ours, x, state), expected, rtol=1e-4, atol=1e-5)


def test_a_model_trained_here_goes_on_in_pytorch(tmp_path: pathlib.Path) -> None:
    """Weights, running statistics and the count of batches after three steps of both."""
    theirs, ours = convnet(torch.nn), convnet(nn)
    safetensors_torch.save_file(theirs.state_dict(), tmp_path / "first.safetensors")
    x = gc.input("x", ("batch", *IMAGES.shape[1:]))
    loss = gc.mean(gc.square(ours(x)))
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.05), state=gc.load_state(tmp_path / "first.safetensors", ours))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.05)
    theirs.train()
    for _ in range(3):
        trainer.train_step({"x": IMAGES})
        optimizer.zero_grad()
        theirs(torch.tensor(IMAGES)).square().mean().backward()
        optimizer.step()
    gc.save_state(trainer.state, tmp_path / "trained.safetensors", target=ours)
    found = safetensors_torch.load_file(tmp_path / "trained.safetensors")
    assert found["1.num_batches_tracked"] == 3
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5, err_msg=name)
    convnet(torch.nn).load_state_dict(found, strict=True)


def test_a_model_of_another_shape_is_told_what_differs(tmp_path: pathlib.Path) -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2, bias=False))
    safetensors_torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(gc.StateError) as error:
        gc.load_state(tmp_path / "model.safetensors", ours)
    assert {line.strip() for line in str(error.value).splitlines()[1:]} == {
        "'0.weight' is float32[3, 4]; expected float32[5, 4]",
        "'0.bias' is float32[3]; expected float32[5]",
        "missing '2.bias', float32[2]",
        *(f"unexpected '1.{n}', float32[3]" for n in ("weight", "bias", "running_mean", "running_var")),
        "unexpected '1.num_batches_tracked', int64[]",
    }
