"""The colours of drawings: blue forward, orange backward, readable in print and for the colour-blind."""

from __future__ import annotations

from typing import NamedTuple

from graphc.drawing.picture import Box

__all__ = ["FONT", "SIZE", "SMALL", "Paint", "direction", "paint_of"]


class Paint(NamedTuple):
    """The colours of a box or cluster: inside, border and arrows, text; and of the inside of a cluster."""

    fill: str
    line: str
    text: str
    cluster: str


FORWARD = Paint("#dbe9fb", "#2b6cb0", "#12304f", "#f3f8fe")
BACKWARD = Paint("#fde3cc", "#c05621", "#5a2508", "#fef7f0")
DATA = Paint("#eceef1", "#5b6470", "#23282e", "#f7f8f9")

FONT = "Helvetica, Arial, sans-serif"
SIZE = 12
"""The size of titles, in points."""
SMALL = 10
"""The size of all other text."""


def paint_of(thing: Box) -> Paint:
    """The colours of a box: grey for data, else by its direction."""
    if thing.kind in ("input", "parameter"):
        return DATA
    return direction(thing.backward)


def direction(backward: bool) -> Paint:
    """The colours of the forward or of the backward pass."""
    return BACKWARD if backward else FORWARD
