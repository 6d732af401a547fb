"""examples/optimizers.py: who gets where, and how fast."""

import numpy as np
import optimizers
import pytest


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("optimizers")
    found = optimizers.main(out, small=True)
    assert (out / "optimizers.svg").stat().st_size > 10_000
    return found


def steps(run: optimizers.Run) -> float:
    return np.inf if run.steps is None else run.steps


@pytest.mark.parametrize("surface", optimizers.SURFACES)
def test_momentum_is_faster_than_plain_descent(runs, surface) -> None:
    assert steps(runs[surface]["Momentum"]) < steps(runs[surface]["SGD"])
    assert runs[surface]["Momentum"].steps is not None


def test_steps_of_scaled_gradients_leave_the_saddle_soonest(runs) -> None:
    saddle = runs["saddle"]
    scaled = max(steps(saddle[name]) for name in ("Adagrad", "RMSProp"))
    assert scaled < min(steps(saddle[name]) for name in ("SGD", "Momentum", "Nesterov"))


def test_only_momentum_in_some_form_gets_through_the_bent_valley(runs) -> None:
    reached = {name for name, run in runs["Rosenbrock"].items() if run.steps is not None}
    assert {"Momentum", "Adam"} <= reached <= {"Momentum", "Nesterov", "Adam"}


@pytest.mark.parametrize("surface", optimizers.SURFACES)
def test_a_run_that_counts_ends_settled_below_the_target(runs, surface) -> None:
    for run in runs[surface].values():
        assert len(run.path) == len(run.losses)
        np.testing.assert_array_equal(run.path[0], np.array(optimizers.SURFACES[surface].start, "float32"))
        if run.steps is not None:
            assert (run.losses[run.steps :] < optimizers.SURFACES[surface].target).all()
            assert run.losses[run.steps - 1] >= optimizers.SURFACES[surface].target
