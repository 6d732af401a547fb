"""The fastest form of a weight gradient by measurement: once for each shape and provider, then remembered on disk.

The file is `$GRAPHC_CACHE/autotune.json`, by default in `graphc` under the user's cache folder (`$XDG_CACHE_HOME`,
`~/.cache`; `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows). It may be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from graphc.errors import UnavailableError
from graphc.ir.build import input
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType
from passes.lowering.costs import DEFAULT_SIZE, sizes_of
from passes.lowering.weight_gradient import FORMS, WeightGradient, applicable

__all__ = ["cache_file", "fastest"]

_log = logging.getLogger(__name__)
_VERSION = 1
"""Of the file's format and of the forms: files of another one are not read."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_REPEATS = 5


def cache_file() -> Path:
    """Where the choices are kept."""
    own = os.environ.get("GRAPHC_CACHE")
    if own:
        return Path(own) / "autotune.json"
    home = Path.home()
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = home / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return folder / "graphc" / "autotune.json"


def fastest(what: WeightGradient, x: Tensor, g: Tensor, provider: str = "cpu", default: int = DEFAULT_SIZE) -> str:
    """The name of the form that takes the least time in onnxruntime on this machine.

    The batch and other symbolic sizes are taken for `default`. Raises UnavailableError when onnxruntime or the provider
    is not there.
    """
    ort = _onnxruntime(provider)
    sizes = sizes_of(x, default), sizes_of(g, default)
    key = f"onnxruntime {ort.__version__}, {provider}, {os.cpu_count()} cores: {what} {x.dtype} {sizes[0]} {sizes[1]}"
    known = _read()
    chosen = known.get(key)
    forms = applicable(what)
    if chosen not in forms:
        times = {form: _measured(ort, what, form, sizes, x.dtype, provider) for form in forms}
        chosen = min(times, key=times.__getitem__)
        _write({**_read(), key: chosen})
    return chosen


def _onnxruntime(provider: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UnavailableError(
            f"autotune measures in onnxruntime, which is not installed{location()}. pip install 'graphc[cpu]', or "
            "leave autotune out."
        ) from None
    if _PROVIDERS[provider] not in onnxruntime.get_available_providers():
        raise UnavailableError(
            f"autotune: this onnxruntime has no provider {_PROVIDERS[provider]}{location()}. Choose provider='cpu', or "
            "leave autotune out."
        )
    return onnxruntime


def _measured(
    ort: Any,
    what: WeightGradient,
    form: str,
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: DType,
    provider: str,
) -> float:
    """Seconds that a form takes, the least of some runs; infinite where the provider lacks a kernel for it."""
    from graphc.serial.export import to_model

    x, g = input("x", sizes[0], dtype), input("g", sizes[1], dtype)
    model = to_model(Graph([x, g], [FORMS[form](what, x, g)], name=form))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[_PROVIDERS[provider]])
    except ort.capi.onnxruntime_pybind11_state.NotImplemented:
        return float("inf")
    rng = np.random.default_rng(0)
    feeds = {n: rng.normal(size=s).astype(dtype.numpy) for n, s in zip("xg", sizes, strict=True)}
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return min(times)


# --- the file -----------------------------------------------------------------------------------------------------


def _read() -> dict[str, str]:
    """The choices by key; none, with a warning, where the file is damaged."""
    path = cache_file()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        choices = content["choices"] if content["version"] == _VERSION else {}
        return {str(key): str(form) for key, form in choices.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning(
            "autotune: %s cannot be read and is ignored: %s. Delete it to get rid of this warning.", path, error
        )
        return {}


def _write(choices: dict[str, str]) -> None:
    """Replace the file, so that a reader sees the old or the new one; a warning where that is not possible."""
    path = cache_file()
    text = json.dumps({"version": _VERSION, "choices": choices}, indent=1, sort_keys=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError as error:
        _log.warning("autotune: the choice cannot be kept in %s: %s", path, error)
