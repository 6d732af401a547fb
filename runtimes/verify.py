"""Checks of exported files: the same numbers from a fresh session as from the graph."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import DimensionError, UnavailableError, VerificationError
from graphc.ir import dims, schema
from graphc.ir.build import leaf
from graphc.ir.constant import Array
from graphc.ir.graph import Graph, substitute
from graphc.ir.graph import graph as closed
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, SequenceType, TensorType, Type, as_dtype
from graphc.serial.export import to_model
from passes.cost import cost
from runtimes import buffers
from runtimes.index_ranges import index_ranges
from runtimes.reference import ReferenceSession
from runtimes.session import RuntimeOptions, Session

__all__ = ["TOLERANCES", "difference", "random_feeds", "verify_file"]

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far an output may be off, relative to its largest element, by dtype; integers and booleans must be equal."""

_CONVERTED = {"float16": 5e-2, "bfloat16": 2e-1}
"""How far the outputs of a file may be off that computes in another precision than its graph."""

Run: TypeAlias = "tuple[dict[str, Any], dict[str, Any]]"
"""What a file was fed, and its outputs by name."""

_SIZES = (2, 5)
_OTHER_SIZES = (0, 32, 224, *range(1, 17), 64, 128, 256, 512)
"""What other dimensions than the batch are tried with, until the file runs; 0 stands for sizes near the batch's."""
_AFFORDABLE = 2e9
"""The operations up to which ONNX's reference evaluator is asked: some seconds."""
_PLAIN = RuntimeOptions(optimization="disabled")
_EVALUATOR_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What the reference evaluator raises for operators and values that it does not know."""
_LARGE = 1 << 20
"""Bytes of constants that are fed to what evaluates the graph, as copies in a model would take their memory again."""


def verify_file(
    path: str | os.PathLike[str],
    graph: Graph,
    state: Mapping[str, Array],
    *,
    dtype: DType | None = None,
    feeds: Mapping[str, Array] | None = None,
    loose: Collection[str] = (),
) -> None:
    """Compare an ONNX file in onnxruntime on the CPU with an evaluation of `graph`, for two batch sizes.

    The graph is evaluated as it is by ONNX's reference evaluator; by onnxruntime without its optimizations where that
    would take long (more than 2e9 operations), where the graph has operators of other domains, and where the evaluator
    disagrees with the file or fails, as it does for some operators: the file must agree with one of the two. Symbolic
    sizes other than the first of an input are small, or the first of those tried with which the file runs; models with
    a batch of one written into them are run on one row. Where the file fails, the graph must, too. Of outputs that
    depend on random operators, the type and the shape are compared.

    Args:
        path: the file; its inputs and outputs bear the names of the graph's.
        graph: what it must compute.
        state: the values of the parameters of `graph`.
        dtype: the floating-point type that the file computes in, where it is another than the graph's.
        feeds: the inputs to compare for, in place of random ones.
        loose: names of outputs of which only type and shape are compared.

    Raises:
        VerificationError: an output is off (it is named, and how far), or the file does not run on random inputs.
        UnavailableError: onnxruntime is not installed, or lacks a kernel for an operator of the file.
    """
    evaluate = _Evaluation(graph, state)
    runs = _runs(path, graph, state, feeds, evaluate)
    tolerance = TOLERANCES if dtype is None else {**TOLERANCES, **dict.fromkeys(TOLERANCES, _CONVERTED[dtype.name])}
    random = _random_outputs(graph)
    exact = dtype is None

    def problem_of(results: Mapping[str, Any], expected: list[Any]) -> str | None:
        for name, t, value in zip(graph.output_names, graph.outputs, expected, strict=True):
            if name not in results:
                return f"the file has the outputs {', '.join(results)}; expected {name!r}"
            found = results[name]
            wanted = value if dtype is None else _as_converted(value, found, dtype)
            only_type = t in random or name in loose
            wrong = difference(found, wanted, tolerance, exact=exact, only_type=only_type)
            if wrong is not None:
                return f"output {name!r} of the exported file {wrong}"
        return None

    for given, results in runs:
        problems: list[str] = []
        for expected in evaluate.opinions(given):
            problem = problem_of(results, expected)
            if problem is None:
                break
            problems.append(problem)
        else:
            reason = problems[0] if problems else "nothing evaluates the graph, to compare the file with"
            raise VerificationError(f"{graph.name}: {reason} (for {_shapes(given)}){location()}")


def _runs(
    path: str | os.PathLike[str],
    graph: Graph,
    state: Mapping[str, Array],
    feeds: Mapping[str, Array] | None,
    evaluate: _Evaluation,
) -> list[Run]:
    """Feeds, and what the file makes of them. The session is gone afterwards: large files are mapped once at a time."""
    try:
        session = Session(path)
    except _ort_errors() as error:
        raise VerificationError(
            f"{graph.name}: onnxruntime does not load the file: {_first_line(error)}{location()}"
        ) from error
    if feeds is not None:
        given = {name: np.asarray(feeds[name], t.dtype.numpy) for name, t in graph.feeds.items()}
        return [(given, _run(session, {**state, **given}))]
    reasons: list[str] = []
    found = [_run_on_size(session, graph, state, size, evaluate, reasons) for size in _SIZES]
    if not any(found):
        found = [_run_on_size(session, graph, state, 1, evaluate, reasons)]
    if not any(found):
        raise VerificationError(
            f"{graph.name}: neither the exported file nor its graph runs on random inputs: {reasons[0]}{location()}. "
            "Pass verify={name: array, ...} with inputs that suit the model, or verify=False."
        )
    return [run for run in found if run is not None]


def _run_on_size(
    session: Session, graph: Graph, state: Mapping[str, Array], size: int, evaluate: _Evaluation, reasons: list[str]
) -> Run | None:
    """The first run of the file for a batch of `size`; None when it runs with no other sizes, and its graph neither."""
    for other in _OTHER_SIZES:
        try:
            given = random_feeds(graph, size, other=other or None)
        except DimensionError as error:
            reasons.append(str(error))
            continue
        try:
            return given, _run(session, {**state, **given})
        except _ort_errors() as error:
            reasons.append(_first_line(error))
            if evaluate.runs_on(given):
                shapes = _shapes(given)
                raise VerificationError(
                    f"{graph.name}: the exported file does not run where its graph does: {reasons[-1]} (for {shapes})"
                    f"{location()}"
                ) from error
    return None


def _ort_errors() -> tuple[type[Exception], ...]:
    errors = buffers.onnxruntime().capi.onnxruntime_pybind11_state
    return errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.RuntimeException


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _shapes(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{feed}: {np.shape(array)}" for feed, array in given.items())


def _run(session: Session, given: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs by name, for what the file has of the given inputs, in its element types."""
    types = {i.name: i.type for i in session.raw.get_inputs()}
    low = {"tensor(float16)": "float16", "tensor(bfloat16)": "bfloat16"}
    taken = {
        name: value.astype(as_dtype(low[types[name]]).numpy) if types[name] in low else value
        for name, value in given.items()
        if name in types
    }
    unknown = types.keys() - taken.keys()
    if unknown:
        raise VerificationError(f"the file has the inputs {sorted(unknown)}, which its graph has not{location()}")
    return dict(zip(session.output_names, session.run(taken, quiet=True), strict=True))


