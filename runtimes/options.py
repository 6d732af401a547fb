"""The options of onnxruntime's sessions: threads, memory, exactness, and what CUDA may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from graphc.errors import OperatorError
from graphc.ir.origin import location

__all__ = ["RuntimeOptions", "cuda_options", "session_options"]

_ERRORS_ONLY = 3
_OPTIMIZATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ORDERS = {"default": "DEFAULT", "priority": "PRIORITY_BASED"}  # MEMORY_EFFICIENT is for training builds alone
_GROWTH = {"power_of_two": "kNextPowerOfTwo", "as_requested": "kSameAsRequested"}
_SEARCHES = {"exhaustive": "EXHAUSTIVE", "heuristic": "HEURISTIC", "default": "DEFAULT"}
_CHOICES = {
    "optimization": _OPTIMIZATION,
    "execution_order": _ORDERS,
    "arena_growth": _GROWTH,
    "cudnn_conv_algo_search": _SEARCHES,
}
_AT_LEAST = {"threads": 1, "operators_at_once": 1, "device_id": 0, "gpu_memory_limit": 1}


@dataclass(frozen=True)
class RuntimeOptions:
    """How onnxruntime runs a model; see docs/runtimes.md.

    Attributes:
        threads: threads inside one operator; None leaves the number to onnxruntime (one per physical core).
        spinning: whether idle threads spin. Spinning is faster on idle cores, and slower where processes share them.
        operators_at_once: how many operators may run at once, each with its threads; for models with wide branches of
            small operators.
        execution_order: the order of operators that do not depend on one another, "default" or "priority". Results are
            the same.
        denormals_as_zero: flush denormal numbers to zero: faster where values decay, not bit-identical. onnxruntime
            decides this for the calling thread when it makes the first session of a process.
        deterministic: choose kernels that give the same bits in each run, where there is a choice. On CUDA, scattered
            sums stay in the order of its atomic operations.
        optimization: onnxruntime's own graph optimizations: "disabled", "basic", "extended" or "all".
        arena: whether memory that is freed on the CPU is kept for the next use; without, each run asks the system.
        memory_pattern: whether the memory of a run is planned from the one before, as one block, when shapes repeat;
            not for models of more than 50,000 nodes, where making the plan takes long.
        arena_growth: how CUDA's arena grows: to the next "power_of_two", or by what is asked for ("as_requested").
        tf32: whether CUDA may round the operands of float32 matrix products and convolutions to TF32, 10 bits of
            mantissa, to be faster; as is onnxruntime's default.
        device_id: which GPU.
        gpu_memory_limit: bytes that CUDA's arena may take; None for all there are. cuDNN's workspaces come on top.
        cudnn_conv_algo_search: how the algorithm of a convolution is chosen: "exhaustive" measures all of them for each
            new shape, "heuristic" asks cuDNN, "default" takes the first one.
        cuda_graph: whether steps are recorded as CUDA graphs and replayed, one for each set of state buffers. All
            operators must run on CUDA, without control flow; every shape of batch is recorded on its own.
        strict: whether it is an error when an operator falls back to the CPU, when a tensor is copied between devices
            within a run, or when CUDA was asked for by "auto" and does not work.
        profile: where onnxruntime writes a profile of each operator, as the beginning of a file name; None for none.
            `Trainer.profile` reads it.

    Raises:
        OperatorError: an option is not one of its choices, or out of range.
    """

    threads: int | None = None
    spinning: bool = True
    operators_at_once: int = 1
    execution_order: Literal["default", "priority"] = "default"
    denormals_as_zero: bool = False
    deterministic: bool = False
    optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    arena: bool = True
    memory_pattern: bool = True
    arena_growth: Literal["power_of_two", "as_requested"] = "power_of_two"
    tf32: bool = True
    device_id: int = 0
    gpu_memory_limit: int | None = None
    cudnn_conv_algo_search: Literal["exhaustive", "heuristic", "default"] = "exhaustive"
    cuda_graph: bool = False
    strict: bool = False
    profile: str | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                expected = ", ".join(map(repr, choices))
                raise OperatorError(
                    f"RuntimeOptions: {name} is {getattr(self, name)!r}; expected one of {expected}{location()}"
                )
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("threads", "gpu_memory_limit"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise OperatorError(
                    f"RuntimeOptions: {name} is {value!r}; expected an integer of {least} or more{location()}"
                )


def session_options(ort: Any, options: RuntimeOptions) -> Any:
    """`options` as onnxruntime's SessionOptions; `ort` is the module."""
    made = ort.SessionOptions()
    made.log_severity_level = _ERRORS_ONLY
    made.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMIZATION[options.optimization])
    made.execution_order = getattr(ort.ExecutionOrder, _ORDERS[options.execution_order])
    made.enable_cpu_mem_arena = options.arena
    made.enable_mem_pattern = options.memory_pattern
    made.use_deterministic_compute = options.deterministic
    if options.threads is not None:
        made.intra_op_num_threads = options.threads
    if options.operators_at_once > 1:
        made.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        made.inter_op_num_threads = options.operators_at_once
    if not options.spinning:
        made.add_session_config_entry("session.intra_op.allow_spinning", "0")
        made.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if options.profile is not None:
        made.enable_profiling = True
        made.profile_file_prefix = options.profile
    if options.denormals_as_zero:
        made.add_session_config_entry("session.set_denormal_as_zero", "1")
    return made


def cuda_options(options: RuntimeOptions) -> dict[str, str]:
    """`options` as those of onnxruntime's CUDA provider."""
    made = {
        "device_id": str(options.device_id),
        "use_tf32": str(int(options.tf32)),
        "cudnn_conv_algo_search": _SEARCHES[options.cudnn_conv_algo_search],
        "arena_extend_strategy": _GROWTH[options.arena_growth],
        "enable_cuda_graph": str(int(options.cuda_graph)),
    }
    if options.gpu_memory_limit is not None:
        made["gpu_mem_limit"] = str(options.gpu_memory_limit)
    return made
