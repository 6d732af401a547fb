"""The table of cases that prove the batching rules, beyond those that the cases of gradient rules prove already."""

from batching_cases import control, elements, layout, neural, sequences
from batching_cases.case import BATCH, Case

__all__ = ["BATCH", "CASES", "Case"]

CASES: list[Case] = [*elements.CASES, *layout.CASES, *neural.CASES, *control.CASES, *sequences.CASES]
