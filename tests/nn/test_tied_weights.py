"""One parameter in two places: trained on both uses, named, saved and exported once."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc import nn

WORDS, WIDTH = 6, 3


class Model(nn.Module):
    """Words to the logits of words, by one matrix when `tied`."""

    def __init__(self, tied: bool, head_first: bool = False) -> None:
        if head_first:
            self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.embedding = nn.Embedding(WORDS, WIDTH)
        if not head_first:
            self.head = nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, word):
        return self.head(self.embedding(word))


def loss_of(model: Model) -> gc.Tensor:
    word, following = (gc.input(name, ("batch",), "int64") for name in ("word", "following"))
    return nn.cross_entropy(model(word), following)


MATRIX = np.random.default_rng(0).normal(size=(WORDS, WIDTH)).astype("float32")
FEEDS = {"word": np.array([0, 1, 1, 5]), "following": np.array([1, 2, 0, 0])}


@pytest.mark.parametrize("head_first", [False, True])
@pytest.mark.parametrize("called", [False, True])
def test_a_tied_parameter_has_the_name_of_the_module_that_made_it(called: bool, head_first: bool) -> None:
    model = Model(tied=True, head_first=head_first)
    if called:
        model(gc.input("word", ("batch",), "int64"))
    assert model.state_names() == ["embedding.weight"]


def test_the_gradient_is_the_sum_over_both_uses() -> None:
    tied, untied = loss_of(Model(tied=True)), loss_of(Model(tied=False))
    matrix = gc.graph(tied).parameters["embedding.weight"]
    found = gc.evaluate(gc.grad(tied, matrix), FEEDS, state={"embedding.weight": MATRIX})
    both = gc.graph(untied).parameters
    state = {"embedding.weight": MATRIX, "head.weight": MATRIX}
    first, second = gc.evaluate(gc.grad(untied, list(both.values())), FEEDS, state=state)
    np.testing.assert_allclose(found, first + second, rtol=1e-6, atol=1e-7)


def test_one_update_of_one_matrix_is_trained() -> None:
    loss = loss_of(Model(tied=True))
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), state={"embedding.weight": MATRIX})
    assert set(trainer.state) == {"embedding.weight", "step"}
    gradient = gc.evaluate(gc.grad(loss, gc.graph(loss).parameters["embedding.weight"]), FEEDS, state=trainer.state)
    trainer.fit(FEEDS, batch_size=4, epochs=1)
    np.testing.assert_allclose(trainer.state["embedding.weight"], MATRIX - 0.5 * gradient, rtol=1e-6, atol=1e-7)


def test_a_tied_parameter_is_exported_once(tmp_path: Path) -> None:
    logits = Model(tied=True)(gc.input("word", ("batch",), "int64"))
    gc.export(logits, tmp_path / "tied.onnx", {"embedding.weight": MATRIX})
    model = onnx.load(tmp_path / "tied.onnx")
    assert sum(int(np.prod(i.dims)) == MATRIX.size for i in model.graph.initializer) == 1


def test_a_copy_of_a_model_is_tied_in_itself() -> None:
    model = Model(tied=True)
    other = copy.deepcopy(model)
    assert other.head.weight == other.embedding.weight
    assert other.head.weight != model.head.weight
    assert other.state_names() == ["embedding.weight"]
