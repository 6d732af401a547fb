"""The LSTM of examples/folk_tunes.py learns as well as PyTorch's, from the same batches with the same optimizer."""

from collections.abc import Iterator
from typing import NamedTuple

import abc_text
import folk_tunes
import numpy as np
import pytest

import graphc as gc
from graphc import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

CORPUS = abc_text.corpus()
LENGTH, BATCH = 64, 16


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps of this size are not faster with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Sizes(NamedTuple):
    hidden: int
    steps: int
    rate: float = 1e-2


def batches(seed: int, steps: int) -> Iterator[dict[str, np.ndarray]]:
    """Windows of the training tunes, in a new order in each epoch."""
    rng, data = np.random.default_rng(seed), CORPUS.windows(CORPUS.train, LENGTH)
    order = np.empty(0, int)
    for _ in range(steps):
        if len(order) < BATCH:
            order = rng.permutation(len(data["text"]))
        yield {name: rows[order[:BATCH]] for name, rows in data.items()}
        order = order[BATCH:]


class TorchLSTM(torch.nn.Module):
    def __init__(self, characters: int, hidden: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(characters, 32)
        self.lstm = torch.nn.LSTM(32, hidden, batch_first=True)
        self.head = torch.nn.Linear(hidden, characters)

    def forward(self, text):
        return self.head(self.lstm(self.embedding(text))[0])


def ours(sizes: Sizes, seed: int, state: dict[str, np.ndarray] | None = None) -> float:
    """The held-out loss, in bits per character, of graphc's model."""
    text, following = (gc.input(name, ("batch", LENGTH), "int64") for name in ("text", "next"))
    logits, _ = folk_tunes.CharLSTM(len(CORPUS.characters), sizes.hidden)(text)
    loss = nn.cross_entropy(logits.mT, following)
    rate = gc.optim.schedule.OneCycle(sizes.rate, sizes.steps, rising=0.1)
    options = gc.RuntimeOptions(threads=1)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(rate), clip_norm=1.0, seed=seed, state=state, options=options)
    for batch in batches(seed, sizes.steps):
        trainer.train_step(batch)
    return trainer.evaluate(CORPUS.windows(CORPUS.test, LENGTH))["loss"] / np.log(2)


def pytorchs(sizes: Sizes, seed: int) -> tuple[float, dict[str, np.ndarray]]:
    """The held-out loss, in bits per character, of PyTorch's model; and its first weights."""
    torch.manual_seed(seed)
    model = TorchLSTM(len(CORPUS.characters), sizes.hidden)
    first = {f"lstm.{name}": value.numpy().copy() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=sizes.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, sizes.rate, total_steps=sizes.steps, pct_start=0.1, cycle_momentum=False
    )

    def loss_on(batch: dict[str, np.ndarray]):
        logits = model(torch.from_numpy(batch["text"]))
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), torch.from_numpy(batch["next"]))

    for batch in batches(seed, sizes.steps):
        optimizer.zero_grad()
        loss_on(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return loss_on(CORPUS.windows(CORPUS.test, LENGTH)).item() / np.log(2), first


def compare(sizes: Sizes, seeds: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits per character by seed: of PyTorch, of graphc from the same first weights, and from weights of its own."""
    theirs = [pytorchs(sizes, seed) for seed in seeds]
    same = [ours(sizes, seed, first) for seed, (_, first) in zip(seeds, theirs, strict=True)]
    own = [ours(sizes, seed) for seed in seeds]
    table = np.array([[bits for bits, _ in theirs], same, own])
    print(f"\nbits per character, {sizes}, by seed, and the mean:")
    for name, row in zip(("PyTorch", "graphc, same weights", "graphc, own weights"), table, strict=True):
        print(f"{name:22}", *(f"{bits:.5f}" for bits in row), f"{row.mean():.5f}")
    return tuple(table)


def test_a_small_lstm_learns_as_well_as_pytorchs() -> None:
    theirs, same, own = compare(Sizes(hidden=32, steps=90), range(2))
    np.testing.assert_allclose(same, theirs, rtol=1e-4)
    assert own.mean() == pytest.approx(theirs.mean(), rel=0.05)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_lstm_of_the_example_reaches_pytorchs_held_out_loss() -> None:
    theirs, same, own = compare(Sizes(hidden=192, steps=768), range(3))
    assert same.mean() == pytest.approx(theirs.mean(), rel=0.01)
    assert own.mean() == pytest.approx(theirs.mean(), rel=0.02)
    assert own.mean() < 2.0
