"""The guard against regressions: ratios measured now against those committed. Ratios travel better than times."""

from collections.abc import Mapping
from typing import NamedTuple

from bench.peers.comparison import BASE, Comparison, Row

DROP = 0.15

Workloads = Mapping[str, Comparison]


class Verdict(NamedTuple):
    """A workload and a peer: the ratios then and now, and whether graphc has lost ground."""

    workload: str
    peer: str
    then: str
    now: str
    dropped: bool


def verdicts(committed: Workloads, measured: Workloads) -> list[Verdict]:
    """What became of each ratio that is among those committed and whose workload was measured again.

    A ratio has dropped when it is more than 15 % below the committed one, and its upper quartile below the committed
    lower one: beyond what runs differ by. Losing a ratio that could be measured is a drop too.
    """
    return [
        _verdict(name, peer, row, measured[name])
        for name in measured
        if name in committed
        for peer, row in committed[name]["rows"].items()
        if peer != BASE and (peer in measured[name]["rows"] or peer in measured[name]["dropped"])
    ]


def _verdict(workload: str, peer: str, then: Row, comparison: Comparison) -> Verdict:
    now = comparison["rows"].get(peer)
    if now is None:
        return Verdict(workload, peer, _text(then), comparison["dropped"][peer], dropped=True)
    less = now["ratio"] < (1 - DROP) * then["ratio"] and now["ratio_high"] < then["ratio_low"]
    return Verdict(workload, peer, _text(then), _text(now), dropped=less)


def _text(row: Row) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
