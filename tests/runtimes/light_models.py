"""The published image classifiers that onnx ships without their weights, with weights drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnx.numpy_helper

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx"))


def light_model(name: str, size: int | None = None) -> onnx.ModelProto:
    """The model, for images of `size` x `size`; as published, of 224 x 224 when None.

    In the files a weight is a ConstantOfShape of the shape that an initializer holds; here it is an initializer.
    """
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    fills = [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in shapes]
    roles = {n.input[i]: (n.op_type, i) for n in graph.node for i in range(len(n.input))}
    rng = np.random.default_rng(0)
    for node in fills:
        weight = _draw(rng, tuple(int(d) for d in shapes[node.input[0]]), *roles.get(node.output[0], ("", 0)))
        graph.initializer.append(onnx.numpy_helper.from_array(weight, node.output[0]))
        graph.node.remove(node)
    unused = {n.input[0] for n in fills}
    for values in (graph.initializer, graph.input):
        for value in [v for v in values if v.name in unused]:
            values.remove(value)
    if size is not None:
        (image,) = [i for i in graph.input if i.name not in shapes]
        for axis in (2, 3):
            image.type.tensor_type.shape.dim[axis].dim_value = size
    return model


def _draw(rng: np.random.Generator, shape: tuple[int, ...], op: str, position: int) -> np.ndarray:
    """Weights that keep the scale of what flows through; positive factors and variances of normalizations."""
    if op == "BatchNormalization" and position in (1, 4):  # factors below 1: sums over residual branches must not grow
        low, high = {1: (0.3, 0.6), 4: (0.8, 1.2)}[position]
        return rng.uniform(low, high, shape).astype(np.float32)
    fan_in = np.prod(shape[1:]) if len(shape) > 1 else 100
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
