"""A model that lies in a mapped file is differentiated and exported without its weights coming into memory twice.

A small instance of `python -m bench large_model`, whose figures for 3 GiB are in bench/README.md.
"""

from __future__ import annotations

import sys

import pytest

from bench.large_model import in_a_process, write_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to measure memory")

WIDTH, LAYERS = 1024, 12
SIZE = WIDTH * WIDTH * LAYERS * 4  # 50 MB


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Peaks of memory, by verification, beyond those of a process that does the same with a model of some kilobytes."""
    small, large = (tmp_path_factory.mktemp("model") for _ in range(2))
    base, found = (in_a_process(path) for path in (write_model(small, 8, LAYERS), write_model(large, WIDTH, LAYERS)))
    (data,) = large.glob("gradient.onnx*.data")
    assert data.stat().st_size > SIZE
    return {form: {key: found[form][key] - base[form][key] for key in ("resident", "anonymous")} for form in found}


def test_loading_differentiating_and_exporting_copy_no_weights(peaks):
    assert peaks["not verified"]["anonymous"] < 0.2 * SIZE


def test_the_whole_work_takes_one_and_a_half_sizes_of_the_model_at_most(peaks):
    for form, found in peaks.items():
        assert found["resident"] < 1.5 * SIZE, form
