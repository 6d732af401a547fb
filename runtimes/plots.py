"""Plots of one clean style, written whole: those of the library, the examples and the documentation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from runtimes.atomic import Replacing
from runtimes.optional import require_matplotlib

__all__ = ["COLOURS", "figure"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""The colours of curves, in turn: Okabe and Ito's (Color Universal Design, 2008) without the yellow, which colour-blind
readers tell apart."""
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.dpi": 150.0,
    "font.size": 10.0,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "image.cmap": "viridis",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "graphc",  # the same picture is the same file
}


@contextlib.contextmanager
def figure(
    path: str | os.PathLike[str],
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float] | None = None,
    projection: Literal["3d", "polar"] | None = None,
) -> Iterator[Any]:
    """A block that draws a figure, written to `path` at its end: PNG, SVG or PDF by the ending.

    The block gets matplotlib's `Axes`; with several `rows` or `columns` an array of them, of shape (rows, columns)
    without those that are 1. `size` is in inches: (4.5 * columns, 3.2 * rows) by default. A `projection` makes all axes
    three-dimensional, or polar. No display is needed, and the same drawing is the same file.

    Raises UnavailableError where matplotlib is not installed (`pip install "graphc[plot]"`), ExportError when the file
    cannot be written.
    """
    require_matplotlib("plots.figure")
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    form = Path(path).suffix[1:].lower() or "png"
    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=COLOURS)}):
        drawn = Figure(figsize=size or (4.5 * columns, 3.2 * rows), layout="constrained")
        yield drawn.subplots(rows, columns, subplot_kw={"projection": projection})
        with Replacing(path) as fresh:
            drawn.savefig(fresh, format=form, metadata={"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form))
