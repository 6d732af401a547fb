"""The search for a learning rate: what it finds, and that it leaves no trace."""

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from runtimes.rate_finder import RateSearch

DATA = PROBLEM.data


def trainer(**options) -> gc.Trainer:
    return PROBLEM.trainer(optimizer=gc.optim.SGD(0.05), **options)


def test_a_search_leaves_the_trainer_as_it_was() -> None:
    searched, plain = trainer(), trainer()
    for each in (searched, plain):
        each.fit(DATA, batch_size=16, epochs=1)
    gc.find_learning_rate(searched, DATA, batch_size=16)
    assert searched.optimizer.learning_rate == 0.05
    assert (searched.epoch, searched.step_count) == (plain.epoch, plain.step_count)
    for each in (searched, plain):
        each.fit(DATA, batch_size=16, epochs=1)
    assert same_state(searched.state, plain.state)


def test_the_suggestion_trains_well_and_the_highest_rate_does_not() -> None:
    found = gc.find_learning_rate(trainer(), DATA, batch_size=None, highest=1e4)
    assert found.rates[0] == 1e-7
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 100  # it diverged
    assert 1e-3 < found.suggestion < 10.0
    tried = PROBLEM.trainer(optimizer=gc.optim.SGD(found.suggestion))
    assert tried.fit(DATA, epochs=20, verbose=False)["loss"][-1] < 0.5 * found.losses[0]


def test_neither_a_noisy_start_nor_a_fall_from_a_peak_is_suggested() -> None:
    rates = tuple(np.geomspace(1e-4, 10, 51))
    losses = [9.0, 5.0, *[2.0] * 18, 1.8, 1.5, 1.0, 0.8, 0.7, *[0.65] * 14, 6.0, 9.0, *[1.0] * 10]
    search = RateSearch(rates, tuple(losses), tuple(losses))
    assert search.suggestion in rates[21:23]
    rising = tuple(np.linspace(1, 2, 51))
    assert RateSearch(rates, rising, rising).suggestion == rates[5]


def test_rates_grow_geometrically_from_update_to_update() -> None:
    found = gc.find_learning_rate(trainer(accumulate=2), DATA, lowest=1e-5, highest=1e-3, updates=11)
    assert len(found.losses) == 11
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-3, 11))


def test_a_search_draws_its_curve(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    found = gc.find_learning_rate(trainer(), DATA, highest=1.0, updates=20)
    found.plot(tmp_path / "rates.svg")
    assert "learning rate" in (tmp_path / "rates.svg").read_text()


@pytest.mark.parametrize(
    "options", [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"updates": 5}, {"smoothing": 1.0}]
)
def test_arguments_out_of_range_are_refused(options) -> None:
    with pytest.raises(gc.OperatorError, match="expected 0 < lowest < highest, at least 10 updates"):
        gc.find_learning_rate(trainer(), DATA, **options)


def test_a_loss_that_is_never_finite_is_reported_and_the_rate_restored() -> None:
    broken = trainer(state={"mlp.0.bias": np.full(16, np.nan, "float32")})
    with pytest.raises(gc.OperatorError, match="the loss is not finite from a rate of 1e-07 on"):
        gc.find_learning_rate(broken, DATA)
    assert broken.optimizer.learning_rate == 0.05
