"""What holds for every test."""

import logging
from collections.abc import Iterator

import pytest


class _Failing(logging.Handler):
    """Turns a warning that a user would only read in a log into a failure."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


@pytest.fixture(autouse=True)
def _no_rule_is_left_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """Simplification must come to an end with all its rules; `lenient` tests ask for what happens when it does not."""
    if request.node.get_closest_marker("lenient"):
        yield
        return
    handler = _Failing(logging.WARNING)
    logger = logging.getLogger("passes.simplify")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
