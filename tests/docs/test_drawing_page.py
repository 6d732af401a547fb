"""The figure of docs/drawing.md is what the code draws today."""

import re

import pytest
from drawing_figure import PATH, figure


def test_the_figure_is_up_to_date() -> None:
    pytest.importorskip("grandalf")
    drawn, kept = (re.sub(r"<title>.*?</title>", "", svg) for svg in (figure(), PATH.read_text(encoding="utf-8")))
    assert drawn == kept, "python tests/docs/drawing_figure.py writes it"
