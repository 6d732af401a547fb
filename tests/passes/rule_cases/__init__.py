"""The table of cases that prove the rewrite rules, by family: of each rule some that match and some that must not."""

from rule_cases import arithmetic, broadcasting, conversion, layout, linalg, logic, reduction, sequence, signs, views
from rule_cases.case import Case

CASES: list[Case] = [
    case
    for family in (arithmetic, signs, logic, conversion, views, layout, broadcasting, reduction, linalg, sequence)
    for case in family.CASES
]
