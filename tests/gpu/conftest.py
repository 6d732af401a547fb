"""Tests that need a GPU are skipped, with the reason, where onnxruntime has no CUDA that works."""

import pathlib
from collections.abc import Iterator

import pytest
from gpu_checks import Row, table

from runtimes.session import cuda_works

REASON = 'no CUDA that works: it takes an NVIDIA GPU and "graphc[gpu]", see docs/runtimes.md'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    own = [item for item in items if here in item.path.parents]
    if own and not cuda_works():
        for item in own:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """What the gradients gave; at the end it is written to out/gpu-gradients.md."""
    found: list[Row] = []
    yield found
    path = pathlib.Path("out/gpu-gradients.md")
    path.parent.mkdir(exist_ok=True)
    path.write_text(table(found))
