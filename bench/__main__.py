"""`python -m bench [graph] [imports] [step]`: run the named measurements, all when none is named."""

import argparse

from bench import graph, imports, step

TABLES = {"graph": graph.main, "imports": imports.main, "step": step.main}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"any of {', '.join(TABLES)}; all when none")
    names = parser.parse_args().tables or list(TABLES)
    unknown = sorted(set(names) - set(TABLES))
    if unknown:
        parser.error(f"there is no table {', '.join(unknown)}; the tables are {', '.join(TABLES)}")
    for name in names:
        TABLES[name]()


if __name__ == "__main__":
    main()
