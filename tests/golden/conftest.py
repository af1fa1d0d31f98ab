from __future__ import annotations

import pytest

from tests.golden.stored import Stored


@pytest.fixture
def stored(request: pytest.FixtureRequest) -> Stored:
    return Stored(request.config.getoption("--regenerate"))
