"""Batch normalization against PyTorch's: outputs, gradients, running statistics, whole training runs."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.serial.export import to_model
from passes.batch_norm import lower_batch_norm
from passes.forms import updates_of
from runtimes.session import Session

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

STEPS = 20
SHAPES = {"BatchNorm1d": (8, 5), "BatchNorm2d": (4, 5, 3, 6), "BatchNorm3d": (3, 5, 2, 3, 2)}
CASES = [*SHAPES.items(), ("BatchNorm1d", (4, 5, 7))]
OPTIONS = [
    {},
    {"momentum": None},
    {"momentum": 0.7, "eps": 1e-2},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
]


def batches(shape: tuple[int, ...]) -> list[np.ndarray]:
    """The batch grows, so that the factor between sample and population variance changes."""
    rng = np.random.default_rng(1)
    return [rng.normal(2, 3, (shape[0] + step % 5, *shape[1:])).astype(np.float32) for step in range(STEPS)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_twenty_batches_equal_pytorchs(name: str, shape: tuple[int, ...], options: dict[str, object]) -> None:
    ours, theirs = getattr(nn, name)(shape[1], **options), getattr(torch.nn, name)(shape[1], **options)
    assert ours.state_names() == list(theirs.state_dict())
    rng = np.random.default_rng(7)
    state = {n: v.numpy().copy() for n, v in theirs.state_dict().items()}
    for n in ("weight", "bias"):
        if n in state:
            state[n] = rng.normal(1, 0.5, state[n].shape).astype(np.float32)
    theirs.load_state_dict({n: torch.tensor(v) for n, v in state.items()})

    x = gc.input("x", ("batch", *shape[1:]))
    y = ours(x)
    loss = (y * gc.tanh(y)).sum()
    wrt = [x, *(t for t in ours.parameters() if t.node.attrs["trainable"])]
    updates = updates_of([y])
    graph = lower_batch_norm(gc.graph([y, *gc.grad(loss, wrt), *updates.values()]))
    session = Session(to_model(graph))
    for batch in batches(shape):
        values = session.run({"x": batch, **{n: state[n] for n in graph.parameters}})
        state |= dict(zip([str(t.name) for t in updates], values[1 + len(wrt) :], strict=True))
        given = torch.tensor(batch, requires_grad=True)
        result = theirs(given)
        theirs.zero_grad()
        (result * torch.tanh(result)).sum().backward()
        expected = [result.detach(), given.grad, *(p.grad for p in theirs.parameters())]
        for found, other in zip(values, expected, strict=False):
            np.testing.assert_allclose(found, other.numpy(), rtol=1e-4, atol=1e-5 * float(other.abs().max()))
    for n, value in theirs.state_dict().items():
        np.testing.assert_allclose(state[n], value.numpy(), rtol=2e-6, atol=1e-6, err_msg=n)

    theirs.eval()
    batch = batches(shape)[0]
    found = gc.evaluate(gc.to_inference(y), {"x": batch}, state=state)
    np.testing.assert_allclose(found, theirs(torch.tensor(batch)).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_training_run_equals_pytorchs() -> None:
    """20 steps of SGD on an MLP, and the evaluation after them."""
    x, y = gc.input("x", ("batch", 6)), gc.input("y", ("batch",), dtype="int64")
    logits = nn.Sequential(nn.Linear(16), nn.BatchNorm1d(), nn.ReLU(), nn.Linear(3), name="net")(x)
    trainer = gc.Trainer(nn.cross_entropy(logits, y), optimizer=gc.optim.SGD(0.1), device="cpu")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
    )
    theirs.load_state_dict({n: torch.tensor(trainer.state[f"net.{n}"]) for n in theirs.state_dict()})
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    rng = np.random.default_rng(2)
    for _ in range(STEPS):
        batch, labels = rng.normal(size=(12, 6)).astype(np.float32), rng.integers(0, 3, 12)
        logs = trainer.train_step({"x": batch, "y": labels})
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(batch)), torch.tensor(labels))
        loss.backward()
        optimizer.step()
        assert abs(logs["loss"] - loss.item()) < 2e-6
    for n, value in theirs.state_dict().items():
        np.testing.assert_allclose(trainer.state[f"net.{n}"], value.numpy(), rtol=1e-5, atol=5e-6, err_msg=n)
    theirs.eval()
    found = trainer.predict(logits, {"x": batch})
    np.testing.assert_allclose(found, theirs(torch.tensor(batch)).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_pytorch_state_file_loads(tmp_path) -> None:
    from safetensors.numpy import save_file

    theirs = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
    save_file({n: v.numpy() for n, v in theirs.state_dict().items()}, tmp_path / "net.safetensors")
    layer = nn.Sequential(nn.Linear(4), nn.BatchNorm1d())
    y = layer(gc.input("x", ("batch", 6)))
    state = gc.load_state(tmp_path / "net.safetensors")
    assert set(state) == set(layer.state_names())
    theirs.eval()
    data = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    found = gc.evaluate(gc.to_inference(y), {"x": data}, state=state)
    np.testing.assert_allclose(found, theirs(torch.tensor(data)).detach().numpy(), rtol=1e-5, atol=1e-6)
