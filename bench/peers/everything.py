"""All that docs/benchmarks.md holds, one part after another; each is written as soon as it is measured."""

from collections.abc import Sequence

from bench.peers import inference, results, scaling, side_by_side
from bench.peers.side_by_side import DOCS, write


def main(_: Sequence[str] = ()) -> None:
    """Measure training, inference and scaling."""
    side_by_side.main()
    begun = results.provenance()
    write(DOCS, "inference", {"provenance": begun, "figures": inference.measure()})
    scaling.main()