def _as_converted(expected: Any, found: Any, dtype: DType) -> Any:
    """The expected value in the type that the outputs of the file have where they are converted, too."""
    if isinstance(expected, list) and isinstance(found, list):
        return [_as_converted(a, b, dtype) for a, b in zip(expected, found, strict=False)]
    converted = getattr(found, "dtype", None) == dtype.numpy and getattr(expected, "dtype", None) == np.float32
    return expected.astype(dtype.numpy) if converted else expected


class _Evaluation:
    """The graph as it is, ready to be evaluated. Its large constants are fed, as its state is."""

    def __init__(self, graph: Graph, state: Mapping[str, Array]) -> None:
        large = [n for n in graph.nodes if n.is_constant and n.attrs["value"].array.nbytes >= _LARGE and not n.is_call]
        stand_ins = {n.out(): leaf(INPUT, f"graphc constant {i}", n.out().type, {}) for i, n in enumerate(large)}
        self._fed = {str(t.name): c.node.attrs["value"].array for c, t in stand_ins.items()}
        self._fed |= {name: state[name] for name in graph.parameters}
        results = dict(zip(graph.output_names, substitute(graph.outputs, stand_ins), strict=True))
        self._model = to_model(closed(results, [*graph.inputs, *stand_ins.values()], name=graph.name))
        foreign = any(n.domain for n in graph.nodes if not n.is_leaf)
        self._is_cheap = not foreign and cost(graph).flops <= _AFFORDABLE
        self._session: Session | None = None
        self._reference: ReferenceSession | None = None

    def opinions(self, feeds: Mapping[str, Any]) -> Iterator[list[Any]]:
        """What the graph computes: by ONNX's reference evaluator if that is cheap, then by onnxruntime as it is.

        The evaluator errs now and then, or fails for a graph that is right; so the second opinion counts as well.
        """
        given = {**feeds, **self._fed}
        results = None
        if self._is_cheap:
            with contextlib.suppress(*_EVALUATOR_ERRORS):
                self._reference = self._reference or ReferenceSession(self._model)
                results = self._reference.run(given)
        if results is not None:
            yield results
        if self.runs_on(feeds):
            assert self._session is not None
            yield self._session.run(given, quiet=True)

    def runs_on(self, feeds: Mapping[str, Any]) -> bool:
        """Whether onnxruntime can run the graph on these feeds."""
        try:
            self._session = self._session or Session(self._model, options=_PLAIN)
            self._session.run({**feeds, **self._fed}, quiet=True)
        except UnavailableError:
            return False
        except _ort_errors():
            return False
        return True


