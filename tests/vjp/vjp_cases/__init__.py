"""The table of cases that prove the gradient rules: small graphs for every registered rule, by family."""

from vjp_cases import elementwise, indexing, layout, linalg, loss, neural, normalization, recurrent, reduction
from vjp_cases.case import Case

CASES: list[Case] = [
    case
    for family in (elementwise, layout, reduction, indexing, linalg, loss, neural, normalization, recurrent)
    for case in family.CASES
]
