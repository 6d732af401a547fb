"""Exported steps train in Node and in a browser, by the module of examples/browser."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from chromium import EXECUTABLE, Page, page
from exported_steps import Exported, assert_same_curve, export, write_batches

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "browser"
PACKAGES = ["onnxruntime-node", "onnxruntime-web"]
IN_NODE = PACKAGES[: 2 if EXECUTABLE is None else 1]  # a browser runs the other one

pytestmark = [
    pytest.mark.runtimes,
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node: install Node.js 18 or later"),
    pytest.mark.skipif(
        not all((EXAMPLE / "node_modules" / name).exists() for name in PACKAGES),
        reason="the packages of examples/browser are not installed: run make test-runtimes, with npm and a network",
    ),
]
needs_browser = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium: apt-get install chromium")


PARK_MILLER = "(seed = (seed * 16807) % 2147483647) / 2147483647"

BATCHES = """
import { Tensor } from "onnxruntime-node";
import { readFileSync } from "node:fs";

const batches = JSON.parse(readFileSync("batches.json")).batches.map(({ x, y }) => ({
  x: new Tensor("float32", x.data, x.dims),
  y: new Tensor("int64", y.data.map(BigInt), y.dims),
}));
"""


def node(script: Path, *arguments: object) -> list[float]:
    """The list of numbers that a script prints."""
    command = ["node", str(script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def serve() -> ModuleType:
    """The script examples/browser/serve.py, as a module."""
    spec = importlib.util.spec_from_file_location("browser_serve", EXAMPLE / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(serve: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all that the page of the example fetches."""
    folder = tmp_path_factory.mktemp("browser")
    serve.export(folder)
    return folder


@contextlib.contextmanager
def opened(serve: ModuleType, files: Path, profile: Path) -> Iterator[Page]:
    """The page of the example in Chromium, with `files` to fetch."""
    with serve.server(files, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with page(profile) as browser:
                browser.open(f"http://127.0.0.1:{server.server_port}/index.html")
                browser.wait_for("document.readyState === 'complete'")
                yield browser
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("package", IN_NODE)
def test_the_curve_in_node_is_the_trainers(package: str, exported: Exported) -> None:
    assert_same_curve(node(HERE / "curve.mjs", package, exported.path.parent), exported)


@needs_browser
def test_the_curve_in_chromium_is_the_trainers(serve: ModuleType, exported: Exported, tmp_path: Path) -> None:
    folder = exported.path.parent
    shutil.copy(HERE / "curve.js", folder)
    with opened(serve, folder, tmp_path) as browser:
        losses = browser.evaluate(
            f"""(async () => {{
                const [ort, {{ Training }}, {{ curve }}] = await Promise.all(
                    ["{serve.LOCAL[1:]}", "/training.js", "/files/curve.js"].map((module) => import(module)));
                ort.env.wasm.numThreads = 1;
                const bytes = async (file) => new Uint8Array(await (await fetch("/files/" + file)).arrayBuffer());
                return curve(ort, Training, bytes);
            }})()"""
        )
    assert_same_curve(losses, exported)


@pytest.mark.parametrize("package", PACKAGES)
def test_fifty_steps_of_the_example_in_node_lower_the_loss(package: str, example: Path) -> None:
    losses = node(EXAMPLE / "train.mjs", package, example, 50)
    assert len(losses) == 50
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_the_driver_of_the_docs_runs(tmp_path: Path) -> None:
    exported = export("perceptron", tmp_path)
    write_batches(exported)
    page = (HERE.parents[1] / "docs" / "other-runtimes.md").read_text()
    (driver,) = re.findall(r"^```js\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert "1e-2" in driver
    (tmp_path / "node_modules").symlink_to(EXAMPLE / "node_modules")
    script = tmp_path / "driver.mjs"
    script.write_text(BATCHES + driver.replace("1e-2", "5e-3"))
    result = subprocess.run(["node", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose([float(line) for line in result.stdout.split()], exported.losses[:3], rtol=1e-5)


@needs_browser
def test_the_page_trains_and_reads_a_digit_that_is_drawn(serve: ModuleType, example: Path, tmp_path: Path) -> None:
    with opened(serve, example, tmp_path) as browser:
        browser.wait_for("document.getElementById('status').textContent === 'Ready.'")
        browser.evaluate(f"Math.random = (() => {{ let seed = 1; return () => {PARK_MILLER}; }})()")
        browser.evaluate("document.getElementById('train').click()")
        browser.wait_for("document.getElementById('status').textContent.startsWith('step 300:')")
        browser.wait_for("!document.getElementById('train').disabled")
        accuracy = browser.evaluate("document.getElementById('status').textContent").rpartition(" ")[2]
        assert float(accuracy) > 0.75
        left, top = browser.evaluate(
            "(({left, top}) => [left, top])(document.getElementById('bitmap').getBoundingClientRect())"
        )
        angles = np.linspace(0, 2 * np.pi, 40)
        browser.drag([(left + 128 + 60 * np.sin(a), top + 128 - 90 * np.cos(a)) for a in angles])
        browser.wait_for("document.getElementById('guess').textContent !== ''")
        assert browser.evaluate("document.getElementById('guess').textContent").startswith("0 ")
