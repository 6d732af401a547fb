"""docs/layers.md lists every layer and every loss, and nothing else."""

import pathlib
import re

from graphc import nn
from graphc.nn import loss, losses

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "layers.md").read_text()
TABLES = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
LISTED = re.findall(r"`(\w+)`", TABLES)


def test_every_layer_and_loss_is_listed_once() -> None:
    modules = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    expected = sorted(modules | set(losses.__all__))
    assert sorted(LISTED) == expected


def test_modules_stand_beside_their_functions() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", TABLES, re.MULTILINE)
    assert {name for name, _ in rows} == set(loss.__all__)
    for name, function in rows:
        assert getattr(nn, name).function is getattr(nn, function)
