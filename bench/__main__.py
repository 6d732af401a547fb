"""`python -m bench`: graphc and its peers side by side, written to docs/benchmarks.md, in up to 90 minutes.

`python -m bench peers ...`, `exports ...` and `scaling ...` measure parts of it; `--help` after one says what.
`python -m bench --quick --against docs/benchmarks.json` tells whether ratios have dropped.
`python -m bench TABLE ...` runs other measurements, of graphc itself, each a module of this package.
"""

import argparse
import importlib
import pkgutil
import sys

import bench

COMMANDS = {
    "peers": "bench.peers.side_by_side",
    "exports": "bench.peers.inference",
    "scaling": "bench.peers.scaling",
}
HELPERS = ("__main__", "gpu_models", "models", "peers", "rounds", "table")
TABLES = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in HELPERS)


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        importlib.import_module(COMMANDS[arguments[0]]).main(arguments[1:])
    elif {"--quick", "--against"} & set(arguments):
        importlib.import_module(COMMANDS["peers"]).main(arguments)
    elif arguments:
        tables(arguments)
    else:
        importlib.import_module("bench.peers.everything").main()


def tables(arguments: list[str]) -> None:
    """Run the named measurements."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=form)
    parser.add_argument("tables", nargs="+", metavar="TABLE", help=f"any of {', '.join(TABLES)}")
    names = parser.parse_args(arguments).tables
    unknown = sorted(set(names) - set(TABLES))
    if unknown:
        parser.error(f"there is no table {', '.join(unknown)}; the tables are {', '.join(TABLES)}")
    for name in names:
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
