"""Training on a GPU: steps per second and memory of ResNet-50 and GPT-2 small, against PyTorch eager and compiled.

`python -m bench.gpu` measures on CUDA and prints one table; `--out FILE` writes it, too. `--tiny` makes a dry run on
the CPU, in sizes of no meaning and without torch.compile. Each figure is taken in a process of its own, so that none is
made on the memory of another; data stay on the device. What fails, by want of memory say, is told in its row.
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import gpu_models as models
from bench.table import show
from runtimes.session import cuda_works

NETWORKS = {
    "ResNet-50": (models.resnet, models.torch_resnet, models.resnet_batch),
    "GPT-2 small": (models.gpt2, models.torch_gpt2, models.gpt2_batch),
}
KINDS = ("graphc", "graphc, CUDA graph", "PyTorch eager", "PyTorch compiled")
TINY_KINDS = ("graphc", "PyTorch eager")
PRECISIONS = ("fp32", "tf32")
TIMEOUT = 900  # seconds for a figure, in which torch.compile compiles


def graphc_steps(network: str, kind: str, tf32: bool, tiny: bool) -> float:
    """Steps per second of `Trainer.fit`."""
    import graphc as gc

    build, _, batch = NETWORKS[network]
    sizes = models.TINY if tiny else models.FULL
    device = "cpu" if tiny else "cuda"
    options = gc.RuntimeOptions(tf32=tf32, cuda_graph="graph" in kind, threads=1 if tiny else None)
    trainer = gc.Trainer(build(sizes), optimizer=gc.optim.SGD(1e-3, momentum=0.9), device=device, options=options)
    data = batch(sizes)
    rows = len(data["x"])

    def run(steps: int) -> None:
        trainer.fit(data, batch_size=rows, epochs=steps, resident=True, shuffle=False, verbose=False)

    return rate_of(run, tiny)


def rate_of(run: Callable[[int], object], tiny: bool) -> float:
    """Steps per second of what makes so many steps, once warm."""
    warm_up, steps = (1, 2) if tiny else (5, 30)
    run(warm_up)
    start = time.perf_counter()
    run(steps)
    return steps / (time.perf_counter() - start)


def torch_steps(network: str, kind: str, tf32: bool, tiny: bool) -> float:
    """Steps per second of PyTorch."""
    import torch

    _, build, batch = NETWORKS[network]
    sizes = models.TINY if tiny else models.FULL
    device = torch.device("cpu" if tiny else "cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    net = build(sizes).to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    data = {name: torch.from_numpy(array).to(device) for name, array in batch(sizes).items()}

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(data["x"]), data["y"].flatten())
        loss.backward()
        optimizer.step()
        return loss

    call = torch.compile(step) if kind == "PyTorch compiled" else step

    def run(steps: int) -> None:
        for _ in range(steps):
            float(call())  # as graphc looks at each loss

    return rate_of(run, tiny)


def used_memory(tiny: bool) -> int:
    """Mebibytes of the GPU that are taken; of this process on the CPU."""
    if tiny:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def measured(network: str, kind: str, precision: str, tiny: bool) -> dict[str, float]:
    """Steps per second and memory, in this process."""
    steps = graphc_steps if kind.startswith("graphc") else torch_steps
    rate = steps(network, kind, precision == "tf32", tiny)
    return {"rate": rate, "memory": used_memory(tiny)}


def apart(network: str, kind: str, precision: str, tiny: bool) -> tuple[str, str]:
    """The same in a process of its own, as text; why it failed, where it did."""
    if kind.startswith("PyTorch") and importlib.util.find_spec("torch") is None:
        return "no PyTorch here", ""
    command = [sys.executable, "-m", "bench.gpu", "--one", network, kind, precision, *(["--tiny"] if tiny else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"no result after {TIMEOUT} s", ""
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:80], ""
    found = json.loads(done.stdout.splitlines()[-1])
    return f"{found['rate']:.2f}", f"{found['memory']:,.0f}"


def table(tiny: bool, kinds: tuple[str, ...] = KINDS, precisions: tuple[str, ...] = PRECISIONS) -> list[list[str]]:
    """A row for each network, precision and peer."""
    return [
        [network, precision, kind, *apart(network, kind, precision, tiny)]
        for network in NETWORKS
        for precision in precisions
        for kind in kinds
    ]


def report(tiny: bool, out: pathlib.Path | None) -> None:
    """Measure, print, and write."""
    rows = table(True, TINY_KINDS, PRECISIONS[:1]) if tiny else table(False)
    header = ["network", "precision", "what", "steps/s", "MiB"]
    title = "A dry run on the CPU: the figures mean nothing" if tiny else f"Training on {device_name()}"
    show(title, header, rows)
    if out is not None:
        lines = [header, ["---"] * len(header), *rows]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


def device_name() -> str:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> None:
    """Print the table, where there is a GPU."""
    if cuda_works():
        report(tiny=False, out=None)
    else:
        print("\nNo table of GPUs: onnxruntime has no CUDA that works here.")


def command_line() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="run on the CPU, in tiny sizes")
    parser.add_argument("--out", type=pathlib.Path, help="where to write the table as Markdown")
    parser.add_argument("--one", nargs=3, metavar=("NETWORK", "KIND", "PRECISION"), help="take one figure only")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(*given.one, given.tiny)))
    elif given.tiny or cuda_works():
        report(given.tiny, given.out)
    else:
        parser.error("onnxruntime has no CUDA that works here; --tiny makes a dry run on the CPU")


if __name__ == "__main__":
    command_line()
