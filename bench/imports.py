"""How long imports take, each in a fresh interpreter."""

import statistics
import subprocess
import sys

from bench.table import show

STATEMENTS = (
    "import graphc",
    "import graphc as gc; gc.input('x', (2, 3))",
    "import graphc as gc; gc.input('x', ('batch', 3))",
    "import numpy",
    "import onnxruntime",
)
REPEATS = 7


def seconds(statement: str) -> float:
    """The seconds one execution of `statement` takes in a fresh interpreter."""
    program = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    rows = []
    for statement in STATEMENTS:
        runs = [seconds(statement) for _ in range(REPEATS)]
        rows.append([statement, f"{statistics.median(runs):.3f}", f"{min(runs):.3f}", f"{max(runs):.3f}"])
    show("Import time, seconds in a fresh interpreter", ["statement", "median", "least", "most"], rows)
