"""The karate club's claims: at least 95 % from four labels, and who goes the other way."""

from pathlib import Path

import karate_club
import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[karate_club.Result, Path]:
    out = tmp_path_factory.mktemp("karate_club")
    return karate_club.main(out, small=True), out


def test_the_leaders_and_their_closest_friends_tell_the_sides_of_95_percent(found) -> None:
    assert np.mean(found[0].closest) >= 0.95


def test_member_nine_is_the_one_whom_friendships_do_not_explain(found) -> None:
    assert found[0].wrong == {8}


def test_random_members_tell_less_than_the_leaders_but_far_more_than_chance(found) -> None:
    assert 0.7 < np.mean(found[0].random) < np.mean(found[0].closest)


def test_the_figure_is_drawn(found) -> None:
    assert (found[1] / "karate_club.svg").stat().st_size > 10_000
