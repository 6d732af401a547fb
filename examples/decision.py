"""Points of two classes in the plane, and what a model says of every point around them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
RED, GREEN = "#d55e00", "#009e73"
SHADES = 11


def scatter(axes: Any, points: Floats, label: Floats, size: float = 16) -> None:
    """Draw points of shape (n, 2): red where `label` is 0, green where it is 1."""
    for kind, colour, marker in ((0, RED, "o"), (1, GREEN, "s")):
        chosen = points[label == kind]
        axes.scatter(*chosen.T, s=size, c=colour, marker=marker, linewidths=0.4, edgecolors="white")


def boundary(axes: Any, predict: Callable[[Floats], Floats], points: Floats, *, steps: int = 40) -> None:
    """Colour the plane by the probability of green, and draw the line where it is 1/2.

    `predict` takes float32 points of shape (n, 2) and returns n probabilities; the part of the plane that is drawn is
    the rectangle around `points` with a margin.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * (high - low)
    sides = [np.linspace(a, b, steps, dtype=np.float32) for a, b in zip(low - margin, high + margin, strict=True)]
    first, second = np.meshgrid(*sides)
    grid = np.stack([first.ravel(), second.ravel()], axis=1)
    probability = np.clip(predict(grid).reshape(first.shape), 1e-7, 1 - 1e-7).astype("float64")
    logit = np.log(probability) - np.log1p(-probability)  # curves of equal probability are found between grid points,
    levels = np.arange(1, SHADES) / SHADES  # and logits are closer to linear there
    edges = np.concatenate([[-17], np.log(levels) - np.log1p(-levels), [17]])
    axes.contourf(first, second, logit, edges, colors=shades(SHADES), alpha=0.55)
    if logit.min() < -0.01 and logit.max() > 0.01:  # where all is 1/2, a line would show rounding errors
        axes.contour(first, second, logit, [0.0], colors="black", linewidths=1.4)
    axes.grid(visible=False)


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours from red to white to green, the lightest where a model is least sure."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("red to green", [RED, "white", GREEN])
    return [ramp((k + 0.5) / count) for k in range(count)]
