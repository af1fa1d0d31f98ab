from __future__ import annotations

import pytest

from tests.small_models.sam import write_small_sam


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The folder of a small SAM; not to be written to."""
    return write_small_sam(tmp_path_factory.mktemp("sam") / "base")
