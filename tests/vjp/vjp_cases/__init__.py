"""The table of cases that prove the gradient rules: small graphs for every registered rule, by family."""

from vjp_cases import (
    attention,
    bodies,
    elementwise,
    fourier,
    indexing,
    later,
    layout,
    linalg,
    loss,
    neural,
    normalization,
    recurrent,
    reduction,
    regions,
    resampling,
    sequence,
)
from vjp_cases.case import Case

_FAMILIES = (
    *(elementwise, layout, reduction, indexing, linalg),
    *(loss, neural, normalization, recurrent, resampling, regions, fourier, attention, sequence, later, bodies),
)
CASES: list[Case] = [case for family in _FAMILIES for case in family.CASES]
