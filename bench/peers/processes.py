"""The parent's end of a peer's process: it asks, waits no longer than it says, and never hangs."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.peers.environments import ROOT

THREADS = 2
LIMIT = 180.0  # seconds that an answer may take


class PeerFailure(Exception):
    """A peer answered with an error, ended, or did not answer in time; the text says which."""


class TimedOut(PeerFailure):
    """No answer came in time; the process was ended."""


class Process:
    """A process that runs `bench.peers.worker` with a peer's module, in the peer's environment.

    What compilers keep on disk goes to a folder of its own, which is empty at first and deleted at the end: a first
    step is that of a machine that has not seen the program before.

    Args:
        interpreter: the Python of the environment.
        module: the peer's module, by its full name.
        threads: of each library's pool, and the number of cores it may use.
        extra: further environment variables.
    """

    def __init__(
        self, interpreter: Path, module: str, *, threads: int = THREADS, extra: Mapping[str, str] | None = None
    ) -> None:
        self.threads = threads
        self._folder = Path(tempfile.mkdtemp(prefix="graphc-bench-"))
        self._log = self._folder / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(interpreter), "-m", "bench.peers.worker", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=_variables(self._folder, threads) | dict(extra or {}),
                start_new_session=True,  # compilers start processes of their own, which must end with this one
            )
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, workload: Mapping[str, Any], arguments: Mapping[str, Any], *, limit: float = LIMIT) -> Any:
        """Build a workload's program and train its first step: see the worker's `start`."""
        request = {"workload": dict(workload), "threads": self.threads, "arguments": dict(arguments)}
        return self.ask("start", limit=limit, **request)

    def ask(self, command: str, *, limit: float = LIMIT, **arguments: Any) -> Any:
        """The answer to a request.

        Raises PeerFailure when it is an error or the process ends, TimedOut when none comes within `limit` seconds.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerFailure(self._end()) from None
        answer = json.loads(self._line(command, limit))
        if "unsupported" in answer:
            raise PeerFailure(f"not supported: {answer['unsupported']}")
        if "error" in answer:
            raise PeerFailure(answer["error"])
        return answer

    def close(self) -> None:
        """End the process and what it started, and delete what it kept on disk."""
        if self._process.returncode is None or self._folder.exists():
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.poll()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue
        shutil.rmtree(self._folder, ignore_errors=True)

    def _line(self, command: str, limit: float) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.close()
                raise TimedOut(f"{command} took longer than {limit:g} s")
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                raise PeerFailure(self._end())
            self._received += read
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _end(self) -> str:
        """What to say of a process that ended."""
        code = self._process.wait()
        said = self._log.read_text("utf-8", "replace").strip().split("\n")[-1][:300]
        return f"the process ended with {code}: {said}"


def _variables(folder: Path, threads: int) -> dict[str, str]:
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    caches = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR")
    for name in caches:
        (folder / name).mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        **dict.fromkeys(pools, str(threads)),
        **{name: str(folder / name) for name in caches},
        "CACHEDB": str(folder / "tinygrad.db"),
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "PYTHONUNBUFFERED": "1",
    }
