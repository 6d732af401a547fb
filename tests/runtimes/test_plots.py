"""One style for all plots: `gc.plots`."""

import sys

import numpy as np
import pytest

import graphc as gc

pytest.importorskip("matplotlib")


def draw(path) -> None:
    with gc.plots.figure(path, columns=2) as panels:
        assert panels.shape == (2,)
        for axes in panels:
            axes.plot(np.arange(5.0) ** 2)


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_drawing_is_the_same_file(tmp_path, ending) -> None:
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    draw(first)
    draw(second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 1000


def test_axes_can_be_three_dimensional(tmp_path) -> None:
    with gc.plots.figure(tmp_path / "surface.png", columns=2, projection="3d") as panels:
        assert [axes.name for axes in panels] == ["3d", "3d"]


def test_the_style_of_other_plots_is_left_alone(tmp_path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with gc.plots.figure(tmp_path / "one.svg") as axes:
        assert not axes.spines["top"].get_visible()
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_a_figure_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "one.svg"
    draw(path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), gc.plots.figure(path):
        _ = 1 // 0
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["one.svg"]


def test_a_missing_folder_and_a_missing_matplotlib_say_what_to_do(tmp_path, monkeypatch) -> None:
    with pytest.raises(gc.ExportError, match="cannot write"):
        draw(tmp_path / "nowhere" / "one.svg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(gc.errors.UnavailableError, match=r"plots\.figure: matplotlib is not installed.*graphc\[plot\]"):
        draw(tmp_path / "one.svg")
