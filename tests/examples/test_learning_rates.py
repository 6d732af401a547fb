"""examples/learning_rates.py: what becomes of rates that are too small, too large and right."""

import learning_rates
import numpy as np


def test_rates_do_what_the_curvatures_say(tmp_path) -> None:
    result = learning_rates.main(tmp_path, small=True)
    small, right, large = result.distances.values()
    factors = [distance[1:] / distance[:-1] for distance in (small, right, large)]
    # far along, each step multiplies the distance by the largest |1 - rate λ| that is left
    np.testing.assert_allclose([f[-1] for f in factors], [1 - 0.02, 9 / 11, 1.04], rtol=1e-3)

    low, found, high, scheduled = result.losses.values()
    assert 0.05 < result.suggestion < 2.0
    assert found[-1] < 0.5 < min(low[-1], high[-1])
    assert scheduled[-1] < 0.5
    assert max(scheduled[-3:]) <= max(found[-3:])
    assert (tmp_path / "learning_rates.svg").stat().st_size > 10_000
