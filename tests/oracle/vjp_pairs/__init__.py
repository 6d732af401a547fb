"""The table of operators that PyTorch has too."""

from vjp_pairs import elementwise, later, layout, neural, signal
from vjp_pairs.pair import Pair

PAIRS: list[Pair] = [*elementwise.PAIRS, *layout.PAIRS, *neural.PAIRS, *later.PAIRS, *signal.PAIRS]
