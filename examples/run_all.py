"""Run every example, each in a process of its own, and say how long each took; `make examples` calls this.

python examples/run_all.py --out docs/figures
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import rich
import typer
from rich.table import Table

HERE = Path(__file__).parent
EXAMPLES = (
    "perceptron",
    "activations",
    "dense",
    "will_i_pass",
    "xor",
    "linear_stays_linear",
    "chain_rule",
    "learning_rates",
    "batch_sizes",
    "optimizers",
    "digits",
    "overfitting",
    "inserted_by_passes",
    "loss_landscape",
    "folk_tunes",
    "gpt",
    "karate_club",
    "transfer",
)


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="sizes for a quick look: figures show less")] = False,
) -> None:
    """Run every example in the order of the lectures."""
    out.mkdir(parents=True, exist_ok=True)
    table = Table("example", "seconds", title="Examples")
    failed = []
    for name in EXAMPLES:
        rich.print(f"[bold]{name}[/bold]")
        start = time.perf_counter()
        command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(out), *(["--small"] if small else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        table.add_row(name, f"{time.perf_counter() - start:.1f}")
    rich.print(table)
    if failed:
        rich.print(f"[bold red]failed: {', '.join(failed)}[/bold red]")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
