"""Train on handwritten digits in the browser: exports the training step and its data, and serves the page.

python examples/browser/serve.py                 then open http://127.0.0.1:8000
python examples/browser/serve.py --cdn           without npm: the page loads onnxruntime-web from cdn.jsdelivr.net
python examples/browser/serve.py --export DIR    only write the files
"""

import argparse
import functools
import http.server
import json
from pathlib import Path

import numpy as np
import onnx
from sklearn.datasets import load_digits

import graphc as gc
from graphc import nn
from graphc.serial.export import to_model

HERE = Path(__file__).parent
VERSION = json.loads((HERE / "package.json").read_text())["dependencies"]["onnxruntime-web"]
BUNDLE = "dist/ort.wasm.bundle.min.mjs"
LOCAL = f"./node_modules/onnxruntime-web/{BUNDLE}"
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/{BUNDLE}"


def export(folder: Path, onnxruntime: str = LOCAL) -> None:
    """Write what the page fetches: the step with its initial state, the model, the data, and what to do with them."""
    folder.mkdir(parents=True, exist_ok=True)
    x = gc.input("x", ("batch", 64))
    y = gc.input("y", ("batch",), dtype="int64")
    logits = nn.Sequential(nn.Linear(128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(10), name="mlp")(x)
    loss = nn.cross_entropy(logits, y)
    step = gc.train_step(loss, optimizer=gc.optim.Adam(2e-3), metrics={"accuracy": gc.metrics.accuracy(logits, y)})
    gc.export_step(step, folder / "step.onnx")

    # The parameters stay inputs here: the page feeds those that it has trained so far.
    probabilities = gc.to_inference(gc.graph({"probabilities": gc.softmax(logits)}))
    onnx.save(to_model(probabilities), folder / "model.onnx")

    images, labels = load_digits(return_X_y=True)
    images.astype(np.uint8).tofile(folder / "pixels.bin")
    labels.astype(np.uint8).tofile(folder / "labels.bin")
    config = {"onnxruntime": onnxruntime, "learningRate": 2e-3, "batchSize": 32, "batches": 300}
    (folder / "config.json").write_text(json.dumps(config))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves this folder, and the exported files as `files/`."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def __init__(self, *args: object, files: Path, **options: object) -> None:
        self.files = files
        super().__init__(*args, directory=str(HERE), **options)

    def translate_path(self, path: str) -> str:
        """Where `path` lies on the disk."""
        if path.startswith("/files/"):
            return str(self.files / Path(path).name)
        return super().translate_path(path)

    def log_message(self, format: str, *args: object) -> None:
        """Only what failed."""
        if not str(args[1]).startswith(("2", "3")):
            super().log_message(format, *args)


def server(files: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of the page and of `files`, on this machine only."""
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, files=files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--cdn", action="store_true", help="load onnxruntime-web from a CDN")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the files to DIR, and end")
    options = parser.parse_args()
    if options.export:
        export(options.export)
        return
    if not options.cdn and not (HERE / LOCAL).exists():
        raise SystemExit(f"onnxruntime-web is not installed. Run: npm install --prefix {HERE}  (or pass --cdn)")
    files = HERE.parents[1] / "out" / "browser"
    export(files, CDN if options.cdn else LOCAL)
    print(f"open http://127.0.0.1:{options.port} (Ctrl-C ends)")
    try:
        server(files, options.port).serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
