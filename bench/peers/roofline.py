"""The roofline: a plain Gemm of two 2048 x 2048 float32 matrices in onnxruntime, run like a peer in the same rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers.workloads import Workload

SIZE = 2048
FLOPS = 2 * SIZE**3


def program(workload: Workload, *, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step that multiplies the two matrices, whatever the workload and its batch; the result has no loss."""
    import onnx  # FLOPS above is read where onnx may lack
    import onnxruntime

    shape = (SIZE, SIZE)
    a, b, c = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "abc")
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "gemm", [a, b], [c]), ir_version=10)
    model.opset_import[0].version = 21
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    binding = session.io_binding()
    for name in "ab":
        array = rng.normal(size=shape).astype("float32")
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    binding.bind_ortvalue_output("c", onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32))

    def step(_: dict[str, np.ndarray]) -> float:
        session.run_with_iobinding(binding)
        return 0.0

    return step
