"""examples/batch_sizes.py: the noise of mini-batch gradients, and progress per example seen."""

import batch_sizes
import numpy as np


def test_noise_is_that_of_theory_and_small_batches_make_more_of_each_example(tmp_path) -> None:
    result = batch_sizes.main(tmp_path, small=True)
    count = list(result.theory)[-1]
    assert result.theory[count] == 0.0
    assert result.measured[count] < 1e-9 * result.measured[1]
    sizes = list(result.theory)[:-1]
    measured, theory = ([values[size] for size in sizes] for values in (result.measured, result.theory))
    np.testing.assert_allclose(measured, theory, rtol=0.25)  # the mean of 100 draws
    np.testing.assert_allclose(np.prod(np.divide(measured, theory)) ** (1 / len(sizes)), 1.0, atol=0.06)

    assert set(result.seconds) == set(result.theory)
    final = {size: losses[-1] for size, losses in result.losses.items()}
    assert max(final[1], final[32]) < 0.5 * final[count]
    assert (tmp_path / "batch_sizes.svg").stat().st_size > 10_000