def random_feeds(graph: Graph, size: int, seed: int = 0, other: int | None = None) -> dict[str, Any]:
    """Random arrays for the fed inputs: normal floats, labels and positions that are in range, else 0 and 1; letters.

    Symbols are `size` or a bit more; those that are the first dimension of no input are `other`, if given.
    """
    rng = np.random.default_rng(seed)
    kinds = {name: _element(t.type) for name, t in graph.feeds.items()}
    names = sorted(dims.symbols(d for kind in kinds.values() for d in kind.shape or ()))
    first = dims.symbols(kind.shape[0] for kind in kinds.values() if kind.shape)
    sizes = {name: size + i if other is None or name in first else other for i, name in enumerate(names)}
    limits = {name: (found.low, found.high) for name, found in index_ranges(graph).items()}
    made: dict[str, Any] = {}
    for name, t in graph.feeds.items():
        drawn = [_random(kinds[name], sizes, rng, limits.get(name, (0, 1))) for _ in range(2)]
        made[name] = drawn if isinstance(t.type, SequenceType) else drawn[0]
    return made


def _element(t: Type) -> TensorType:
    while not isinstance(t, TensorType):
        t = t.element
    return t


def _random(kind: TensorType, sizes: Mapping[str, int], rng: np.random.Generator, limits: tuple[int, int]) -> Array:
    shape = [int(str(dims.evaluate(d, sizes))) for d in kind.shape or ()]
    if any(d < 0 for d in shape):
        raise DimensionError(f"the dimensions {kind} of an input are {shape} for {dict(sizes)}")
    if kind.dtype.is_float:
        return rng.standard_normal(shape).astype(kind.dtype.numpy)
    drawn = rng.integers(limits[0], limits[1], shape, endpoint=True)
    return (
        np.asarray(np.array(["a", "b"], object)[drawn], object)
        if kind.dtype.kind == "s"
        else drawn.astype(kind.dtype.numpy)
    )


def _random_outputs(graph: Graph) -> set[Tensor]:
    """The outputs that depend on random operators."""
    tainted: set[Node] = set()
    for node in graph.nodes:
        if _is_random(node) or any(t is not None and t.node in tainted for t in node.inputs):
            tainted.add(node)
    return {t for t in graph.outputs if t.node in tainted}


def _is_random(node: Node) -> bool:
    if node.is_leaf or node.domain:
        return False
    bodies = [value for value in node.attrs.values() if isinstance(value, Graph)]
    return not schema.spec(node.op).deterministic or any(_is_random(n) for body in bodies for n in body.nodes)


def difference(
    found: Any,
    expected: Any,
    tolerances: Mapping[str, float] = TOLERANCES,
    *,
    exact: bool = True,
    only_type: bool = False,
) -> str | None:
    """What is wrong with the value `found`, as the end of a sentence; None when it is `expected`, within tolerance.

    `exact` is whether integers and booleans must be equal (those of 8 bits may be off by one, as results of rounding);
    with `only_type`, the dtype and the shape are compared only. Sequences are lists, empty optionals None.
    """
    if isinstance(found, list) or isinstance(expected, list) or found is None or expected is None:
        return _difference_of_lists(found, expected, tolerances, exact=exact, only_type=only_type)
    if expected.dtype.kind == "U":  # strings, as the reference evaluator has them now and then
        expected = expected.astype(object)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"is {found.dtype}{list(found.shape)}; expected {expected.dtype}{list(expected.shape)}"
    if only_type:
        return None
    dtype = as_dtype(found.dtype)
    tolerance = tolerances.get(dtype.name, 0.0)
    if not tolerance:
        return _difference_of_integers(found, expected, dtype) if exact else None
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return "is finite elsewhere than the graph's"
    finite = np.isfinite(b)
    error, scale = (float(np.abs(x).max(initial=0.0)) for x in (a[finite] - b[finite], b[finite]))
    if error > tolerance * max(scale, 1.0):
        return f"is off by {error:.3g} where the largest element is {scale:.3g}; tolerance {tolerance:g}"
    return None


def _difference_of_integers(found: Array, expected: Array, dtype: DType) -> str | None:
    if dtype.name in ("int8", "uint8"):
        wrong = int((np.abs(found.astype(np.int64) - expected.astype(np.int64)) > 1).sum())
    else:
        wrong = int(np.asarray(found != expected).sum())
    return f"differs in {wrong} elements" if wrong else None


def _difference_of_lists(found: Any, expected: Any, tolerances: Mapping[str, float], **options: bool) -> str | None:
    if not isinstance(found, list) or not isinstance(expected, list):
        return None if found is expected else f"is {_kind(found)}; expected {_kind(expected)}"
    if len(found) != len(expected):
        return f"has {len(found)} elements; expected {len(expected)}"
    problems = (difference(a, b, tolerances, **options) for a, b in zip(found, expected, strict=True))
    return next((problem for problem in problems if problem), None)


def _kind(value: Any) -> str:
    return "empty" if value is None else "a sequence" if isinstance(value, list) else "a tensor"
