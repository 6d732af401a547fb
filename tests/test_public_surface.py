"""The public names of graphc, and the stubs that show them to editors and type checkers."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys

import pytest

import graphc as gc
from graphc import stubgen
from graphc.ir import schema

PACKAGE = pathlib.Path(gc.__file__).parent

# A change here is a change of what users write: say so in CHANGELOG.md.
PUBLIC = [
    "BatchingError",
    "CSVLog",
    "Callback",
    "Checkpoint",
    "DType",
    "DTypeError",
    "DifferentiationError",
    "DimensionError",
    "EarlyStopping",
    "ExportError",
    "FeedError",
    "Graph",
    "GraphError",
    "GraphcError",
    "History",
    "JSONLog",
    "LearningCurves",
    "LoadedStep",
    "Model",
    "ModelImportError",
    "Node",
    "NonFiniteError",
    "OperatorError",
    "RuntimeOptions",
    "ShapeError",
    "StateError",
    "Tensor",
    "TensorBoard",
    "TensorType",
    "Trainer",
    "UnavailableError",
    "VerificationError",
    "__version__",
    "abs",
    "acos",
    "acosh",
    "add",
    "arange",
    "argmax",
    "argmin",
    "as_tensor",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bfloat16",
    "bool_",
    "broadcast_to",
    "can_differentiate",
    "cast",
    "ceil",
    "celu",
    "checkpoint",
    "clip",
    "compile",
    "concat",
    "cond",
    "constant",
    "cos",
    "cosh",
    "counter_based",
    "cumsum",
    "custom_vjp",
    "datasets",
    "diff",
    "dim",
    "divide",
    "draw",
    "einsum",
    "elementwise",
    "elu",
    "equal",
    "erf",
    "errors",
    "evaluate",
    "exp",
    "expand_dims",
    "explain",
    "export",
    "export_step",
    "export_training_info",
    "eye",
    "find_learning_rate",
    "flatten",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fori_loop",
    "full",
    "full_like",
    "functional",
    "gelu",
    "gemm",
    "grad",
    "graph",
    "greater",
    "greater_equal",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hessian",
    "hvp",
    "identity",
    "init_state",
    "input",
    "insert_batchnorm",
    "insert_dropout",
    "int32",
    "int64",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "latex",
    "leaky_relu",
    "less",
    "less_equal",
    "load",
    "load_state",
    "load_step",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "lower_convolutions",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "metrics",
    "min",
    "minimum",
    "mish",
    "multiply",
    "neg",
    "nn",
    "norm",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "op",
    "optim",
    "pad",
    "parameter",
    "parse",
    "per_example_grad",
    "permute",
    "pipelines",
    "placement",
    "plots",
    "pow",
    "prelu",
    "prod",
    "reciprocal",
    "relu",
    "relu6",
    "remainder",
    "reshape",
    "resume",
    "round",
    "rsqrt",
    "save_state",
    "scan",
    "scatter_add",
    "selu",
    "shape_of",
    "shape_tensor",
    "sigmoid",
    "sign",
    "silu",
    "simplify",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "softsign",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "straight_through",
    "substitute",
    "subtract",
    "sum",
    "summary",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tanhshrink",
    "testing",
    "tile",
    "to_inference",
    "to_sympy",
    "top_k",
    "train_step",
    "transpose",
    "uint8",
    "unroll",
    "unsqueeze",
    "value_and_grad",
    "var",
    "vjp",
    "vmap",
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]


def test_the_public_names_are_pinned() -> None:
    assert dir(gc) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(gc, name) is not None


@pytest.mark.parametrize("name", [n for n in PUBLIC if n not in ("__version__", *gc._DTYPES)])
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(gc, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'graphc' has no attribute 'softmaxx'"):
        gc.softmaxx  # noqa: B018


@pytest.mark.parametrize(("file", "text"), [("op.pyi", stubgen.operator_stub), ("__init__.pyi", stubgen.face_stub)])
def test_stubs_are_up_to_date(file: str, text: object) -> None:
    assert (PACKAGE / file).read_text() == text(), "run: python -m graphc.stubgen"


def test_the_face_stub_shows_every_public_name() -> None:
    stub = stubgen.face_stub()
    missing = [n for n in PUBLIC if f" as {n}\n" not in stub and f"\n{n}: " not in stub]
    assert missing == []


def test_the_operator_stub_has_every_operator_once() -> None:
    stub = stubgen.operator_stub()
    for name in schema.operator_names():
        overloads = 2 if f"@overload\ndef {name}(" in stub else 1
        assert stub.count(f"\ndef {name}(") == overloads


def test_the_operator_stub_types_inputs_attributes_and_outputs() -> None:
    stub = " ".join(stubgen.operator_stub().split())
    assert "def Clip(input: _Operand, min: _Operand | None = None, max: _Operand | None = None) -> Tensor:" in stub
    assert 'def Cast(input: _Operand, *, to: _DType, round_mode: str = "up", saturate: int = 1) -> Tensor:' in stub
    assert "def Concat(*inputs: _Operand, axis: int) -> Tensor:" in stub
    assert "largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:" in stub
    assert "num_outputs: int | None = None, outputs: int | None = None, ) -> tuple[Tensor, ...]:" in stub


USER = """\
import graphc as gc
from graphc import nn

x = gc.input("x", ("batch", 4))
h: gc.Tensor = nn.Sequential(nn.Linear(3), nn.ReLU())(x)
values, indices = gc.op.TopK(h, [2])
dropped: gc.Tensor = gc.op.Dropout(h)
both, mask = gc.op.Dropout(h, outputs=2)
left, right = gc.op.Split(gc.op.Cast(h, to=gc.float16), num_outputs=2)
total: gc.Tensor = gc.sum(values * 2.0 + 1, axis=0)
graph: gc.Graph = gc.graph({"total": total}, name="user")
text: str = graph.to_text()
"""


def test_mypy_accepts_a_users_program_and_sees_its_mistakes(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "user.py"
    program.write_text(USER + "gc.op.Relu()\ngc.op.Gemm(x, x, transC=1)\nwrong: int = gc.relu(x)\n")
    config = str(PACKAGE.parent / "pyproject.toml")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--config-file",
        config,
        str(program),
    ]
    output = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False).stdout
    first = USER.count("\n") + 1
    found = [line.partition("user.py:")[2] for line in output.splitlines() if "user.py:" in line and ": error:" in line]
    assert [int(line.partition(":")[0]) for line in found] == [first, first + 1, first + 2], output
