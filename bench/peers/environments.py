"""The environment of each peer: a folder `.bench/NAME` with exactly the packages that the peer asks for.

What a peer asks for is the constant REQUIREMENTS of its module, which is read without importing it. An environment is
made on demand and marked complete by a stamp; it is made anew when the requirements change.
"""

import ast
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".bench"
STAMP = ".complete"
RUNS_ON = ["graphc", "onnxruntime", "onnx", "numpy"]
OWN_PACKAGES = ("graphc", "passes", "runtimes")
NOT_COUNTED = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


class Peer(NamedTuple):
    """Who trains: a module of `bench.peers`, in an environment, with arguments for its `program`."""

    title: str
    module: str
    arguments: Mapping[str, Any] = {}

    @property
    def environment(self) -> str:
        """The name of its environment: that of the module. PyTorch eager and compiled share one."""
        return self.module.removeprefix("with_")


PEERS: dict[str, Peer] = {
    "graphc": Peer("graphc", "with_graphc"),
    "torch": Peer("PyTorch, eager", "with_torch"),
    "torch-compile": Peer("torch.compile", "with_torch", {"compiled": True}),
    "jax": Peer("JAX, jit", "with_jax"),
    "tinygrad": Peer("tinygrad", "with_tinygrad"),
    "pytensor": Peer("PyTensor", "with_pytensor"),
    "onnxruntime-training": Peer("onnxruntime-training", "with_onnxruntime_training"),
    "onnxsim": Peer("onnxsim", "with_onnxsim"),
}


class EnvironmentFailure(Exception):
    """An environment could not be made; says by which command, and the end of what it printed."""


def python(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter of the environment `name`, which is made first where it is missing or out of date.

    Raises EnvironmentFailure when that does not succeed.
    """
    wanted = requirements(name)
    home = folder / name
    stamp, interpreter = home / STAMP, home / "bin" / "python"
    digest = _digest(wanted)
    if not (stamp.is_file() and stamp.read_text("utf-8") == digest):
        print(f"making {home}: {' '.join(wanted)}", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        _run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
        stamp.write_text(digest, "utf-8")
    return interpreter


def requirements(name: str) -> tuple[str, ...]:
    """The arguments for pip: REQUIREMENTS of the module `with_<name>`, or `<name>` where there is no such module.

    Raises EnvironmentFailure where there is neither, or no such constant.
    """
    for module in (f"with_{name}", name):
        path = Path(__file__).with_name(f"{module}.py")
        if path.is_file():
            return _constant(path, "REQUIREMENTS")
    raise EnvironmentFailure(f"there is no peer {name}: no file with_{name}.py in {Path(__file__).parent}")


def main_versions(name: str, interpreter: Path) -> dict[str, str]:
    """The versions of the packages that an environment is asked for by name; of graphc's, of those it runs on."""
    names = [re.split(r"[=<>\[]", wanted)[0].lower() for wanted in requirements(name) if not wanted.startswith("-")]
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names or RUNS_ON}}}))"
    found: dict[str, str] = json.loads(_run([str(interpreter), "-I", "-c", code]))
    return found


def install_size(interpreter: Path) -> int:
    """The bytes that the packages of an environment take, without pip and setuptools.

    Where graphc is linked to, not copied, its sources count as if they had been copied.
    """
    found = _run([str(interpreter), "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    packages = Path(found.strip())
    entries = [e for e in packages.iterdir() if not e.name.startswith(NOT_COUNTED)]
    if any(e.name.startswith("__editable__") for e in entries):
        entries += [ROOT / name for name in OWN_PACKAGES]
    return sum(_size(entry) for entry in entries)


def _digest(wanted: tuple[str, ...]) -> str:
    text = "\n".join((sys.version, *wanted))
    if any(w.startswith("--editable") for w in wanted):
        text += (ROOT / "pyproject.toml").read_text("utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def _constant(path: Path, name: str) -> tuple[str, ...]:
    for statement in ast.parse(path.read_text("utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == name for t in targets) and isinstance(statement, ast.Assign):
            return tuple(ast.literal_eval(statement.value))
    raise EnvironmentFailure(f"{path}: found no constant {name}; expected a tuple of pip's requirements")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise EnvironmentFailure(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done.stdout


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink())
    return path.stat().st_size
