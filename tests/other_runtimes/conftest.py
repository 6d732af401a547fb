"""Exports that the tests of one process share."""

import pytest
from exported_steps import KINDS, Exported, shared


@pytest.fixture(scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of step to train with."""
    return request.param


@pytest.fixture
def exported(kind: str, _folder) -> Exported:
    """The step of that kind."""
    return shared(kind, _folder)
