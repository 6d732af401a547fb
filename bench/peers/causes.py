"""Why graphc is slower than a peer, by workload and peer: written by hand, from the profiles of both.

The report prints a cause beside each row where graphc takes over 5 % longer, and says where one is still to be found.
"""

_CALL = "next to nothing is computed: graphc checks each batch in Python, and onnxruntime starts each operator"
_ADAM = "XLA fuses an update of Adam into one loop over the weights; in ONNX each of its operators reads and writes it"
_SORTED = (
    "onnxruntime's ScatterND for the CPU loses sums on several threads, so that graphc sorts the edges in each step, "
    "and sums in several operators what a compiler adds up in one loop"
)
_SLICES = (
    "the gradient of a convolution in its weight has no operator in onnxruntime: copies of what is under each element "
    "of the kernel take a sixth of the step"
)
_FUSED = (
    "the compiler fuses elementwise operators between the matrix products; onnxruntime reads and writes their results"
)
_KERNELS = (
    "the gradients of attention, layer normalization and Gelu are one kernel each in PyTorch, and several operators in "
    "ONNX"
)

CAUSES: dict[tuple[str, str], str] = {
    **{("xor", peer): _CALL for peer in ("jax", "onnxruntime-training", "onnxsim", "torch-compile")},
    ("mlp-adam", "jax"): _ADAM,
    ("xor", "pytensor"): "the whole step is C code, which takes NumPy arrays as they are",
    **{("gcn", peer): _SORTED for peer in ("torch", "torch-compile", "jax")},
    **{("resnet18", peer): _SLICES for peer in ("torch", "torch-compile", "onnxruntime-training")},
    ("gpt", "torch"): _KERNELS,
    ("gpt", "torch-compile"): _FUSED,
}
