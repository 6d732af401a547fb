"""`python -m bench [TABLE ...]`: run the named measurements, all when none is named. Each is a module of this one."""

import argparse
import importlib
import pkgutil

import bench

HELPERS = ("__main__", "gpu_models", "models", "rounds", "table")
TABLES = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in HELPERS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"any of {', '.join(TABLES)}; all when none")
    names = parser.parse_args().tables or TABLES
    unknown = sorted(set(names) - set(TABLES))
    if unknown:
        parser.error(f"there is no table {', '.join(unknown)}; the tables are {', '.join(TABLES)}")
    for name in names:
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
