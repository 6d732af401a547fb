"""The rules of the house: one direction of imports, small files, a light import, explicit public names."""

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ALLOWED = {
    "graphc": {"graphc"},
    "passes": {"graphc", "passes"},
    "runtimes": {"graphc", "passes", "runtimes"},
}
SOURCES = [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]
FACE = ROOT / "graphc" / "__init__.py"


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """The names of all modules that a file imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", [p for p in SOURCES if p != FACE], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: pathlib.Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    tops = {name.partition(".")[0] for name in imported_modules(ast.parse(path.read_text()))}
    assert tops & set(ALLOWED) <= ALLOWED[room]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_small_and_say_what_they_export(path: pathlib.Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(ast.parse(text)), "a file says what it is for"


def test_importing_graphc_imports_no_heavy_package() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "sympy", "rich", "typer", "torch", "sklearn", "matplotlib")
    program = f"import sys, graphc; print(*[name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.split() == []


def test_a_static_graph_needs_no_sympy_and_no_onnxruntime() -> None:
    program = (
        "import sys, graphc as gc; x = gc.input('x', (2, 3)); gc.grad(gc.sum(gc.softmax(x * 2.0)), x);"
        "print(*[name for name in ('onnxruntime', 'sympy', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.split() == []
