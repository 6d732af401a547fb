"""ONNX's own backend tests through graphc: what onnxruntime passes alone must pass, too."""

from __future__ import annotations

import backend_page
import backend_suite
import pytest

SHARE = 16  # the short form looks at one case in so many


def test_what_onnxruntime_passes_passes_through_graphc() -> None:
    results = backend_suite.run(SHARE)
    assert results.lost == set()
    failed = results.failed("graphc")
    assert {case: why for case, why in failed.items() if case not in backend_page.listed()} == {}
    training = [o for o in results.outcomes if o.case.startswith(backend_suite.TRAINING) and o.backend == "graphc"]
    assert len(training) == 9
    assert not any(o.failure for o in training)
    counted = {f"| {title} | {len(names)} |" for title, names in results.cases.items()}
    assert {row for row in counted if row not in backend_page.PAGE.read_text()} == set(), "the page is stale"


@pytest.mark.nightly
def test_the_committed_page_is_current() -> None:
    command = ".venv/bin/python tests/backend/backend_page.py"
    current = backend_page.page(backend_suite.run())
    assert backend_page.PAGE.read_text() == current, f"docs/onnx-backend.md is stale: run {command}"
