"""The GPT's claims: it learns as the LSTM does, gains from context, and looks back only."""

from pathlib import Path

import abc_text
import gpt
import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[gpt.Result, Path]:
    out = tmp_path_factory.mktemp("gpt")
    return gpt.main(out, small=True), out


def test_both_models_expect_more_than_counts_of_characters_tell(found) -> None:
    alone = abc_text.counted_bits(abc_text.corpus(), 0)
    for bits in found[0].bits.values():
        assert bits.mean() < 0.8 * alone


def test_both_models_gain_from_context(found) -> None:
    for bits in found[0].bits.values():
        assert bits[32:].mean() < bits[4:8].mean() < bits[0]


def test_attention_is_a_distribution_over_what_was_read(found) -> None:
    for weights in found[0].attention:
        assert not np.triu(weights, 1).any()
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_the_figures_are_drawn(found) -> None:
    for name in ("gpt", "gpt_attention"):
        assert (found[1] / f"{name}.svg").stat().st_size > 10_000
